"""convert and schema: what they print, write and refuse."""

from __future__ import annotations

import json

from mesoface.captures.formats import read_source


def test_convert_writes_the_capture_and_says_what_is_lost(command, copy_sample, place):
    copy = copy_sample()
    run = command("convert", copy, place / "plain", "--to", "plain")
    assert (run.code, run.out.splitlines()[0]) == (0, f"{place / 'plain'}: 4 views as plain")
    content = json.loads((place / "plain/capture.json").read_text())
    content["mm_per_unit"] = 1.0
    (place / "plain/capture.json").write_text(json.dumps(content))
    run = command("convert", place / "plain", place / "colmap", "--to", "colmap", "--undistort")
    assert "colmap cannot state the unit: pass --scale 1 to mesoface" in run.out
    source = read_source(place / "colmap")
    assert [view.name for view in source.views] == copy.views
    assert all(view.camera.lens is None for view in source.views)


def test_convert_refuses_in_one_line_and_leaves_nothing(copy_sample, place, refused):
    copy = copy_sample()
    refused("no format 'usd' to write", "convert", copy, place / "new", "--to", "usd")
    refused("lies in the capture", "convert", copy, copy.folder / "inside", "--to", "plain")
    copy.photo("3").unlink()
    refused("3.jpg: the image is missing", "convert", copy, place / "new", "--to", "plain")


def test_schema_is_json_that_describes_the_file(command):
    run = command("schema")
    assert run.code == 0
    assert json.loads(run.out)["properties"]["format"]["const"] == "mesoface-capture"
