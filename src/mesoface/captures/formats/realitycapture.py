"""RealityCapture and RealityScan: XMP files beside the photos, or the registration as CSV.

XMP files follow "RealityCapture XMP Camera Math": rotation world → camera, row by row, OpenCV's axes, and the
camera's position; the focal length is for a film of 36 mm on the photo's longer side, the principal point a
share of that side, from the middle of the image. The tangential terms t1 and t2 are OpenCV's p2 and p1: the
program swaps them itself when exporting for OpenCV.

The CSV is "Internal/External camera parameters". Heading, pitch and roll, in degrees, turn a camera with y up
that looks along −z; in the world z is up, and the heading counts clockwise from above. Users may change the
columns: those of the lens and the principal point may be missing, in any order, or named as in RealityScan.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ElementTree, SubElement, register_namespace

import numpy as np
from numpy.typing import ArrayLike

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import files
from mesoface.captures.formats.lenses import brown_lens, brown_of, refuse_skew
from mesoface.captures.formats.photos import Photos, size_of
from mesoface.geometry.camera import Array, Camera

NAME = "realitycapture"
LOOKS_FOR = ".xmp files in the folder, images/ or photos/, or a .csv with #name,x,y,alt,heading,pitch,roll,f"
PHOTO, MASK, STATES_UNIT = "{stem}{suffix}", "masks/{photo}.png", False
_FOLDERS = ("", "images", "photos")
_FILM = 36.0  # the longer side of 35 mm film, mm
_XMP = "adobe:ns:meta/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XCR = "http://www.capturingreality.com/ns/xcr/1.1#"
_MODELS = ("", "none", "perspective", "brown3", "brown4", "brown3t2", "brown4t2")
_REMEDY = "export the metadata (XMP) again, with the camera poses"

_NEEDED = ("name", "x", "y", "alt", "heading", "pitch", "roll", "f")
_SAME = {"yaw": "heading", "f_35mm": "f", "px_norm": "px", "py_norm": "py"}  # RealityScan's names of them
_MAX_TABLE_BYTES = 16 * 2**20
_TABLE_REMEDY = "export the registration again, as Internal/External camera parameters"


class _Registered(NamedTuple):
    """A photo's calibration in the program's own terms."""

    file: Path  # that holds it
    focal: float  # for a film of 36 mm on the photo's longer side, mm
    principal: tuple[float, float]  # from the middle of the photo, as a share of its longer side
    aspect: float  # fy / fx
    coefficients: tuple[float, ...]  # k1 k2 k3 k4 t1 t2
    R: Array  # (3, 3) world → camera, OpenCV's axes
    center: Array  # (3,) world units


def detect(path: Path) -> bool:
    """Whether ``path`` has XMP files of the program, or a registration as CSV."""
    return bool(_tables(path)) or bool(_sidecars(path))


def read(path: Path) -> CaptureSource:
    """Read a folder with RealityCapture's XMP files, or else its CSV. What has no pose is left out and noted.

    Raises:
        CaptureError: neither is there, or one is damaged, or has a lens that is not supported.
    """
    sidecars, tables = _sidecars(path), _tables(path)
    if not sidecars:
        table = files.only_file(tables, "XMP files or one registration as CSV", folder=path, remedy=_REMEDY)
        return Photos(path).source(NAME, _read_table(table), _camera, file=path)
    found = {file: _read_sidecar(file) for file in sidecars}
    rows = [(file.relative_to(path).with_suffix("").as_posix(), row) for file, row in found.items() if row]
    notes = files.notes_on(
        {
            "XMP files without a pose, left out": [file.name for file in sidecars if found[file] is None],
            "not read, as there are XMP files": [file.name for file in tables],
        }
    )
    return Photos(path).source(NAME, rows, _camera, file=path, notes=notes)


def _sidecars(path: Path) -> list[Path]:
    every = [file for folder in _FOLDERS for file in files.list_files(path / folder, ".xmp")]
    return [file for file in every if _XCR in files.head_of(file)]


def _camera(name: str, row: _Registered, photo: Path) -> Camera:
    """A view's camera, in pixels of its photo."""
    width, height = size = size_of(photo)
    longer, (u, v) = max(size), row.principal
    f = row.focal / _FILM * longer
    K = [[f, 0, u * longer + width / 2 - 0.5], [0, f * row.aspect, v * longer + height / 2 - 0.5], [0, 0, 1]]
    k1, k2, k3, k4, t1, t2 = row.coefficients
    lens = brown_lens(k1, k2, k3, k4, t2, t1)
    return files.make_camera(name, K, row.R, -row.R @ row.center, size, lens, file=row.file)


def _read_sidecar(file: Path) -> _Registered | None:
    """The calibration in an XMP file, or None without a pose."""
    values = _values(file)
    if not {"Rotation", "Position"} <= values.keys():
        return None
    with files.refused(file, _REMEDY):
        model = values.get("DistortionModel", "").lower()
        terms = values.get("DistortionCoeficients", "0 0 0 0 0 0")
        coefficients = files.floats(terms, 6, "DistortionCoeficients")
        if model not in _MODELS and coefficients.any():
            raise ValueError(f"the distortion model {model} is not supported, choose Brown3 or Brown4")
        if skew := files.number(values, "Skew", 0.0):
            raise ValueError(f"Skew is {skew:g}, only pixels without skew are read")
        return _Registered(
            file,
            files.number(values, "FocalLength35mm"),
            (files.number(values, "PrincipalPointU", 0.0), files.number(values, "PrincipalPointV", 0.0)),
            files.number(values, "AspectRatio", 1.0),
            tuple(coefficients.tolist()),
            files.floats(values["Rotation"], 9, "Rotation").reshape(3, 3),
            files.floats(values["Position"], 3, "Position"),
        )


def _values(file: Path) -> dict[str, str]:
    """The values in the program's own namespace, as attributes or as elements."""
    prefix = "{" + _XCR + "}"
    values: dict[str, str] = {}
    for description in files.read_xml(file).iter("{" + _RDF + "}Description"):
        ours = [*description.items(), *((element.tag, element.text or "") for element in description)]
        values |= {key.removeprefix(prefix): text for key, text in ours if key.startswith(prefix)}
    return values


def _tables(path: Path) -> list[Path]:
    """The CSV files in the folder that begin as a registration with intrinsics does."""
    return [file for file in files.list_files(path, ".csv") if _begins_as_table(file)]


def _read_table(file: Path) -> list[tuple[str, _Registered]]:
    """The photos' names and calibrations in a registration."""
    with files.refused(file, _TABLE_REMEDY):
        header, *lines = _lines(files.read_limited(file, _MAX_TABLE_BYTES).decode("utf-8-sig"))
        reader = csv.DictReader(io.StringIO("\n".join([_columns(header), *lines])), restval="")
        try:
            return [(cells["name"], _row(file, cells)) for cells in reader]
        except csv.Error as error:
            raise ValueError(str(error)) from error


def rotation_of(heading: float, pitch: float, roll: float) -> Array:
    """(3, 3) camera → world: roll about y, then pitch about x, then heading about −z; radians."""
    (cz, cx, cy), (sz, sx, sy) = np.cos([-heading, pitch, roll]), np.sin([-heading, pitch, roll])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return about_z @ about_x @ about_y


def _row(file: Path, cells: Mapping[str, str]) -> _Registered:
    try:
        turned = rotation_of(*(np.radians(files.number(cells, key)) for key in ("heading", "pitch", "roll")))
        return _Registered(
            file,
            files.number(cells, "f"),
            (files.number(cells, "px", 0.0), files.number(cells, "py", 0.0)),
            1.0,
            tuple(files.number(cells, key, 0.0) for key in ("k1", "k2", "k3", "k4", "t1", "t2")),
            np.diag([1.0, -1.0, -1.0]) @ turned.T,
            np.array([files.number(cells, key) for key in ("x", "y", "alt")]),
        )
    except ValueError as error:
        raise ValueError(f"{cells['name']}: {error}") from error


def _begins_as_table(file: Path) -> bool:
    lines = _lines(files.head_of(file))
    return bool(lines) and set(_NEEDED) <= set(_columns(lines[0]).split(","))


def _lines(text: str) -> list[str]:
    """The lines that are not empty, without the count of cameras that may be the first."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#cameras")]


def _columns(header: str) -> str:
    """The header, with the names of the columns that are used here."""
    names = [name.strip().lstrip("#").strip().lower() for name in header.split(",")]
    return ",".join(_SAME.get(name, name) for name in names)


for _prefix, _uri in (("x", _XMP), ("rdf", _RDF), ("xcr", _XCR)):
    register_namespace(_prefix, _uri)


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``<photo's stem>.xmp`` beside every photo, poses and intrinsics as exact.

    Raises:
        Unsupported: a lens is not Brown's, or there is skew.
    """
    for view in views:
        refuse_skew(view)
        ElementTree(_document(view)).write(view.image_path.with_suffix(".xmp"), encoding="UTF-8")


def _document(view: ViewSource) -> Element:
    camera = view.camera
    longer = max(camera.width, camera.height)
    k1, k2, k3, k4, p1, p2 = brown_of(view, terms=4)
    attributes = {
        "Version": "3",
        "PosePrior": "exact",
        "Coordinates": "absolute",
        "DistortionModel": "brown4t2" if any((k1, k2, k3, k4, p1, p2)) else "perspective",
        "FocalLength35mm": _text(camera.K[0, 0] / longer * _FILM),
        "Skew": "0",
        "AspectRatio": _text(camera.K[1, 1] / camera.K[0, 0]),
        "PrincipalPointU": _text((camera.K[0, 2] + 0.5 - camera.width / 2) / longer),
        "PrincipalPointV": _text((camera.K[1, 2] + 0.5 - camera.height / 2) / longer),
        "CalibrationPrior": "exact",
        "CalibrationGroup": "-1",
        "DistortionGroup": "-1",
        "InTexturing": "1",
        "InMeshing": "1",
    }
    root = Element(f"{{{_XMP}}}xmpmeta")
    inner = {f"{{{_XCR}}}{key}": value for key, value in attributes.items()}
    description = SubElement(SubElement(root, f"{{{_RDF}}}RDF"), f"{{{_RDF}}}Description", inner)
    for key, values in (
        ("Rotation", camera.R),
        ("Position", camera.center),
        ("DistortionCoeficients", (k1, k2, k3, k4, p2, p1)),  # the program's t1 is p2, its t2 p1
    ):
        SubElement(description, f"{{{_XCR}}}{key}").text = _text(values)
    return root


def _text(values: ArrayLike) -> str:
    return " ".join(files.as_texts(values))
