"""Other programs on the same photos and cameras, each in a process of its own.

A peer gets the capture as a COLMAP model of undistorted photos, as `mesoface convert` writes it, and makes a
mesh in the same world. Nothing of a peer is part of this project.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pycolmap
from rows import SHARED

SGBM = SHARED / "peers" / "sgbm_fusion.py"
NAME = "sgbm"
"""OpenCV's SGBM on neighbouring pairs, then COLMAP's fusion and Poisson reconstruction."""
_NEEDS = ("undistort_images", "stereo_fusion", "poisson_meshing")
_LONGEST = 3600.0  # s


@dataclass(frozen=True)
class PeerMesh:
    """What a peer made of a capture.

    Args:
        mesh: the file of its surface, in the capture's world.
        seconds: wall time, conversion of the capture included.
        peak_mb: highest resident memory.
    """

    mesh: Path
    seconds: float
    peak_mb: float


def missing_peer() -> str | None:
    """Why the peer cannot run here, or None."""
    if not SGBM.exists():
        return f"needs {SGBM} (set MESOFACE_SHARED)"
    if lacking := [name for name in _NEEDS if not hasattr(pycolmap, name)]:
        return f"needs a pycolmap with {', '.join(lacking)}"
    return None


def run_peer(command: Path, capture: Path, work: Path) -> PeerMesh:
    """Run SGBM and COLMAP's fusion on a capture.

    Args:
        command: `mesoface`, to convert the capture.
        capture: the folder.
        work: an existing folder for intermediate files.

    Raises:
        RuntimeError: a step failed or took longer than an hour; holds what it said last.
    """
    start = time.perf_counter()
    model, out = work / "peer-capture", work / "peer"
    _run([str(command), "convert", str(capture), str(model), "--to", "colmap", "--undistort"])
    said = _run([sys.executable, str(SGBM), str(model), str(out)])
    resources = json.loads(said.strip().splitlines()[-1])
    return PeerMesh(out / "mesh.ply", time.perf_counter() - start, 1024 * resources["peak_GB"])


def _run(words: list[str]) -> str:
    """The standard output of a process."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LONGEST)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{Path(words[-1]).name}: took longer than {_LONGEST:.0f} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode} without a word"]
        raise RuntimeError(lines[-1])
    return done.stdout
