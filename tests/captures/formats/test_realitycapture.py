"""RealityCapture's XMP and CSV: film of 36 mm, principal point as a share, t1 and t2, heading from above."""

import re

import numpy as np
import pytest
from PIL import Image

from mesoface.captures.formats import read_source
from mesoface.captures.formats.lenses import BrownLens
from mesoface.captures.formats.realitycapture import rotation_of
from tests.captures.conftest import edit

HEADER = "#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"


def numbers(values) -> str:
    return " ".join(f"{value:.17g}" for value in np.ravel(values))


def terms(camera) -> dict[str, float]:
    """A camera's intrinsics in the program's terms: the longer side is 36 mm; t1 is p2, t2 is p1."""
    longer = max(camera.width, camera.height)
    (cx, cy), (k1, k2, p1, p2, k3) = camera.K[:2, 2], camera.lens.coefficients
    return {
        "f": camera.K[0, 0] / longer * 36,
        "px": (cx + 0.5 - camera.width / 2) / longer,
        "py": (cy + 0.5 - camera.height / 2) / longer,
        "k": (k1, k2, k3, 0.0, p2, p1),
    }


def sidecar(camera, *, as_attributes=False) -> str:
    one = terms(camera)
    rotation, position = numbers(camera.R), numbers(camera.center)
    attributes = (
        f'xcr:DistortionModel="brown3t2" xcr:FocalLength35mm="{one["f"]:.17g}" xcr:Skew="0" '
        f'xcr:AspectRatio="1" xcr:PrincipalPointU="{one["px"]:.17g}" xcr:PrincipalPointV="{one["py"]:.17g}"'
    )
    values = {"Rotation": rotation, "Position": position, "DistortionCoeficients": numbers(one["k"])}
    if as_attributes:
        attributes += "".join(f' xcr:{key}="{value}"' for key, value in values.items())
        values = {}
    inner = "".join(f"<xcr:{key}>{value}</xcr:{key}>" for key, value in values.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xcr:Version="3" xcr:PosePrior="exact" {attributes} '
        f'xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#">{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'
    )


def angles(camera) -> tuple[float, float, float]:
    """Heading, pitch and roll of a camera, degrees, solved from what they are defined as."""
    x, y, z = (camera.R.T @ np.diag([1, -1, -1])).T  # the camera's axes, y up, in the world
    pitch = np.arcsin(y[2])
    roll = np.arctan2(-x[2], z[2])
    heading = np.arctan2(y[0], y[1])
    return tuple(np.degrees([heading, pitch, roll]))


def table(rig, header=HEADER) -> str:
    rows = []
    for i, camera in enumerate(rig.cameras):
        one = terms(camera)
        values = [*camera.center, *angles(camera), one["f"], one["px"], one["py"], *one["k"]]
        rows.append(f"cam{i}.png," + ",".join(f"{value:.17g}" for value in values))
    return "\n".join([f"#cameras {len(rows)}", header, *rows]) + "\n"


@pytest.fixture
def with_xmp(folder, rig):
    for i, camera in enumerate(rig.cameras):
        (folder / f"photos/cam{i}.xmp").write_text(sidecar(camera, as_attributes=i == 1))
    return folder


@pytest.fixture
def with_csv(folder, rig):
    (folder / "registration.csv").write_text(table(rig))
    return folder


def test_convention_xmp_film_of_36_mm_and_half_pixels(with_xmp, rig, assert_cameras):
    source = read_source(with_xmp)
    assert source.mm_per_unit is None
    assert_cameras(source, rig.cameras, "realitycapture")


def test_convention_csv_is_the_same_cameras(with_csv, rig, assert_cameras):
    assert_cameras(read_source(with_csv), rig.cameras)


def test_convention_heading_is_clockwise_from_above_and_pitch_up_from_below():
    """Heading 0, pitch 0 looks down with north at the top; pitch 90 looks at the horizon, heading 90 east."""
    looks, up = np.array([0, 0, -1]), np.array([0, 1, 0])
    np.testing.assert_allclose(rotation_of(0, 0, 0) @ looks, [0, 0, -1], atol=1e-12)
    east = rotation_of(np.pi / 2, np.pi / 2, 0)
    np.testing.assert_allclose(east @ looks, [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(east @ up, [0, 0, 1], atol=1e-12)


def test_realityscans_names_of_the_columns(folder, rig, assert_cameras):
    header = "#name,x,y,alt,yaw,pitch,roll,f_35mm,px_norm,py_norm,k1,k2,k3,k4,t1,t2"
    (folder / "registration.csv").write_text(table(rig, header))
    assert_cameras(read_source(folder), rig.cameras)


def test_columns_of_the_lens_may_be_missing(with_csv):
    file = with_csv / "registration.csv"
    lines = [",".join(line.split(",")[:8]) for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines))
    view = read_source(with_csv).views[0].camera
    assert view.lens is None
    np.testing.assert_allclose(view.K[:2, 2], [47.5, 63.5])


def test_brown4_and_aspect_ratio(with_xmp):
    file = with_xmp / "photos/cam0.xmp"
    text = file.read_text().replace('AspectRatio="1"', 'AspectRatio="1.02"').replace("brown3t2", "brown4t2")
    coefficients = "<xcr:DistortionCoeficients>0.1 0.2 0.3 0.4 0.5 0.6</xcr:DistortionCoeficients>"
    file.write_text(re.sub("<xcr:Distortion.*Coeficients>", coefficients, text))
    view = read_source(with_xmp).views[0].camera
    assert view.lens == BrownLens((0.1, 0.2, 0.3, 0.4, 0.6, 0.5))
    np.testing.assert_allclose(view.K[1, 1] / view.K[0, 0], 1.02)


def test_xmp_wins_over_csv_and_says_so(with_xmp, rig):
    (with_xmp / "registration.csv").write_text(table(rig))
    assert "not read, as there are XMP files: registration.csv" in read_source(with_xmp).notes


def test_what_has_no_pose_or_photo_is_left_out(with_xmp):
    (with_xmp / "photos/cam1.png").unlink()
    edit(with_xmp / "photos/cam2.xmp", lambda t: t.replace("xcr:Position", "xcr:Place"))
    source = read_source(with_xmp)
    assert [view.name for view in source.views] == ["cam0"]
    assert source.notes == (
        "XMP files without a pose, left out: cam2.xmp",
        "calibrated but not on disk, left out: cam1",
        "photos without a camera: photos/cam2.png",
    )


def test_other_xmp_files_are_not_ours(folder, assert_refused):
    """Raw converters leave XMP beside photos, too."""
    (folder / "photos/cam0.xmp").write_text('<x:xmpmeta xmlns:x="adobe:ns:meta/"/>')
    assert_refused(folder, "holds no capture in a known format")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t[:-30], "is not XML"),
        (lambda t: "<!DOCTYPE a>" + t, "declares a document type"),
        (lambda t: t.replace('Skew="0"', 'Skew="0.01"'), "Skew is 0.01"),
        (lambda t: t.replace("brown3t2", "division"), "the distortion model division is not supported"),
        (lambda t: t.replace("xcr:FocalLength35mm", "xcr:Focal"), "FocalLength35mm must have 1 number"),
        (lambda t: t.replace("<xcr:Rotation>", "<xcr:Rotation>1 "), "Rotation must have 9 numbers, got 10"),
        (lambda t: t.replace("<xcr:Rotation>", "<xcr:Rotation>9"), "R is not a rotation"),
    ],
)
def test_damaged_xmp_is_refused_in_words(with_xmp, change, words, assert_refused):
    assert_refused(with_xmp, words, edit(with_xmp / "photos/cam0.xmp", change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace("cam1.png,", "cam1.png,north"), "cam1.png: x holds something"),
        (lambda t: t.replace("cam1.png,", "cam1.png,1,inf,"), "cam1.png: y has numbers that are not finite"),
        (lambda t: t + "cam3.png,1,2\n", "cam3.png: heading must have 1 number, got 0"),
        (lambda t: t + "photos/cam0.png" + t.split("cam0.png")[1], "two cameras belong to one photo"),
    ],
)
def test_damaged_csv_is_refused_in_words(with_csv, change, words, assert_refused):
    edit(with_csv / "registration.csv", change)
    assert_refused(with_csv, words)


def test_a_photo_that_is_to_be_turned_is_refused(with_xmp, assert_refused):
    image = Image.open(with_xmp / "photos/cam0.png")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(with_xmp / "photos/cam0.png", exif=exif)
    assert_refused(with_xmp, "EXIF orientation 6")
