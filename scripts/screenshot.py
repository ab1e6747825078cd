"""Draw docs/images/viewer.jpg: a result in `mesoface view`, among its cameras and through one of them.

Needs the extra mesoface[view] and a Chromium. The picture in the docs is the sample capture's:
mesoface reconstruct examples/sample_capture --out demo --scale 1, then python scripts/screenshot.py demo
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from chromium import Page, chromium_page
from numpy.typing import NDArray

from mesoface.viewer.result import read_result
from mesoface.viewer.server import Viewer

ROOT = Path(__file__).resolve().parent.parent
SIZE = (900, 760)
SETTLE = 4.0  # seconds without a change: the picture is complete


def main() -> None:
    """Show the result, take both pictures, put them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder that `mesoface reconstruct` wrote")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/viewer.jpg")
    parser.add_argument("--view", default=None, help="the camera to look through; default: the second")
    arguments = parser.parse_args()
    result = read_result(arguments.run)
    viewer = Viewer(result, port=18090)
    surface = next(iter(result.surfaces))
    with chromium_page(*SIZE) as page:
        page.open(f"http://localhost:{viewer.port}/")
        page.wait("document.querySelector('canvas')")
        viewer.show(surface, "texture" if result.texture is not None else "clay")
        settled(page)
        dismiss_hints(page)
        step_back(viewer, result.face.fit.rotation)
        among = settled(page)
        viewer.show(surface, "clay")
        viewer.look_through(arguments.view or result.face.cameras.views[1].name)
        through = settled(page)
    viewer.close()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(arguments.out), np.hstack([among, through]), [cv2.IMWRITE_JPEG_QUALITY, 84])


def step_back(viewer: Viewer, axes: NDArray[np.float64]) -> None:
    """Every browser's eye a little up and to the side, behind the capture's cameras."""
    for client in viewer.server.get_clients().values():
        away = np.linalg.norm(client.camera.position - viewer.center)
        client.camera.fov = 0.75
        client.camera.position = viewer.center + axes @ (0.9 * away, 1.2 * away, 3.2 * away)
        client.camera.look_at = viewer.center


def dismiss_hints(page: Page) -> None:
    """Close the client's word about software rendering."""
    page.evaluate("document.querySelectorAll('.mantine-Notification-closeButton').forEach(x => x.click())")


def settled(page: Page) -> NDArray[np.uint8]:
    """(H, W, 3) BGR of the window when it stops changing."""
    picture, since = shot(page), time.monotonic()
    while time.monotonic() - since < SETTLE:
        time.sleep(0.5)
        new = shot(page)
        if not np.array_equal(new, picture):
            picture, since = new, time.monotonic()
    return picture


def shot(page: Page) -> NDArray[np.uint8]:
    """(H, W, 3) BGR of the window."""
    return cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)


if __name__ == "__main__":
    main()
