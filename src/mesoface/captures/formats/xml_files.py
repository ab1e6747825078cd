"""XML of a bounded size, without document types and entities: the files come from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from mesoface.captures.formats.files import read_limited
from mesoface.errors import CaptureError
from mesoface.geometry.lens import Array

MAX_XML_BYTES = 32 * 2**20
MAX_ELEMENTS = 300_000  # Metashape writes some ten a photo
MAX_DEPTH = 64


class _Refused(Exception):
    """Well-formed XML that is not read all the same; says why."""


def read_xml(path: Path) -> Element:
    """The root element of an XML file; names with a namespace are ``{uri}name``.

    Raises:
        CaptureError: it cannot be opened, is larger than 32 MB, is not XML, declares a document type or an
            entity, or holds more elements than any calibration does.
    """
    data = read_limited(path, MAX_XML_BYTES)
    builder = TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    elements = depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal elements, depth
        elements, depth = elements + 1, depth + 1
        if elements > MAX_ELEMENTS or depth > MAX_DEPTH:
            raise _Refused("holds more elements, or deeper ones, than a calibration has")
        builder.start(_qualified(tag), {_qualified(name): value for name, value in attributes.items()})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_qualified(tag))

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _no_document_type
    remedy = "export it again from the program that calibrated the cameras"
    try:
        parser.Parse(data, True)
        return builder.close()
    except _Refused as error:
        raise CaptureError(str(error), path=path, remedy=remedy) from error
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as error:
        raise CaptureError(f"is not XML ({error})", path=path, remedy=remedy) from error


def floats(text: str | None, count: int, what: str) -> Array:
    """``count`` finite numbers, separated by white space.

    Raises:
        ValueError: others, or none; names ``what``.
    """
    words = (text or "").split()
    if len(words) != count:
        raise ValueError(f"{what} must have {count} numbers, got {len(words)}")
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise ValueError(f"{what} holds something that is not a number") from error
    if not np.isfinite(values).all():
        raise ValueError(f"{what} has numbers that are not finite")
    return values


def _qualified(name: str) -> str:
    return "{" + name if "}" in name else name


def _no_document_type(*_: object) -> NoReturn:
    raise _Refused("declares a document type or an entity, which is not read")
