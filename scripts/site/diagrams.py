"""Draw the mermaid diagrams of the docs as SVG: python scripts/site/diagrams.py FILE

FILE is `dist/mermaid.min.js` of the npm package `mermaid` (`npm pack mermaid`); a Chromium draws. To be run
when a diagram has changed: `make docs` says so. GitHub draws the same blocks by itself. The drawings are kept
and not the script, so that neither the build nor the pages need it, or a network.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DRAWINGS = ROOT / "docs" / "images" / "diagrams"
BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OPTIONS = {
    "startOnLoad": False,
    "theme": "neutral",
    "htmlLabels": False,  # real text: pictures in a page show no HTML
    "flowchart": {"htmlLabels": False, "useMaxWidth": False},
    "fontFamily": "system-ui, sans-serif",
}


def drawing_of(source: str) -> Path:
    """The file that has the drawing of a diagram: named after its source, so that it is of no other."""
    return DRAWINGS / f"{hashlib.sha256(source.encode()).hexdigest()[:12]}.svg"


def main() -> None:
    """Draw what is new, remove what no page shows any more."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mermaid", type=Path, help="mermaid.min.js")
    script = parser.parse_args().mermaid.read_text(encoding="utf-8")
    pages = [page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md"))]
    wanted = {drawing_of(source): source for page in pages for source in BLOCK.findall(page)}
    DRAWINGS.mkdir(parents=True, exist_ok=True)
    for old in set(DRAWINGS.glob("*.svg")) - wanted.keys():
        old.unlink()
    for path, source in wanted.items():
        if not path.exists():
            path.write_text(draw(source, script), encoding="utf-8")
            print(path.relative_to(ROOT))


def draw(source: str, script: str) -> str:
    """The SVG of one diagram."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from chromium import chromium_page

    with tempfile.TemporaryDirectory() as folder, chromium_page(1200, 900) as page:
        html = Path(folder) / "page.html"
        html.write_text(
            f"<!doctype html><meta charset=utf-8><body><script>{script}</script>", encoding="utf-8"
        )
        page.open(html.as_uri())
        page.evaluate(
            f"mermaid.initialize({json.dumps(_OPTIONS)});"
            f"mermaid.render('diagram', {json.dumps(source)}).then(made => {{"
            "document.body.innerHTML = made.svg; }); 0"
        )
        page.wait("document.querySelector('svg')")
        page.evaluate("document.querySelector('svg').style.background = 'white'")  # on dark pages, too
        # As XML, which a file of its own has to be; mermaid's own string is HTML.
        return page.evaluate("new XMLSerializer().serializeToString(document.querySelector('svg'))") + "\n"


if __name__ == "__main__":
    main()
