"""What the tests share: the development data where it is at hand, and a small drawn capture."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mesoface
from mesoface.captures.capture import Capture, View
from mesoface.captures.formats import facescape
from mesoface.geometry.camera import Camera, OpenCVLens, look_at
from mesoface.results.face import Face

REPOSITORY = Path(__file__).resolve().parents[1]
RADIUS = 80.0  # mm, of the drawn ball


def pytest_configure() -> None:
    """A shell's background jobs ignore Ctrl-C, and what they start inherits that; tests of Ctrl-C need it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """``shared("captures/lps")`` → its path below ``MESOFACE_SHARED`` (default: ``../shared``), or skip."""
    root = Path(os.environ.get("MESOFACE_SHARED", REPOSITORY.parent / "shared"))

    def find(name: str) -> Path:
        if not (root / name).exists():
            pytest.skip(f"needs {name} in {root} (set MESOFACE_SHARED)")
        return root / name

    return find


@pytest.fixture
def open_browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, int], Any]]:
    """``open_browser(900, 700)`` → the page of a headless Chromium of that size; or skip."""
    pytest.importorskip("websockets", reason="needs websockets, of the extra mesoface[view]")
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    from chromium import NAMES, chromium_page, find_chromium

    if find_chromium() is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}")
    with ExitStack() as open_pages:
        yield lambda width, height: open_pages.enter_context(chromium_page(width, height))


@pytest.fixture(scope="session")
def sample_capture() -> Path:
    """The capture in ``examples/``: eight synthetic photos, their calibration, and ``gt.ply``, in mm."""
    return REPOSITORY / "examples" / "sample_capture"


@pytest.fixture(scope="session")
def sample_face(sample_capture: Path) -> Face:
    """The sample capture reconstructed once, quickly, by the Python interface."""
    capture = mesoface.load_capture(sample_capture)
    return mesoface.reconstruct(capture, mesoface.Settings(scale=1.0, preset="fast", threads=1))


@pytest.fixture(scope="session")
def drawn_face() -> Face:
    """A rippled dome: :func:`tests.faces.dome`."""
    from tests.faces import dome  # here, because it imports this file

    return dome()


@dataclass(frozen=True, eq=False)
class DrawnRig:
    """A textured ball of 80 mm around the origin, seen by cameras on an arc 600 mm away.

    Args:
        cameras: V of them.
        photos: V × (H, W, 3) uint8 RGB, ray traced through the cameras, lens included.
        masks: V × (H, W) bool, True on the ball.
    """

    cameras: tuple[Camera, ...]
    photos: tuple[NDArray[np.uint8], ...]
    masks: tuple[NDArray[np.bool_], ...]


@lru_cache(maxsize=32)
def draw_rig(
    views: int = 4,
    size: tuple[int, int] = (96, 128),
    lens: tuple[float, ...] | None = None,
    arc: float = 90.0,
) -> DrawnRig:
    """Draw the ball with ``views`` cameras over ``arc`` degrees; ``size`` = (width, height)."""
    width, height = size
    K = np.array(
        [[3.2 * width, 0, (width - 1) / 2 + 1.5], [0, 3.2 * width, (height - 1) / 2 - 2.25], [0, 0, 1]]
    )
    cameras, photos, masks = [], [], []
    for angle in np.radians(np.linspace(-arc / 2, arc / 2, views)):
        center = 600 * np.array([np.sin(angle), 0.15 * np.cos(3 * angle), np.cos(angle)])
        R, t = look_at(center, (0, 0, 0))
        camera = Camera(K, R, t, width, height, OpenCVLens(lens) if lens else None)
        photo, mask = _trace(camera)
        cameras.append(camera)
        photos.append(photo)
        masks.append(mask)
    return DrawnRig(tuple(cameras), tuple(photos), tuple(masks))


def _trace(camera: Camera) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Photo and mask of the ball; its colour is a sum of waves in space."""
    rays, origin = camera.rays(camera.pixel_grid()), camera.center
    along = rays @ origin
    inside = along**2 - (origin @ origin - RADIUS**2)
    hit = inside > 0
    surface = origin + rays * (-along - np.sqrt(np.maximum(inside, 0)))[..., None]
    rng = np.random.default_rng(7)
    waves = rng.normal(size=(3, 12, 3)) * rng.uniform(0.02, 0.2, (1, 12, 1))
    colour = 0.5 + 0.06 * np.sin(np.einsum("hwk,cfk->hwcf", surface, waves)).sum(-1)
    photo = np.where(hit[..., None], np.clip(colour, 0, 1), 0.2)
    return np.round(photo * 255).astype(np.uint8), hit


@pytest.fixture(scope="session")
def drawn_rig() -> Callable[..., DrawnRig]:
    """:func:`draw_rig`, for tests that want the photos before loading."""
    return draw_rig


@pytest.fixture(scope="session")
def make_capture() -> Callable[..., Capture]:
    """``make_capture(views=4, size=(96, 128))`` → a :class:`Capture` in memory, masks included."""

    def make(views: int = 4, size: tuple[int, int] = (96, 128), arc: float = 90.0) -> Capture:
        rig = draw_rig(views, size, arc=arc)
        triples = enumerate(zip(rig.photos, rig.cameras, rig.masks, strict=True))
        return Capture(
            tuple(View(str(i), p.astype(np.float32) / 255, c, m) for i, (p, c, m) in triples), mm_per_unit=1.0
        )

    return make


@pytest.fixture
def capture_folder(tmp_path: Path) -> Callable[..., Path]:
    """``capture_folder()`` → a folder with the drawn capture in FaceScape's layout."""

    def make(
        views: int = 4, lens: Sequence[float] | None = (-0.08, 0.05, 0.0005, -0.0004, 0.0), **kwargs
    ) -> Path:
        rig = draw_rig(views, lens=None if lens is None else tuple(lens), **kwargs)
        folder = tmp_path / "capture"
        folder.mkdir()
        facescape.write_photos(folder, rig.photos, rig.cameras, quality=98)
        return folder

    return make


@pytest.fixture(scope="session")
def small_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of two photos of a ball, 48 × 64, in FaceScape's layout."""
    folder = tmp_path_factory.mktemp("small") / "capture"
    folder.mkdir()
    rig = draw_rig(2, (48, 64), arc=30.0)
    facescape.write_photos(folder, rig.photos, rig.cameras)
    return folder
