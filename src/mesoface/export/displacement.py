"""Displacement maps in the base mesh's UVs: EXR in mm, 16-bit PNG with its scale beside it, FaceScape's."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.export.source import ExportSource
from mesoface.files.atomic import atomic_file
from mesoface.files.maps import DPMAP_SIZE, FULL_SCALE_MM, MIDDLE, encode_dpmap, write_exr, write_png

_FULL = 65535
_ALONG = "along the smoothed normals of base.obj, positive outward"


def export_exr(source: ExportSource, folder: Path) -> list[str]:
    """Write ``displacement.exr``: millimetres, finite everywhere, 0 where nothing is displaced.

    A result's own ``displacement.exr`` has NaN where nothing was measured, which DCC tools cannot use;
    here the displacement fades out over 8 mm.

    Raises:
        MesofaceError: nothing was measured, or the file cannot be written.
    """
    detail = source.required_detail
    write_exr(folder / "displacement.exr", detail.displacement, comment=f"millimetres {_ALONG}")
    low, high = detail.displacement.min(), detail.displacement.max()
    return [
        f"displacement.exr: {detail.size}², {low:.2f} to {high:.2f} mm, 32-bit; scale 1, midlevel 0, in mm"
    ]


def export_png(source: ExportSource, folder: Path) -> list[str]:
    """Write ``displacement.png``, 16 bits, and ``displacement.json``, what its numbers mean.

    Raises:
        MesofaceError: nothing was measured, or a file cannot be written.
    """
    displacement = source.required_detail.displacement
    scale = full_scale(displacement)
    write_png(folder / "displacement.png", encode_displacement(displacement, scale))
    about = {
        "file": "displacement.png",
        "unit": "mm",
        "scale": scale,
        "midlevel": MIDDLE / _FULL,
        "formula": "displacement in mm = (value / 65535 - midlevel) * scale",
        "direction": _ALONG,
    }
    with atomic_file(folder / "displacement.json") as temporary:
        temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    step = 1000 * scale / _FULL
    return [f"displacement.png: scale {scale:g} mm, midlevel {MIDDLE / _FULL:.6f}, steps of {step:.2f} µm"]


def full_scale(displacement: NDArray[np.float32]) -> float:
    """Millimetres between black and white, enough for every displacement: a round number, at least 1."""
    reach = float(np.abs(displacement).max(initial=0)) * _FULL / (_FULL - MIDDLE)
    return float(max(1, np.ceil(2 * reach * 10) / 10))


def encode_displacement(displacement: NDArray[np.float32], scale: float) -> NDArray[np.uint16]:
    """(H, W) mm → 16 bits, :data:`MIDDLE` for 0 and ``scale`` mm from black to white; clipped to that."""
    values = np.rint(displacement.astype(np.float64) / scale * _FULL) + MIDDLE
    return np.clip(values, 0, _FULL).astype(np.uint16)


def export_dpmap(source: ExportSource, folder: Path) -> list[str]:
    """Write ``dpmap.png``, 4096², in the base mesh's UVs; values beyond ±0.914 mm are clipped and counted.

    FaceScape looks v up in row ``H - int(v · H)``, one below the texel of v: rows are written one lower to
    match its formula.

    Raises:
        MesofaceError: nothing was measured, or the file cannot be written.
    """
    displacement = source.required_detail.displacement
    enlarged = cv2.resize(displacement, (DPMAP_SIZE, DPMAP_SIZE), interpolation=cv2.INTER_LINEAR)
    lowered = np.concatenate([enlarged[:1], enlarged[:-1]])
    write_png(folder / "dpmap.png", encode_dpmap(lowered))
    clipped = float((np.abs(displacement) > FULL_SCALE_MM).mean() / (displacement != 0).mean())
    about = f"{DPMAP_SIZE}², ±{FULL_SCALE_MM} mm; {100 * clipped:.1f} % of the displaced texels clipped"
    return [f"dpmap.png: {about}"]
