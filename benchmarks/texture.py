"""How well textures predict photos that they were not made from, against the paper's blend; seams; seconds.

    python benchmarks/texture.py                          # the sample, the head scan, the phone photos
    python benchmarks/texture.py --captures phone --pictures look

Every photo is left out once. The surface is measured from all of them; only the colour is not.
Figures also go to benchmarks/results/texture-<capture>.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from bench import RESULTS
from plain_blend import plan_plain_blend
from prediction import find_face, predict, psnr
from rich.console import Console
from rich.table import Table
from rows import LPS, PHONE, SAMPLE
from seams import Seams, measure_seams
from tables import make_console

from mesoface.captures.capture import View
from mesoface.captures.load import load_capture
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.files.maps import write_png
from mesoface.geometry.mesh import Mesh
from mesoface.pipeline import reconstruct
from mesoface.results.face import Face
from mesoface.running.progress import ProgressCallback, progress_bars
from mesoface.texture.bake import paint
from mesoface.texture.plan import TexturePlan, plan_texture
from mesoface.texture.weights import Skin, find_skin

Plan = Callable[[Skin, Sequence[View], Mesh], TexturePlan]

# Folder and millimetres per unit; None: the eyes tell.
_CAPTURES = {"sample": (SAMPLE, 1.0), "lps": (LPS, 1.0), "phone": (PHONE, None)}

METHODS: dict[str, Plan] = {
    "the paper's blend": lambda skin, views, occluder: plan_plain_blend(skin, views),
    "the same, visible photos only": lambda skin, views, occluder: plan_plain_blend(
        skin, views, visible=True, occluder=occluder
    ),
    "ours": plan_texture,
}


@dataclass(frozen=True)
class Measured:
    """One method on one capture.

    Args:
        capture: which.
        method: of ``METHODS``.
        psnr: {view: dB when it was left out}.
        seams: of the texture from all photos.
        seconds: for that texture, with two threads.
    """

    capture: str
    method: str
    psnr: dict[str, float]
    seams: Seams
    seconds: float


def main() -> None:
    """Measure, print the table, keep the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--captures", default=",".join(_CAPTURES), help=f"which, of: {', '.join(_CAPTURES)}")
    parser.add_argument("--size", type=int, default=2048, help="side of the texture, texels")
    parser.add_argument("--views", type=int, default=10, help="photos of a capture")
    parser.add_argument("--pictures", type=Path, help="folder for the textures")
    arguments = parser.parse_args()
    names = [name.strip() for name in arguments.captures.split(",")]
    if unknown := [name for name in names if name not in _CAPTURES]:
        parser.error(f"no capture {', '.join(unknown)}; there are: {', '.join(_CAPTURES)}")
    console = make_console()
    results = []
    for name in names:
        folder, scale = _CAPTURES[name]
        if not folder.exists():
            console.print(f"{name}: skipped, needs {folder} (set MESOFACE_SHARED)")
            continue
        with progress_bars() as progress:
            settings = Settings(scale=scale, views=arguments.views, texture_size=0)
            face = reconstruct(load_capture(folder, progress=progress), settings, progress=progress)
            measured = measure(name, face, arguments.size, arguments.pictures, progress)
        _keep(name, measured)
        results += measured
    _print(console, results)


def measure(
    name: str, face: Face, size: int, pictures: Path | None, progress: ProgressCallback
) -> list[Measured]:
    """Each method on a reconstructed face."""
    assert face.fine is not None
    skin, views = find_skin(face.fine, face.base), face.capture.views
    occluder = face.fit.mesh.select_faces(~face.fit.model.topology.facial)
    texel_mm = skin.space.texel_mm * skin.space.size / size
    quality: dict[str, dict[str, float]] = {method: {} for method in METHODS}
    for v, view in enumerate(views):
        progress("Photos left out", v, len(views))
        shown = find_face(face.fine.mesh, view, occluder)
        for method, plan in METHODS.items():
            color = paint(plan(skin, [*views[:v], *views[v + 1 :]], occluder), size)
            quality[method][view.name] = psnr(shown, predict(shown, color, texel_mm))
    progress("Photos left out", len(views), len(views))
    results = []
    for number, (method, make_plan) in enumerate(METHODS.items()):
        start = time.perf_counter()
        plan = make_plan(find_skin(face.fine, face.base), views, occluder)
        color = paint(plan, size)
        seconds = time.perf_counter() - start
        results.append(Measured(name, method, quality[method], measure_seams(plan, color), seconds))
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            write_png(pictures / f"{name}-{number}.png", color)
    return results


def _keep(name: str, results: Sequence[Measured]) -> None:
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps([asdict(result) for result in results], indent=2)
    (RESULTS / f"texture-{name}.json").write_text(text + "\n", encoding="utf-8")


def _print(console: Console, results: Sequence[Measured]) -> None:
    table = Table(title="A photo left out, predicted by the texture of the others", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("texture")
    for column in ("PSNR, dB", "worst", "step across", "in one photo", "inside, alike", "inside", "seconds"):
        table.add_column(column, justify="right")
    for result in results:
        values, seams = list(result.psnr.values()), result.seams
        table.add_row(
            result.capture,
            result.method,
            f"{np.mean(values):.2f}",
            f"{min(values):.2f}",
            *(f"{step:.2f}" for step in (seams.across, seams.photo, seams.matched, seams.inside)),
            f"{result.seconds:.1f}",
        )
    console.print(table)


if __name__ == "__main__":
    try:
        main()
    except MesofaceError as error:
        raise SystemExit(str(error)) from None
