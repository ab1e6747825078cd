"""``capture.json``: mesoface's own capture file, plain JSON with a schema that `mesoface schema` prints.

Nothing in it is converted: OpenCV axes (x right, y down, z forward), ``x_cam = R x + t``, pixels with the
centre of the top-left one at (0, 0). The names are those of ``cameras.json`` in results.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import files
from mesoface.captures.formats.lenses import BrownLens, ColmapLens
from mesoface.errors import CaptureError
from mesoface.files.atomic import atomic_file
from mesoface.geometry.camera import Lens, OpenCVLens

NAME = "plain"
LOOKS_FOR = "capture.json"
PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{photo}.png", True
FORMAT, VERSION = "mesoface-capture", 1

LensModel = Literal[
    "opencv",
    "brown",
    "simple_radial_fisheye",
    "radial_fisheye",
    "opencv_fisheye",
    "thin_prism_fisheye",
    "rad_tan_thin_prism_fisheye",
    "fov",
    "simple_division",
    "division",
    "simple_fisheye",
    "fisheye",
    "eucm",
]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Row = tuple[_Number, _Number, _Number]
_Size = Annotated[files.Side, Field(strict=True)]
_Path = Annotated[str, Field(min_length=1, max_length=4096)]


class Distortion(BaseModel):
    """A lens: how ideal image coordinates x/z, y/z become those that K is applied to."""

    model_config = ConfigDict(extra="forbid")
    model: LensModel = Field(
        description="opencv: k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tx ty]]]]. brown: k1 k2 k3 k4 p1 p2. "
        "All others: COLMAP's camera model of that name in capitals, its parameters after the principal "
        "point."
    )
    coefficients: Annotated[list[_Number], Field(max_length=32)]


class CapturedView(BaseModel):
    """A photo and its camera."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1, max_length=255)] = Field(description="short and unique")
    image: _Path = Field(description="the photo, relative to the folder of this file, with slashes")
    mask: _Path | None = Field(None, description="foreground mask, white on the subject, of the photo's size")
    width: _Size = Field(description="of the photo that K is of, pixels")
    height: _Size = Field(description="of the photo that K is of, pixels")
    K: tuple[_Row, _Row, _Row] = Field(
        description="intrinsics, pixels; the centre of the top-left pixel is at (0, 0)"
    )
    distortion: Distortion | None = Field(None, description="left out: an ideal pinhole camera")
    R: tuple[_Row, _Row, _Row] = Field(
        description="rotation, world → camera: x_cam = R x + t; the camera's x is right, y down, z forward"
    )
    t: _Row = Field(description="translation, world units")


class CaptureFile(BaseModel):
    """Photos of one face at one moment, from calibrated cameras."""

    model_config = ConfigDict(extra="forbid", title="mesoface capture.json")
    format: Literal["mesoface-capture"]
    version: Literal[1]
    mm_per_unit: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = Field(
        None, description="millimetres per world unit; null or left out where that is not known"
    )
    views: Annotated[list[CapturedView], Field(min_length=1, max_length=100_000)]


def capture_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of ``capture.json``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **CaptureFile.model_json_schema()}


def detect(path: Path) -> bool:
    """Whether ``path`` has a ``capture.json``."""
    return (path / LOOKS_FOR).is_file()


def read(path: Path) -> CaptureSource:
    """Read a folder with a ``capture.json``. All views are kept: loading one whose photo is missing fails.

    Raises:
        CaptureError: no such file, or one that does not follow the schema or has impossible numbers.
    """
    file = files.required(path, LOOKS_FOR)
    content = files.validated(CaptureFile, files.read_json(file), file=file)
    if twice := _repeated([view.name for view in content.views]):
        raise CaptureError(
            f"two views have the name {twice!r}", path=file, remedy="give each view its own name"
        )
    views = tuple(_view(path, view, file) for view in content.views)
    return CaptureSource(path, NAME, views, mm_per_unit=content.mm_per_unit)


def write_capture_json(
    folder: str | Path, views: Sequence[ViewSource], mm_per_unit: float | None = None
) -> Path:
    """Write ``capture.json`` beside photos that are in place already.

    Args:
        folder: the capture's folder.
        views: at least one; photos and masks lie in ``folder``, cameras are in its world units.
        mm_per_unit: millimetres per world unit, or None where it is not known.

    Returns:
        The file.

    Raises:
        ValueError: a photo or a mask is outside of ``folder``, two views have one name, or the file has
            no name for a lens.
        MesofaceError: the file cannot be written.
    """
    folder = Path(folder)
    if _repeated([view.name for view in views]):
        raise ValueError("two views have the same name")
    content = CaptureFile(
        format=FORMAT,
        version=VERSION,
        mm_per_unit=mm_per_unit,
        views=[
            CapturedView(
                name=view.name,
                image=view.image_path.relative_to(folder).as_posix(),
                mask=None if view.mask_path is None else view.mask_path.relative_to(folder).as_posix(),
                width=view.camera.width,
                height=view.camera.height,
                K=view.camera.K.tolist(),
                distortion=_distortion(view.camera.lens),
                R=view.camera.R.tolist(),
                t=view.camera.t.tolist(),
            )
            for view in views
        ],
    )
    path = folder / LOOKS_FOR
    with atomic_file(path) as temporary:
        text = json.dumps(content.model_dump(exclude_none=True), indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


write = write_capture_json  # the name that it has in all formats


def _repeated(names: list[str]) -> str | None:
    """The first name that is there twice, or None."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _view(folder: Path, view: CapturedView, file: Path) -> ViewSource:
    """One view as the pipeline takes it."""
    remedy = "see docs/formats.md for the coefficients of each model"
    with files.refused(file, remedy, about=f"view {view.name}: "):
        lens = None if view.distortion is None else _lens(view.distortion)
    camera = files.make_camera(view.name, view.K, view.R, view.t, (view.width, view.height), lens, file=file)
    mask = None if view.mask is None else files.inside(folder, view.mask, file=file)
    return ViewSource(view.name, files.inside(folder, view.image, file=file), camera, mask)


def _lens(distortion: Distortion) -> Lens:
    coefficients = tuple(distortion.coefficients)
    if distortion.model == "opencv":
        return OpenCVLens(coefficients)
    if distortion.model == "brown":
        return BrownLens(coefficients)
    return ColmapLens(distortion.model.upper(), coefficients)


def _distortion(lens: Lens | None) -> Distortion | None:
    """The entry from which :func:`_lens` makes ``lens``."""
    if lens is None:
        return None
    if isinstance(lens, OpenCVLens | BrownLens):
        model: LensModel = "opencv" if isinstance(lens, OpenCVLens) else "brown"
        return Distortion(model=model, coefficients=list(lens.coefficients))
    if isinstance(lens, ColmapLens):
        return Distortion.model_validate({"model": lens.model.lower(), "coefficients": list(lens.parameters)})
    raise ValueError(f"capture.json has no name for the lens {type(lens).__name__}")
