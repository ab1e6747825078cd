"""RealityCapture and RealityScan: XMP files beside the photos, or the registration as CSV.

As in "RealityCapture XMP Camera Math": rotation world → camera, row by row, OpenCV's axes, and the camera's
place; the focal length is for a film of 36 mm on the photo's longer side, the principal point a share of that
side, from the middle of the image. The tangential terms t1 and t2 are OpenCV's p2 and p1: the program swaps
them itself where it exports for OpenCV.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats.brown_lens import brown_lens
from mesoface.captures.formats.files import head_of, list_files, listed, make_camera, parted
from mesoface.captures.formats.photos import Photos, size_of
from mesoface.captures.formats.realitycapture_csv import Registered, number, read_table, tables
from mesoface.captures.formats.xml_files import floats, read_xml
from mesoface.errors import CaptureError

NAME = "realitycapture"
LOOKS_FOR = ".xmp files in the folder, images/ or photos/, or a .csv with #name,x,y,alt,heading,pitch,roll,f"
FOLDERS = ("", "images", "photos")
FILM = 36.0
"""The longer side of 35 mm film, mm."""
XCR = "http://www.capturingreality.com/ns/xcr/1.1#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_MODELS = ("", "none", "perspective", "brown3", "brown4", "brown3t2", "brown4t2")
_REMEDY = "export the metadata (XMP) again, with the camera poses"


def detect(path: Path) -> bool:
    """Whether ``path`` has XMP files of the program, or a registration as CSV."""
    return bool(tables(path)) or bool(_sidecars(path))


def read(path: Path) -> CaptureSource:
    """Read a folder with RealityCapture's XMP files, or else its CSV. What has no pose is left out and noted.

    Raises:
        CaptureError: neither is there, or one is damaged, has no poses, or a lens there is no model for.
    """
    sidecars, registrations, notes = _sidecars(path), tables(path), []
    if sidecars:
        rows = []
        for file in sidecars:
            if (row := _read_sidecar(file)) is not None:
                rows.append((file.relative_to(path).with_suffix("").as_posix(), row))
        _, unposed = parted(sidecars, {row.said_by for _, row in rows}.__contains__)
        if unposed:
            notes.append(f"XMP files without a pose, left out: {listed([file.name for file in unposed])}")
        if registrations:
            notes.append(f"not read, as there are XMP files: {listed([file.name for file in registrations])}")
    elif len(registrations) == 1:
        rows = read_table(registrations[0])
    else:
        found = f"found {listed([file.name for file in registrations])}" if registrations else "found none"
        raise CaptureError(
            f"XMP files or one registration as CSV were expected, {found}", path=path, remedy=_REMEDY
        )
    photos = Photos(path)
    matched, missing = photos.match(rows, said_by=path)
    if missing:
        notes.append(f"posed but not on disk, left out: {listed([PurePosixPath(m).name for m in missing])}")
    if extra := photos.others(photo for _, _, photo in matched):
        notes.append(f"photos without a pose: {listed(extra)}")
    views = tuple(_view(name, row, photo, photos) for name, row, photo in matched)
    return CaptureSource(path, NAME, views, tuple(notes))


def _sidecars(path: Path) -> list[Path]:
    files = [file for folder in FOLDERS for file in list_files(path / folder, ".xmp")]
    return [file for file in files if XCR in head_of(file)]


def _view(name: str, row: Registered, photo: Path, photos: Photos) -> ViewSource:
    """One view, in pixels."""
    width, height = size = size_of(photo)
    longer, (u, v) = max(size), row.principal
    f = row.focal / FILM * longer
    K = [[f, 0, u * longer + width / 2 - 0.5], [0, f * row.aspect, v * longer + height / 2 - 0.5], [0, 0, 1]]
    k1, k2, k3, k4, t1, t2 = row.coefficients
    lens = brown_lens(k1, k2, k3, k4, t2, t1)
    camera = make_camera(name, K, row.R, -row.R @ row.center, size, lens, said_by=row.said_by)
    return ViewSource(name, photo, camera, photos.mask_of(photo))


def _read_sidecar(file: Path) -> Registered | None:
    """What an XMP file says, or None without a pose."""
    values = _values(file)
    if "Rotation" not in values or "Position" not in values:
        return None
    try:
        return _registered(file, values)
    except ValueError as error:
        raise CaptureError(str(error), path=file, remedy=_REMEDY) from error


def _registered(file: Path, values: Mapping[str, str]) -> Registered:
    """The values of an XMP file as numbers.

    Raises:
        ValueError: one is missing, is no number, or belongs to a camera that there is no model for.
    """
    model = values.get("DistortionModel", "").lower()
    coefficients = floats(values.get("DistortionCoeficients", "0 0 0 0 0 0"), 6, "DistortionCoeficients")
    if model not in _MODELS and coefficients.any():
        raise ValueError(f"the distortion model {model} has no counterpart here, choose Brown3 or Brown4")
    if skew := number(values, "Skew", 0.0):
        raise ValueError(f"Skew is {skew:g}, only pixels without skew are read")
    return Registered(
        file,
        number(values, "FocalLength35mm"),
        (number(values, "PrincipalPointU", 0.0), number(values, "PrincipalPointV", 0.0)),
        number(values, "AspectRatio", 1.0),
        tuple(coefficients.tolist()),
        floats(values["Rotation"], 9, "Rotation").reshape(3, 3),
        floats(values["Position"], 3, "Position"),
    )


def _values(file: Path) -> dict[str, str]:
    """What stands in the program's own namespace, as attributes or as elements."""
    prefix = "{" + XCR + "}"
    values: dict[str, str] = {}
    for description in read_xml(file).iter("{" + RDF + "}Description"):
        ours = [*description.items(), *((element.tag, element.text or "") for element in description)]
        values |= {key.removeprefix(prefix): text for key, text in ours if key.startswith(prefix)}
    return values
