"""``mesoface view`` refuses what it cannot show, in one line."""

from __future__ import annotations

import sys

import pytest

from mesoface.cli.app import main


def run(monkeypatch, capsys, *arguments) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["mesoface", "view", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code, capsys.readouterr().err


def test_a_folder_that_is_no_result(monkeypatch, capsys, tmp_path):
    pytest.importorskip("viser", reason="needs the extra mesoface[view]")
    code, words = run(monkeypatch, capsys, tmp_path)
    assert code == 2
    assert "no run.json" in words
    assert "\n" not in words.strip()


def test_without_viser_it_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "viser", None)
    monkeypatch.delitem(sys.modules, "mesoface.viewer.server", raising=False)
    code, words = run(monkeypatch, capsys, tmp_path)
    assert code == 2
    assert "viser" in words
    assert "mesoface[view]" in words
    assert "report.html" in words
    assert "\n" not in words.strip()
