"""Numbers out of a pickle without unpickling it.

A pickle is a program, and loading one runs it. This module only *reads* the opcodes (``pickletools``): a
small stack machine builds dicts, lists, strings and numbers; every class or function that the file names
stays an inert ``Named`` record. Nothing is imported or called. Afterwards the records of NumPy arrays, and of
the chumpy arrays in FLAME's own files, become arrays of their raw bytes.

The standard library's reader with a ``find_class`` that admits only known names is not as safe: ten bytes
make it allocate gigabytes, because ``LONG_BINPUT`` and ``BYTEARRAY8`` reserve what they claim before it is
read. Its ``BUILD`` also sets attributes of the admitted classes themselves, for the whole process.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import FaceModelError

LIMIT = 1 << 30
"""Bytes of a pickle that are read at most; FLAME's has 53 MB."""


@dataclass(eq=False)
class Named:
    """What a pickle calls ``module.name(*args)``, with the state it would set; never called."""

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)


def read_plain_pickle(data: bytes, path: Path) -> dict[str, NDArray]:
    """The arrays of numbers in a pickled dict; everything else in the dict is left out.

    Args:
        data: the pickle.
        path: the file it is from, for messages.

    Raises:
        FaceModelError: not a pickle of a dict, truncated, or with opcodes that are not supported.
    """
    remedy = "convert it to .npz where you trust the file: numpy.savez(path, name=array, ...)"
    if len(data) > LIMIT:
        what = f"pickle of {len(data) >> 20} MB, at most {LIMIT >> 20} are read"
        raise FaceModelError(what, path=path, remedy=remedy)
    try:
        table = _run(data)
        if isinstance(table, Named) and isinstance(table.state, tuple) and len(table.state) == 5:
            (table,) = table.state[4]  # a dict in an array of one object, as numpy.save writes it
        if not isinstance(table, dict):
            raise ValueError("a dict was expected")
        arrays = {_text(key): _array(value) for key, value in table.items()}
        return {key: array for key, array in arrays.items() if array is not None}
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FaceModelError(f"the pickle is not understood ({error})", path=path, remedy=remedy) from error


_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK}
_LITERALS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    )
)


def _run(data: bytes) -> Any:
    """Run the stack machine over the opcodes and return what is left at STOP."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        at = len(stack) - 1
        while stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("a mark is missing")
        items = stack[at + 1 :]
        del stack[at:]
        return items

    argument: Any
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(name[-1])
            stack[-n:] = [tuple(stack[-n:])]
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("LIST", "FROZENSET"):
            stack.append(since_mark())
        elif name == "DICT":
            stack.append(_pairs(since_mark()))
        elif name in ("SETITEM", "SETITEMS"):
            items = since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            if isinstance(stack[-1], dict):
                stack[-1].update(_pairs(items))
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            items = [stack.pop()] if name == "APPEND" else since_mark()
            (stack[-1] if isinstance(stack[-1], list) else stack[-1].items).extend(items)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(Named(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(Named(f"{module}.{attribute}"))
        elif name in ("REDUCE", "NEWOBJ"):
            args, called = stack.pop(), stack.pop()
            stack.append(Named(called.name, tuple(args)))
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Named):
                stack[-1].state = state
        elif name == "POP":
            stack.pop()
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"opcode {name}")
    raise ValueError("truncated")


def _pairs(items: list[Any]) -> dict[Any, Any]:
    keys = [key if isinstance(key, (str, bytes, int)) else repr(type(key)) for key in items[::2]]
    return dict(zip(keys, items[1::2], strict=True))


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _array(value: Any) -> NDArray | None:
    """The array in NumPy's record of one, or in a chumpy array; None where ``value`` is neither.

    Up to protocol 4 the state of a ``_reconstruct`` is (version, shape, dtype, Fortran order, raw bytes);
    from protocol 5 on ``_frombuffer`` has (raw bytes, dtype, shape, order) as arguments.
    """
    if isinstance(value, Named) and isinstance(value.state, dict):
        # protocols 0 and 1 write ``copy_reg._reconstructor(cls, object, None)``
        made = value.name.endswith("._reconstructor") and value.args and isinstance(value.args[0], Named)
        if (value.args[0] if made else value).name.startswith("chumpy."):
            value = value.state.get("x")
    if not isinstance(value, Named):
        return None
    if value.name.endswith(".numeric._frombuffer"):
        raw, kind, shape, order = value.args
        fortran = order == "F"
    elif value.name.endswith(".multiarray._reconstruct") and isinstance(value.state, tuple):
        _, shape, kind, fortran, raw = value.state
    else:
        return None
    dtype, raw = _dtype(kind), _bytes(raw)
    if dtype is None or raw is None:
        return None
    if not all(isinstance(length, int) and length >= 0 for length in shape):
        raise ValueError("an array's shape is not made of whole numbers")
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array of shape {shape} has {len(raw)} bytes")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def _dtype(kind: Any) -> np.dtype | None:
    """A plain number type from a ``numpy.dtype(code, …)`` record; None for objects and structures."""
    code = _text(kind.args[0]) if isinstance(kind, Named) and kind.name == "numpy.dtype" and kind.args else ""
    if len(code) != 2 or code[0] not in "fiub" or code[1] not in "1248":
        return None
    order = _text(kind.state[1]) if isinstance(kind.state, tuple) and len(kind.state) > 1 else "|"
    return np.dtype((order if order in "<>" else "=") + code)


def _bytes(raw: Any) -> bytes | None:
    """Raw bytes: Python 2 wrote them as str, Python 3's protocol 2 as ``_codecs.encode(text, 'latin1')``."""
    if isinstance(raw, Named) and raw.name == "_codecs.encode" and isinstance(raw.args[0], str):
        raw = raw.args[0]
    if isinstance(raw, str):
        return raw.encode("latin-1")
    return bytes(raw) if isinstance(raw, (bytes, bytearray)) else None
