"""A headless Chromium, driven through its DevTools protocol: for tests, and for pictures of pages."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Software rendering, and no request that the page did not ask for.
_FLAGS = (
    "--headless=new",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
)
_START, _ANSWER = 60.0, 120.0  # seconds, on a machine that is busy with other things


def find_chromium() -> str | None:
    """Where a Chromium is installed, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """A browser's page.

    Attributes:
        requests: addresses of everything that was asked for, in order; data and blobs are no requests.
        errors: what went wrong: exceptions, errors on the console, what could not be loaded.
    """

    def __init__(self, socket: ClientConnection):
        self._socket = socket
        self._count = 0
        self.requests: list[str] = []
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Go to ``url`` and wait until it is loaded."""
        self._call("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression; a promise is waited for.

        Raises:
            RuntimeError: it threw.
        """
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(_words(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = _START) -> None:
        """Wait until a JavaScript expression is true.

        Raises:
            TimeoutError: it did not become so.
        """
        end = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:g} s: {expression}; errors: {self.errors}")
            time.sleep(0.1)

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Send ``mousePressed``, ``mouseMoved`` or ``mouseReleased`` at window pixels ``x``, ``y``."""
        self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1, **more)

    def click(self, x: float, y: float) -> None:
        """Click at window pixels ``x``, ``y``."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, buttons=int(kind == "mousePressed"))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=_ANSWER))
            if message.get("id") == self._count:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        """Keep what an event says of requests and errors."""
        method, params = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self._asked(params["request"]["url"])
        elif method == "Network.webSocketCreated":
            self._asked(params["url"])
        elif method == "Network.loadingFailed" and not params.get("canceled"):
            self.errors.append(f"not loaded: {params.get('errorText')}")
        elif method == "Runtime.exceptionThrown":
            self.errors.append(_words(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def _asked(self, url: str) -> None:
        if not url.startswith(("data:", "blob:")):
            self.requests.append(url)


@contextmanager
def chromium_page(width: int = 1200, height: int = 900) -> Iterator[Page]:
    """A page of a Chromium of its own, with a window of ``width`` × ``height`` pixels.

    Raises:
        FileNotFoundError: no Chromium is installed.
        TimeoutError: it does not start.
    """
    program = find_chromium()
    if program is None:
        raise FileNotFoundError(f"none of {', '.join(NAMES)} is installed")
    flags = [*_FLAGS, f"--window-size={width},{height}"]
    if os.geteuid() == 0:  # Chromium's sandbox refuses to work for root
        flags.append("--no-sandbox")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = [program, *flags, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(_page_address(Path(profile), process), max_size=None, ping_interval=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _page_address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """The DevTools address of the first page, as soon as there is one."""
    end = time.monotonic() + _START
    while time.monotonic() < end and process.poll() is None:
        try:
            port = int((profile / "DevToolsActivePort").read_text().split()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                targets = json.load(answer)
            return next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page")
        except (OSError, ValueError, IndexError, StopIteration):
            time.sleep(0.1)
    raise TimeoutError(f"Chromium did not start (exit code {process.poll()})")


def _words(details: dict[str, Any]) -> str:
    """An exception in words."""
    return str(details.get("exception", {}).get("description") or details["text"])
