"""Captures that are unusual but good: adapted, and where that matters said so."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from mesoface.files.meshes import read_mesh


@pytest.fixture(scope="module")
def plain_base(command, sample_capture, tmp_path_factory):
    """The base mesh of the four views as they are."""
    out = tmp_path_factory.mktemp("plain") / "face"
    run = command(
        "reconstruct", sample_capture, "--out", out, "--scale", 1, "--until", "base", "--view-ids", "1,3,4,6"
    )
    assert run.code == 0, run.err
    return read_mesh(out / "base.obj").vertices


@pytest.fixture
def base_of(reconstruct, place):
    """``base_of(capture)`` → its base mesh, the record, and what the command said on standard error."""

    def made(capture):
        record, run = reconstruct(capture, "--scale", 1, "--until", "base")
        return read_mesh(place / "face" / "base.obj").vertices, record, run.said

    return made


def distance(a, b):
    return float(np.linalg.norm(a - b, axis=1).mean())


def turn_by_exif(copy, view):
    """Store the photo lying on its side, with the EXIF orientation that turns it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90° clockwise to show"
    lying = np.ascontiguousarray(np.rot90(copy.pixels(view)))
    Image.fromarray(lying).save(copy.photo(view), quality=98, exif=exif)


def test_exif_grey_and_16_bit_photos_are_taken(copy_sample, plain_base, base_of):
    copy = copy_sample()
    turn_by_exif(copy, "1")
    Image.fromarray(copy.pixels("3")).convert("L").save(copy.photo("3"), quality=98)
    cv2.imwrite(str(copy.folder / "4.png"), copy.pixels("4")[..., ::-1].astype(np.uint16) * 257)
    copy.photo("4").unlink()
    vertices, _, said = base_of(copy)
    assert distance(vertices, plain_base) < 0.5
    assert said == ["warning: turned upright by their EXIF orientation, as they were calibrated: 1"]


def add_bystander(copy, view, at):
    """Widen the photo on both sides and put the same view's face in, smaller, at the height ``at``."""
    photo, margin = copy.pixels(view), 220
    wide = cv2.copyMakeBorder(photo, 0, 0, margin, margin, cv2.BORDER_REPLICATE)
    small = cv2.resize(photo[60:800], None, fx=0.34, fy=0.34, interpolation=cv2.INTER_AREA)
    wide[at : at + small.shape[0], : small.shape[1]] = small
    Image.fromarray(wide).save(copy.photo(view), quality=98)
    K = copy.read(f"{view}_K")
    K[0][2] += margin
    copy.write(f"{view}_K", K)
    copy.write(f"{view}_width", wide.shape[1])


def test_of_two_people_the_subject_is_taken_and_it_is_said(copy_sample, plain_base, base_of):
    copy = copy_sample()
    for view, at in (("3", 20), ("4", 560)):
        add_bystander(copy, view, at)
    vertices, record, said = base_of(copy)
    assert distance(vertices, plain_base) < 1.0
    assert sum("2 faces" in line for line in said) == 2, said
    for view in ("3", "4"):
        assert any(line.startswith(f"warning: view {view}: 2 faces") for line in said)
    assert any("2 faces" in line for line in record["warnings"])


def test_two_swapped_cameras_are_named_and_left_out(copy_sample, sample_capture, plain_base, base_of):
    copy = copy_sample([str(i) for i in range(8)])
    for key in ("K", "Rt", "distortion"):
        a, b = copy.read(f"2_{key}"), copy.read(f"7_{key}")
        copy.write(f"2_{key}", b)
        copy.write(f"7_{key}", a)
    vertices, record, said = base_of(copy)
    assert distance(vertices, plain_base) < 1.5
    assert len(said) == 2
    for view, line in zip(("2", "7"), said, strict=True):
        assert line.startswith(f"warning: view {view} contradicts the other views")
    assert record["capture"]["views"] == list("013456")


def test_invalid_views_are_left_out_and_said(copy_sample, base_of):
    copy = copy_sample()
    copy.write("6_valid", False)
    copy.photo("6").write_bytes(b"broken, but nobody looks at it")
    _, _, said = base_of(copy)
    assert said == ["warning: left out, marked invalid in params.json: 6"]


def test_a_face_in_two_of_three_views_is_enough(copy_sample, base_of):
    copy = copy_sample(["1", "3", "4"])
    Image.fromarray(np.full_like(copy.pixels("1"), 120)).save(copy.photo("1"))
    _, _, said = base_of(copy)
    assert said == ["warning: view 1: no face found"]
