"""``base.obj`` and ``base_fit.json``: the face model's topology, and the weights that the fit found."""

from __future__ import annotations

import json
from pathlib import Path

from mesoface.export.source import ExportSource
from mesoface.files.atomic import atomic_file
from mesoface.files.meshes import write_obj


def export_base(source: ExportSource, folder: Path) -> list[str]:
    """Write the base mesh and the model's coefficients.

    The mesh follows the measured surface without its detail, so it is nearer to the face than the model with
    these coefficients; they serve to animate it and to compare faces.

    Raises:
        MesofaceError: a file cannot be written.
    """
    write_obj(folder / "base.obj", source.base)
    fit = source.face.fit
    # From the model's own axes to those of the exported mesh.
    rotation, translation = source.world
    content = {
        "face_model": fit.model.name,
        "identity": fit.identity.tolist(),
        "expression": fit.expression.tolist(),
        "coefficients": "identity in standard deviations; expression too, or weights 0 to 1 of blendshapes",
        "unit": "mm",
        "rotation": (rotation.T @ fit.rotation).tolist(),
        "translation": (rotation.T @ (fit.translation - translation)).tolist(),
        "formula": "base.obj is about rotation @ model(identity, expression) + translation",
    }
    with atomic_file(folder / "base_fit.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return [
        f"base.obj: {len(source.base.vertices):,} vertices; base_fit.json: {len(fit.identity)} identity and "
        f"{len(fit.expression)} expression weights of {fit.model.name}"
    ]
