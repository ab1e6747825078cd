"""Hooks of the site build: MkDocs calls these functions (mkdocs.yml refers to this file).

The pages in docs/ are also read on GitHub. Their links therefore point out of docs/ (README.md, source), and
diagrams are mermaid blocks. These hooks add the pages outside docs/, adjust the links, replace diagrams by
the drawings of scripts/site/diagrams.py, and generate a reference page for every package.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
from diagrams import BLOCK, drawing_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "mesoface"

OUTSIDE = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Pages outside docs/, and their names on the site."""

_CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
# Content of a list item: GitHub requires two or three spaces of indentation, Python's Markdown four.
_INSIDE_LIST = re.compile(r"^ {2,3}(?=\S)", re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the reference pages to the navigation."""
    pages = [{name: source} for name, source in sorted(_reference().items())]
    config.nav = [*(config.nav or []), {"Reference": [{"mesoface": "api/index.md"}, *pages]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for source, target in OUTSIDE.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "api/index.md", content=_public_page()))
    for name, target in _reference().items():
        files.append(File.generated(config, target, content=_package_page(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Adjust links and diagrams of one page."""
    target = page.file.src_uri
    if target.startswith("api/"):
        return markdown
    source = next((name for name, there in OUTSIDE.items() if there == target), f"docs/{target}")

    def link(match: re.Match[str]) -> str:
        return _moved(match, source, target)

    markdown = BLOCK.sub(lambda block: _drawing(block[1], source, target), markdown)
    return _outside_code(markdown, lambda text: _LINK.sub(link, _INSIDE_LIST.sub("    ", text)))


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Apply ``change`` outside code. Code is set aside first: a link whose text is code remains a link."""
    kept: list[str] = []

    def put_aside(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    changed = change(_CODE.sub(put_aside, markdown))
    return re.sub("\0(\\d+)\0", lambda match: kept[int(match[1])], changed)


def _moved(match: re.Match[str], source: str, target: str) -> str:
    """A link on the page ``source``, rewritten for the site's page ``target``."""
    picture, text, address = match.groups()
    path, hash_sign, heading = address.partition("#")
    if not path or re.match(r"\w+:", path):
        return match[0]
    place = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if place in OUTSIDE or place.startswith("docs/"):
        place = OUTSIDE.get(place) or place.removeprefix("docs/")
        there = posixpath.relpath(place, posixpath.dirname(target) or ".")
        return f"{picture}[{text}]({there}{hash_sign}{heading})"
    if not (ROOT / place).exists():
        raise PluginError(f"{source}: {address} leads nowhere")
    return text  # a file of the repository that is not on the site


def _drawing(diagram: str, source: str, target: str) -> str:
    """The drawing of a mermaid block."""
    file = drawing_of(diagram)
    if not file.is_file():
        raise PluginError(f"{source}: a diagram has changed; run scripts/site/diagrams.py")
    there = posixpath.relpath(f"images/diagrams/{file.name}", posixpath.dirname(target) or ".")
    return f"![diagram]({there})"


def _reference() -> dict[str, str]:
    """{package or module directly in mesoface: its page}."""
    names = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    names += [path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_")]
    return {f"mesoface.{name}": f"api/{name}.md" for name in names}


def _public_page() -> str:
    return (
        "# mesoface\n\n"
        "The names that `import mesoface` provides. Import everything else from its module.\n\n"
        "::: mesoface\n    options:\n      show_root_heading: false\n      show_root_toc_entry: false\n"
        f"      members: {sorted(_public_names())}\n"
    )


def _public_names() -> Iterator[str]:
    listed = re.search(
        r"__all__ = \[(.*?)\]", (PACKAGE / "__init__.py").read_text(encoding="utf-8"), re.DOTALL
    )
    assert listed is not None
    yield from re.findall(r'"(\w+)"', listed[1])


def _package_page(name: str) -> str:
    """The reference page of a package with all its public modules, or of a single module."""
    place = PACKAGE / name.removeprefix("mesoface.")
    modules = [name]
    for file in sorted(place.rglob("*.py")):
        parts = file.relative_to(place).with_suffix("").parts
        if not any(part.startswith("_") for part in parts):
            modules.append(".".join((name, *parts)))
        elif parts[-1] == "__init__" and len(parts) > 1:
            modules.append(".".join((name, *parts[:-1])))
    return f"# {name}\n\n" + "\n".join(f"::: {module}\n" for module in sorted(modules))
