"""``mesoface calibrate``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mesoface.calibration.settings import CalibrationSettings
from mesoface.cli.options import takes
from mesoface.errors import MesofaceError

if TYPE_CHECKING:
    from mesoface.calibration import Calibration
    from mesoface.running.progress import ProgressCallback

_COLOURS = {"good": "green", "doubtful": "yellow"}


@takes(settings=CalibrationSettings)
def command(
    settings: CalibrationSettings,
    photos: Annotated[
        Path, typer.Argument(help="Folder of photos of one still face, or a video.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the capture; made at the very end.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the older calibration in --out.")
    ] = False,
) -> None:
    """Find the cameras of photos that have none, and write a capture in millimetres.

    Take a dozen photos of a face that keeps still: from the front to some 60° on both sides, 15° apart, the
    whole head in the picture, sharp, in even light, one expression. Or a phone's video around the head.

    Writes images/, capture.json (x to the subject's left, y up, z out of the face, mm), calibration.json and
    calibration.html, which shows how reliable the cameras are. The scale comes from the eyes (± 5 %).

    Example: `mesoface calibrate photos/ --out shoot/`

    Then: `mesoface reconstruct shoot/ --out face/`
    """
    from mesoface.calibration.calibrate import calibrate_folder
    from mesoface.report.calibrate_page import calibrate_page
    from mesoface.running.progress import progress_bars

    with progress_bars() as progress:
        calibration = calibrate_folder(
            photos, out, settings, page=calibrate_page, overwrite=overwrite, progress=progress
        )
    _print_summary(calibration, Console(highlight=False, soft_wrap=True))
    typer.echo(f"page: {out / 'calibration.html'}")
    typer.echo(f"next: {shlex.join(['mesoface', 'reconstruct', str(out), '--out', 'face'])}")


def calibrated(photos: Path, out: Path, *, overwrite: bool, progress: ProgressCallback) -> Path:
    """Calibrate ``photos`` into the folder beside ``out`` that `mesoface reconstruct --calibrate` names.

    Returns:
        the capture's folder.

    Raises:
        MesofaceError: the photos have cameras already, or no reliable ones can be found.
    """
    from mesoface.calibration.calibrate import calibrate_folder
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
    _print_summary(calibration, Console(stderr=True, highlight=False, soft_wrap=True))
    return capture


def _print_summary(calibration: Calibration, console: Console) -> None:
    """The photos as a table, the verdict and its reasons."""
    from mesoface.inspection.inspect import print_remarks
    from mesoface.report.calibrate_page import COLUMNS, table_rows

    solution, verdict = calibration.solution, calibration.verdict
    table = Table(*COLUMNS, header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in table_rows(calibration):
        table.add_row(*row)
    console.print(table)
    result = (
        f"{len(solution.placed)} of {len(calibration.photos)} photos placed by {solution.method}, "
        f"{solution.points} points, error {solution.error:.2f} px, angle {solution.angle:.0f}°; "
        f"scale from {calibration.scale.source} ± {100 * calibration.scale.relative_uncertainty:.0f} %"
    )
    console.print(Text.assemble((f"{verdict.level}  ", f"bold {_COLOURS[verdict.level]}"), result))
    failed = [f"{method} failed: {why}" for method, why in calibration.tried.items()]
    print_remarks((*failed, *calibration.notes), verdict.problems, console)
