"""``batch.html``: what came of a batch, as one page that asks for nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from statistics import mean, median
from urllib.parse import quote

import mesoface
from mesoface.batch.summary import CaptureRow
from mesoface.batch.thumbnail import THUMBNAIL
from mesoface.files.atomic import atomic_file
from mesoface.report import html
from mesoface.results.folder import REPORT

# (heading, figure of the row, how it is written, factor)
_SHOWN = (
    ("views", "views", "{:.0f}", 1.0),
    ("landmarks, px", "landmark_error_px", "{:.2f}", 1.0),
    ("measured", "measured", "{:.1f} %", 100.0),
    ("texel, mm", "texel_mm", "{:.2f}", 1.0),
    ("error, mm", "mean_mm", "{:.3f}", 1.0),
    ("normals", "normals_deg", "{:.1f}°", 1.0),
)
_STYLE = """<style>
th.text { text-align: left; }
td.face { padding: 6px 14px 6px 0; width: 1%; }
td.face img { display: block; border-radius: 6px; width: 132px; height: auto; }
td.name { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 12em; }
td.name a { color: var(--accent); font-weight: 600; text-decoration: none; }
td.name b { font-weight: 600; }
td.name a:hover { text-decoration: underline; }
td.name span { display: block; color: var(--soft); font-size: 13px; }
td.reason { text-align: left; white-space: normal; overflow-wrap: anywhere; width: 75%; }
</style>"""


def write_page(
    out: Path, rows: Sequence[CaptureRow], *, total: int, elapsed: float, made_now: int, command: str
) -> None:
    """Write ``batch.html``, some 12 kB a capture.

    Args:
        out: the batch's folder; thumbnails come from the results in it.
        rows: of the captures that came to an end.
        total: how many captures the batch has.
        elapsed: seconds that this run of the batch has taken.
        made_now: captures that came to an end in it.
        command: the command that makes one of the results by itself.

    Raises:
        MesofaceError: it cannot be written.
    """
    failed = [row for row in rows if row.error is not None]
    done = [row for row in rows if row.error is None]
    lead = [
        _STYLE,
        f"<h1>{escape(out.resolve().name)}</h1>",
        html.paragraph(f"A batch of {total} captures.", soft=True),
        html.notes([f"Stopped before its end: {total - len(rows)} captures were not tried."])
        if len(rows) < total
        else "",
        html.facts(_facts(done, failed, elapsed, made_now)),
    ]
    body = [
        *lead,
        html.section("Failed", _failures(failed) if failed else ""),
        html.section("Done", _results(out, done) if done else ""),
        html.section("Settings", html.paragraph("Each result is that of"), html.command(command)),
        f"<footer>mesoface {escape(mesoface.__version__)}. The same figures are in batch.csv and batch.json."
        "</footer>",
    ]
    with atomic_file(out / "batch.html") as temporary:
        temporary.write_text(html.page(f"{out.resolve().name}: batch", body), encoding="utf-8")


def _facts(
    done: Sequence[CaptureRow], failed: Sequence[CaptureRow], elapsed: float, made_now: int
) -> list[tuple[str, str]]:
    facts = [(str(len(done)), "done"), (str(len(failed)), "failed")]
    if seconds := [row.seconds for row in done if row.seconds is not None]:
        facts.append((f"{median(seconds):.1f} s", "a capture, median"))
    if made_now:
        facts.append((f"{made_now / elapsed * 3600:,.0f}", "captures an hour, in the last run"))
    if errors := [float(error) for row in done if (error := row.figures["mean_mm"]) is not None]:
        facts.append((f"{mean(errors):.3f} mm", "mean distance to the true surfaces"))
    if warned := sum(bool(row.warnings) for row in done):
        facts.append((str(warned), "done with warnings"))
    return facts


def _failures(rows: Iterable[CaptureRow]) -> str:
    lines = (
        f'<tr><td class="name">{escape(row.id)}<span>{escape(str(row.capture))}</span></td>'
        f'<td class="reason">{escape(row.error or "")}</td></tr>'
        for row in rows
    )
    return _table(["capture", "reason"], [], lines)


def _results(out: Path, rows: Sequence[CaptureRow]) -> str:
    columns = [column for column in _SHOWN if any(row.figures[column[1]] is not None for row in rows)]
    heads = [*(column[0] for column in columns), "time", "memory"]
    return _table(["", "capture"], heads, (_result(out, row, columns) for row in rows))


def _result(out: Path, row: CaptureRow, columns: Sequence[tuple[str, str, str, float]]) -> str:
    cells = []
    for _, name, form, factor in columns:
        value = row.figures[name]
        cells.append("–" if value is None else form.format(float(value) * factor))
    cells += [f"{row.seconds:.1f} s", f"{row.peak_mb:,.0f} MB"]
    warnings = "".join(f"<span>{escape(warning)}</span>" for warning in row.warnings)
    return (
        f'<tr><td class="face">{_thumbnail(out / row.id / THUMBNAIL, row.id)}</td>'
        f'<td class="name">{_name(out, row.id)}'
        f"<span>{escape(str(row.capture))}</span>{warnings}</td>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
    )


def _name(out: Path, name: str) -> str:
    """A result's name, with a link to its report where it has one."""
    if not (out / name / REPORT).is_file():
        return f"<b>{escape(name)}</b>"
    return f'<a href="{quote(name)}/{REPORT}">{escape(name)}</a>'


def _thumbnail(file: Path, name: str) -> str:
    if not file.is_file():
        return ""
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(name)}" loading="lazy">'


def _table(texts: Iterable[str], numbers: Iterable[str], lines: Iterable[str]) -> str:
    """A table with the headings of columns of text, then of numbers, over rows that are HTML."""
    head = "".join(f'<th class="text">{escape(name)}</th>' for name in texts)
    head += "".join(f"<th>{escape(name)}</th>" for name in numbers)
    body = "\n".join(lines)
    return f'<div class="scroll"><table class="wide">\n<tr>{head}</tr>\n{body}\n</table></div>'
