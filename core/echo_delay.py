"""After which time the avatar's voice comes back: how alike played and heard sound are at each delay. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.bands import Levels

STEP_S = 0.016
"""Delays are told apart this finely."""
_FLOOR_DB = -65.0
"""Below it a band is silent, however silent."""
_WINDOWS_S = np.array([0.7, 4.0])
"""Over how long likeness is averaged: to notice that the delay has changed, and to be sure of it."""
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
        self._seconds = 0.0
        self._heard: Levels | None = None
        self._played: Levels | None = None

    def observe(self, length_s: float, heard: Levels, played: NDArray[np.float64]) -> None:
        """Take a frame of `length_s`: its levels, shape (bands,), and what was played, shape (count, bands)."""
        heard, played = np.maximum(heard, _FLOOR_DB), np.maximum(played, _FLOOR_DB)
        overall = played.mean(axis=0)
        if self._heard is None or self._played is None:
            self._heard, self._played = heard, overall
        step = min(1.0, length_s / _MEAN_S)
        self._heard = self._heard + step * (heard - self._heard)
        self._played = self._played + step * (overall - self._played)
        ours, theirs = heard - self._heard, played - self._played
        self._sums *= np.exp(-length_s / _WINDOWS_S)[:, None, None]
        self._sums[:, 0] += theirs @ ours
        self._sums[:, 1] += ours @ ours
        self._sums[:, 2] += np.einsum("db,db->d", theirs, theirs)
        self._seconds += length_s
        self._decide()

    def likeness(self) -> NDArray[np.float64]:
        """Correlation over each window at each delay, shape (windows, count), -1..1."""
        cross, ours, theirs = self._sums[:, 0], self._sums[:, 1], self._sums[:, 2]
        return np.asarray(cross / np.sqrt(np.maximum(ours * theirs, 1e-6)))

    def _decide(self) -> None:
        likeness = self.likeness()
        best = likeness.max(axis=1, keepdims=True)
        if self._seconds < _SOONEST_S or np.any(best < _ALIKE):
            return  # a pause, or somebody else speaks: what was known stays so
        likely = np.any(likeness >= _NEARLY * best, axis=0)
        self.likely = likely.copy()
        self.likely[1:] |= likely[:-1]
        self.likely[:-1] |= likely[1:]
