"""Building blocks of pages: self-contained and escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from markupsafe import Markup

from mesoface.files.images import data_uri
from mesoface.geometry.mesh import Mesh
from mesoface.rendering.page import (
    TEMPLATES,
    Shading,
    TurnableSurface,
    _environment,
    render,
    turnable,
    turnable_script,
)
from tests.cap import grid_triangles, grid_uv

EVIL = '<script>alert("1")</script>&'


class Balance(HTMLParser):
    """Fails on tags that are closed in the wrong order, and collects what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.sources: list[str] = []
        self.frames: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.scripts += tag == "script"
        self.frames += [value or "" for name, value in attrs if name == "srcdoc"]
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(text: str) -> Balance:
    parser = Balance()
    parser.feed(text)
    assert not parser.open
    return parser


def policy_of(page: str) -> str:
    """The page's content security policy, which stands before anything that could make a request."""
    head, rest = page.split('<meta http-equiv="Content-Security-Policy" content="', 1)
    assert "<script" not in head
    assert "src=" not in head
    return unescape(rest.split('"', 1)[0])


def assert_sealed(page: str, *, scripts: int = 0) -> None:
    """A page that can load nothing, and runs no script but the 3D view's."""
    seen = parse(page)
    assert all(source.startswith("data:image/") for source in seen.sources if ":" in source)
    assert seen.seen.isdisjoint({"link", "iframe", "object", "base", "form"})
    assert "http:" not in page
    assert "https:" not in page
    policy = policy_of(page)
    assert "default-src 'none'" in policy
    assert "img-src data:" in policy
    assert "unsafe-inline" not in policy.replace("style-src 'unsafe-inline'", "")
    assert ("script-src" in policy) == bool(scripts)
    assert seen.scripts == scripts


@pytest.fixture
def blocks():
    """The building blocks of pages, each as a function that returns HTML."""
    return _environment(TEMPLATES).get_template("blocks.html").module


def test_text_is_escaped_and_tags_are_balanced(blocks) -> None:
    for block in (
        blocks.remark(EVIL),
        blocks.notes([EVIL]),
        blocks.facts([(EVIL, EVIL)]),
        blocks.table([EVIL], [[EVIL]], [EVIL]),
        blocks.pairs([(EVIL, EVIL)]),
        blocks.bar_table([EVIL], [([EVIL], 1.0)], [EVIL]),
        blocks.section(EVIL, caller=lambda: "text"),
        blocks.gallery([(EVIL, np.zeros((2, 2, 3), np.uint8))]),
        render(TEMPLATES / "notebook.html", title=EVIL, scene=""),
    ):
        assert "script" not in parse(block).seen
        assert "&lt;script&gt;" in block


def test_empty_blocks_vanish(blocks) -> None:
    assert blocks.section("Title", caller=lambda: " \n") == ""
    assert blocks.gallery([]) == ""
    assert blocks.pairs([]) == ""
    assert blocks.facts([]) == ""


def test_the_policy_allows_the_script_of_the_view_and_no_other() -> None:
    scripted = render(TEMPLATES / "notebook.html", title="a", scene=Markup("<p>"))
    assert policy_of(scripted).startswith(policy_of(render(TEMPLATES / "notebook.html", title="a", scene="")))
    digest = base64.b64encode(hashlib.sha256(turnable_script().encode()).digest()).decode()
    assert policy_of(scripted).endswith(f"; script-src 'sha256-{digest}'")


@pytest.mark.parametrize("photo", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pictures_are_inside_the_page_in_rgb(photo: bool, dtype: type) -> None:
    red = np.zeros((8, 16, 3), dtype)
    red[..., 0] = 255 if dtype == np.uint8 else 1.0
    uri = data_uri(red, photo=photo)
    assert uri.startswith(f"data:image/{'jpeg' if photo else 'png'};base64,")
    data = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded.shape == (8, 16, 3)
    np.testing.assert_allclose(decoded[4, 8], [0, 0, 255], atol=3)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4)])
def test_other_pictures_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a picture must be"):
        data_uri(np.zeros(shape, np.uint8))


def test_bars_are_as_long_as_their_values(blocks) -> None:
    text = blocks.bar_table(["stage"], [(["a"], 1.0), (["b"], 4.0), (["c"], 0.0)])
    assert re.findall(r"width: ([\d.]+)%", text) == ["25.0", "100.0", "0.0"]
    parse(blocks.bar_table(["stage"], [(["a"], 0.0)]))


VERTEX = np.dtype([("position", "<u2", 4), ("normal", "<i2", 4), ("uv", "<u2", 2)])
CLAY = Shading("clay", "clay")


def payload(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def packed(mesh: Mesh) -> dict:
    """The mesh as the page holds it."""
    return payload(turnable([TurnableSurface("a", mesh, ["clay"])], [CLAY]))["surfaces"][0]


def unpacked(surface: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    data = np.frombuffer(base64.b64decode(surface["vertices"]), VERTEX)
    kind = "<u4" if surface["wide"] else "<u2"
    faces = np.frombuffer(base64.b64decode(surface["faces"]), kind).reshape(-1, 3)
    assert faces.size == surface["corners"]
    vertices = surface["origin"] + data["position"][:, :3] / 65535 * np.array(surface["extent"])
    return vertices, data["normal"][:, :3] / 32767, data["uv"] / 65535, faces.astype(int)


def test_positions_normals_and_uvs_survive(drawn_face):
    mesh = drawn_face.fine.mesh
    vertices, normals, uv, faces = unpacked(packed(mesh))
    np.testing.assert_allclose(vertices, mesh.vertices, atol=0.002)
    np.testing.assert_allclose(normals, mesh.normals, atol=1e-4)
    np.testing.assert_allclose(uv, np.column_stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]]), atol=1e-5)
    np.testing.assert_array_equal(faces, mesh.faces)


def test_seams_are_opened():
    """Two triangles that share an edge in space, not in UV."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]])
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    uv = np.array([[0, 0], [0.4, 0], [0, 0.4], [0.6, 0.5], [1, 1], [0.5, 1]])
    mesh = Mesh(corners, faces, uv, np.array([[0, 1, 2], [3, 4, 5]]))
    vertices, _, place, corner = unpacked(packed(mesh))
    assert len(vertices) == 6
    np.testing.assert_allclose(vertices[corner], corners[faces], atol=1e-4)
    expected = np.column_stack([uv[:, 0], 1 - uv[:, 1]]).reshape(2, 3, 2)
    np.testing.assert_allclose(place[corner], expected, atol=1e-4)


@pytest.mark.parametrize(("count", "wide"), [(200, False), (300, True)])
def test_indices_are_as_wide_as_they_must_be(count, wide):
    mesh = Mesh(np.column_stack([grid_uv(count), np.zeros(count**2)]), grid_triangles(count))
    surface = packed(mesh)
    assert surface["wide"] is wide
    np.testing.assert_array_equal(unpacked(surface)[3], mesh.faces)


def test_relief_keeps_its_normals_and_its_mask(drawn_face):
    relief = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)
    data = payload(turnable([TurnableSurface("a", drawn_face.fine.mesh, ["clay"], relief)], [CLAY]))
    picture = data["pictures"][data["surfaces"][0]["relief"]]
    assert picture["type"] == "image/png"
    encoded = np.frombuffer(base64.b64decode(picture["data"]), np.uint8)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded[..., [2, 1, 0, 3]], relief)


def test_no_name_ends_the_script_or_becomes_a_tag(drawn_face):
    evil = '</script><img src="x">'
    shading = Shading(evil, "bare", np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8))
    text = turnable([TurnableSurface(evil, drawn_face.base, [evil])], [CLAY, shading])
    assert text.count("</script>") == 2
    assert payload(text)["surfaces"][0]["name"] == evil
    assert all(source.startswith("data:") for source in parse(text).sources)


def test_even_pictures_of_noise_leave_room_in_the_page():
    """A page may have 15 MB: the largest surface and pictures of a face, incompressible, stay below 12."""
    rng = np.random.default_rng(0)
    points, normals = rng.normal(size=(2, 250 * 250, 3))
    mesh = Mesh(points, grid_triangles(250), grid_uv(250), None, normals)
    relief = rng.integers(0, 256, (1024, 1024, 4), np.uint8)
    relief[..., 3] = 255
    shadings = [
        Shading("texture", "bare", rng.integers(0, 256, (1024, 1024, 3), np.uint8)),
        Shading("confidence", "lit", rng.integers(0, 256, (512, 512, 3), np.uint8)),
        Shading("error", "lit", rng.integers(0, 256, (512, 512, 3), np.uint8)),
    ]
    text = turnable([TurnableSurface("a", mesh, [], relief), TurnableSurface("b", mesh, [])], shadings)
    assert len(text) < 12e6
