"""Shared by the tests of captures: the drawn rig in a folder, cameras compared by projection, refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import WRITERS, read_source
from mesoface.errors import CaptureError
from mesoface.geometry.camera import Camera

LENS = (-0.08, 0.05, 0.0005, -0.0004, 0.01)


@pytest.fixture(scope="session")
def points() -> NDArray[np.float64]:
    """(20, 3) points in the drawn ball, mm."""
    return np.random.default_rng(0).normal(0, 40, (20, 3))


@pytest.fixture
def rig(drawn_rig):
    """Three cameras with a lens, 96×128."""
    return drawn_rig(3, lens=LENS)


@pytest.fixture
def folder(rig, tmp_path: Path) -> Path:
    """A folder with the rig's photos as ``photos/cam0.png`` …, and nothing else."""
    (tmp_path / "photos").mkdir()
    for i, photo in enumerate(rig.photos):
        Image.fromarray(photo).save(tmp_path / f"photos/cam{i}.png")
    return tmp_path


@pytest.fixture
def assert_cameras(points) -> Callable[..., None]:
    """``assert_cameras(source, cameras)``: same names, sizes, projections; points may be in other units.

    With ``format``, also that the source has this format, and no notes.
    """

    def check(
        source: CaptureSource,
        cameras: Sequence[Camera],
        format: str | None = None,
        *,
        units_per_mm: float = 1.0,
        names: str = "cam{}",
    ) -> None:
        assert format is None or (source.format, source.notes) == (format, ())
        assert [view.name for view in source.views] == [names.format(i) for i in range(len(cameras))]
        for view, camera in zip(source.views, cameras, strict=True):
            assert (view.camera.width, view.camera.height) == (camera.width, camera.height)
            seen, depth = view.camera.project(points * units_per_mm)
            np.testing.assert_allclose(seen, camera.project(points)[0], atol=1e-8)
            np.testing.assert_allclose(view.camera.center, camera.center * units_per_mm, atol=1e-8)
            assert (depth > 0).all()

    return check


def edit(file: Path, change: Callable[[Any], Any]) -> Path:
    """The file after ``change``: of JSON's content in place, of a text to what it returns."""
    text = file.read_text()
    if file.suffix in (".json", ".sfm"):
        change(content := json.loads(text))
        file.write_text(json.dumps(content))
    else:
        file.write_text(change(text))
    return file


def edit_params(folder: Path, **changes: Any) -> None:
    """Change keys of params.json, which are written with a ``v`` in front; None removes one."""
    path = folder / "params.json"
    params = json.loads(path.read_text()) | {key.removeprefix("v"): new for key, new in changes.items()}
    path.write_text(json.dumps({key: value for key, value in params.items() if value is not None}))


@pytest.fixture
def assert_refused() -> Callable[..., str]:
    """``assert_refused(folder, words)``: reading fails in one line with ``words``, and a remedy.

    ``words`` are literal, or a compiled pattern. The error names ``path``, or else
    anything in the folder. Returns the error's text.
    """

    def check(
        folder: Path, words: str | re.Pattern[str], path: Path | None = None, *, read=read_source, **options
    ) -> str:
        pattern = re.escape(words) if isinstance(words, str) else words
        with pytest.raises(CaptureError, match=pattern) as error:
            read(folder, **options)
        named = Path(error.value.path)
        assert named.is_relative_to(folder) if path is None else named == path
        assert error.value.remedy
        assert "\n" not in str(error.value)
        return str(error.value)

    return check


@pytest.fixture(scope="session")
def place() -> Callable[..., list[ViewSource]]:
    """``place(rig, folder, "colmap")``: the rig's photos and masks where the format's writer wants them.

    Cameras are those of the rig, with ``changes``.
    """

    def make(
        rig, folder: Path, format: str, *, suffix: str = ".png", masks: bool = True, **changes
    ) -> list[ViewSource]:
        writer, views = WRITERS[format], []
        for i, (photo, mask, camera) in enumerate(zip(rig.photos, rig.masks, rig.cameras, strict=True)):
            path = folder / writer.PHOTO.format(index=i, stem=f"cam{i}", suffix=suffix)
            path.parent.mkdir(exist_ok=True, parents=True)
            Image.fromarray(photo).save(path)
            mask_path = None
            if masks and writer.MASK is not None:
                mask_path = folder / writer.MASK.format(index=i, stem=f"cam{i}", photo=path.name)
                mask_path.parent.mkdir(exist_ok=True)
                Image.fromarray(mask).save(mask_path)
            views.append(ViewSource(f"cam{i}", path, replace(camera, **changes), mask_path))
        return views

    return make
