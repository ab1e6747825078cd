"""Photos in, measured face out: python examples/1_reconstruct.py examples/sample_capture face"""

import sys

import mesoface
from mesoface.running.progress import progress_bars

folder, out = sys.argv[1:3]
capture = mesoface.load_capture(folder)  # COLMAP, Metashape, FaceScape …: found by looking
print(len(capture), "photos, undistorted:", ", ".join(capture.names))

settings = mesoface.Settings(scale=1.0)  # millimetres per world unit; leave it out to have the eyes tell
with progress_bars() as progress:
    face = mesoface.reconstruct(capture, settings, progress=progress)

print("base mesh:", face.base.vertices.shape, "warnings:", face.warnings)
for line in mesoface.save_face(face, out, overwrite=True):
    print(line)
