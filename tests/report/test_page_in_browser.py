"""The report as a browser shows it: from disk, in 3D, without a request."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from mesoface.rendering.clay import reduce_surface
from mesoface.rendering.page import render
from mesoface.report.reconstruct_page import TEMPLATE, write_report
from mesoface.results.scene import face_view
from tests.rendering.test_page import assert_sealed
from tests.report.test_reconstruct_page import context

VIEW = "document.querySelector('.turnable')"


@pytest.fixture
def browser_page(open_browser):
    return open_browser(900, 1000)


@pytest.fixture
def page_file(drawn_face, tmp_path):
    """A report with the drawn face in it."""
    errors = np.full(len(drawn_face.fine.mesh.vertices), 0.03)
    scene = face_view(drawn_face, reduce_surface(drawn_face.fine, 250), errors)
    picture = np.zeros((8, 6, 3), np.uint8)
    path = tmp_path / "report.html"
    data = context(name="a face", scene=scene, views=[("front", picture)], command="mesoface <x>")
    path.write_text(render(TEMPLATE, **data), encoding="utf-8")
    return path


def test_the_page_is_sealed(page_file):
    assert_sealed(page_file.read_text(encoding="utf-8"), scripts=2)


def canvas(page) -> np.ndarray:
    """The canvas as it is on the screen, (H, W, 3) RGB."""
    left, top, width, height = page.evaluate(
        f"(r => [r.left, r.top, r.width, r.height])({VIEW}.querySelector('canvas').getBoundingClientRect())"
    )
    window = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    return window[round(top) : round(top + height), round(left) : round(left + width)].astype(int)


def choose(page, value: str) -> None:
    page.evaluate(f"document.querySelector('input[value=\"{value}\"]').click()")
    page.wait(f"{VIEW}.dataset.shown.includes('{value}')")


def test_the_face_is_shown_turned_and_recoloured(page_file, browser_page):
    page = browser_page
    page.open(page_file.as_uri())
    page.wait(f"{VIEW}.dataset.shown")
    assert page.evaluate(f"{VIEW}.dataset.shown") == "measured surface texture"
    textured = canvas(page)
    height, width = textured.shape[:2]
    # the texture's red grows with u: to the right; its green with v: upwards
    row, column = height // 2, width // 2
    assert textured[row, column + 100, 0] > textured[row, column - 100, 0] + 40
    assert textured[row - 100, column, 1] > textured[row + 100, column, 1] + 40
    background = textured[5, 5]
    assert np.abs(textured[row, column] - background).max() > 40
    # the hole, to the right and above: the background shows through it
    scale = 0.5 * height / 1.1 / 80  # pixels a mm
    hole = textured[round(row - 20 * scale), round(column + 25 * scale)]
    np.testing.assert_allclose(hole, background, atol=8)

    choose(page, "clay")
    clay = canvas(page)
    assert np.abs(clay - textured).max() > 40
    choose(page, "normals")
    right, up = canvas(page)[row, column + 150], canvas(page)[row - 150, column]
    assert right[0] > up[0] + 30
    assert up[1] > right[1] + 30
    choose(page, "error")
    assert page.evaluate("[...document.querySelectorAll('[data-legend]')].filter(x => !x.hidden).length") == 1

    choose(page, "clay")
    page.evaluate(
        "(s => { s.value = 4; s.dispatchEvent(new Event('input', {bubbles: true})) })"
        "(document.querySelector('input[type=range]'))"
    )
    page.wait("document.querySelector('output').textContent === '× 4.0'")
    page.wait("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    centre = slice(row - 60, row + 60), slice(column - 60, column + 60)
    exaggerated = canvas(page)
    before, after = (np.diff(shown[centre], axis=1).std() for shown in (clay, exaggerated))
    assert after > 2 * before, "relief four times as high is seen better"

    choose(page, "base mesh")
    left, top = page.evaluate(
        f"(r => [r.left, r.top])({VIEW}.querySelector('canvas').getBoundingClientRect())"
    )
    before = canvas(page)
    page.mouse("mousePressed", left + column, top + row, buttons=1)
    page.mouse("mouseMoved", left + column + 80, top + row, buttons=1)
    page.mouse("mouseReleased", left + column + 80, top + row)
    page.wait("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    assert np.abs(canvas(page) - before).max() > 40, "dragging turns it"

    assert page.errors == []
    assert page.requests == [page_file.as_uri()]


def test_without_webgl_there_is_a_word_and_the_rest_of_the_page(page_file, browser_page):
    text = page_file.read_text(encoding="utf-8")
    text = text.replace('getContext("webgl2"', 'getContext("webgl9"')
    text = re.sub(r"script-src [^\"]*", "script-src 'unsafe-inline'", text)  # another script, another hash
    page_file.write_text(text, encoding="utf-8")
    browser_page.open(page_file.as_uri())
    browser_page.wait("document.querySelector('.turnable.failed')")
    words = browser_page.evaluate("document.querySelector('.turnable-note').textContent")
    assert "cannot show the face in 3D" in words
    assert browser_page.evaluate("document.querySelector('figure img').complete")
    assert browser_page.errors == []


def test_the_browser_itself_forbids_requests(page_file, browser_page):
    text = page_file.read_text(encoding="utf-8")
    page_file.write_text(
        text.replace("</body>", '<img src="http://127.0.0.1:9/x.png"></body>'), encoding="utf-8"
    )
    browser_page.open(page_file.as_uri())
    browser_page.wait(f"{VIEW}.dataset.shown")
    assert any("Content Security Policy" in error for error in browser_page.errors)


@pytest.mark.slow
def test_the_sample_captures_report_is_small_enough_to_send_and_opens(sample_face, browser_page, tmp_path):
    path = tmp_path / "report.html"
    write_report(path, sample_face)
    assert path.stat().st_size < 15e6
    browser_page.open(path.as_uri())
    browser_page.wait("document.querySelector('.turnable').dataset.shown")
    for words in ("Relief", "Photos against the face", "PSNR", "mesoface reconstruct"):
        assert words in browser_page.evaluate("document.body.textContent")
    assert browser_page.errors == []
    assert browser_page.requests == [path.as_uri()]
