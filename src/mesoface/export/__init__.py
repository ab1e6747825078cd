"""A reconstructed face in the formats that others read; one file a format.

``export_face(face, out, ["glb", "obj"])``, with a face from ``reconstruct`` or ``load_face``.
"""

from mesoface.export.formats import FORMATS, export_face
from mesoface.export.source import ExportOptions, ExportSource

__all__ = ["FORMATS", "ExportOptions", "ExportSource", "export_face"]
