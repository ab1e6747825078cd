"""``mesoface view``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mesoface.errors import MesofaceError


def command(
    run: Annotated[
        Path, typer.Argument(help="Folder that `mesoface reconstruct` wrote.", show_default=False)
    ],
    capture: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the photos are now. Left out: where they were when the result was made; without them "
            "the cameras are shown bare.",
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="MESH",
            help="The true surface, mm: every surface is measured against it and shows its error. Left out: "
            "the error that the run itself measured, where it knew the truth.",
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            metavar="N", min=1024, max=65535, help="Where the page is; a following port where it is taken."
        ),
    ] = 8080,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the default browser.")
    ] = True,
) -> None:
    """A reconstructed face in the browser, to turn, to compare, to look at through its own cameras.

    Base, fine (and detailed) mesh; clay, normals, texture, confidence, error; every camera as a frustum with
    its photo: click one to look through it, and fade its photo over the face. The page is served on this
    machine only and asks for nothing from outside. Ctrl-C ends it. Needs `pip install "mesoface[view]"`.

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
    console = Console(highlight=False, soft_wrap=True)
    for note in result.notes:
        console.print(note, markup=False)
    console.print(f"{address}  (Ctrl-C ends it)", markup=False)
    if open_browser:
        webbrowser.open(address)
    try:
        viewer.wait()
    except KeyboardInterrupt:
        viewer.close()
