"""A reconstructed face in the formats that others read; one file a format.

``read_source(run)`` or ``face_source(face)``, then ``export_face(source, out, ["glb", "obj"])``.
"""

from mesoface.export.formats import FORMATS, export_face
from mesoface.export.options import ExportOptions
from mesoface.export.source import ExportSource, face_source, read_source

__all__ = ["FORMATS", "ExportOptions", "ExportSource", "export_face", "face_source", "read_source"]
