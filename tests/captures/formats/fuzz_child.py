"""Reads mutated captures in a process of its own, and prints what became of each as a line of JSON.

Usage: ``fuzz_child.py CAPTURES SEED COUNT``. Every folder in CAPTURES is a good capture; ``COUNT`` times one
of its files is mutated, the capture is loaded, and the file put back. A good outcome is a capture or one
clear error. Watched for: any other exception, more than 5 s of processor time, more than 1 GB of memory
beyond what the process had, and files opened outside of the capture's folder.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from mesoface.captures.load import load_capture
from mesoface.errors import MesofaceError

SECONDS, BYTES = 5.0, 1 << 30
CALIBRATIONS = (".json", ".xml", ".xmp", ".csv", ".sfm", ".yml", ".bin", ".txt")
TOKENS = [
    *b'NaN 1e999 -1 0 1e-300 1e300 99999999999999999999 null true [] {} "" .. ../../../etc/passwd'.split(),
    *(b"/etc/passwd", b"\0", b"\xff\xfe", b"<!DOCTYPE a>", b'<!DOCTYPE a [<!ENTITY b "c">]>&b;', b"&b;"),
    *(b"*a", b"&a ", b"!!python/object:os.system ", b"\n", b","),
    *(b"[" * 3000, b"{" * 3000, b'{"a":' * 2000, b"<a>" * 3000, b"- " * 3000, b"\xff" * 8, b"9" * 5000),
    *(b"\n", b",", b":", b" "),
]


class Hang(Exception):
    """The case took too long."""


def main(captures: Path, seed: int, count: int) -> None:
    """Print a line of JSON a case."""
    watch = Watch()
    folders = sorted(path for path in captures.iterdir() if path.is_dir())
    Image.init()
    for folder in folders:  # everything that is imported late is imported now; every capture must be good
        load_capture(folder)
    warnings.simplefilter("ignore")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, _hang)
    for folder in folders:
        rng = random.Random(f"{seed} {folder.name}")
        for case in range(count):
            file, content = _mutated(folder, rng)
            print(json.dumps({"begins": f"{folder.name} {case}: {file.name}"}), flush=True)
            original = file.read_bytes()
            file.write_bytes(content)
            with watch.on(folder):
                outcome = _outcome(folder)
            file.write_bytes(original)
            line = {"case": f"{folder.name} {case}: {file.name}", **outcome, "outside": watch.outside}
            print(json.dumps(line), flush=True)


def _outcome(folder: Path) -> dict[str, str]:
    """What loading the capture leads to: ``capture``, ``error``, or ``bad``."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return {"capture": str(len(load_capture(folder)))}
    except MesofaceError as error:
        where = error.path is not None and Path(error.path).resolve().is_relative_to(folder.resolve())
        clear = error.message and error.remedy and where and "\n" not in str(error)
        return {"error" if clear else "bad": str(error)}
    except MemoryError:
        return {"bad": f"memory: {traceback.format_exc()[-2000:]}"}
    except BaseException:
        return {"bad": traceback.format_exc()[-3000:]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _hang(*_: object) -> None:
    raise Hang(f"more than {SECONDS} s of processor time")


class Watch:
    """An audit hook, which can never be taken away, so that it is switched on and off."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.outside: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def on(self, folder: Path) -> Iterator[None]:
        """Watch for files outside of ``folder`` while the context is open."""
        self.outside, self.folder = [], folder.resolve()
        try:
            yield
        finally:
            self.folder = None

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.folder is None or event not in ("open", "os.listdir", "os.scandir"):
            return
        if isinstance(arguments[0], (str, bytes, os.PathLike)):
            folder, self.folder = self.folder, None  # resolving a path must not be watched itself
            path = Path(os.path.realpath(os.fsdecode(arguments[0])))
            if not path.is_relative_to(folder):
                self.outside.append(f"{event} {path}")
            self.folder = folder


def _mutated(folder: Path, rng: random.Random) -> tuple[Path, bytes]:
    """One of the capture's files, three times in four a calibration, and what it shall hold."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    calibrations = [path for path in files if path.suffix in CALIBRATIONS]
    photos = [path for path in files if path not in calibrations]
    file = rng.choice(calibrations if rng.random() < 0.75 else photos)
    content = file.read_bytes()
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(MUTATIONS)(content, rng)
    return file, content


def _place(content: bytes, rng: random.Random) -> tuple[int, int]:
    a = rng.randrange(len(content) + 1)
    return a, min(len(content), a + rng.choice((1, 4, 8, 40, 400)))


def _flip(content: bytes, rng: random.Random) -> bytes:
    flipped = bytearray(content)
    for _ in range(min(len(flipped), rng.choice((1, 3, 20)))):
        flipped[rng.randrange(len(flipped))] = rng.randrange(256)
    return bytes(flipped)


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _delete(content: bytes, rng: random.Random) -> bytes:
    a, b = _place(content, rng)
    return content[:a] + content[b:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    a, b = _place(content, rng)
    return content[:a] + content[a:b] * rng.choice((2, 2, 5, 100)) + content[b:]


def _insert(content: bytes, rng: random.Random) -> bytes:
    a, _ = _place(content, rng)
    return content[:a] + rng.choice(TOKENS) + content[a:]


def _overwrite(content: bytes, rng: random.Random) -> bytes:
    a, _ = _place(content, rng)
    token = rng.choice(TOKENS)
    return content[:a] + token + content[a + len(token) :]


def _instead_of(pattern: str) -> Callable[[bytes, random.Random], bytes]:
    """Puts a token in the place of something that the pattern finds."""

    def mutate(content: bytes, rng: random.Random) -> bytes:
        found = list(re.finditer(pattern.encode(), content))
        if not found:
            return _overwrite(content, rng)
        one = rng.choice(found)
        return content[: one.start()] + rng.choice(TOKENS) + content[one.end() :]

    return mutate


_number, _word = _instead_of(r"-?\d+\.?\d*(?:[eE][-+]?\d+)?"), _instead_of(r"[A-Za-z_][\w./]*")
MUTATIONS = (_flip, _truncate, _delete, _repeat, _insert, _overwrite, _number, _number, _word)

if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
