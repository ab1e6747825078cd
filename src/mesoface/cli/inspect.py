"""``mesoface inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mesoface.cli.options import CaptureArgument, FormatOption


def command(
    capture: CaptureArgument,
    format: FormatOption = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a page of the photos with their landmarks."),
    ] = None,
) -> None:
    """Check a capture: list the views, rate them, report what is wrong and how to mend it.

    For each view: size, focal length, distance, whether a face was found, how well its landmarks agree with
    the other views, sharpness, exposure. Nothing is reconstructed. Run this first on a new rig.

    Example: `mesoface inspect shoot/ --html shoot.html`
    """
    from mesoface.captures.load import load_capture
    from mesoface.inspection.inspect import inspect, print_inspection
    from mesoface.landmarks import MediapipeDetector
    from mesoface.running.progress import progress_bars

    with progress_bars() as progress:
        loaded = load_capture(capture, format=format, progress=progress)
        inspection = inspect(loaded, detector=MediapipeDetector(progress))
    print_inspection(inspection, Console())
    if html is not None:
        from mesoface.files.atomic import atomic_file
        from mesoface.report.inspect_page import inspect_page

        with atomic_file(html) as temporary:
            temporary.write_text(inspect_page(inspection, loaded), encoding="utf-8")
        typer.echo(f"page: {html}")
