"""The project around the code: README, Makefile, docs and pins agree with it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import requires
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
from packaging.requirements import Requirement
from packaging.version import Version
from typer.testing import CliRunner

import mesoface
from mesoface.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
GROUPS = {"facescape", "train", "weights"}


def leaves(group, prefix: str = "") -> dict:
    """{words of the command: command}, those of groups too."""
    found = {}
    for name, command in group.commands.items():
        words = prefix + name
        found |= leaves(command, words + " ") if hasattr(command, "commands") else {words: command}
    return found


COMMANDS = leaves(typer.main.get_command(app))


def test_readme_shows_the_short_script_as_it_is():
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown == [(ROOT / "examples" / "1_reconstruct.py").read_text(encoding="utf-8")]


def test_the_page_of_parts_shows_the_examples_as_they_are():
    page = (ROOT / "docs" / "parts.md").read_text(encoding="utf-8")
    code = "".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("[0-9]_*.py"))
    )
    shown = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(shown) > 5
    for excerpt in shown:
        assert excerpt in code, excerpt


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, heading = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.is_relative_to(ROOT), target
        assert linked.exists(), f"{page.name} links to {target}"
        if heading:
            assert heading in anchors(linked), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    missing = [
        page.name for page in ROOT.glob("docs/*.md") if page.stem != "index" and page.name not in index
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_pages_have_the_options_shown(page):
    """Every ``mesoface <command> --option`` in a page's code exists."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL) + re.findall(r"`(mesoface [^`]+)`", text)
    code = "\n".join(blocks)
    command = rf"^mesoface ((?:(?:{'|'.join(GROUPS)}) )?[\w-]+)(.*)$"
    for name, arguments in re.findall(command, code, re.MULTILINE):
        if name in GROUPS:  # without a command of its own it shows its help
            continue
        assert name in COMMANDS, f"{page.name}: mesoface {name}"
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts} | {"--help"}
        assert set(re.findall(r"(?<!\S)--[\w-]+", arguments)) <= known, (
            f"{page.name}: mesoface {name}{arguments}"
        )


def test_help_lists_every_command():
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert set(COMMANDS) == {
        *("inspect", "reconstruct", "batch", "view", "export", "evaluate", "synth", "synth-dataset"),
        *(
            "train matching",
            "train regularizer",
            "train tiles",
            "train pack",
            "train meso",
            "weights import",
            "weights show",
        ),
        *("facescape prepare", "facescape evaluate", "facescape synth"),
        *("calibrate", "convert", "schema"),
    }
    for name in {words.split()[0] for words in COMMANDS}:
        assert re.search(rf"\b{name}\b", result.output), name


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_a_command_explains_every_option_and_gives_an_example(name):
    result = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for parameter in COMMANDS[name].params:
        shown = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name
        assert shown.lower() in result.output.lower(), shown
        assert parameter.help, f"{name} {shown} has no help"  # type: ignore[attr-defined]
    assert f"mesoface {name}" in result.output, "an example"


def test_pins_satisfy_what_the_package_asks_for():
    pins = pinned()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    for requirement in map(Requirement, asked):
        assert canonical(requirement.name) in pins, f"{requirement.name} is not pinned"
        assert requirement.specifier.contains(pins[canonical(requirement.name)]), requirement


def test_pins_are_whole():
    """What a pinned package needs is pinned too, where this environment can tell."""
    pins = pinned()
    for name in pins:
        for requirement in map(Requirement, requires(name) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                if "cuda" in requirement.name or "nvidia" in requirement.name or requirement.name == "triton":
                    continue
                assert canonical(requirement.name) in pins, f"{name} needs {requirement.name}"


def pinned() -> dict[str, Version]:
    """{name: version} of constraints.txt, which holds exact versions and nothing else."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups()  # type: ignore[union-attr]
            pins[canonical(name)] = Version(version)
    return pins


def canonical(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_make_alone_lists_every_target():
    listed = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert re.search(rf"^  make {target} ", listed, re.MULTILINE), target
    assert {"setup", "demo", "test", "test-all", "lint", "bench"} <= set(phony[1].split())


def test_version_is_said_once_everywhere():

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == mesoface.__version__
    assert f"## [{mesoface.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"mesoface {mesoface.__version__}"


def test_no_code_unpickles():
    """Input files are untrusted: no pickle, no allow_pickle, no torch.load with more than weights."""
    for file in (ROOT / "src").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in text, file
        assert not re.search(r"pickle\.loads?\(|\bUnpickler\b", text), file
        for call in re.findall(r"torch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, file


TROUBLES = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
# Those of the installation are other programs'.
OURS = "## Reading a capture" + TROUBLES.split("## Reading a capture")[1]
FIRST_COLUMN = re.findall(r"^\| (.*?) \|", OURS, re.MULTILINE)
QUOTED = [text for cell in FIRST_COLUMN for text in re.findall(r"`([^`]+)`", cell) if " " in text]


@cache
def said() -> tuple[str, ...]:
    """Every string in the sources; what an f-string puts in is "…"."""
    return tuple(
        text for file in (ROOT / "src").rglob("*.py") for text in _strings(file.read_text(encoding="utf-8"))
    )


def _strings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_there_are_messages_to_look_for():
    assert len(QUOTED) > 50


@pytest.mark.parametrize("message", QUOTED)
def test_a_message_in_troubleshooting_is_one_that_is_said(message):
    assert any(message in text for text in said()), message


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts that make the site can be imported."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "site"))


def navigation() -> list[str]:
    """The pages that mkdocs.yml names."""
    return re.findall(
        r"^\s+- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_every_page_has_its_place_on_the_site(site):
    import hooks

    try:
        pages = [page.name for page in (ROOT / "docs").glob("*.md")] + list(hooks.OUTSIDE.values())
    finally:
        del sys.modules["hooks"]
    assert sorted(navigation()) == sorted(pages)


def test_diagrams_are_drawn_as_they_are(site):
    import diagrams

    sources = [
        source
        for page in (ROOT / "docs").glob("*.md")
        for source in diagrams.BLOCK.findall(page.read_text(encoding="utf-8"))
    ]
    assert sources
    for source in sources:
        drawing = diagrams.drawing_of(source)
        assert drawing.is_file(), "run scripts/site/diagrams.py"
        assert ElementTree.fromstring(drawing.read_bytes()).tag.endswith("svg"), "browsers show no other"


def test_links_become_those_of_the_site(site):
    import hooks

    def moved(text: str, source: str, target: str) -> str:
        return hooks._outside_code(
            text, lambda t: hooks._LINK.sub(lambda match: hooks._moved(match, source, target), t)
        )

    assert moved("[a](../README.md#x)", "docs/index.md", "index.md") == "[a](readme.md#x)"
    assert moved("![p](docs/images/viewer.jpg)", "README.md", "readme.md") == "![p](images/viewer.jpg)"
    assert moved("[`a.b`](../src/mesoface/geometry/mesh.py)", "docs/index.md", "index.md") == "`a.b`"
    assert moved("[a](https://b.org) `[c](d.md)`", "docs/index.md", "index.md") == (
        "[a](https://b.org) `[c](d.md)`"
    )
    with pytest.raises(hooks.PluginError, match=r"docs/index\.md: \.\./none\.md leads nowhere"):
        moved("[a](../none.md)", "docs/index.md", "index.md")


@pytest.mark.parametrize("name", mesoface.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(mesoface, name).__doc__
    assert name in dir(mesoface)
