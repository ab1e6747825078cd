"""``face.glb``: mesh, colour and normal map in one binary glTF 2.0 file (Khronos, ISO/IEC 12113)."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import mesoface
from mesoface.export.meshes import CLAY, ROUGHNESS, make_asset
from mesoface.export.normals import encode_normals
from mesoface.export.source import ExportSource
from mesoface.files.atomic import atomic_file
from mesoface.files.images import jpeg, png

_COMPONENTS = {np.dtype(np.float32): 5126, np.dtype(np.uint32): 5125}
_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_ATTRIBUTE, _INDEX = 34962, 34963
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_EDGE_MM = 2.0  # on the skin: a density for real time
_LARGEST_IMAGE = 2048
_METRES = 0.001


class GlbBuilder:
    """Collects buffers; the glTF document around them is a plain dictionary."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"mesoface {mesoface.__version__}"},
            "accessors": [],
            "bufferViews": [],
        }
        self._data = bytearray()

    def add_attribute(self, values: NDArray, *, bounds: bool = False) -> int:
        """Append (N, C) floats per vertex; the accessor's number.

        Args:
            values: written as float32.
            bounds: add the smallest and largest values, which glTF requires for positions.
        """
        return self._add_accessor(np.ascontiguousarray(values, np.float32), _ATTRIBUTE, bounds)

    def add_indices(self, faces: NDArray[np.int64]) -> int:
        """Append (F, 3) triangles; the accessor's number."""
        return self._add_accessor(faces.astype(np.uint32).reshape(-1, 1), _INDEX, False)

    def add_uv(self, uv: NDArray[np.float64]) -> int:
        """Append (N, 2) UVs with v up; the accessor's number."""
        return self.add_attribute(uv * (1, -1) + (0, 1))  # glTF has v down

    def add_texture(self, data: bytes, mime: str, name: str) -> int:
        """Append an encoded image; the texture's number."""
        images, textures = (self.document.setdefault(key, []) for key in ("images", "textures"))
        images.append({"name": name, "mimeType": mime, "bufferView": self._add_view(data)})
        # Linear with mipmaps, clamped: nothing is drawn beyond the border of the UV square.
        self.document.setdefault(
            "samplers", [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        )
        textures.append({"source": len(images) - 1, "sampler": 0})
        return len(textures) - 1

    def show(self, name: str, attributes: dict[str, int], indices: int, material: dict[str, Any]) -> None:
        """Make the document one scene with one mesh of one material."""
        self.document |= {
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"name": name, "mesh": 0}],
            "meshes": [
                {"name": name, "primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}
            ],
            "materials": [material],
        }

    def encode(self) -> bytes:
        """The file's bytes."""
        document = {**self.document, "buffers": [{"byteLength": len(self._data)}]}
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        data = bytes(self._data) + bytes(-len(self._data) % 4)
        total = 12 + 8 + len(text) + 8 + len(data)
        head = struct.pack("<III", _MAGIC, 2, total)
        chunks = [struct.pack("<II", len(text), _JSON), text, struct.pack("<II", len(data), _BIN), data]
        return b"".join([head, *chunks])

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            MesofaceError: it cannot be written.
        """
        with atomic_file(path) as temporary:
            temporary.write_bytes(self.encode())

    def _add_view(self, data: bytes, target: int | None = None) -> int:
        self._data += bytes(-len(self._data) % 4)
        view = {"buffer": 0, "byteOffset": len(self._data), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self._data += data
        self.document["bufferViews"].append(view)
        return len(self.document["bufferViews"]) - 1

    def _add_accessor(self, values: NDArray, target: int, bounds: bool) -> int:
        accessor: dict[str, Any] = {
            "bufferView": self._add_view(values.tobytes(), target),
            "componentType": _COMPONENTS[values.dtype],
            "count": len(values),
            "type": _TYPES[values.shape[1]],
        }
        if bounds:
            accessor["min"] = [float(x) for x in values.min(0)]
            accessor["max"] = [float(x) for x in values.max(0)]
        self.document["accessors"].append(accessor)
        return len(self.document["accessors"]) - 1


def to_power_of_two(pixels: NDArray[np.uint8], largest: int) -> NDArray[np.uint8]:
    """(S, S, 3) pixels, scaled up to the next power of two a side, or down to ``largest``.

    Engines stream and compress textures of such sizes only.
    """
    side = len(pixels)
    wanted = min(largest, 1 << (side - 1).bit_length())
    if wanted == side:
        return pixels
    how = cv2.INTER_AREA if wanted < side else cv2.INTER_LINEAR
    return cv2.resize(pixels, (wanted, wanted), interpolation=how)


def export_glb(source: ExportSource, folder: Path) -> list[str]:
    """Write ``face.glb``: metres, +Y up where ``source`` is upright, metallic-roughness material.

    The normal map is relative to this mesh, whose tangents are in the file: readers need not guess them.
    Colour is a JPEG, the normal map a PNG; their sides are powers of two, 2048 at most.

    Raises:
        MesofaceError: it cannot be written, or the mesh cannot be made.
    """
    asset = make_asset(source, edge_mm=_EDGE_MM)
    drawn = asset.drawn
    glb = GlbBuilder()
    attributes = {
        "POSITION": glb.add_attribute(drawn.position * _METRES, bounds=True),
        "NORMAL": glb.add_attribute(drawn.normal),
        "TEXCOORD_0": glb.add_uv(drawn.uv),
    }
    indices = glb.add_indices(drawn.faces)
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
    material: dict[str, Any] = {"name": "skin", "pbrMetallicRoughness": surface}
    if asset.color is None:
        surface["baseColorFactor"] = [*CLAY, 1.0]
    else:
        color = jpeg(to_power_of_two(asset.color, _LARGEST_IMAGE))
        surface["baseColorTexture"] = {"index": glb.add_texture(color, "image/jpeg", "color")}
    if asset.normals is not None:
        attributes["TANGENT"] = glb.add_attribute(drawn.tangent)
        normals = png(to_power_of_two(encode_normals(asset.normals, np.uint8), _LARGEST_IMAGE))
        material["normalTexture"] = {"index": glb.add_texture(normals, "image/png", "normal")}
    rotation, translation = source.world
    glb.show("face", attributes, indices, material)
    glb.document["asset"]["extras"] = {
        "face_model": source.face.fit.model.name,
        "world_mm": {"rotation": rotation.tolist(), "translation": translation.tolist()},
    }
    path = folder / "face.glb"
    glb.write(path)
    return [f"face.glb: {asset.about}, {path.stat().st_size / 1e6:.1f} MB"]
