"""What takes seconds to import is imported only where it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

_RUN = """
import sys
from mesoface.cli.app import app
app(sys.argv[1:], standalone_mode=False)
assert "torch" not in sys.modules, "torch was imported"
assert not [name for name in sys.modules if name.startswith("mesoface.lab")], "the laboratory was imported"
"""


@pytest.mark.parametrize(
    "options", [["--until", "base"], ["--meso", "shading", "--texture-size", "64"]], ids=["base", "shading"]
)
def test_correlation_on_the_cpu_needs_no_torch(sample_capture, tmp_path, options):
    command = ["reconstruct", str(sample_capture), "--out", str(tmp_path / "out"), "--device", "cpu"]
    command += ["--matcher", "ncc", "--preset", "fast", "--views", "2", *options]
    done = subprocess.run([sys.executable, "-c", _RUN, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
