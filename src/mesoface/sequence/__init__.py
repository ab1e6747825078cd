"""A multi-view video: one person, the same cameras, frame after frame."""
