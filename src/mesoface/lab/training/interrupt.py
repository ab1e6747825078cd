"""Ctrl-C and SIGTERM as a wish that is asked for at a good moment."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """In its block the first Ctrl-C or SIGTERM is remembered; a second Ctrl-C interrupts as usual."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """Whether it was asked to stop."""
        return self._asked

    def __enter__(self) -> StopRequest:
        self._before = {
            number: signal.signal(number, self._remember) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True
