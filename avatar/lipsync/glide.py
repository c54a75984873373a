"""Mouths move, they don't switch: visemes blended over a few neighbouring frames, closures kept."""

from __future__ import annotations

import numpy as np

from core.frames import VISEMES, VisemeFrames

_KERNEL = np.array([1, 2, 3, 2, 1], np.float32) / 9
"""Standard deviation 12 ms; with the doubt in the posteriors themselves, movements are as quick as real ones."""
REACH = len(_KERNEL) // 2
"""Frames that a frame waits for."""
_PP = VISEMES.index("PP")


class Glide:
    """Smooths rows of one utterance as they come. The PP of a frame never gets less: p, b and m are short."""

    def __init__(self) -> None:
        self._line: VisemeFrames = np.zeros((0, len(VISEMES)), np.float32)
        """Rows that are still needed, the first `REACH` of them already returned (or copies of the very first)."""

    def feed(self, rows: VisemeFrames) -> VisemeFrames:
        """Take the next rows, shape (n, 15); the smoothed ones that are decided."""
        if not len(rows):
            return rows
        if not len(self._line):
            self._line = np.repeat(rows[:1], REACH, axis=0)
        self._line = np.concatenate((self._line, rows))
        return self._smooth()

    def finish(self) -> VisemeFrames:
        """The last `REACH` rows."""
        if not len(self._line):
            return self._line
        self._line = np.concatenate((self._line, np.repeat(self._line[-1:], REACH, axis=0)))
        return self._smooth()

    def _smooth(self) -> VisemeFrames:
        count = len(self._line) - 2 * REACH
        if count <= 0:
            return np.zeros((0, len(VISEMES)), np.float32)
        parts = [weight * self._line[shift : shift + count] for shift, weight in enumerate(_KERNEL)]
        smooth: VisemeFrames = np.stack(parts).sum(axis=0)
        closure = np.maximum(smooth[:, _PP], self._line[REACH : REACH + count, _PP])
        smooth *= ((1 - closure) / np.maximum(1 - smooth[:, _PP], 1e-6))[:, None]
        smooth[:, _PP] = closure
        self._line = self._line[count:]
        return np.asarray(smooth, np.float32)
