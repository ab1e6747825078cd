"""Metashape's XML (in Metashape: File > Import > Import Cameras), one sensor per view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np
from numpy.typing import ArrayLike

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.lenses import ColmapLens
from mesoface.captures.formats.metashape import MM_PER_METRE
from mesoface.captures.formats.writers.terms import as_texts, brown_of, fisheye_of

PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{stem}.png", True


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
        _add(transform, "scale", 1 / MM_PER_METRE)
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
    SubElement(parent, tag).text = " ".join(as_texts(values))
