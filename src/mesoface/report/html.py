"""Building blocks of a self-contained HTML page: no request, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1f24; --soft: #667085; --paper: #fbfbfa; --card: #ffffff;
  --line: #e4e4e0; --accent: #b4532a; --ok: #15803d; --warn: #b45309; --bad: #b91c1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --soft: #98a1ae; --paper: #131517;
  --card: #1b1e22; --line: #2d3238; --accent: #f0936a; --ok: #4ade80; --warn: #fbbf24; --bad: #f87171; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 40px 28px 72px; background: var(--paper);
  color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
h1 { font-size: 28px; margin: 0 0 4px; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 44px 0 6px; letter-spacing: -0.005em; }
p { margin: 0 0 12px; max-width: 76ch; }
.sub { color: var(--soft); }
.note { border-left: 3px solid var(--warn); background: var(--card); padding: 9px 14px;
  border-radius: 0 6px 6px 0; margin: 0 0 8px; max-width: none; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 22px 0 0; }
.fact { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.fact b { display: block; font-size: 22px; font-weight: 600; letter-spacing: -0.01em;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.fact span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; margin: 4px 0 0; }
table.wide { width: 100%; }
th, td { text-align: right; padding: 5px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
.scroll + p { margin-top: 10px; }
table.pairs td { text-align: left; white-space: normal; vertical-align: top; }
table.pairs td:first-child { color: var(--soft); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr.total td { font-weight: 600; border-bottom: 0; }
.bar { display: inline-block; height: 9px; border-radius: 2px; background: var(--accent);
  vertical-align: 1px; }
td.bars { width: 100%; text-align: left; }
.gallery { display: grid; gap: 16px; margin-top: 12px; align-items: start; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  overflow: hidden; }
figure img { display: block; width: 100%; height: auto; }
figcaption { padding: 8px 12px; font-size: 13px; color: var(--soft); overflow-wrap: anywhere; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr));
  gap: 8px 44px; }
.columns > * { min-width: 0; }
.turnable { background: var(--card); border: 1px solid var(--line); border-radius: 10px; margin-top: 12px;
  overflow: hidden; }
.turnable canvas { display: block; width: 100%; height: min(78vh, 720px); touch-action: none; cursor: grab; }
.turnable canvas:active { cursor: grabbing; }
.turnable canvas:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
.turnable.failed > :not(.turnable-note) { display: none; }
.turnable-controls:not([hidden]) { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 18px;
  padding: 10px 14px; border-top: 1px solid var(--line); font-size: 14px; }
.turnable fieldset { border: 1px solid var(--line); border-radius: 8px; padding: 0; margin: 0; display: flex;
  flex-wrap: wrap; overflow: hidden; }
.turnable fieldset label { padding: 4px 12px; cursor: pointer; }
.turnable fieldset label:has(:checked) { background: var(--accent); color: var(--card); }
.turnable fieldset label:has(:disabled) { opacity: 0.35; cursor: default; }
.turnable fieldset label:has(:focus-visible) { outline: 2px solid var(--ink); outline-offset: -2px; }
.turnable input[type="radio"] { position: absolute; opacity: 0; pointer-events: none; }
.turnable input[type="range"] { vertical-align: middle; accent-color: var(--accent); }
.turnable [data-legend] { max-width: 100%; height: 46px; width: auto; border-radius: 4px; }
.turnable + p { margin-top: 22px; }
.turnable-note { margin: 0; padding: 8px 14px; font-size: 13px; max-width: none; }
.command { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 9px 12px;
  overflow-x: auto; font-size: 13px; }
footer { margin-top: 56px; color: var(--soft); font-size: 13px; border-top: 1px solid var(--line);
  padding-top: 14px; overflow-wrap: anywhere; }
"""

# Nothing is ever asked for, whatever a capture's name says: the browser itself holds the page to it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 86]
# A twentieth larger than what is smallest, in a tenth of the time.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 4, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_FILTERED]

Picture = NDArray[np.uint8] | NDArray[np.float32]


def page(title: str, body: Iterable[str]) -> str:
    """The whole document; ``body`` is HTML, made of the blocks below."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def section(title: str, *blocks: str) -> str:
    """A heading and what follows it; nothing at all when there is nothing to follow."""
    blocks = tuple(block for block in blocks if block)
    return (
        "<section>\n" + "\n".join((f"<h2>{escape(title)}</h2>", *blocks)) + "\n</section>" if blocks else ""
    )


def paragraph(text: str, *, soft: bool = False) -> str:
    """A paragraph of plain text."""
    return f'<p class="sub">{escape(text)}</p>' if soft else f"<p>{escape(text)}</p>"


def command(text: str) -> str:
    """A line for the shell."""
    return f'<pre class="command">{escape(text)}</pre>'


def notes(texts: Iterable[str]) -> str:
    """Plain sentences that want attention."""
    return "\n".join(f'<p class="note">{escape(text)}</p>' for text in texts)


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Figures large, with what they are below: (figure, what it is) each."""
    cells = (
        f'<div class="fact"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in pairs
    )
    return f'<div class="facts">{"".join(cells)}</div>'


def pairs(items: Iterable[tuple[str, str]]) -> str:
    """Names with their values, one a line."""
    rows = "\n".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in items)
    return f'<table class="wide pairs">\n{rows}\n</table>' if rows else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text; the first column is left-aligned, the others right."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table class="wide">\n<tr>{head}</tr>\n{body}\n</table></div>'


def bar_table(
    columns: Sequence[str], rows: Sequence[tuple[Sequence[str], float]], total: Sequence[str] | None = None
) -> str:
    """A table whose rows (cells, value ≥ 0) end in a bar as long as the value; ``total`` is its last row."""
    longest = max((value for _, value in rows), default=0) or 1
    lines = [f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in columns)}<th></th></tr>"]
    for cells, value in rows:
        bar = f'<span class="bar" style="width: {100 * value / longest:.1f}%"></span>'
        lines.append(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}"
            + f'<td class="bars">{bar}</td></tr>'
        )
    if total is not None:
        lines.append(
            f'<tr class="total">{"".join(f"<td>{escape(cell)}</td>" for cell in total)}<td></td></tr>'
        )
    return '<div class="scroll"><table class="wide">\n' + "\n".join(lines) + "\n</table></div>"


def gallery(figures: Iterable[tuple[str, Picture]], *, width: int = 210, photo: bool = False) -> str:
    """Captioned pictures in a grid, none narrower than ``width`` CSS pixels.

    Args:
        figures: (caption, (H, W, 3) RGB uint8 or float in [0, 1]) each.
        width: smallest width of a column.
        photo: JPEG instead of PNG: for photographs and shading.
    """
    items = "\n".join(
        f'<figure><img src="{data_uri(picture, photo=photo)}" alt="{escape(caption)}"'
        f' width="{picture.shape[1]}" height="{picture.shape[0]}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, picture in figures
    )
    columns = f"repeat(auto-fill, minmax(min(100%, {width}px), 1fr))"
    return f'<div class="gallery" style="grid-template-columns: {columns}">\n{items}\n</div>' if items else ""


def data_uri(picture: Picture, *, photo: bool = False) -> str:
    """A picture as the address of itself: (H, W, 3) RGB uint8, or float in [0, 1]."""
    values: NDArray = np.asarray(picture)
    if values.dtype.kind == "f":
        values = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] != 3:
        raise ValueError(f"a picture must be (H, W, 3) uint8 or float, got {picture.dtype} {picture.shape}")
    bgr = np.ascontiguousarray(values[..., ::-1])
    options = _JPEG if photo else _PNG
    ok, data = cv2.imencode(".jpg" if photo else ".png", bgr, options)
    if not ok:
        raise ValueError(f"the picture of the shape {picture.shape} cannot be encoded")
    return (
        f"data:image/{'jpeg' if photo else 'png'};base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
    )
