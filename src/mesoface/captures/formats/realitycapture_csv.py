"""RealityCapture's registration as CSV, "Internal/External camera parameters".

Heading, pitch and roll, in degrees, turn a camera with y up that looks along −z; in the world z is up, and
the heading counts clockwise from above. The columns are a template that users may change: those of the lens
and the principal point may be missing, in any order, or be called as RealityScan does.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mesoface.captures.formats.files import head_of, list_files, read_limited
from mesoface.captures.formats.xml_files import floats
from mesoface.errors import CaptureError
from mesoface.geometry.lens import Array

_NEEDED = ("name", "x", "y", "alt", "heading", "pitch", "roll", "f")
_SAME = {"yaw": "heading", "f_35mm": "f", "px_norm": "px", "py_norm": "py"}  # RealityScan's names of them
_MAX_BYTES = 16 * 2**20
_REMEDY = "export the registration again, as Internal/External camera parameters"


@dataclass(frozen=True, eq=False)
class Registered:
    """A photo's calibration in the program's own terms.

    Args:
        said_by: the file that holds it.
        focal: for a film of 36 mm on the photo's longer side, mm.
        principal: from the middle of the photo, as a share of its longer side.
        aspect: fy / fx.
        coefficients: k1 k2 k3 k4 t1 t2.
        R: (3, 3) world → camera, OpenCV's axes.
        center: (3,) world units.
    """

    said_by: Path
    focal: float
    principal: tuple[float, float]
    aspect: float
    coefficients: tuple[float, ...]
    R: Array
    center: Array


def tables(path: Path) -> list[Path]:
    """The CSV files in the folder that begin as a registration with intrinsics does."""
    return [file for file in list_files(path, ".csv") if _begins_as_table(file)]


def read_table(file: Path) -> list[tuple[str, Registered]]:
    """The photos' names and calibrations in a registration.

    Raises:
        CaptureError: it is damaged, lacks a column, or has something else where a number was expected.
    """
    try:
        text = read_limited(file, _MAX_BYTES).decode("utf-8-sig")
        header, *lines = _lines(text)
        reader = csv.DictReader(io.StringIO("\n".join([_columns(header), *lines])), restval="")
        return [(cells["name"], _row(file, cells)) for cells in reader]
    except (ValueError, csv.Error) as error:
        raise CaptureError(str(error), path=file, remedy=_REMEDY) from error


def rotation_of(heading: float, pitch: float, roll: float) -> Array:
    """(3, 3) camera → world: roll about y, then pitch about x, then heading about −z; radians."""
    (cz, cx, cy), (sz, sx, sy) = np.cos([-heading, pitch, roll]), np.sin([-heading, pitch, roll])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return about_z @ about_x @ about_y


def number(values: Mapping[str, str], key: str, default: float | None = None) -> float:
    """A number; ``default`` where it is not there.

    Raises:
        ValueError: it is not there and has no default, or is no finite number.
    """
    if key not in values and default is not None:
        return default
    return float(floats(values.get(key), 1, key)[0])


def _row(file: Path, cells: Mapping[str, str]) -> Registered:
    try:
        turned = rotation_of(*(np.radians(number(cells, key)) for key in ("heading", "pitch", "roll")))
        return Registered(
            file,
            number(cells, "f"),
            (number(cells, "px", 0.0), number(cells, "py", 0.0)),
            1.0,
            tuple(number(cells, key, 0.0) for key in ("k1", "k2", "k3", "k4", "t1", "t2")),
            np.diag([1.0, -1.0, -1.0]) @ turned.T,
            np.array([number(cells, key) for key in ("x", "y", "alt")]),
        )
    except ValueError as error:
        raise ValueError(f"{cells['name']}: {error}") from error


def _begins_as_table(file: Path) -> bool:
    lines = _lines(head_of(file))
    return bool(lines) and set(_NEEDED) <= set(_columns(lines[0]).split(","))


def _lines(text: str) -> list[str]:
    """The lines that are not empty, without the count of cameras that may stand first."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#cameras")]


def _columns(header: str) -> str:
    """The header with each column as it is called here."""
    names = [name.strip().lstrip("#").strip().lower() for name in header.split(",")]
    return ",".join(_SAME.get(name, name) for name in names)
