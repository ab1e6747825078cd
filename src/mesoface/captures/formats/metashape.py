"""Agisoft Metashape's cameras (File > Export > Export Cameras, Agisoft XML), photos below the folder.

Camera transforms are camera → chunk with OpenCV's axes; the transform of the chunk, or of its component, is
chunk → world, in metres where it has a scale. The principal point is relative to the middle of the image,
whose top-left pixel has its centre at (0.5, 0.5). The lens is that of the manual's appendix "Camera models".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np
from numpy.typing import ArrayLike

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import files
from mesoface.captures.formats.lenses import ColmapLens, brown_lens, brown_of, fisheye_of
from mesoface.captures.formats.photos import Photos
from mesoface.errors import CaptureError
from mesoface.geometry.camera import Array, Camera, Lens

NAME = "metashape"
LOOKS_FOR = "an .xml file that Metashape exported cameras to"
PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{stem}.png", True
_MM_PER_METRE = 1000.0
_FISHEYES = ("fisheye", "equidistant_fisheye")  # one projection under an old and a new name
_REMEDY = "export the cameras again from Metashape, as Agisoft XML"


def detect(path: Path) -> bool:
    """Whether ``path`` has an XML file that begins as Metashape's."""
    return bool(_files(path))


def read(path: Path) -> CaptureSource:
    """Read a folder with Metashape's cameras. What is disabled, not aligned or without a photo is left out.

    Raises:
        CaptureError: no such file or several, one that is damaged, or a lens that is not supported.
    """
    what = "one .xml file of cameras from Metashape"
    file = files.only_file(_files(path), what, folder=path, remedy="leave one there, with exported cameras")
    chunks = files.read_xml(file).findall("chunk")
    if len(chunks) != 1:
        what = f"holds {len(chunks)} chunks, one was expected"
        raise CaptureError(what, path=file, remedy="export one chunk's cameras")
    chunk = chunks[0]
    sensors = {sensor.get("id"): sensor for sensor in chunk.iterfind("sensors/sensor")}
    cameras, notes = _usable(chunk, file)
    world, world_notes = _world(chunk, cameras[0].get("component_id"), file)
    used = {camera.get("sensor_id") for camera in cameras}
    intrinsics = {id: _intrinsics(sensors.get(id), id, file) for id in used}

    def camera_of(name: str, camera: Element, photo: Path) -> Camera:
        K, size, lens = intrinsics[camera.get("sensor_id")]
        return files.make_camera(name, K, *_pose(camera, world, file), size, lens, file=file)

    described = [(camera.get("label", ""), camera) for camera in cameras]
    unit = None if world[-1] == 1 else _MM_PER_METRE
    return Photos(path).source(
        NAME, described, camera_of, file=file, notes=[*notes, *world_notes], mm_per_unit=unit
    )


def _files(path: Path) -> list[Path]:
    """The XML files in the folder that begin as Metashape's do."""
    heads = {file: files.head_of(file) for file in files.list_files(path, ".xml")}
    return [file for file, head in heads.items() if "<document" in head and "<chunk" in head]


def _usable(chunk: Element, file: Path) -> tuple[list[Element], list[str]]:
    """The cameras that are enabled, aligned and in the largest component, and notes on the others."""
    enabled, disabled = files.parted(
        chunk.iterfind("cameras//camera"), lambda c: c.get("enabled", "true").lower() not in ("false", "0")
    )
    aligned, unaligned = files.parted(enabled, lambda c: c.find("transform") is not None)
    components = Counter(camera.get("component_id") for camera in aligned)
    largest = max(components, key=lambda id: components[id]) if components else None
    usable, stray = files.parted(aligned, lambda c: c.get("component_id") == largest)
    left_out = {"disabled in Metashape": disabled, "not aligned in Metashape": unaligned}
    left_out["in another component than most"] = stray
    notes = files.notes_on(
        {f"left out, {why}": [one.get("label", "?") for one in those] for why, those in left_out.items()}
    )
    if not usable:
        why = f" ({'; '.join(notes)})" if notes else ""
        raise CaptureError(f"holds no camera that is enabled and aligned{why}", path=file, remedy=_REMEDY)
    return usable, notes


_World = tuple[Array, Array, float]  # rotation, translation and scale: scale · rotation · x + translation


def _world(chunk: Element, component: str | None, file: Path) -> tuple[_World, list[str]]:
    """Chunk → world, of the cameras' component or of the chunk, and notes on its unit and place."""
    inner = chunk.find(f"components/component[@id='{component}']/transform") if component else None
    transform = inner if inner is not None else chunk.find("transform")
    if transform is None:
        return (np.eye(3), np.zeros(3), 1.0), []
    with files.refused(file, _REMEDY):
        turn = transform.findtext("rotation", "1 0 0 0 1 0 0 0 1")
        rotation = files.floats(turn, 9, "the chunk's rotation").reshape(3, 3)
        translation = files.floats(transform.findtext("translation", "0 0 0"), 3, "the chunk's translation")
        scale = float(files.floats(transform.findtext("scale", "1"), 1, "the chunk's scale")[0])
        if scale <= 0:
            raise ValueError("the chunk's scale must be positive")
    world = rotation, translation, scale
    if scale == 1:  # what a chunk has that was never scaled
        return world, []
    notes = ["the unit is the metre, as Metashape scaled the chunk; pass --scale if it was scaled by hand"]
    if chunk.findtext("reference", "LOCAL_CS").lstrip().startswith("LOCAL_CS"):
        return world, notes
    # Thousands of kilometres from the middle of the Earth, single precision has steps of half a metre.
    notes.append("georeferenced: the chunk's scale is applied, its place and direction on Earth are not")
    return (np.eye(3), np.zeros(3), scale), notes


def _pose(camera: Element, world: _World, file: Path) -> tuple[Array, Array]:
    """R (3, 3) and t (3,) of a camera, world → camera."""
    what = f"the transform of camera {camera.get('label', '?')}"
    with files.refused(file, _REMEDY):
        pose = files.floats(camera.findtext("transform"), 16, what).reshape(4, 4)
        if not np.allclose(pose[3], [0, 0, 0, 1]):
            raise ValueError(f"{what} does not end in 0 0 0 1")
    rotation, translation, scale = world
    R = (rotation @ pose[:3, :3]).T
    return R, -R @ (scale * rotation @ pose[:3, 3] + translation)


_Intrinsics = tuple[Array, tuple[int, int], Lens | None]  # K with pixel centres at integers; width, height


def _intrinsics(sensor: Element | None, id: str | None, file: Path) -> _Intrinsics:
    """A sensor's intrinsics: the adjusted ones, or the initial ones of a sensor that was fixed."""
    with files.refused(file, _REMEDY, about=f"sensor {id}: "):
        if sensor is None:
            raise ValueError("is missing")
        by_class = {found.get("class", "adjusted"): found for found in sensor.iterfind("calibration")}
        calibration = by_class.get("adjusted", by_class.get("initial"))
        if calibration is None:
            raise ValueError("has no calibration")
        return _parsed(calibration, calibration.get("type", sensor.get("type", "frame")))


def _parsed(calibration: Element, kind: str) -> _Intrinsics:
    """The intrinsics in an element ``calibration`` of a camera of the type ``kind``."""
    if calibration.find("fx") is not None:
        raise ValueError("has fx and fy, as PhotoScan before 1.2 wrote them")
    resolution = calibration.find("resolution")
    if resolution is None:
        raise ValueError("has no resolution")

    def number(key: str) -> float:
        return float(files.floats(calibration.findtext(key, "0"), 1, key)[0])

    width, height = (int(resolution.get(side, "0")) for side in ("width", "height"))
    f, b1, b2 = number("f"), number("b1"), number("b2")
    cx, cy = width / 2 + number("cx") - 0.5, height / 2 + number("cy") - 0.5
    k1, k2, k3, k4, p1, p2, p3, p4 = map(number, ("k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4"))
    if p3 or p4:
        raise ValueError("Metashape no longer has the terms p3 and p4: fix them at 0 and optimise again")
    lens: Lens | None
    if kind == "frame":  # Metashape's p1 and p2 are p2 and p1 in OpenCV
        lens = brown_lens(k1, k2, k3, k4, p2, p1)
    elif kind in _FISHEYES:
        lens = ColmapLens("THIN_PRISM_FISHEYE", (k1, k2, p2, p1, k3, k4, 0.0, 0.0))
    else:
        raise ValueError(f"cameras of the type {kind} are not supported; undistort the photos")
    return np.array([[f + b1, b2, cx], [0, f, cy], [0, 0, 1]]), (width, height), lens


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``cameras.xml``. Where the unit is known, the chunk is in millimetres and scaled to metres.

    Raises:
        Unsupported: a lens is neither Brown's nor a fisheye.
    """
    root = Element("document", version="2.0.0")
    chunk = SubElement(root, "chunk", label="mesoface", enabled="true")
    sensors, cameras = SubElement(chunk, "sensors"), SubElement(chunk, "cameras")
    for id, view in enumerate(views):
        _add_sensor(sensors, id, view)
        camera = SubElement(cameras, "camera", id=str(id), sensor_id=str(id), label=view.image_path.stem)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = view.camera.R.T, view.camera.center * (mm_per_unit or 1.0)
        _add(camera, "transform", pose)
    SubElement(chunk, "reference").text = 'LOCAL_CS["Local Coordinates (m)",UNIT["metre",1]]'
    if mm_per_unit is not None:
        transform = SubElement(chunk, "transform")
        _add(transform, "rotation", np.eye(3))
        _add(transform, "translation", np.zeros(3))
        _add(transform, "scale", 1 / _MM_PER_METRE)
    indent(root, " ")
    ElementTree(root).write(folder / "cameras.xml", encoding="UTF-8", xml_declaration=True)


def _add_sensor(sensors: Element, id: int, view: ViewSource) -> None:
    """Add a view's intrinsics; Metashape's p1 and p2 are OpenCV's p2 and p1."""
    camera, fisheye = view.camera, _fisheye(view)
    kind = "frame" if fisheye is None else "fisheye"
    k1, k2, k3, k4, p1, p2 = brown_of(view, terms=4) if fisheye is None else fisheye
    size = {"width": str(camera.width), "height": str(camera.height)}
    sensor = SubElement(sensors, "sensor", id=str(id), label=view.name, type=kind)
    SubElement(sensor, "resolution", size)
    calibration = SubElement(sensor, "calibration", {"type": kind, "class": "adjusted"})
    SubElement(calibration, "resolution", size)
    K = camera.K
    values = {
        "f": K[1, 1],
        "cx": K[0, 2] + 0.5 - camera.width / 2,
        "cy": K[1, 2] + 0.5 - camera.height / 2,
        "b1": K[0, 0] - K[1, 1],
        "b2": K[0, 1],
    } | {"k1": k1, "k2": k2, "k3": k3, "k4": k4, "p1": p2, "p2": p1}
    for key, value in values.items():
        _add(calibration, key, value)


def _fisheye(view: ViewSource) -> tuple[float, ...] | None:
    """k1 k2 k3 k4 p1 p2 of an equidistant fisheye, or None where the lens is another."""
    if (plain := fisheye_of(view)) is not None:
        return (*plain, 0.0, 0.0)
    lens = view.camera.lens
    if not isinstance(lens, ColmapLens) or lens.model != "THIN_PRISM_FISHEYE" or any(lens.parameters[6:]):
        return None
    k1, k2, p1, p2, k3, k4 = lens.parameters[:6]
    return k1, k2, k3, k4, p1, p2


def _add(parent: Element, tag: str, values: ArrayLike) -> None:
    SubElement(parent, tag).text = " ".join(files.as_texts(values))
