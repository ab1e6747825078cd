"""A small FaceScape: one capture made of the sample's photos, others that are broken, each in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mesoface.captures.formats import facescape
from mesoface.captures.load import read_full_size
from mesoface.errors import IncompleteError
from mesoface.files.meshes import read_mesh, write_ply
from mesoface.lab.facescape.generate import write_published
from mesoface.lab.facescape.layout import (
    SCALES,
    SPLITS,
    Alignment,
    CaptureId,
    PreparedFolder,
    write_scales,
    write_splits,
)
from mesoface.lab.facescape.prepare import prepare
from mesoface.lab.facescape.settings import PrepareSettings

GOOD, NO_JSON, NO_SCALE, NO_PHOTOS = (CaptureId(*id) for id in ((1, 1), (2, 1), (2, 2), (3, 1)))
TURN = Rotation.from_euler("xyz", [20, -150, 70], degrees=True).as_matrix()
WORLD = Alignment(37.5, TURN, np.array([5.0, -80.0, 9.0]))
"""From the good capture's own world to the sample's millimetres."""
SETTINGS = PrepareSettings(views=5, longest_side=480)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, sample_capture: Path) -> Path:
    """FaceScape as it is unpacked, with ``Rt_scale_dict.json`` and ``id.json``."""
    root = tmp_path_factory.mktemp("facescape") / "published"
    views = facescape.read(sample_capture).views
    photos = [np.asarray(read_full_size(view), np.uint8) for view in views]
    cameras = [
        view.camera.moved(WORLD.R.T, -WORLD.R.T @ WORLD.t).scaled_world(1 / WORLD.mm_per_unit)
        for view in views
    ]
    good = root / "1" / "1_neutral"
    good.mkdir(parents=True)
    write_published(good, photos, cameras)
    scan = read_mesh(sample_capture / "gt.ply")
    scan = scan.with_vertices((scan.vertices - WORLD.t) @ WORLD.R / WORLD.mm_per_unit)
    write_ply(good.with_suffix(".ply"), scan)
    for name in ("2/1_neutral", "2/2_smile", "3/1_neutral"):
        (root / name).mkdir(parents=True)
    (root / "2" / "1_neutral" / "params.json").write_text('{"0_K": ')
    (root / "2" / "2_smile" / "params.json").write_text("{}")
    (root / "3" / "1_neutral" / "params.json").write_text((good / "params.json").read_text())
    write_scales(root / SCALES, dict.fromkeys((GOOD, NO_JSON, NO_PHOTOS), WORLD))
    write_splits(root / SPLITS, {"eval": [GOOD], "train": [NO_JSON, NO_SCALE], "validation": [NO_PHOTOS]})
    return root


@dataclass(frozen=True)
class Prepared:
    """A prepared folder, and how the preparation ended."""

    folder: PreparedFolder
    error: IncompleteError


@pytest.fixture(scope="session")
def prepared(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """:func:`published`, prepared once."""
    out = tmp_path_factory.mktemp("prepared") / "prepared"
    with pytest.raises(IncompleteError) as caught:
        prepare(published, out, SETTINGS)
    return Prepared(PreparedFolder(out), caught.value)
