"""``mesoface view`` refuses what it cannot show, in one line."""

from __future__ import annotations

import sys

import pytest


def test_a_folder_that_is_no_result(refused, tmp_path):
    pytest.importorskip("viser", reason="needs the extra mesoface[view]")
    refused("no run.json", "view", tmp_path)


def test_without_viser_it_says_what_to_install(refused, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "viser", None)
    monkeypatch.delitem(sys.modules, "mesoface.viewer.server", raising=False)
    line = refused("viser", "view", tmp_path)
    assert "mesoface[view]" in line
    assert "report.html" in line
