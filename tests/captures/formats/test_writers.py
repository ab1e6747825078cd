"""Every writer's files read back by the format's own reader; what a format cannot say is refused."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats import FORMATS
from mesoface.captures.formats.lenses import BrownLens, ColmapLens
from mesoface.captures.formats.writers import WRITERS
from mesoface.captures.formats.writers.terms import Unsupported
from mesoface.geometry.lens import OpenCVLens

POINTS = np.random.default_rng(0).normal(0, 40, (20, 3))
BROWN = OpenCVLens((-0.08, 0.05, 0.0005, -0.0004, 0.01))
RATIONAL = OpenCVLens((-0.08, 0.05, 0.0005, -0.0004, 0.01, 0.001, 0.002, 0.003))
PRISM = OpenCVLens((-0.08, 0.05, 0.0005, -0.0004, 0.01, 0, 0, 0, 0.001, 0, 0, 0))
BROWN4 = BrownLens((-0.08, 0.05, 0.01, -0.02, 0.0005, -0.0004))
FISHEYE = ColmapLens("OPENCV_FISHEYE", (0.05, 0.01, -0.004, 0.001))
FOV = ColmapLens("FOV", (0.4,))
SAYABLE = {
    "plain": (None, BROWN, RATIONAL, PRISM, BROWN4, FISHEYE, FOV),
    "facescape": (None, BROWN),
    "colmap": (None, BROWN, RATIONAL, FISHEYE, FOV),
    "nerfstudio": (None, BROWN, FISHEYE),
    "metashape": (None, BROWN, BROWN4, FISHEYE),
    "realitycapture": (None, BROWN, BROWN4),
    "openmvg": (None, BROWN, FISHEYE),
    "meshroom": (None, BROWN, FISHEYE),
    "opencv": (None, BROWN, RATIONAL, PRISM, FISHEYE),
}
ALL = (None, BROWN, RATIONAL, PRISM, BROWN4, FISHEYE, FOV)
PAIRS = [(name, lens) for name in WRITERS for lens in ALL]


def place(rig, folder, name, *, lens=BROWN, K=None, mask=False) -> list[ViewSource]:
    """The rig's photos where the writer wants them, as views with ``lens``."""
    writer, views = WRITERS[name], []
    for i, (photo, camera) in enumerate(zip(rig.photos, rig.cameras, strict=True)):
        path = folder / writer.PHOTO.format(index=i, stem=f"cam{i}", suffix=".png")
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(photo).save(path)
        mask_path = None
        if mask and writer.MASK is not None:
            mask_path = folder / writer.MASK.format(index=i, stem=f"cam{i}", photo=path.name)
            mask_path.parent.mkdir(exist_ok=True)
            Image.fromarray(rig.masks[i]).save(mask_path)
        camera = replace(camera, lens=lens, K=camera.K if K is None else K)
        views.append(ViewSource(f"cam{i}", path, camera, mask_path))
    return views


def test_every_reader_has_a_writer():
    assert set(WRITERS) == set(FORMATS) == set(SAYABLE)


@pytest.mark.parametrize(("name", "lens"), PAIRS, ids=str)
def test_what_is_written_reads_back_or_is_refused(name, lens, rig, tmp_path):
    views = place(rig, tmp_path, name, lens=lens, mask=True)
    if lens not in SAYABLE[name]:
        with pytest.raises(Unsupported, match="view cam0: ") as error:
            WRITERS[name].write(tmp_path, views, None)
        assert error.value.undistort
        return
    WRITERS[name].write(tmp_path, views, None)
    source = FORMATS[name].read(tmp_path)
    assert source.mm_per_unit is None
    assert [view.image_path for view in source.views] == [view.image_path for view in views]
    assert [view.mask_path for view in source.views] == [view.mask_path for view in views]
    for view, expected in zip(source.views, views, strict=True):
        assert (view.camera.width, view.camera.height) == (expected.camera.width, expected.camera.height)
        np.testing.assert_allclose(
            view.camera.project(POINTS)[0], expected.camera.project(POINTS)[0], atol=1e-6
        )
        np.testing.assert_allclose(view.camera.center, expected.camera.center, atol=1e-8)


@pytest.mark.parametrize("name", WRITERS)
def test_the_unit_comes_back_where_it_can_be_stated(name, rig, tmp_path):
    views = place(rig, tmp_path, name)
    WRITERS[name].write(tmp_path, views, 10.0)
    source = FORMATS[name].read(tmp_path)
    if not WRITERS[name].STATES_UNIT:
        assert source.mm_per_unit is None
        return
    center = source.views[1].camera.center * source.mm_per_unit  # metres in one, units of 10 mm in another
    np.testing.assert_allclose(center, views[1].camera.center * 10.0, rtol=1e-12)


@pytest.mark.parametrize("name", WRITERS)
def test_skew_and_aspect_are_kept_or_refused(name, rig, tmp_path):
    K = rig.cameras[0].K
    for change, sayable in (
        ({(0, 0): 1.02 * K[0, 0]}, name != "openmvg"),
        ({(0, 1): 0.5}, name in ("plain", "facescape", "metashape", "opencv")),
    ):
        changed = K.copy()
        for at, value in change.items():
            changed[at] = value
        views = place(rig, tmp_path, name, lens=None, K=changed)
        if sayable:
            WRITERS[name].write(tmp_path, views, None)
            np.testing.assert_allclose(FORMATS[name].read(tmp_path).views[0].camera.K, changed, atol=1e-9)
        else:
            with pytest.raises(Unsupported, match="pixels are") as error:
                WRITERS[name].write(tmp_path, views, None)
            assert not error.value.undistort
