"""The report of a real result."""

from __future__ import annotations

import pytest

from mesoface.report.reconstruct_page import write_report


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
