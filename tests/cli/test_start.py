"""What is loaded, and what is settled before numpy and torch are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHOW = """
import os, sys
from mesoface.cli import main
assert "numpy" not in sys.modules, "numpy would have read its number of threads already"
sys.argv = ["mesoface", "schema"]
try:
    main()
except SystemExit:
    pass
assert "numpy" in sys.modules
print(os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"])
"""


@pytest.mark.parametrize(
    ("given", "used"),
    [({}, "1 PASSIVE"), ({"OPENBLAS_NUM_THREADS": "3", "OMP_WAIT_POLICY": "ACTIVE"}, "3 ACTIVE")],
)
def test_small_products_take_one_thread_unless_the_user_says_otherwise(given, used):
    names = ("OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment | given, capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-1] == used


LOADED = """
import sys
from mesoface.cli import main
sys.argv = ["mesoface", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print(sorted(name for name in sys.modules if name.startswith("mesoface.lab")))
"""


@pytest.mark.parametrize(("command", "uses"), [("reconstruct", False), ("batch", False), ("synth", True)])
def test_only_its_own_commands_load_the_laboratory(command, uses):
    shown = subprocess.run(
        [sys.executable, "-c", LOADED, command, "--help"], capture_output=True, text=True, check=True
    )
    assert (shown.stdout.splitlines()[-1] != "[]") is uses


@pytest.mark.parametrize(
    ("script", "unwanted"),
    [
        ("import mesoface; assert 'reconstruct' in dir(mesoface)", {"numpy", "pydantic", "torch", "typer"}),
        ("main('reconstruct', '--help')", {"mesoface.lab", "mesoface.pipeline", "torch"}),
        ("main('inspect', '--help')", {"mesoface.lab", "mesoface.inspection", "torch"}),
    ],
)
def test_nothing_is_loaded_that_is_not_used(script, unwanted):
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED.format(script)], capture_output=True, text=True, check=True
    ).stdout.splitlines()[-1]
    assert not unwanted & set(loaded.split())


LOADED = """
import sys
def main(*words):
    from mesoface.cli import main
    sys.argv = ["mesoface", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code
{}
print(*sys.modules)
"""
