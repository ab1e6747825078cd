"""Settings of the whole process that several threads change for a while and that must come back in the end.

Each thread that saves "the value before" and restores it saves another thread's value when two overlap. Here
the first thread to come changes a setting and the last one to leave restores it.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, TypeVar

import cv2

Value = TypeVar("Value")


class Shared(AbstractContextManager[Value], Generic[Value]):
    """A change to the process that all who are inside of the context share; re-entrant, for any thread.

    Args:
        change: makes the context manager that the first to enter enters, and the last to leave exits. All
            who enter get its value.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[Value]]):
        self._change = change
        self._lock = threading.Lock()
        self._holders = 0

    def __enter__(self) -> Value:
        with self._lock:
            if not self._holders:
                self._entered = self._change()
                self._value = self._entered.__enter__()
            self._holders += 1
            return self._value

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._entered.__exit__(None, None, None)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@contextmanager
def _no_native_logs() -> Iterator[None]:
    try:
        saved = os.dup(2)
    except OSError:  # there is no stderr: nothing to keep quiet
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    yield
    os.dup2(saved, 2)
    os.close(saved)


@contextmanager
def _torch_threads() -> Iterator[int]:
    import torch

    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


one_opencv_thread: Shared[None] = Shared(_one_opencv_thread)
"""OpenCV uses one thread: for blocks that call it from threads of their own, or fork."""

no_native_logs: Shared[None] = Shared(_no_native_logs)
"""What native code writes to file descriptor 2 is discarded, and so is what Python writes there."""

_caught = Shared(warnings.catch_warnings)
_torch = Shared(_torch_threads)


@contextmanager
def ignored_warnings(category: type[Warning] = Warning) -> Iterator[None]:
    """Ignore warnings of ``category``, until the last thread has left a block of this function."""
    with _caught:
        warnings.simplefilter("ignore", category)
        yield


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch computes with ``count`` threads in the block, where this thread calls it.

    OpenMP keeps the number for each thread, so every thread sets it back for itself, to what it was before
    any thread was in such a block.
    """
    import torch

    with _torch as before:
        torch.get_num_threads()  # initialises this thread, which would otherwise undo the next line later
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
