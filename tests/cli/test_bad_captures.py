"""Every way in which a capture can be bad: one line with file and remedy, and nothing is left behind."""

from __future__ import annotations

import json
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image


def claim_huge(copy):
    """A PNG whose header says 30,000 × 30,000, and little behind it; the calibration agrees."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    data = [
        struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks
    ]
    copy.photo("3").unlink()
    (copy.folder / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(data))
    copy.write("3_width", 30_000)
    copy.write("3_height", 30_000)


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])


def spoil_K(copy):
    copy.write("3_K", [[float("nan"), 0, 320], [0, 2700, 480], [0, 0, 1]])


def make_smaller(copy):
    Image.open(copy.photo("3")).resize((320, 480)).save(copy.photo("3"))


def turn_all_alike(copy):
    R = np.array(copy.read("3_Rt"))[:, :3]
    for view in copy.views:
        t = np.array(copy.read(f"{view}_Rt"))[:, 3:]
        copy.write(f"{view}_Rt", np.hstack([R, t]).tolist())


def put_all_at_one_place(copy):
    for view in copy.views:
        copy.write(f"{view}_Rt", copy.read("3_Rt"))


def leave_one(copy):
    for view in copy.views[1:]:
        copy.write(f"{view}_valid", False)


# what is wrong: (how it is done, the file that is named, what else the line says)
BROKEN = {
    "missing image": (lambda c: c.photo("3").unlink(), "3.jpg", "missing"),
    "truncated image": (lambda c: truncate(c.photo("3")), "3.jpg", "truncated"),
    "not an image": (lambda c: c.photo("3").write_bytes(b"not a photo"), "3.jpg", "not an image"),
    "size is not the camera's": (make_smaller, "3.jpg", "320×480, but its camera was calibrated at 640×960"),
    "30,000 × 30,000 header": (claim_huge, "3.png", "megapixels"),
    "K is 2×3": (lambda c: c.change("3_K", lambda K: K[:2]), "params.json", "view 3"),
    "K has NaN": (spoil_K, "params.json", "view 3"),
    "K is words": (lambda c: c.write("3_K", "camera"), "params.json", "view 3"),
    "Rt is scaled": (lambda c: c.change("3_Rt", lambda Rt: 1.1 * Rt), "params.json", "view 3"),
    "Rt mirrors": (lambda c: c.change("3_Rt", lambda Rt: Rt * [[-1], [1], [1]]), "params.json", "view 3"),
    "Rt has NaN": (lambda c: c.write("3_Rt", [[float("nan")] * 4] * 3), "params.json", "view 3"),
    "a key is missing": (lambda c: c.params.write_text('{"3_K": []}'), "params.json", "view 3 has no 3_Rt"),
    "params.json is no JSON": (lambda c: truncate(c.params), "params.json", "not JSON"),
    "params.json is a list": (lambda c: c.params.write_text("[]"), "params.json", "object"),
    "params.json is binary": (lambda c: c.params.write_bytes(os.urandom(64)), "params.json", "not JSON"),
    "one view only": (leave_one, "capture", "only 1 usable view"),
    "cameras look the same way": (turn_all_alike, "capture", "look the same way"),
    "cameras stand at one place": (put_all_at_one_place, "capture", "same place"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_capture_is_refused_in_one_line(what, copy_sample, place, refused):
    damage, name, words = BROKEN[what]
    copy = copy_sample()
    damage(copy)
    before = sorted(copy.folder.iterdir())
    line = refused(name, "reconstruct", copy, "--out", place / "face")
    assert words in line
    assert sorted(copy.folder.iterdir()) == before


@pytest.mark.parametrize("verb", ["reconstruct", "inspect"])
def test_an_empty_folder_is_refused_with_what_was_looked_for(verb, tmp_path, place, refused):
    folder = tmp_path / "empty"
    folder.mkdir()
    options = ["--out", place / "face"] if verb == "reconstruct" else []
    line = refused("empty", verb, folder, *options)
    for file in ("params.json", "cameras.bin", "transforms.json"):
        assert file in line


@pytest.mark.parametrize("name", ["nowhere", "capture/params.json"])
def test_what_is_no_folder_is_refused(name, copy_sample, place, refused):
    folder = copy_sample().folder.parent / name
    refused(name, "reconstruct", folder, "--out", place / "face")


def test_a_name_with_markup_is_shown_as_it_is(copy_sample, place, refused):
    copy = copy_sample()
    odd = copy.folder.rename(copy.folder.with_name("[red]shoot[bold] 3"))
    (odd / "3.jpg").unlink()
    refused("[red]shoot[bold] 3/3.jpg", "reconstruct", odd, "--out", place / "face")


def paint_over(copy, views):
    """Photos of these views of noise: no face in them."""
    rng = np.random.default_rng(5)
    for view in views:
        shape = copy.pixels(view).shape
        Image.fromarray(rng.integers(90, 130, shape, dtype=np.uint8)).save(copy.photo(view))


@pytest.mark.parametrize(
    ("blank", "words"),
    [(("3", "4"), "no face was found in any view of 2"), (("4",), "a face was found only in view 3")],
)
def test_fewer_than_two_faces_are_refused(blank, words, copy_sample, place, refused):
    copy = copy_sample(["3", "4"])
    paint_over(copy, blank)
    line = refused("capture", "reconstruct", copy, "--out", place / "face")
    assert words in line


def test_the_result_may_not_go_into_the_capture(copy_sample, refused):
    copy = copy_sample()
    before = sorted(copy.folder.iterdir())
    for out in (copy.folder, copy.folder / "face", copy.folder / "x" / ".." / "face"):
        assert "capture" in refused(out, "reconstruct", copy, "--out", out)
    assert sorted(copy.folder.iterdir()) == before


def test_nor_over_the_folder_around_it(copy_sample, tmp_path, refused):
    refused(tmp_path, "reconstruct", copy_sample(), "--out", tmp_path, "--overwrite")


def test_an_older_result_stays_unless_told(copy_sample, place, refused):
    out = place / "face"
    out.mkdir()
    (out / "run.json").write_text("{}")
    assert "--overwrite" in refused(out, "reconstruct", copy_sample(), "--out", out)
    assert (out / "run.json").read_text() == "{}"


def test_only_results_are_overwritten(copy_sample, place, refused):
    (place / "thesis.tex").write_text("years of work")
    assert "run.json" in refused(place, "reconstruct", copy_sample(), "--out", place, "--overwrite")
    assert (place / "thesis.tex").exists()


@pytest.mark.parametrize("out", ["thesis.tex", "thesis.tex/face"])
def test_a_file_in_the_way_is_told_before_any_work(out, copy_sample, place, refused):
    (place / "thesis.tex").write_text("years of work")
    assert "is a file" in refused(place / out, "reconstruct", copy_sample(), "--out", place / out)


def test_a_run_that_fails_keeps_the_result_it_was_to_overwrite(copy_sample, place, refused):
    copy, out = copy_sample(), place / "face"
    out.mkdir()
    (out / "run.json").write_text(json.dumps({"format": 1}))
    truncate(copy.photo("3"))
    refused("3.jpg", "reconstruct", copy, "--out", out, "--overwrite")
    assert [path.name for path in place.iterdir()] == ["face"]
    assert (out / "run.json").exists()
