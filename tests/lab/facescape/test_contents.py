"""Photos scaled and undistorted, in their own frame; position, normal and displacement maps."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mesoface.captures.formats import facescape
from mesoface.errors import CaptureError
from mesoface.face_models import load_face_model
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh
from mesoface.lab.facescape.contents import (
    base_maps,
    prepared_photo,
    readable_views,
    write_facial_mask,
    write_maps,
)
from mesoface.lab.facescape.layout import CaptureId, PreparedFolder

BARREL, PINCUSHION = (-0.25, 0.05, 0.001, -0.002, 0.0), (0.8, 0.05, 0.001, -0.002, 0.0)


@pytest.fixture
def views(drawn_rig, tmp_path: Path):
    """``views(lens)`` → the drawn rig's views on disk, and its photos through ideal cameras."""

    def make(lens):
        rig = drawn_rig(3, lens=lens, size=(240, 320))
        facescape.write_photos(tmp_path, rig.photos, rig.cameras, quality=98)
        return facescape.read(tmp_path).views, drawn_rig(3, size=(240, 320)).photos

    return make


@pytest.mark.parametrize("lens", [BARREL, PINCUSHION])
def test_it_is_what_an_ideal_camera_sees(views, lens):
    sources, ideal = views(lens)
    photo, camera = prepared_photo(sources[0], 320)
    assert camera.lens is None
    np.testing.assert_array_equal(camera.K, sources[0].camera.K)
    inside = (slice(100, -100), slice(60, -60))  # on the ball, whose outline is not smooth
    difference = np.abs(photo[inside].astype(int) - ideal[0][inside])
    assert np.median(difference) <= 2
    assert np.percentile(difference, 99) <= 14


def test_what_no_pixel_saw_is_black(views):
    sources, _ = views(PINCUSHION)
    photo, _ = prepared_photo(sources[0], 320)
    assert (photo[0, 0] == 0).all()
    assert (photo[160, 120] > 0).all()


@pytest.mark.parametrize(("side", "size"), [(160, (120, 160)), (640, (480, 640))])
def test_points_go_with_the_pixels(views, side, size):
    sources, _ = views(None)
    photo, camera = prepared_photo(sources[0], side)
    assert (photo.shape[1], photo.shape[0]) == (camera.width, camera.height) == size
    points = np.random.default_rng(0).normal(0, 40, (20, 3))
    before, after = (c.project(points)[0] for c in (sources[0].camera, camera))
    np.testing.assert_allclose(after, (before + 0.5) * side / 320 - 0.5, atol=1e-9)


def test_a_photo_that_cannot_be_read_is_left_out_and_said(views):
    sources, _ = views(None)
    sources[1].image_path.unlink()
    smaller = replace(sources[2], camera=sources[2].camera.scaled(0.5))
    with pytest.raises(CaptureError, match="calibrated at"):
        prepared_photo(smaller, 320)
    good, notes = readable_views((*sources[:2], smaller), 160)
    assert [view.name for view in good] == ["0"]
    assert [note.split(":")[0] for note in notes] == ["view 1 is left out", "view 2 is left out"]


ID = CaptureId(3, 14)
RADIUS = 80.0
MM_PER_UNIT = 40.0


def cap(radius: float, bump: float = 0.0, n: int = 40) -> Mesh:
    """The +z side of a ball, its UVs the square around it; ``bump`` is added to the radius where x > 0."""
    u, v = (grid.ravel() for grid in np.meshgrid(*[np.linspace(0.02, 0.98, n)] * 2))
    direction = np.column_stack([1.2 * (u - 0.5), 1.2 * (v - 0.5), np.ones(len(u))])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    vertices = direction * (radius + bump * (direction[:, :1] > 0))
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([corner[:, None] + cell for cell in ([0, 1, n], [1, n + 1, n])])
    return Mesh(vertices, faces, np.column_stack([u, v]))


def cameras() -> list[Camera]:
    K = np.array([[400.0, 0, 100], [0, 400, 100], [0, 0, 1]])
    return [Camera(K, *look_at((x, 0, 500), (0, 0, 0)), 200, 200) for x in (-150.0, 150.0)]


def test_displacement_leads_from_the_base_to_the_scan():
    base, scan = cap(RADIUS), cap(RADIUS, bump=1.5, n=90)
    maps = base_maps(base, np.ones(len(base.faces), bool), scan, cameras(), MM_PER_UNIT)
    assert maps.position.shape == maps.normal.shape == (256, 256, 3)
    assert maps.displacement is not None
    known = maps.displacement != 0
    assert maps.known > 0.95
    there = (maps.position + maps.normal * maps.displacement[..., None])[known] * MM_PER_UNIT
    radius = np.linalg.norm(there, axis=1)
    right = there[:, 0] > 3
    assert np.median(np.abs(radius[right] - RADIUS - 1.5)) < 0.1
    left = there[:, 0] < -3
    assert np.median(np.abs(radius[left] - RADIUS)) < 0.1


def test_nothing_is_written_outside_of_the_mask_and_what_is_unknown_is_zero():
    base = cap(RADIUS)
    facial = base.vertices[base.faces][:, :, 0].mean(1) > 0
    away = cap(RADIUS + 30, n=90)  # farther than the volume reaches
    maps = base_maps(base, facial, away, cameras(), MM_PER_UNIT)
    assert maps.displacement is not None
    assert (maps.displacement == 0).all()
    assert maps.known == 0
    outside = ~(np.abs(maps.normal).sum(-1) > 0)
    assert outside[:, :120].all()
    assert not outside[20:-20, 140:-20].any()
    assert (maps.position[outside] == 0).all()


def test_maps_without_a_scan_have_no_displacement(tmp_path: Path):
    base = cap(RADIUS)
    maps = base_maps(base, np.ones(len(base.faces), bool), None, cameras(), MM_PER_UNIT)
    assert maps.displacement is None
    folder = PreparedFolder(tmp_path)
    write_maps(folder, "eval", ID, maps)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.npy"))
    assert files == ["maps/eval/norm_map/norm_map_003_14.npy", "maps/eval/pos_map/pos_map_003_14.npy"]
    np.testing.assert_array_equal(np.load(folder.map("pos_map", "eval", ID)), maps.position)


def test_the_facial_mask_lies_in_the_published_window(tmp_path: Path):
    path = tmp_path / "facial_mask.png"
    write_facial_mask(path, load_face_model("generic"))
    whole = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert whole.shape == (512, 512)
    assert set(np.unique(whole)) == {0, 255}
    window = whole[72:328, 128:384] > 0
    assert window.mean() > 0.5
    assert (whole > 0).sum() == window.sum()
