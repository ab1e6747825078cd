"""Names of captures."""

import pytest

from mesoface.lab.facescape.layout import EXPRESSIONS, CaptureId


def test_a_capture_has_the_published_names():
    id = CaptureId(7, 20)
    assert (id.key, id.expression_name) == ("007_20", "20_brow_lower")
    assert CaptureId.parse("007_20") == id
    assert CaptureId(359, 1).expression_name == "1_neutral"
    assert len(set(EXPRESSIONS)) == 20


@pytest.mark.parametrize(
    "key", ["", "7_20", "007_21", "007_00", "000_01", "007_1", "a07_01", "007_01.json", "../1"]
)
def test_what_names_no_capture_is_refused(key: str):
    with pytest.raises(ValueError, match="no capture"):
        CaptureId.parse(key)
