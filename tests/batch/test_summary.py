"""batch.json, batch.csv and batch.html of results of every kind."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from mesoface.batch.job import CaptureJob
from mesoface.batch.summary import (
    THUMBNAIL,
    CaptureRow,
    check_folder,
    done_row,
    failed_row,
    write_csv,
    write_json,
    write_page,
)
from mesoface.errors import MesofaceError
from tests.rendering.test_page import assert_sealed, parse

NASTY = '<script>alert("x")</script>, "quoted",\nsecond line'
RECORD = {
    "capture": {"views": ["0", "1", "2"]},
    "scale": {"source": "as told"},
    "landmark_error_px": 1.23456,
    "surface": {"left_out": 0.0125, "texel_mm": 0.31, "vertices": 200_000},
    "evaluation": {
        "accuracy": {
            "mean": 0.055,
            "median": 0.033,
            "p90": 0.1,
            "within": {"0.2": 0.96},
            "normal_angle": 5.7,
        },
        "completeness": {"mean": 0.07},
    },
    "warnings": ["view 3 contradicts <the> others"],
    "seconds": 34.5,
    "peak_mb": 2500.0,
}


@pytest.fixture
def rows(job: CaptureJob) -> list[CaptureRow]:
    base = {name: RECORD[name] for name in ("capture", "warnings", "seconds", "peak_mb")}
    return [
        done_row(job, RECORD),
        failed_row(replace(job, id="ben"), NASTY),
        done_row(replace(job, id="clara"), {**base, "warnings": []}),
    ]


def test_figures_come_from_the_record(rows: list[CaptureRow]) -> None:
    assert rows[0].figures["measured"] == 0.9875
    assert rows[0].figures["mean_mm"] == 0.055
    assert rows[0].figures["landmark_error_px"] == 1.235
    assert rows[2].figures["views"] == 3
    assert rows[2].figures["mean_mm"] is None


def test_the_table_is_read_back(job: CaptureJob, rows: list[CaptureRow]) -> None:
    write_csv(job.out / "batch.csv", rows)
    with (job.out / "batch.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [line["status"] for line in table] == ["done", "failed", "done"]
    assert table[0]["mean_mm"] == "0.055"
    assert table[0]["seconds"] == "34.5"
    assert table[1]["reason"] == NASTY
    assert table[2]["mean_mm"] == ""
    assert {line["capture"] for line in table} == {str(job.capture)}


def test_the_record_keeps_times_apart(job: CaptureJob, rows: list[CaptureRow]) -> None:
    recipe = {"settings": {"preset": "fast"}}
    write_json(job.out, rows, total=4, recipe=recipe, timing={"seconds": 3.0})
    content = json.loads((job.out / "batch.json").read_text())
    assert content["counts"] == {"captures": 4, "done": 2, "failed": 1}
    assert content["complete"] is False
    assert content["made_from"] == recipe
    assert content["captures"][0]["timing"] == {"seconds": 34.5, "peak_mb": 2500.0}
    later = [replace(row, seconds=1.0, peak_mb=2.0) for row in rows]
    write_json(job.out, later, total=4, recipe=recipe, timing={"seconds": 9.0})
    again = json.loads((job.out / "batch.json").read_text())
    for one in (content, again, *content["captures"], *again["captures"]):
        del one["timing"]
    assert content == again


def test_the_page_shows_everything_and_makes_no_request(job: CaptureJob, rows: list[CaptureRow]) -> None:
    job.result.mkdir()
    (job.result / THUMBNAIL).write_bytes(b"\xff\xd8 a picture")
    (job.result / "report.html").write_text("<p>")
    write_page(job.out, rows, total=4, elapsed=60.0, made_now=3, command="mesoface reconstruct CAPTURE")
    text = (job.out / "batch.html").read_text()
    assert_sealed(text)
    links = [address for address in parse(text).sources if not address.startswith("data:image/jpeg;base64,")]
    assert links == ["anna/report.html"], "clara has no report: nothing leads nowhere"
    for shown in (
        "clara",
        "1 captures were not tried",
        "180",
        "second line",
        "98.8 %",
        "0.055",
        "view 3 contradicts",
    ):
        assert shown in text, shown


@pytest.mark.parametrize(
    ("content", "resume", "said"),
    [
        ({"thesis.txt": ""}, True, "other things"),
        ({"batch.json": "{"}, True, "other things"),
        ({"batch.json": '{"captures": []}'}, False, "holds a batch already"),
        ({"batch.json": '{"captures": []}', "anna/thesis.txt": ""}, True, "anna in it is no result"),
    ],
)
def test_folders_that_a_batch_may_not_write_into(job: CaptureJob, content, resume: bool, said: str) -> None:
    for name, text in content.items():
        (job.out / name).parent.mkdir(exist_ok=True)
        (job.out / name).write_text(text)
    with pytest.raises(MesofaceError, match=said) as caught:
        check_folder(job.out, [job], resume=resume)
    assert caught.value.path == job.out


def test_folders_that_it_may(job: CaptureJob) -> None:
    check_folder(job.out / "new", [job], resume=False)
    check_folder(job.out, [job], resume=True)
    (job.out / ".batch-0123456789ab.json").write_text("killed before it was one")
    check_folder(job.out, [job], resume=False)
    (job.out / "batch.json").write_text('{"captures": []}')
    check_folder(job.out, [job], resume=True)
