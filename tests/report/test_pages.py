"""Every page is sealed, whatever is in the names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mesoface
from mesoface.inspection.inspect import ViewReport
from mesoface.rendering.page import render
from mesoface.report.inspect_page import place_cameras
from tests.rendering.test_page import EVIL, assert_sealed
from tests.report.test_reconstruct_page import context

HOUSE = Path(mesoface.__file__).parent
PICTURE = np.zeros((4, 4, 3), np.uint8)
PAIRS = [(EVIL, EVIL)]
CAMERAS = place_cameras([ViewReport(EVIL[:12], 4, 4, 5.0, True, distance=600.0, azimuth=10.0, elevation=3.0)])
PROBLEM = SimpleNamespace(what=EVIL, remedy=EVIL, severe=True)
ROW = {
    "id": EVIL,
    "link": "a/report.html",
    "capture": EVIL,
    "warnings": [EVIL],
    "thumbnail": "",
    "cells": [EVIL],
}
PAGES = {
    "report/templates/reconstruct.html": context(
        name=EVIL, warnings=[EVIL], photos=[(EVIL, PICTURE)], settings=PAIRS, command=EVIL
    ),
    "report/templates/inspect.html": {
        "subtitle": EVIL,
        "inspection": SimpleNamespace(problems=[PROBLEM], notes=[EVIL]),
        "cameras": CAMERAS,
        "coverage": EVIL,
        "columns": [EVIL],
        "rows": [[EVIL]],
        "statuses": ["usable"],
        "units": EVIL,
        "photos": [(EVIL, EVIL, "usable", PICTURE)],
    },
    "report/templates/calibrate.html": {
        "facts": PAIRS,
        "notes": [EVIL],
        "cameras": CAMERAS,
        "columns": [EVIL],
        "rows": [[EVIL]],
        "photos": [(EVIL, PICTURE)],
    },
    "batch/templates/batch.html": {
        "remark": EVIL,
        "facts": PAIRS,
        "notes": [EVIL],
        "command": EVIL,
        "failed": [(EVIL, EVIL, EVIL)],
        "headings": [EVIL],
        "done": [ROW],
    },
    "lab/facescape/templates/prepared.html": {
        "facts": PAIRS,
        "failed": PAIRS,
        "columns": [EVIL],
        "rows": [[EVIL]],
        "adapted": PAIRS,
    },
    "lab/facescape/templates/split.html": {
        "facts": PAIRS,
        "legend": EVIL,
        "head": (EVIL,),
        "expressions": [[EVIL]],
        "unmeasured": PAIRS,
        "worst": [(EVIL, PICTURE)],
        "captures": [[EVIL]],
    },
}


@pytest.mark.parametrize("page", PAGES)
def test_a_hostile_name_is_text(page: str) -> None:
    text = render(HOUSE / page, **{"title": EVIL, "name": EVIL, "footer": EVIL, **PAGES[page]})
    assert_sealed(text)
    assert "&lt;script&gt;alert" in text


def test_all_pages_are_here() -> None:
    folders = (path for path in HOUSE.rglob("templates") if path.parent.name != "rendering")
    pages = {str(path.relative_to(HOUSE)) for folder in folders for path in folder.glob("*.html")}
    assert pages == {*PAGES, "report/templates/cameras.html"}
