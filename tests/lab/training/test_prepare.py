"""Squares of a UV map for tiles, and tiles from captures: their truth is what the photos show.

Also which captures, which truth, what is kept, what is refused. A true surface is refused where the photos do
not show it; its displacements are compared with those of analytic spheres.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from mesoface.captures.capture import Capture
from mesoface.captures.load import load_capture
from mesoface.errors import IncompleteError, MesofaceError
from mesoface.files.meshes import read_mesh, write_ply
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh
from mesoface.lab.training.prepare import (
    TilesJob,
    _truth_of,
    _with_those_of_finer_levels,
    capture_tiles,
    choose_squares,
    name_captures,
    prepare_tiles,
    write_capture_tiles,
)
from mesoface.lab.training.tile import Tile, read_tiles
from mesoface.lab.training.truth import TrueSurface, TruthError, check_truth
from mesoface.landmarks.types import Landmarks3D
from mesoface.matching.matcher import Level
from mesoface.uvd.space import UVDSpace


def test_rough_places_come_more_often_and_flat_ones_still_come() -> None:
    tilt = np.full((80, 80), 0.02, np.float32)
    tilt[10:30, 40:60] = 0.9
    rough = 0
    for seed in range(300):
        ((row, column),) = choose_squares(tilt, 16, 1, np.random.default_rng(seed))
        assert 0 <= row <= 64
        assert 0 <= column <= 64
        rough += 0 < row < 28 and 28 < column < 58
    assert 0.3 < rough / 300 < 0.9  # 14 % of the squares


def test_most_of_a_square_is_known() -> None:
    tilt = np.full((60, 60), np.nan, np.float32)
    tilt[20:45, 5:30] = 0.1
    for seed in range(100):
        for row, column in choose_squares(tilt, 20, 3, np.random.default_rng(seed)):
            assert np.isfinite(tilt[row : row + 20, column : column + 20]).mean() >= 0.4


def test_squares_of_one_map_lie_side_by_side() -> None:
    tilt = np.full((64, 64), 0.2, np.float32)
    overlaps = []
    for seed in range(60):
        squares = np.array(choose_squares(tilt, 16, 4, np.random.default_rng(seed)))
        apart = np.abs(squares[:, None] - squares[None]).max(-1)[np.triu_indices(4, 1)]
        overlaps.append((apart <= 8).mean())
    assert np.mean(overlaps) < 0.03  # some 7 % by chance


def test_same_chance_same_squares_and_none_where_nothing_is_known() -> None:
    tilt = np.random.default_rng(0).uniform(0, 1, (50, 40)).astype(np.float32)
    twice = [choose_squares(tilt, 16, 5, np.random.default_rng(3)) for _ in range(2)]
    assert twice[0] == twice[1]
    assert len(twice[0]) == 5
    assert choose_squares(np.full((50, 40), np.nan, np.float32), 16, 5, np.random.default_rng(3)) == []
    assert choose_squares(tilt, 40, 1, np.random.default_rng(3))[0][1] == 0


def test_a_square_as_large_as_the_map() -> None:
    assert choose_squares(np.ones((16, 16), np.float32), 16, 1, np.random.default_rng(0)) == [(0, 0)]
    assert choose_squares(np.ones((12, 16), np.float32), 16, 1, np.random.default_rng(0)) == []


PER_LEVEL = {64: 1, 128: 2}


@pytest.fixture(scope="session")
def some_views(sample_capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four views of the sample capture, with its truth."""
    folder = Path(shutil.copytree(sample_capture, tmp_path_factory.mktemp("captures") / "head"))
    params = (folder / "params.json").read_text()
    for view in ("0", "2", "5", "7"):
        params = params.replace(f'"{view}_valid": true', f'"{view}_valid": false')
    (folder / "params.json").write_text(params)
    return folder


@pytest.fixture(scope="session")
def shard(some_views: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tiles") / "head.npz"
    count = write_capture_tiles(TilesJob(some_views, file, some_views / "gt.ply", None, 3, 64, PER_LEVEL))
    assert count == len(read_tiles(file))
    return file


@pytest.fixture(scope="session")
def tiles(shard: Path) -> list[Tile]:
    return read_tiles(shard)


def test_every_pass_of_a_level_has_its_tiles(tiles: list[Tile]) -> None:
    """64² and 128² are passed twice each."""
    assert len(tiles) == 6
    texels = np.array([tile.texel_mm for tile in tiles])
    assert (texels[:2] > 1.5 * texels[2:].max()).all()
    for tile in tiles:
        assert tile.truth.shape == (64, 64)
        assert 2 <= len(tile.images) <= 4
        assert tile.reach_mm / tile.step_mm == pytest.approx(round(tile.reach_mm / tile.step_mm))
    assert len({tile.step_mm for tile in tiles}) == 6


def test_the_finest_level_of_coarse_photos_has_the_tiles_of_those_beyond_them() -> None:
    def passes(*sides: int) -> list[list[Level]]:
        return [[Level(side, 1.0, 0.1, 1.0, 1.0)] for side in sides]

    wanted = {256: 2, 512: 12, 768: 16, 1024: 8}
    assert _with_those_of_finer_levels(wanted, passes(256, 512)) == wanted | {512: 36}
    assert _with_those_of_finer_levels(wanted, passes(256, 512, 768)) == wanted | {768: 24}
    assert _with_those_of_finer_levels(wanted, passes(256, 512, 768, 1024)) == wanted
    assert _with_those_of_finer_levels({64: 1, 128: 2}, passes(64, 128)) == {64: 1, 128: 2}
    assert _with_those_of_finer_levels(wanted, passes(256)) == wanted, "a level that only finds the face"
    assert _with_those_of_finer_levels(wanted, []) == wanted


def test_truth_is_known_on_most_of_a_tile_and_mostly_in_reach(tiles: list[Tile]) -> None:
    for tile in tiles:
        known = np.isfinite(tile.truth)
        assert known.mean() > 0.35
        assert np.nanmax(np.abs(tile.truth)) <= 1.5 * tile.reach_mm + 1e-3
        assert np.mean(np.abs(tile.truth[known]) < tile.reach_mm) > 0.9
        assert np.nanstd(tile.truth) > 0.01


def disagreement(tile: Tile, displacement: np.ndarray) -> float:
    """How differently the photos look at the tile's surface at ``displacement``; slow shading left out."""
    points = tile.position + tile.normal * displacement[..., None]
    known = np.isfinite(displacement)
    looks = []
    for image, P, weight in zip(tile.images, tile.projections, tile.visibility, strict=True):
        x = points @ P[:, :3].T + P[:, 3]
        at = np.nan_to_num(x[..., :2] / x[..., 2:]).astype(np.float32)
        grey = cv2.remap(image.astype(np.float32).mean(-1), at, None, cv2.INTER_LINEAR)
        detail = grey - cv2.GaussianBlur(grey, (0, 0), 3)
        looks.append(np.where(known & (weight > 0.5), detail, np.nan))
    both = np.isfinite(looks).sum(0) >= 2
    return float(np.nanmean(np.nanvar(np.array(looks)[:, both], axis=0)))


def test_photos_agree_on_the_truth_and_not_beside_it(tiles: list[Tile]) -> None:
    at_truth, beside = 0.0, np.zeros(2)
    for tile in tiles:
        at_truth += disagreement(tile, tile.truth)
        beside += [disagreement(tile, tile.truth + offset * tile.texel_mm) for offset in (-1, 1)]
    assert (beside > 1.3 * at_truth).all()


@pytest.mark.slow
def test_same_chance_same_tiles_and_all_levels_have_some(some_views: Path) -> None:
    capture, truth = load_capture(some_views).in_millimetres(1.0), read_mesh(some_views / "gt.ply")
    once, again = (capture_tiles(capture, truth, np.random.default_rng(4)) for _ in range(2))
    assert len(once) == len(again) > 25
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a.truth, b.truth)
        np.testing.assert_array_equal(a.images[0], b.images[0])
    assert min(tile.texel_mm for tile in once) < 0.4
    assert max(tile.texel_mm for tile in once) > 1.5


@pytest.fixture
def captures(sample_capture: Path, tmp_path: Path) -> Path:
    """Two captures in a folder; the truth of the second is 60 mm too high."""
    folder = tmp_path / "captures"
    for name in ("good", "moved"):
        shutil.copytree(sample_capture, folder / name)
    truth = read_mesh(folder / "moved" / "gt.ply")
    write_ply(folder / "moved" / "gt.ply", truth.with_vertices(truth.vertices + [0, 60.0, 0]))
    return folder


def test_captures_are_found_at_any_depth_and_named_after_their_folders(captures: Path) -> None:
    deep = captures / "rig" / "1_smile"
    shutil.copytree(captures / "good", deep)
    found = name_captures([captures])
    assert list(found) == ["captures-good", "captures-moved", "captures-rig-1_smile"]
    assert found["captures-rig-1_smile"] == deep
    assert name_captures([deep, deep]) == {"1_smile": deep}
    with pytest.raises(MesofaceError, match=r"params\.json"):
        name_captures([captures, captures / "good" / "nothing"])
    other = captures / "other" / "1_smile"
    shutil.copytree(deep, other)
    with pytest.raises(MesofaceError, match="two captures would be named 1_smile"):
        name_captures([deep, other])


def test_a_list_names_captures_and_they_are_named_after_it(captures: Path, tmp_path: Path) -> None:
    (captures / "001").mkdir()
    shutil.move(captures / "good", captures / "001" / "01")
    (tmp_path / "train.txt").write_text("captures/001/01\ncaptures/moved\n")
    found = name_captures([tmp_path / "train.txt"])
    assert found == {
        "train-captures-001-01": captures / "001" / "01",
        "train-captures-moved": captures / "moved",
    }
    (tmp_path / "one.txt").write_text("captures/001/01\n")
    assert list(name_captures([tmp_path / "one.txt"])) == ["one-captures-001-01"]
    (tmp_path / "bad.txt").write_text("captures/001\n")
    with pytest.raises(MesofaceError, match=r"001 is no capture .*params\.json"):
        name_captures([tmp_path / "bad.txt"])


def test_a_refused_truth_skips_its_capture_and_keeps_the_others(captures: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiles"
    with pytest.raises(MesofaceError, match=r"1 of 1 captures failed: moved .*true surface") as none_left:
        prepare_tiles([captures / "moved"], out)
    assert none_left.value.exit_code == 2
    assert [path.name for path in out.iterdir()] == ["tiles.json"]
    done = out / "captures-good.npz"
    done.write_bytes(b"made before")
    with pytest.raises(IncompleteError, match="1 of 2 captures failed: moved") as error:
        prepare_tiles([captures], out)
    assert error.value.exit_code == 3
    assert done.read_bytes() == b"made before"
    assert sorted(path.name for path in out.iterdir()) == ["captures-good.npz", "tiles.json"]


def test_nothing_is_done_twice(captures: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiles"
    shutil.rmtree(captures / "moved")
    with pytest.raises(MesofaceError, match="nowhere"):
        prepare_tiles([captures / "nowhere"], out)
    assert not out.exists()
    told: list[tuple[int, int]] = []
    out.mkdir()
    (out / "captures-good.npz").write_bytes(b"made before")
    with pytest.raises(MesofaceError, match="holds other things"):
        prepare_tiles([captures], out)
    shutil.rmtree(out)
    with pytest.raises(MesofaceError):  # the folder is made and its recipe written before the capture fails
        prepare_tiles([captures], out, truth_name="other.ply")
    (out / "captures-good.npz").write_bytes(b"made before")
    prepare_tiles([captures], out, progress=lambda label, done, total: told.append((done, total)))
    assert told == [(1, 1)]
    with pytest.raises(MesofaceError, match="size was 64, now 32"):
        prepare_tiles([captures], out, size=32)
    with pytest.raises(MesofaceError, match="seed was 0, now 1"):
        prepare_tiles([captures], out, seed=1)


def job(folder: Path, truth: Path, scale: float | None = None) -> TilesJob:
    return TilesJob(folder, folder.parent / "shard.npz", truth, scale, 0, 64, {64: 1})


def test_the_scale_is_stated_or_asked_for(captures: Path) -> None:
    good = captures / "good"
    with pytest.raises(MesofaceError, match="mm across"):
        write_capture_tiles(job(good, good / "gt.ply", scale=0.01))
    said = json.loads((good / "truth.json").read_text())
    for broken in ({}, {**said, "mm_per_unit": 0}, {**said, "mm_per_unit": "1"}):
        (good / "truth.json").write_text(json.dumps(broken))
        with pytest.raises(MesofaceError, match="--scale"):
            write_capture_tiles(job(good, good / "gt.ply"))
    (good / "truth.json").unlink()
    with pytest.raises(MesofaceError, match="--scale"):
        write_capture_tiles(job(good, good / "gt.ply"))


def test_a_truth_that_cannot_be_read_is_named(captures: Path) -> None:
    good = captures / "good"
    with pytest.raises(MesofaceError, match=r"nothing\.ply"):
        write_capture_tiles(job(good, good / "nothing.ply"))
    (good / "gt.ply").write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(MesofaceError, match=r"gt\.ply"):
        write_capture_tiles(job(good, good / "gt.ply"))
    assert not (captures / "shard.npz").exists()


def test_truth_beside_the_capture(captures: Path, tmp_path: Path) -> None:
    """FaceScape keeps the mesh of an expression beside its folder."""
    good = captures / "good"
    assert _truth_of(good, None) == good / "gt.ply"
    shutil.move(good / "gt.ply", captures / "good.ply")
    assert _truth_of(good, None) == captures / "good.ply"
    assert _truth_of(good, "scan.ply") == good / "scan.ply"
    assert _truth_of(good, "../../etc/passwd") == good / "passwd"  # never out of the capture


@pytest.fixture(scope="module")
def capture(sample_capture: Path) -> Capture:
    return load_capture(sample_capture).select([1, 3, 4, 6])


@pytest.fixture(scope="module")
def truth(sample_capture: Path) -> Mesh:
    return read_mesh(sample_capture / "gt.ply")


def landmarks(points: np.ndarray) -> Landmarks3D:
    ones = np.ones((4, len(points)))
    return Landmarks3D(points, ones, 0 * ones, np.zeros(4, bool))


def test_the_truth_passes(capture: Capture, truth: Mesh) -> None:
    check_truth(capture, truth)
    near = truth.vertices[::40] + [0.0, 0.0, 6.0]
    near[0] = np.nan
    check_truth(capture, truth, landmarks(near))


def moved(truth: Mesh, *by: float) -> Mesh:
    return truth.with_vertices(truth.vertices + np.array(by))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda truth: truth.with_vertices(truth.vertices * 1e-3), r"0\.\d+ mm across.*--scale"),
        (lambda truth: truth.with_vertices(truth.vertices * 1e3), "across.*--scale"),
        (lambda truth: moved(truth, 0, 0, 3000.0), "behind view [1346]"),
        (lambda truth: moved(truth, 0, 900.0, 0), "view [1346] shows 0 % of the true surface"),
        (lambda truth: moved(truth, 0, 0, 4.0), "agree better 3 mm behind the true surface"),
        (lambda truth: moved(truth, 0, 0, -4.0), "agree better 3 mm before the true surface"),
        (lambda truth: moved(truth, 0, 0, 30.0), "agree better|agrees with no other"),
        (lambda truth: Mesh(truth.vertices, truth.faces[:, ::-1]), "wound outward"),
        (lambda truth: Mesh(truth.vertices, truth.faces[:0]), "no faces"),
        (lambda truth: Mesh(truth.vertices * np.nan, truth.faces), "not finite"),
    ],
)
def test_another_surface_is_refused(
    capture: Capture, truth: Mesh, wrong: Callable[[Mesh], Mesh], says: str
) -> None:
    with pytest.raises(TruthError, match=says):
        check_truth(capture, wrong(truth))


def test_the_view_whose_photo_is_anothers_is_named(capture: Capture, truth: Mesh) -> None:
    views = list(capture.views)
    views[2] = replace(views[2], image=np.ascontiguousarray(views[2].image[::-1]))
    with pytest.raises(TruthError, match="view 4 agrees with no other"):
        check_truth(replace(capture, views=tuple(views)), truth)


def test_landmarks_of_another_face_are_told(capture: Capture, truth: Mesh) -> None:
    with pytest.raises(TruthError, match=r"landmarks are \d\d mm from"):
        check_truth(capture, truth, landmarks(truth.vertices[::40] + [0.0, 0.0, 30.0]))


RADIUS = 60.0
CENTRES = ((0.0, 0.0, 600.0), (250.0, 50.0, 550.0))


def sphere(radius: float) -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    return Mesh(ball.vertices, ball.faces)


def cameras() -> list[Camera]:
    K = [[900, 0, 200], [0, 900, 150], [0, 0, 1]]
    return [Camera(K, *look_at(center, (0, 0, 0)), 401, 301) for center in CENTRES]


def cap(radius: float, *, half: float = 0.5, size: int = 24, center: tuple = (0, 0, 0)) -> UVDSpace:
    """A square of a sphere's front as a UVD space, its normals the sphere's."""
    x, y = np.meshgrid(np.linspace(-half, half, size), np.linspace(half, -half, size))
    normal = np.stack([x, y, np.sqrt(1 - x**2 - y**2)], -1).astype(np.float32)
    valid = np.ones((size, size), bool)
    valid[0] = False
    return UVDSpace((radius * normal + np.array(center)).astype(np.float32), normal, valid)


@pytest.mark.parametrize("inside", [-3.0, 0.0, 2.0])
def test_displacement_is_the_distance_along_the_normal(inside: float) -> None:
    space = cap(RADIUS - inside)
    true = TrueSurface(sphere(RADIUS), cameras()).along(space, 5.0)
    assert np.isnan(true.displacement[~space.valid]).all()
    known = true.displacement[space.valid]
    # An icosphere of 5 subdivisions lies at most 0.02 mm inside of its sphere.
    np.testing.assert_allclose(known, inside, atol=0.03)
    assert np.nanmax(true.tilt) < 0.02


def test_tilt_is_the_angle_between_surface_and_normal() -> None:
    space = cap(RADIUS)
    turned = np.array([[np.cos(0.3), 0, np.sin(0.3)], [0, 1, 0], [-np.sin(0.3), 0, np.cos(0.3)]], np.float32)
    space = UVDSpace(space.position, space.normal @ turned.T, space.valid)
    axis = np.array([0.0, 1.0, 0.0])
    true = TrueSurface(sphere(RADIUS), cameras()).along(space, 5.0)
    untouched = np.abs(cap(RADIUS).normal @ axis) < 0.02
    np.testing.assert_allclose(true.tilt[untouched & space.valid], 0.3, atol=0.02)


def test_nothing_beyond_the_reach() -> None:
    surface = TrueSurface(sphere(RADIUS), cameras())
    assert np.isnan(surface.along(cap(RADIUS - 5), 4.9).displacement).all()
    assert np.isfinite(surface.along(cap(RADIUS - 5), 5.1).displacement).any()
    assert np.isnan(surface.along(cap(RADIUS + 5), 4.9).displacement).all()


def test_layers_behind_the_skin_do_not_count() -> None:
    """A base that lies near an inner layer must meet the skin, or nothing."""
    skin, inner = sphere(RADIUS), sphere(RADIUS - 4)
    faces = np.concatenate([skin.faces, inner.faces + len(skin.vertices)])
    both = Mesh(np.concatenate([skin.vertices, inner.vertices]), faces)
    surface = TrueSurface(both, cameras())
    near_inner = surface.along(cap(RADIUS - 4.5), 8.0)
    assert not np.isfinite(near_inner.displacement).any()
    between = surface.along(cap(RADIUS - 1), 8.0)
    np.testing.assert_allclose(between.displacement[between.displacement > -9], 1, atol=0.03)
    assert np.isfinite(between.displacement).sum() == between.displacement[1:].size


def test_backs_do_not_count() -> None:
    inside_out = Mesh(sphere(RADIUS).vertices, sphere(RADIUS).faces[:, ::-1])
    assert np.isnan(TrueSurface(inside_out, cameras()).along(cap(RADIUS - 1), 5.0).displacement).all()


def test_what_no_camera_sees_is_not_known() -> None:
    """A lid before the sphere hides its middle from the only camera."""
    lid = Mesh([[-12, -12, 90], [12, -12, 90], [12, 12, 90], [-12, 12, 90]], [[0, 1, 2], [0, 2, 3]])
    ball = sphere(RADIUS)
    scene = Mesh(
        np.concatenate([ball.vertices, lid.vertices]),
        np.concatenate([ball.faces, lid.faces + len(ball.vertices)]),
    )
    space = cap(RADIUS - 1)
    known = np.isfinite(TrueSurface(scene, cameras()[:1]).along(space, 5.0).displacement)
    across = np.abs(space.position[..., :2]).max(-1)
    assert not known[across < 11].any()
    assert known[(across > 15) & space.valid].all()
