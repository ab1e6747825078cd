"""Draw the mermaid diagrams of the docs as SVG: python scripts/site/diagrams.py FILE

FILE is `dist/mermaid.min.js` of the npm package `mermaid` (`npm pack mermaid`). Chromium renders the
diagrams. Run this after changing a diagram; `make docs` fails until you do. GitHub renders the same blocks
itself. The repository contains the drawings and not mermaid, so that neither the build nor the pages need
mermaid or a network.
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
    "htmlLabels": False,  # SVG text: an <img> does not render HTML labels
    "flowchart": {"htmlLabels": False, "useMaxWidth": False},
    "fontFamily": "system-ui, sans-serif",
}


def drawing_of(source: str) -> Path:
    """The file with the drawing of a diagram. Its name is a hash of the source: it is never out of date."""
    return DRAWINGS / f"{hashlib.sha256(source.encode()).hexdigest()[:12]}.svg"


def main() -> None:
    """Draw new diagrams, remove drawings that no page uses."""
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
        page.evaluate("document.querySelector('svg').style.background = 'white'")  # also on dark pages
        # As XML, which a separate file requires; mermaid's own string is HTML.
        return page.evaluate("new XMLSerializer().serializeToString(document.querySelector('svg'))") + "\n"


if __name__ == "__main__":
    main()
