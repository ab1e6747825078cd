"""train tiles: what it says and refuses."""

from __future__ import annotations


def test_refuses_what_cannot_be(copy_sample, place, refused):
    copy, out = copy_sample(["3", "4"]), place / "tiles"
    refused("nowhere", "train", "tiles", "--captures", place / "nowhere", "--out", out)
    refused("--scale", "train", "tiles", "--captures", copy, "--out", out, "--scale", 0)
    refused("--size", "train", "tiles", "--captures", copy, "--out", out, "--size", 5)
    refused("params.json", "train", "tiles", "--captures", place, "--out", out)
    refused("holds other things", "train", "tiles", "--captures", copy, "--out", copy)
    assert not list(place.iterdir())


def test_a_capture_without_truth_is_named_with_the_file_that_lacks(copy_sample, place, refused):
    line = refused(
        "gt.ply", "train", "tiles", "--captures", copy_sample(["3", "4"]), "--out", place / "tiles"
    )
    assert "1 of 1 captures failed" in line
