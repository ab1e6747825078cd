"""What is POSIX only is missed where it is used, not where mesoface is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mesoface.cli import app
from mesoface.errors import MesofaceError
from mesoface.landmarks.mediapipe import FaceNetworks

_HIDE = """
import os, signal, sys, subprocess, multiprocessing
import embreex.rtcore_scene, numpy, cv2, torch, rich.console, typer  # what they import is their affair
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
sys.modules["msvcrt"] = type(sys)("msvcrt")
for module, name in ((os, "fork"), (os, "sched_getaffinity"), (os, "geteuid"), (signal, "SIGKILL")):
    if hasattr(module, name):
        delattr(module, name)
multiprocessing.get_all_start_methods = lambda: ["spawn"]
here, sys.platform = sys.platform, "win32"
import mesoface.files.atomic
sys.platform = here
"""


def run(script: str) -> str:
    return subprocess.check_output([sys.executable, "-c", _HIDE + script], text=True)


def test_the_commands_and_their_modules_are_importable_without_posix() -> None:
    said = run(
        "import pkgutil, mesoface, mesoface.cli.app\n"
        "from importlib import import_module\n"
        "for room in ('files', 'running', 'geometry', 'batch', 'sequence', 'captures'):\n"
        "    package = import_module(f'mesoface.{room}')\n"
        "    for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        import_module(module.name)\n"
        "print('done')"
    )
    assert said == "done\n"


def test_memory_that_the_system_does_not_report_is_zero_or_none() -> None:
    said = run(
        "from pathlib import Path\nsys.platform = 'win32'\n"
        "Path.read_text = lambda *_, **__: (_ for _ in ()).throw(OSError())\n"
        "from mesoface.running.process import *\n"
        "print(peak_memory_mb(), resident_memory_mb(1), available_memory_mb(), keep_freed_memory())"
    )
    assert said == "0.0 0.0 None False\n"


def test_jobs_run_in_spawned_processes_where_there_is_no_fork(tmp_path) -> None:
    script = tmp_path / "jobs.py"
    script.write_text(
        "import math, multiprocessing, os\n"
        "multiprocessing.get_all_start_methods = lambda: ['spawn']\n"
        "from mesoface.running.workers import run_jobs\n"
        "if __name__ == '__main__':\n"
        "    print([o.result for o in run_jobs(os.getenv, ['OMP_NUM_THREADS'], workers=1)])\n"
        "    print('OMP_NUM_THREADS' in os.environ)\n"
    )
    environment = "import os; os.environ.pop('OMP_NUM_THREADS', None);"
    command = f"{environment} import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    assert subprocess.check_output([sys.executable, "-c", command], text=True) == "['1']\nFalse\n"


@pytest.mark.parametrize(
    "raised", [ModuleNotFoundError("no", name="cv2.x"), ImportError("libGL.so.1: …", name="cv2")]
)
def test_a_missing_package_is_one_line_of_the_command(monkeypatch, capsys, raised) -> None:
    def fail(**_: object) -> None:
        raise raised

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: cv2 ")
    assert said.count("\n") == 1
    assert ("pip install opencv-contrib-python" if type(raised) is not ImportError else "libGL.so.1") in said
    raised.name = "mesoface.nowhere"  # a bug of ours stays one
    with pytest.raises(ImportError):
        app.main()


def test_a_package_that_is_missing_from_the_start_is_one_line_too() -> None:
    script = "import sys; sys.modules['cv2'] = None; from mesoface.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    if ended.returncode:  # where the commands load it at once
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
        assert "error: cv2 is not installed" in ended.stderr


def test_mediapipe_is_asked_for_where_the_face_is_looked_for(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MesofaceError, match=r"mediapipe is not installed \(it finds the face\) — pip"):
        FaceNetworks()
