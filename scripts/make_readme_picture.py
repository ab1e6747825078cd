"""Draw docs/images/pipeline.png: the sample capture from its photos to its relief."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import mesoface
from mesoface.files.maps import write_png
from mesoface.rendering.clay import shade, turntable_cameras
from mesoface.report.pictures import map_picture, symmetric_limits
from mesoface.results.face import Face
from mesoface.uvd.maps import sample_map

RGB = NDArray[np.uint8]
ROOT = Path(__file__).resolve().parent.parent
SIZE = (330, 440)


def main() -> None:
    """Reconstruct the sample capture and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/pipeline.png")
    out = parser.parse_args().out
    capture = mesoface.load_capture(ROOT / "examples/sample_capture")
    face = mesoface.reconstruct(capture, mesoface.Settings(scale=1.0))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_png(out, draw(face))


def draw(face: Face) -> RGB:
    """The panels side by side, each with its name below."""
    fine, detailed, texture = face.fine, face.detailed, face.texture
    assert fine is not None
    assert detailed is not None
    assert texture is not None
    assert fine.mesh.uv is not None
    colors = np.rint(255 * sample_map(texture.color, fine.mesh.uv)).astype(np.uint8)
    forward, up = face.fit.rotation[:, 2], face.fit.rotation[:, 1]
    frame = face.base.select_faces(face.fit.model.topology.facial)
    front, turned = turntable_cameras(frame, forward=forward, up=up, angles=(0.0, -35.0), size=SIZE)
    limits = symmetric_limits(fine.displacement, fine.kept)
    panels = [
        ("photos, cameras", photo_sheet(face)),
        ("base mesh", as_bytes(shade(face.base, front))),
        ("measured surface", as_bytes(shade(fine.mesh, front))),
        ("texture", as_bytes(shade(replace(fine.mesh, colors=colors), turned, mode="color"))),
        ("with predicted relief", as_bytes(shade(detailed, turned))),
        ("displacement (UV)", fitted(map_picture(fine.displacement, fine.kept, "mm", limits=limits))),
    ]
    return np.hstack([titled(picture, title) for title, picture in panels])


def photo_sheet(face: Face) -> RGB:
    """Six of the photos in three rows."""
    views = face.capture.views
    picked = [views[round(i)] for i in np.linspace(0, len(views) - 1, 6)]
    size = (SIZE[0] // 2, SIZE[1] // 3)
    cells = []
    for view in picked:
        height, width = view.image.shape[:2]
        rows = round(width * size[1] / size[0])
        top = (height - rows) // 2
        cells.append(as_bytes(cv2.resize(view.image[top : top + rows], size, interpolation=cv2.INTER_AREA)))
    sheet = np.vstack([np.hstack(cells[i : i + 2]) for i in (0, 2, 4)])
    return fitted(sheet)


def as_bytes(picture: NDArray[np.float32]) -> RGB:
    """Float RGB in [0, 1] as uint8."""
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def fitted(picture: RGB) -> RGB:
    """Scaled into ``SIZE`` on white."""
    factor = min(SIZE[0] / picture.shape[1], SIZE[1] / picture.shape[0])
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    canvas = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    top, left = (SIZE[1] - small.shape[0]) // 2, (SIZE[0] - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def titled(picture: RGB, title: str) -> RGB:
    """With a line of text below."""
    strip = np.full((44, picture.shape[1], 3), 255, np.uint8)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.7
    (width, _), _ = cv2.getTextSize(title, font, scale, 1)
    at = ((picture.shape[1] - width) // 2, 26)
    cv2.putText(strip, title, at, font, scale, (70, 70, 70), 1, cv2.LINE_AA)
    return np.vstack([picture, strip])


if __name__ == "__main__":
    main()
