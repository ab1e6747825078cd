"""Metashape's XML: transforms of chunk and component, units, lenses, and what is left out or refused."""

import re
import shutil
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np
import pytest

from mesoface.captures.formats import read_source
from mesoface.captures.formats.lenses import ColmapLens
from tests.captures.conftest import edit

WORLD_R = cv2.Rodrigues(np.array([0.3, -0.2, 0.5]))[0]
WORLD_T, SCALE = np.array([0.4, -0.3, 0.2]), 0.025


def numbers(values) -> str:
    return " ".join(f"{value:.17g}" for value in np.ravel(values))


def calibration(camera, *, kind="frame", **changes) -> str:
    """A camera's calibration after the manual: p1 goes with r² + 2x², cx and cy count from the middle."""
    k1, k2, p1, p2, k3 = camera.lens.coefficients
    fx, fy, (cx, cy) = camera.K[0, 0], camera.K[1, 1], camera.K[:2, 2]
    values = {"f": fy, "b1": fx - fy, "b2": 0.0, "k1": k1, "k2": k2, "k3": k3, "p1": p2, "p2": p1}
    values |= {"cx": cx + 0.5 - camera.width / 2, "cy": cy + 0.5 - camera.height / 2} | changes
    inner = "".join(f"<{key}>{value:.17g}</{key}>" for key, value in values.items() if value is not None)
    size = f'<resolution width="{camera.width}" height="{camera.height}"/>'
    return f'<calibration type="{kind}" class="adjusted">{size}{inner}</calibration>'


def camera_of(i, camera, *, attributes="", inner=None) -> str:
    """A camera whose world place is the transform's of what the chunk holds."""
    R = WORLD_R.T @ camera.R.T  # camera → chunk
    C = WORLD_R.T @ (camera.center / 1000 - WORLD_T) / SCALE  # the world is in metres
    pose = np.vstack([np.column_stack([R, C]), [0, 0, 0, 1]])
    transform = f"<transform>{numbers(pose)}</transform>" if inner is None else inner
    return f'<camera id="{i}" sensor_id="{i}" label={quoteattr(f"cam{i}")} {attributes}>{transform}</camera>'


def transform(*, R=WORLD_R, t=WORLD_T, scale=SCALE) -> str:
    return (
        f'<transform><rotation locked="false">{numbers(R)}</rotation>'
        f"<translation>{numbers(t)}</translation><scale>{scale:.17g}</scale></transform>"
    )


def document(cameras, sensors, *, world="", components="", reference="LOCAL_CS[&quot;m&quot;]") -> str:
    inner = "".join(
        f'<sensor id="{i}" type="frame"><resolution width="96" height="128"/>{one}</sensor>'
        for i, one in enumerate(sensors)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<document version="2.0.0"><chunk label="Chunk 1">'
        f"<sensors>{inner}</sensors>{components}<cameras>{''.join(cameras)}</cameras>"
        f"<reference>{reference}</reference>{world}</chunk></document>"
    )


def write(folder, rig, **changes):
    cameras = changes.pop("cameras", None) or [camera_of(i, c) for i, c in enumerate(rig.cameras)]
    sensors = changes.pop("sensors", None) or [calibration(c) for c in rig.cameras]
    changes.setdefault("world", transform())
    (folder / "cameras.xml").write_text(document(cameras, sensors, **changes))
    return folder


def test_convention_metres_chunk_transform_and_half_pixels(folder, rig, assert_cameras):
    source = read_source(write(folder, rig))
    assert source.format == "metashape"
    assert source.mm_per_unit == 1000
    assert_cameras(source, rig.cameras, units_per_mm=0.001)


def test_a_components_transform_wins(folder, rig, assert_cameras):
    components = f'<components><component id="7">{transform()}</component></components>'
    cameras = [camera_of(i, c, attributes='component_id="7"') for i, c in enumerate(rig.cameras)]
    write(folder, rig, cameras=cameras, components=components, world=transform(R=np.eye(3), scale=3))
    assert_cameras(read_source(folder), rig.cameras, units_per_mm=0.001)


def test_a_chunk_that_was_never_scaled_has_no_unit(folder, rig):
    for world in ("", transform(R=np.eye(3), t=np.zeros(3), scale=1)):
        assert read_source(write(folder, rig, world=world)).mm_per_unit is None


def test_on_earth_only_the_scale_counts(folder, rig):
    world = transform(R=WORLD_R, t=np.array([4e6, 6e5, 4.9e6]))
    source = read_source(write(folder, rig, world=world, reference="GEOGCS[&quot;WGS 84&quot;]"))
    assert any("georeferenced" in note for note in source.notes)
    distance = np.linalg.norm(source.views[0].camera.center - source.views[2].camera.center)
    expected = np.linalg.norm(rig.cameras[0].center - rig.cameras[2].center)
    np.testing.assert_allclose(distance * 1000, expected, rtol=1e-9)
    assert np.abs(source.views[0].camera.center).max() < 10


def test_affinity_skew_and_the_fourth_radial_term(folder, rig):
    camera = rig.cameras[0]
    sensors = [calibration(camera, b1=3.0, b2=0.7, k4=-0.02)] + [calibration(c) for c in rig.cameras[1:]]
    view = read_source(write(folder, rig, sensors=sensors)).views[0].camera
    np.testing.assert_allclose(view.K[0], [camera.K[1, 1] + 3, 0.7, camera.K[0, 2]], atol=1e-9)
    x, y, (k1, k2, p1, p2, k3) = 0.1, -0.2, camera.lens.coefficients
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 - 0.02 * r2**4
    expected = [
        x * radial + p2 * (r2 + 2 * x * x) + 2 * p1 * x * y,
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    ]
    np.testing.assert_allclose(view.lens.distort(np.array([[x, y]])), [expected], atol=1e-12)


def test_fisheye_is_equidistant(folder, rig):
    camera = rig.cameras[0]
    sensors = [calibration(c, kind="fisheye") for c in rig.cameras]
    lens = read_source(write(folder, rig, sensors=sensors)).views[0].camera.lens
    k1, k2, p1, p2, k3 = camera.lens.coefficients
    assert isinstance(lens, ColmapLens)
    theta = np.arctan(0.5)  # along x: y is 0
    expected_x = theta * (1 + k1 * theta**2 + k2 * theta**4 + k3 * theta**6) + p2 * 3 * theta**2
    np.testing.assert_allclose(lens.distort(np.array([[0.5, 0]])), [[expected_x, p1 * theta**2]], atol=1e-12)


def test_one_sensor_for_all_and_initial_numbers_of_a_fixed_one(folder, rig, assert_cameras):
    cameras = [re.sub('sensor_id="."', 'sensor_id="0"', camera_of(i, c)) for i, c in enumerate(rig.cameras)]
    sensor = calibration(rig.cameras[0]).replace('class="adjusted"', 'class="initial"')
    write(folder, rig, cameras=cameras, sensors=[sensor])
    assert_cameras(read_source(folder), rig.cameras, units_per_mm=0.001)


def test_disabled_unaligned_and_stray_cameras_are_left_out(folder, rig):
    cameras = [camera_of(i, c, attributes='component_id="0"') for i, c in enumerate(rig.cameras)]
    grouped = f"<group label='g'>{cameras[0]}</group>"
    disabled = camera_of(0, rig.cameras[0], attributes='enabled="false"').replace("cam0", "off")
    unaligned = camera_of(0, rig.cameras[0], inner="").replace("cam0", "blind")
    stray = camera_of(0, rig.cameras[0], attributes='component_id="1"').replace("cam0", "far")
    source = read_source(write(folder, rig, cameras=[grouped, *cameras[1:], disabled, unaligned, stray]))
    assert [view.name for view in source.views] == ["cam0", "cam1", "cam2"]
    assert source.notes[:3] == (
        "left out, disabled in Metashape: off",
        "left out, not aligned in Metashape: blind",
        "left out, in another component than most: far",
    )


def test_photos_are_found_by_label_with_and_without_suffix(folder, rig):
    (folder / "photos/cam1.png").rename(folder / "photos/CAM1.PNG")
    cameras = [camera_of(i, c) for i, c in enumerate(rig.cameras)]
    cameras[0] = cameras[0].replace('"cam0"', '"cam0.PNG"')
    cameras[2] = cameras[2].replace('"cam2"', '"other"')
    source = read_source(write(folder, rig, cameras=cameras))
    assert [view.name for view in source.views] == ["cam0", "CAM1"]
    assert "calibrated but not on disk, left out: other" in source.notes
    assert "photos without a camera: photos/cam2.png" in source.notes


BOMB = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t[:-200], "is not XML"),
        (lambda t: BOMB + t.partition("?>")[2], "declares a document type or an entity"),
        (lambda t: t.replace("<chunk", "<chunk/><chunk", 1), "holds 2 chunks"),
        (lambda t: t.replace('<sensor id="1"', '<sensor id="9"'), "sensor 1: is missing"),
        (lambda t: re.sub(r"<f>.*?</f>", "<f>wide</f>", t), "f holds something that is not a number"),
        (lambda t: re.sub(r"<f>.*?</f>", "<f>nan</f>", t), "f has numbers that are not finite"),
        (lambda t: re.sub(r"<f>.*?</f>", "", t), "K is not an intrinsics matrix"),
        (lambda t: t.replace("<f>", "<fx>1</fx><f>"), "has fx and fy, as PhotoScan before 1.2"),
        (lambda t: t.replace("<k1>", "<p3>0.1</p3><k1>"), "Metashape no longer has the terms p3 and p4"),
        (lambda t: t.replace('calibration type="frame"', 'calibration type="spherical"'), "type spherical"),
        (lambda t: t.replace("<transform>", "<transform>7 "), "camera cam0 must have 16 numbers"),
        (lambda t: t.replace("<camera ", '<camera enabled="false" '), "holds no camera that is enabled"),
        (lambda t: re.sub(r"<scale>.*?</scale>", "<scale>-1</scale>", t), "scale must be positive"),
        (lambda t: re.sub("<cameras>.*</cameras>", "", t), "holds no camera"),
    ],
)
def test_damaged_files_are_refused_in_words(folder, rig, change, words, assert_refused):
    file = edit(write(folder, rig) / "cameras.xml", change)
    assert_refused(folder, words, file, format="metashape")


def test_two_files_are_one_too_many(folder, rig, assert_refused):
    shutil.copy(write(folder, rig) / "cameras.xml", folder / "old.xml")
    assert_refused(folder, re.compile(r"one \.xml file .* found cameras\.xml, old\.xml"))


def test_other_xml_is_not_metashapes(folder, assert_refused):
    (folder / "readme.xml").write_text("<html/>")
    assert_refused(folder, "holds no capture in a known format")
