"""Photos in, measured face out: python examples/1_reconstruct.py examples/sample_capture face"""

import sys

import mesoface
from mesoface.running.progress import progress_bars

folder, out = sys.argv[1:3]
capture = mesoface.load_capture(folder)  # COLMAP, Metashape, FaceScape …: the format is detected
print(len(capture), "photos, undistorted:", ", ".join(capture.names))

settings = mesoface.Settings(scale=1.0)  # mm per world unit; without it, estimated from the eyes
with progress_bars() as progress:
    face = mesoface.reconstruct(capture, settings, progress=progress)

print("base mesh:", face.base.vertices.shape, "warnings:", face.warnings)
for line in mesoface.save_face(face, out, overwrite=True):
    print(line)
