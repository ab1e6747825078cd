"""The house has floors: an import never climbs. Lazy and type-only imports count."""

from __future__ import annotations

import ast
from pathlib import Path

HOUSE = Path(__file__).parents[1] / "src" / "mesoface"
FLOORS = (
    *("errors", "config", "geometry", "files", "running", "captures", "uvd", "rendering", "landmarks"),
    *("face_models", "inspection", "calibration", "evaluation", "matching", "surface", "texture", "relief"),
    *("results", "weights", "pipeline", "export", "report", "viewer", "save"),
    "precision",
    *("batch", "sequence", "lab", "cli"),
)


def imported(file: Path) -> set[str]:
    """What a file imports, as ``mesoface.x.y``."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return names | {f"{node.module}.{alias.name}" for node in modules for alias in node.names}


def test_no_import_climbs():
    for file in HOUSE.rglob("*.py"):
        floor = file.relative_to(HOUSE).parts[0].removesuffix(".py")
        if floor != "__init__":
            met = {name.split(".")[1] for name in imported(file) if name.startswith("mesoface.")}
            above = met & set(FLOORS[FLOORS.index(floor) + 1 :])
            assert not above, f"{file.relative_to(HOUSE)} imports from {above}, which lie above it"


def test_every_room_has_its_floor():
    rooms = {path.parent.name for path in HOUSE.glob("*/*.py")}
    modules = {path.stem for path in HOUSE.glob("*.py")} - {"__init__"}
    assert rooms | modules == set(FLOORS)
    assert len(modules) < 6
