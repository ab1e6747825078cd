"""Building blocks of the report: self-contained and escaped."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mesoface.report import html

EVIL = '<script>alert("1")</script>&'


class Balance(HTMLParser):
    """Fails on tags that are closed in the wrong order, and collects what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
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


@pytest.mark.parametrize(
    "block",
    [
        html.paragraph(EVIL),
        html.paragraph(EVIL, soft=True),
        html.notes([EVIL]),
        html.facts([(EVIL, EVIL)]),
        html.table([EVIL], [[EVIL]]),
        html.pairs([(EVIL, EVIL)]),
        html.bar_table([EVIL], [([EVIL], 1.0)], [EVIL]),
        html.section(EVIL, html.paragraph(EVIL)),
        html.gallery([(EVIL, np.zeros((2, 2, 3), np.uint8))]),
        html.page(EVIL, []),
    ],
)
def test_text_is_escaped_and_tags_are_balanced(block: str) -> None:
    assert "script" not in parse(block).seen
    assert "&lt;script&gt;" in block


def test_empty_blocks_vanish() -> None:
    assert html.section("Title") == ""
    assert html.section("Title", "", "") == ""
    assert html.gallery([]) == ""
    assert html.pairs([]) == ""


@pytest.mark.parametrize("photo", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pictures_are_inside_the_page_in_rgb(photo: bool, dtype: type) -> None:
    red = np.zeros((8, 16, 3), dtype)
    red[..., 0] = 255 if dtype == np.uint8 else 1.0
    uri = html.data_uri(red, photo=photo)
    assert uri.startswith(f"data:image/{'jpeg' if photo else 'png'};base64,")
    data = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded.shape == (8, 16, 3)
    np.testing.assert_allclose(decoded[4, 8], [0, 0, 255], atol=3)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4)])
def test_other_pictures_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a picture must be"):
        html.data_uri(np.zeros(shape, np.uint8))


def test_bars_are_as_long_as_their_values() -> None:
    text = html.bar_table(["stage"], [(["a"], 1.0), (["b"], 4.0), (["c"], 0.0)])
    assert re.findall(r"width: ([\d.]+)%", text) == ["25.0", "100.0", "0.0"]
    parse(html.bar_table(["stage"], [(["a"], 0.0)]))
