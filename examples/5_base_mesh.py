"""A base mesh of your own, without a face model: python examples/5_base_mesh.py examples/sample_capture

Any mesh with UVs will do that lies within some 10 mm of the skin. Here it is a sheet bent over the landmarks.
"""

import sys

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import Delaunay

import mesoface
from mesoface.geometry.mesh import Mesh
from mesoface.landmarks import MediapipeDetector, align_landmarks, face_axes, triangulate
from mesoface.matching.cascade import choose_matcher, match
from mesoface.surface.fine import clean_coverage, fine_mesh
from mesoface.uvd.space import build_uvd_space

folder = sys.argv[1]
capture = mesoface.load_capture(folder).in_millimetres(1.0)  # millimetres per world unit
flat = MediapipeDetector().detect(capture)
flat, solid = align_landmarks(capture, flat, triangulate(capture.cameras, flat))

# The sheet, in the face's axes: x to the subject's left, y up, z out of the face.
axes, centre = face_axes(solid), np.nanmean(solid.points, 0)
points = ((solid.points - centre) @ axes.T)[:468]
points = points[np.isfinite(points).all(1)]
bend = RBFInterpolator(points[:, :2], points[:, 2], smoothing=5.0, neighbors=60)
u, v = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 1, 80), np.linspace(0, 1, 80)))
low, high = points[:, :2].min(0), points[:, :2].max(0)
xy = low + np.column_stack([u, v]) * (high - low)
corner = (np.arange(79)[:, None] * 80 + np.arange(79)).ravel()
faces = np.concatenate([corner[:, None] + cell for cell in ([0, 1, 81], [0, 81, 80])])
base = Mesh(np.column_stack([xy, bend(xy)]) @ axes + centre, faces, np.column_stack([u, v]))
facial = Delaunay(points[:, :2]).find_simplex(xy[faces].mean(1)) >= 0  # measured inside of the landmarks

found = match(lambda size: build_uvd_space(base, facial, size), capture.views, choose_matcher("ncc"))
surface = fine_mesh(found.space, clean_coverage(found).kept)
error = mesoface.evaluate(surface, mesoface.read_mesh(f"{folder}/gt.ply")).accuracy
print(f"{len(surface.vertices):,} vertices, error: median {error.median:.3f} mm, mean {error.mean:.3f} mm")
