"""Photos and cameras that you have as arrays: python examples/2_arrays.py examples/sample_capture

No format is read here: the photos come from Pillow, the cameras from numbers.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import mesoface

folder = Path(sys.argv[1])
numbers = json.loads((folder / "params.json").read_text())

views = []
for name in ("1", "3", "4", "6"):
    photo = np.asarray(Image.open(folder / f"{name}.jpg"), np.float32) / 255  # (H, W, 3) RGB in [0, 1]
    height, width = photo.shape[:2]
    Rt = np.array(numbers[f"{name}_Rt"])  # world → camera; x right, y down, z forward
    lens = mesoface.OpenCVLens(numbers[f"{name}_distortion"])
    camera = mesoface.Camera(np.array(numbers[f"{name}_K"]), Rt[:, :3], Rt[:, 3], width, height, lens)
    views.append(mesoface.make_view(name, photo, camera))  # undistorted; pixel centres at integers

capture = mesoface.Capture(tuple(views), mm_per_unit=1.0)
face = mesoface.reconstruct(capture, mesoface.Settings(until="base"))
print("base mesh:", face.base.vertices.shape, "landmark error:", f"{np.nanmedian(face.fit.residuals):.2f} px")
