"""Where a figure that is laid over a background is: around it nothing has to be drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.face.matte import Plane

_SOFT = 4
"""Pixels by which a moved and sharpened matte reaches further than the resting one."""

Area = tuple[int, int, int, int]


class Outline:
    """The figure's first and last column in each row of one view, at rest. Read-only, shared by all sessions."""

    def __init__(self, matte: Plane, cell: int) -> None:
        """`matte`: 0 where the figure is not, shape (height, width); `cell`: results are on multiples of it."""
        self._cell = cell
        self._width = matte.shape[1]
        there = matte > 0
        some = there.any(axis=1)
        # rows without the figure: from behind the last column to before the first
        self._first: NDArray[np.intp] = np.where(some, there.argmax(axis=1), self._width)
        self._last: NDArray[np.intp] = np.where(some, self._width - 1 - there[:, ::-1].argmax(axis=1), -1)

    def columns(self, area: Area, travel: tuple[float, float]) -> tuple[int, int]:
        """The columns x0, x1 of `area` that show the figure when it moves by `travel` (x, y; pixels) at most.

        (x1, x0) of the area, an empty range, when none does.
        """
        x0, y0, x1, y1 = area
        dx, dy = (int(way) + _SOFT for way in travel)
        rows = slice(max(0, y0 - dy), y1 + dy)
        first, last = int(self._first[rows].min()) - dx, int(self._last[rows].max()) + 1 + dx
        if last - first <= 2 * dx:
            return x1, x0
        return max(x0, first // self._cell * self._cell), min(x1, -(-last // self._cell) * self._cell)
