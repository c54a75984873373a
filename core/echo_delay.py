"""After which time the avatar's voice comes back: how alike played and heard sound are at each delay. Pure."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.bands import Levels

STEP_S = 0.016
"""Delays are told apart this finely."""
_FLOOR_DB = -65.0
"""Below it a band is silent, however silent."""
_WINDOWS_S = np.array([0.7, 4.0])
"""Over how long likeness is averaged: to notice that the delay has changed, and to be sure of it."""
_CROSS, _OURS, _THEIRS = range(3)
_SOONEST_S = 0.5
_MEAN_S = 3.0
_ALIKE = 0.5
"""Correlation from which on it is an echo."""
_NEARLY = 0.85
"""Delays that are this nearly as good as the best one count with it: an echo is smeared."""


class EchoDelay:
    """Correlates the levels of what is heard with those of what was played, delay by delay.

    It is the correlation of dB around their running means, over all bands and an exponential window: neither the
    strength of an echo nor its colour matters, only what changes together.
    """

    def __init__(self, longest_s: float) -> None:
        self.count = int(longest_s / STEP_S) + 1
        """Delays that are told apart: 0, `STEP_S` … `longest_s`."""
        self.likely: NDArray[np.bool_] = np.ones(self.count, bool)
        """Delays at which an echo must be expected, shape (count,): all, while nothing is known."""
        self._sums = np.zeros((len(_WINDOWS_S), 3, self.count))
        self._now = np.zeros((3, self.count))
        """What the frame adds to them."""
        self._seconds = 0.0
        self._means: NDArray[np.float64] | None = None
        """Running means of what is heard and of what was played, shape (2, bands)."""

    def observe(self, length_s: float, heard: Levels, played: NDArray[np.float64]) -> None:
        """Take a frame of `length_s`: its levels, shape (bands,), and what was played, shape (count, bands)."""
        # dozens of arrays this small cost what their number does: they are worked on in place and several at once
        theirs = np.maximum(played, _FLOOR_DB)
        both = np.empty((2, len(heard)))
        ours = np.maximum(heard, _FLOOR_DB, out=both[0])
        np.divide(np.add.reduce(theirs, axis=0), len(theirs), out=both[1])
        if self._means is None:
            self._means = both.copy()
        self._means += min(1.0, length_s / _MEAN_S) * (both - self._means)
        ours -= self._means[0]
        theirs -= self._means[1]
        np.dot(theirs, ours, out=self._now[_CROSS])
        self._now[_OURS] = np.dot(ours, ours)
        np.add.reduce(np.square(theirs, out=theirs), axis=1, out=self._now[_THEIRS])
        self._sums *= _decay(length_s)
        self._sums += self._now
        self._seconds += length_s
        self._decide()

    def likeness(self) -> NDArray[np.float64]:
        """Correlation over each window at each delay, shape (windows, count), -1..1."""
        cross, ours, theirs = (self._sums[:, which] for which in (_CROSS, _OURS, _THEIRS))
        return np.asarray(cross / np.sqrt(np.maximum(ours * theirs, 1e-6)))

    def _decide(self) -> None:
        if self._seconds < _SOONEST_S:
            return
        likeness = self.likeness()
        best = np.maximum.reduce(likeness, axis=1, keepdims=True)
        if best.min() < _ALIKE:
            return  # a pause, or somebody else speaks: what was known stays so
        likely = np.logical_or.reduce(likeness >= _NEARLY * best, axis=0)
        self.likely = likely.copy()
        self.likely[1:] |= likely[:-1]
        self.likely[:-1] |= likely[1:]


@lru_cache(16)
def _decay(length_s: float) -> NDArray[np.float64]:
    """What is left of the sums of each window after so long, shape (windows, 1, 1)."""
    return np.asarray(np.exp(-length_s / _WINDOWS_S)[:, None, None])
