"""The steady noise of the user's room. Pure."""

from __future__ import annotations

from functools import reduce

import numpy as np

from core.bands import Levels


class RoomNoise:
    """Level of the room's noise, band by band: the minimum of the last 1.5 s (minimum statistics, Martin 2001)."""

    _BLOCK = 12
    _BLOCKS = 4
    _BIAS_DB = 6.0
    """By which the minimum of a narrow band is below its mean."""
    _LOUDEST_DB = -45.0
    """What is louder in one band is not only the room."""

    def __init__(self) -> None:
        self._minima: list[Levels] = []
        self._count = 0

    def update(self, levels: Levels) -> Levels:
        """Take the levels of the next frame (dBFS, shape (bands,)), return those of the noise."""
        if not self._minima or len(self._minima[-1]) != len(levels):
            self._minima, self._count = [levels], 0
        if self._count == self._BLOCK:
            self._minima, self._count = [*self._minima[1 - self._BLOCKS :], levels], 0
        self._minima[-1] = np.minimum(self._minima[-1], levels)
        self._count += 1
        lowest: Levels = reduce(np.minimum, self._minima)
        return np.minimum(lowest + self._BIAS_DB, self._LOUDEST_DB)
