"""``mesoface view``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from mesoface.cli.options import ResultArgument
from mesoface.errors import MesofaceError


def command(
    run: ResultArgument,
    capture: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the photos are now. Left out: where they were when the result was made. Without "
            "photos, the cameras are shown as frustums alone.",
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="MESH",
            help="The true surface, mm: the error of every surface is measured against it and shown. Left "
            "out: the error in the result, if it was made with --truth.",
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            metavar="N", min=1024, max=65535, help="Port of the page; the next free one if it is in use."
        ),
    ] = 8080,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the default browser.")
    ] = True,
) -> None:
    """Show a reconstructed face in the browser: turn it, compare surfaces, look through its cameras.

    Base, fine and detailed mesh; clay, normals, texture, confidence, error; every camera as a frustum with
    its photo: click one to look through it, and fade its photo over the face. The page is served to this
    machine only and makes no other network requests. Ctrl-C ends it. Needs `pip install "mesoface[view]"`.

    Example: `mesoface view face/`

    Against a true surface: `mesoface view face/ --truth scan.ply`
    """
    try:
        from mesoface.viewer.server import Viewer
    except ModuleNotFoundError as error:
        raise MesofaceError(
            f"the viewer needs {error.name}, which is not installed",
            remedy='pip install "mesoface[view]"; report.html shows the face without it',
        ) from error
    from mesoface.running.progress import progress_bars
    from mesoface.viewer.result import read_result

    with progress_bars() as progress:
        result = read_result(run, capture=capture, truth=truth, progress=progress)
    viewer = Viewer(result, port=port)
    address = f"http://localhost:{viewer.port}"
    for note in result.notes:
        typer.echo(note)
    typer.echo(f"{address}  (Ctrl-C ends it)")
    if open_browser:
        webbrowser.open(address)
    try:
        viewer.wait()
    except KeyboardInterrupt:
        viewer.close()
