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


@pytest.mark.parametrize("name", ["reconstruct", "inspect"])
def test_help_loads_neither_laboratory_nor_torch(command_alone, name):
    run = command_alone(name, "--help")
    assert run.code == 0
    assert "mesoface.cli.app" in run.loaded
    assert not {"mesoface.lab", "mesoface.pipeline", "mesoface.inspection", "torch"} & run.loaded


def test_the_package_alone_loads_neither_numpy_nor_pydantic():
    script = "import sys, mesoface; assert 'reconstruct' in dir(mesoface); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"numpy", "pydantic", "torch", "typer"} & set(run.stdout.split())


@pytest.mark.parametrize(
    "options", [["--until", "base"], ["--meso", "shading", "--texture-size", 64]], ids=["base", "shading"]
)
def test_correlation_on_the_cpu_needs_no_torch(command_alone, sample_capture, tmp_path, options):
    """What takes seconds to import is imported only where it is used."""
    quick = ("--device", "cpu", "--matcher", "ncc", "--preset", "fast", "--views", 2)
    run = command_alone("reconstruct", sample_capture, "--out", tmp_path / "out", *quick, *options)
    assert run.code == 0, run.err[-2000:]
    assert "torch" not in run.loaded
    assert not [name for name in run.loaded if name.startswith("mesoface.lab")]
