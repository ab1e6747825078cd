"""The formats by name, and a folder of exports."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mesoface
from mesoface.errors import MesofaceError
from mesoface.export.displacement import export_dpmap, export_exr, export_png
from mesoface.export.glb import export_glb
from mesoface.export.meshes import export_base, export_obj, export_ply
from mesoface.export.normals import export_normals
from mesoface.export.source import ExportOptions, ExportSource
from mesoface.export.usd import export_usd, require_usd
from mesoface.files.atomic import atomic_folder
from mesoface.results.face import Face
from mesoface.running.progress import ProgressCallback, silent

MANIFEST = "export.json"
"""The file that identifies a folder of exports."""


@dataclass(frozen=True)
class Format:
    """One way to export a face.

    Args:
        write: writes the files of a face into a folder and returns what it wrote, a line each, for people;
            raises :class:`.MesofaceError` where a file cannot be written or the face lacks what it needs.
        measured: whether it needs a measured surface.
        unit: of the lengths in it.
    """

    write: Callable[[ExportSource, Path], list[str]]
    measured: bool
    unit: str


FORMATS: dict[str, Format] = {
    "glb": Format(export_glb, measured=False, unit="m"),
    "obj": Format(export_obj, measured=False, unit="mm"),
    "ply": Format(export_ply, measured=False, unit="mm"),
    "usd": Format(export_usd, measured=False, unit="cm"),
    "exr": Format(export_exr, measured=True, unit="mm"),
    "png": Format(export_png, measured=True, unit="mm"),
    "dpmap": Format(export_dpmap, measured=True, unit="mm"),
    "normals": Format(export_normals, measured=True, unit="none"),
    "base": Format(export_base, measured=False, unit="mm"),
}


def parse_formats(names: str) -> list[str]:
    """``"glb,obj"`` or ``"all"`` → names of formats, each once.

    Raises:
        MesofaceError: a name is unknown, none is given, or a format needs a package that is not installed.
    """
    chosen = list(dict.fromkeys(name.strip().lower() for name in names.split(",") if name.strip()))
    if chosen == ["all"]:
        chosen = list(FORMATS)
    known = ", ".join(FORMATS)
    if not chosen:
        raise MesofaceError("no format is named", remedy=f"--to takes {known}, or all")
    for name in chosen:
        if name not in FORMATS:
            raise MesofaceError(f"unknown format {name!r}", remedy=f"--to takes {known}, or all")
    if "usd" in chosen:
        require_usd()
    return chosen


def check_export_folder(out: Path, run: Path) -> None:
    """Refuse a folder in which an export would do damage.

    Raises:
        MesofaceError: ``out`` is the result's folder, contains it, or holds something other than exports.
    """
    target, source = out.resolve(), run.resolve()
    if target == source or target in source.parents:
        raise MesofaceError(
            "the export would replace the result",
            path=out,
            remedy="name a folder of its own, e.g. RUN/export",
        )
    _check_replaceable(out)


def _check_replaceable(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise MesofaceError(
            f"exists already and is no folder of exports (it has no {MANIFEST})",
            path=out,
            remedy="name another folder",
        )


def export_face(
    face: Face,
    out: str | Path,
    formats: Sequence[str],
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> list[str]:
    """Write a folder of exports; it appears when all of it is written, or not at all.

    Args:
        face: from :func:`mesoface.reconstruct` or :func:`mesoface.load_face`.
        out: folder to make.
        formats: names of :data:`FORMATS`.
        options: density, topology and frame; None for the defaults.
        overwrite: whether an older export may be replaced.
        progress: called after every format.

    Returns:
        what was written, a line each.

    Raises:
        MesofaceError: a format cannot be made of this face, or the folder cannot be written.
    """
    source = ExportSource(face, options or ExportOptions())
    _check_replaceable(Path(out))
    missing = [name for name in formats if FORMATS[name].measured and face.fine is None]
    if missing:
        able = ", ".join(name for name, format in FORMATS.items() if not format.measured)
        raise MesofaceError(
            f"{', '.join(missing)}: this run stopped at the base mesh, nothing was measured",
            remedy=f"export {able}, or reconstruct without --until base",
        )
    lines: list[str] = []
    with atomic_folder(Path(out), overwrite=overwrite) as folder:
        for number, name in enumerate(formats):
            progress("Exporting", number, len(formats))
            lines += FORMATS[name].write(source, folder)
        (folder / MANIFEST).write_text(_manifest(source, formats, folder), encoding="utf-8")
        progress("Exporting", len(formats), len(formats))
    return lines


def _manifest(source: ExportSource, formats: Sequence[str], folder: Path) -> str:
    """The contents of the folder, their units and axes."""
    rotation, translation = source.world
    options = source.options
    predicted = source.face.relief is not None and options.detail == "all"
    content = {
        "mesoface": mesoface.__version__,
        "files": sorted(path.name for path in folder.iterdir()),
        "units": {name: FORMATS[name].unit for name in formats},
        "frame": options.frame,
        "detail_edge_mm": options.edge_mm,
        "topology": options.topology,
        "detail": "measured and predicted" if predicted else "measured",
        "world_mm": {"rotation": rotation.tolist(), "translation": translation.tolist()},
    }
    return json.dumps(content, indent=2) + "\n"
