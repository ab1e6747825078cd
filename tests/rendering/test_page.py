"""Building blocks of pages: self-contained and escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from markupsafe import Markup

from mesoface.files.images import data_uri
from mesoface.rendering.page import TEMPLATES, _environment, render, turnable_script

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
