"""RealityCapture's XMP files beside the photos, where it reads them when photos are added."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, register_namespace

from numpy.typing import ArrayLike

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.realitycapture import FILM, RDF, XCR
from mesoface.captures.formats.writers.terms import as_texts, brown_of, refuse_skew

PHOTO, MASK, STATES_UNIT = "{stem}{suffix}", "masks/{photo}.png", False
_XMP = "adobe:ns:meta/"
for _prefix, _uri in (("x", _XMP), ("rdf", RDF), ("xcr", XCR)):
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
        "FocalLength35mm": _text(camera.K[0, 0] / longer * FILM),
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
    inner = {f"{{{XCR}}}{key}": value for key, value in attributes.items()}
    description = SubElement(SubElement(root, f"{{{RDF}}}RDF"), f"{{{RDF}}}Description", inner)
    for key, values in (
        ("Rotation", camera.R),
        ("Position", camera.center),
        ("DistortionCoeficients", (k1, k2, k3, k4, p2, p1)),  # the program's t1 is p2, its t2 p1
    ):
        SubElement(description, f"{{{XCR}}}{key}").text = _text(values)
    return root


def _text(values: ArrayLike) -> str:
    return " ".join(as_texts(values))
