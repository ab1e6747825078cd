"""facescape: what it refuses, and that nothing is written then."""

from __future__ import annotations

from pathlib import Path


def test_prepare_refuses_what_is_no_facescape(sample_capture: Path, place, refused):
    out = place / "prepared"
    refused("nowhere", "facescape", "prepare", place / "nowhere", "--out", out)
    line = refused(sample_capture, "facescape", "prepare", sample_capture, "--out", out)
    assert "1/1_neutral" in line
    refused("--eval-share", "facescape", "prepare", sample_capture, "--out", out, "--eval-share", 0.9)
    refused("--views", "facescape", "prepare", sample_capture, "--out", out, "--views", 1)
    assert not list(place.iterdir())


def test_prepare_asks_for_the_scales(tmp_path: Path, place, refused):
    (tmp_path / "raw" / "1" / "1_neutral").mkdir(parents=True)
    out = place / "prepared"
    refused("Rt_scale_dict.json", "facescape", "prepare", tmp_path / "raw", "--out", out)
    missing = place / "scales.json"
    refused(missing, "facescape", "prepare", tmp_path / "raw", "--out", out, "--scales", missing)
    assert not list(place.iterdir())


def test_evaluate_refuses_what_was_not_prepared(tmp_path: Path, place, refused):
    refused("id.json", "facescape", "evaluate", place, tmp_path, "--out", place / "table")
    assert not list(place.iterdir())


def test_synth_refuses_impossible_numbers(place, refused):
    refused("--people", "facescape", "synth", "--out", place / "x", "--people", 0)
    refused("--expressions", "facescape", "synth", "--out", place / "x", "--expressions", 21)
    assert not list(place.iterdir())
