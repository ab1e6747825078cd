"""``mesoface calibrate``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from mesoface.calibration.settings import Method, Sharing
from mesoface.errors import MesofaceError

if TYPE_CHECKING:
    from mesoface.calibration import Calibration
    from mesoface.running.progress import ProgressCallback

_COLOURS = {"good": "green", "doubtful": "yellow"}


def command(
    photos: Annotated[
        Path, typer.Argument(help="Folder of photos of one still face, or a video.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the capture; made at the very end.")],
    method: Annotated[
        str,
        typer.Option(
            metavar="auto|features|landmarks",
            help="What is followed from photo to photo. features: the skin's own detail (structure from "
            "motion). landmarks: the face's landmarks, for skin too plain or photos too few. auto: features, "
            "and landmarks where the verdict on these is not good.",
        ),
    ] = "auto",
    cameras: Annotated[
        str,
        typer.Option(
            metavar="auto|shared|each",
            help="shared: one camera at one zoom took all photos. each: every photo has its own (a rig). "
            "auto: photos of one size, camera and zoom (EXIF) share one.",
        ),
    ] = "auto",
    background: Annotated[
        bool,
        typer.Option(
            "--background",
            help="Follow what is behind the head, too: only where the person kept still against it and the "
            "camera moved.",
        ),
    ] = False,
    max_photos: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=3,
            max=120,
            help="Of more photos, or of a video, take so many: sharp ones, spread over the arc.",
        ),
    ] = 30,
    threads: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="Threads.")] = min(
        8, os.cpu_count() or 2
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the older calibration that is in --out.")
    ] = False,
) -> None:
    """Photos without cameras in; a capture with cameras, in millimetres, out.

    A dozen photos of a face that keeps still: frontal to some 60° to both sides, 15° apart, the whole head in
    the picture, sharp, in even light, one expression. A phone's video of a walk around the head does as well.

    Writes images/, capture.json (x to the subject's left, y up, z out of the face, mm), calibration.json and
    calibration.html, which shows how far the cameras can be trusted. The scale comes from the eyes (± 5 %).

    Example: `mesoface calibrate photos/ --out shoot/`

    Then: `mesoface reconstruct shoot/ --out face/`
    """
    from mesoface.calibration import CalibrationSettings
    from mesoface.calibration.write import calibrate_folder
    from mesoface.report.calibrate_page import calibrate_page
    from mesoface.running.progress import progress_bars

    settings = CalibrationSettings(
        cast(Method, method), cast(Sharing, cameras), background, max_photos, threads
    )
    with progress_bars() as progress:
        calibration = calibrate_folder(
            photos, out, settings, page=calibrate_page, overwrite=overwrite, progress=progress
        )
    console = Console(highlight=False, soft_wrap=True)
    for line in _summary(calibration):
        console.print(line)
    console.print(f"page: {out / 'calibration.html'}", markup=False)
    console.print(f"next: {shlex.join(['mesoface', 'reconstruct', str(out), '--out', 'face'])}", markup=False)


def calibrated(photos: Path, out: Path, *, overwrite: bool, progress: ProgressCallback) -> Path:
    """Calibrate ``photos`` into the folder beside ``out`` that `mesoface reconstruct --calibrate` names.

    Returns:
        the capture's folder.

    Raises:
        MesofaceError: the photos have cameras already, or none can be found that are to be trusted.
    """
    from mesoface.calibration.write import calibrate_folder
    from mesoface.captures.formats import FORMATS
    from mesoface.report.calibrate_page import calibrate_page

    known = next((n for n, form in FORMATS.items() if photos.is_dir() and form.detect(photos)), None)
    if known is not None:
        raise MesofaceError(
            f"has cameras already (format {known})", path=photos, remedy="leave out --calibrate"
        )
    capture = out.absolute().with_name(f"{out.absolute().name}-capture")
    calibration = calibrate_folder(
        photos, capture, page=calibrate_page, overwrite=overwrite, progress=progress
    )
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for line in _summary(calibration):
        console.print(line)
    return capture


def _summary(calibration: Calibration) -> list[RenderableType]:
    """The photos as a table, the verdict and its reasons."""
    from mesoface.report.calibrate_page import COLUMNS, table_rows

    solution, verdict = calibration.solution, calibration.verdict
    table = Table(*COLUMNS, header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in table_rows(calibration):
        table.add_row(*row)
    lines: list[RenderableType] = [
        table,
        Text.assemble(
            (f"{verdict.level}  ", f"bold {_COLOURS[verdict.level]}"),
            f"{len(solution.placed)} of {len(calibration.photos)} photos placed by {solution.method}, "
            f"{solution.points} points, error {solution.error:.2f} px, angle {solution.angle:.0f}°; "
            f"scale from {calibration.scale.source} ± {100 * calibration.scale.relative_uncertainty:.0f} %",
        ),
    ]
    for method, why in calibration.tried.items():
        lines.append(Text.assemble(("note      ", "bold blue"), f"not by {method}: {why}"))
    lines += [Text.assemble(("note      ", "bold blue"), note) for note in calibration.notes]
    for problem in verdict.problems:
        lines.append(
            Text.assemble(("warning   ", "bold yellow"), problem.what, (f" — {problem.remedy}", "dim"))
        )
    return lines
