"""The eight ways to lay a square: quarter turns and reflections, with what has a direction turned along."""

from __future__ import annotations

import numpy as np

from mesoface.lab.training.relief.pool import Square

WAYS = 8

# Channels of `make_inputs` that are components along columns and along rows: the light, and the slopes.
_ALONG_COLUMNS, _ALONG_ROWS = [3, 5], [4, 6]


def laid(square: Square, way: int) -> Square:
    """A square as it would have come, had its texture been laid otherwise.

    Args:
        square: any.
        way: 0 to 7; 1 reverses columns, 2 rows, 4 exchanges both before that.
    """
    maps, relief, valid, color = square.maps, square.relief, square.valid, square.color
    if way & 4:
        maps, relief, valid, color = maps.swapaxes(1, 2), relief.T, valid.T, color.swapaxes(0, 1)
    maps = maps.copy()
    if way & 4:
        maps[_ALONG_COLUMNS + _ALONG_ROWS] = maps[_ALONG_ROWS + _ALONG_COLUMNS]
    columns, rows = slice(None, None, -1 if way & 1 else 1), slice(None, None, -1 if way & 2 else 1)
    maps = maps[:, rows, columns]
    if way & 1:
        maps[_ALONG_COLUMNS] *= -1
    if way & 2:
        maps[_ALONG_ROWS] *= -1
    return Square(
        np.ascontiguousarray(maps),
        np.ascontiguousarray(relief[rows, columns]),
        np.ascontiguousarray(valid[rows, columns]),
        np.ascontiguousarray(color[rows, columns]),
    )
