"""Inspection of a capture: :func:`mesoface.inspection.inspect.inspect`, and the problems it finds."""
