"""What the avatar played, by how long ago that was. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.bands import SILENCE_DB, Levels
from core.echo_delay import STEP_S

_ROOM = 8
"""Histories in the memory of one: it moves through, and is copied back to the end only every so often."""


class PlayedLevels:
    """Levels in dBFS, shape (bands,), of the last `count` steps of `STEP_S`; silence where nothing was told.

    Times are told in order. Nothing is copied to look at it.
    """

    def __init__(self, count: int, bands: int) -> None:
        self.bands = bands
        self._count = count
        self._rows = np.full((_ROOM * count, bands), SILENCE_DB)
        """Newest first, from `_top` on."""
        self._top = len(self._rows) - count
        self._step = 0
        """The one that the row `_top` tells of."""

    def add(self, time_s: float, levels: Levels) -> None:
        """It plays at `levels`."""
        self._go_to(time_s)
        self._rows[self._top] = levels

    def until(self, time_s: float) -> NDArray[np.float64]:
        """What was played 0, `STEP_S` … before, shape (count, bands). Seen until the next call, and not to be changed.

        A time before the last one counts as that.
        """
        self._go_to(time_s)
        return self._rows[self._top : self._top + self._count]

    def _go_to(self, time_s: float) -> None:
        step = round(time_s / STEP_S)
        passed, self._step = step - self._step, max(step, self._step)
        if passed >= self._count:
            self._top = len(self._rows) - self._count
            self._rows[self._top :] = SILENCE_DB
            return
        for _ in range(passed):
            if not self._top:
                self._top = len(self._rows) - self._count
                self._rows[self._top :] = self._rows[: self._count]
            self._top -= 1
            self._rows[self._top] = SILENCE_DB
