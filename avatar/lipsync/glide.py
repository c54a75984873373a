"""Mouths move, they don't switch: visemes blended over a few neighbouring frames, closures kept."""

from __future__ import annotations

import numpy as np

from core.frames import VISEMES, VisemeFrames

_KERNEL = np.array([1, 2, 3, 4, 3, 2, 1], np.float32) / 16
"""Standard deviation 16 ms; with the doubt in the posteriors themselves, movements are as quick as real ones."""
REACH = len(_KERNEL) // 2
"""Frames that a frame waits for."""
_SURE = 0.45
"""A closure this probable is kept as it is: smoothing would part the lips again."""
_PP = VISEMES.index("PP")


class Glide:
    """Smooths rows of one utterance as they come. A sure PP never gets less: p, b and m are short."""

    def __init__(self) -> None:
        self._line = _rest()
        """Rows that are still needed, the first `REACH` of them already returned."""

    def feed(self, rows: VisemeFrames) -> VisemeFrames:
        """Take the next rows, shape (n, 15); the smoothed ones that are decided."""
        self._line = np.concatenate((self._line, rows))
        return self._smooth()

    def finish(self) -> VisemeFrames:
        """The last `REACH` rows, or all when there were fewer."""
        self._line = np.concatenate((self._line, _rest()))
        return self._smooth()

    def _smooth(self) -> VisemeFrames:
        count = len(self._line) - 2 * REACH
        if count <= 0:
            return np.zeros((0, len(VISEMES)), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._line, len(_KERNEL), axis=0)
        smooth = np.asarray(windows @ _KERNEL, np.float32)
        itself = windows[:, _PP, REACH]
        closure = np.where(itself > _SURE, np.maximum(itself, smooth[:, _PP]), smooth[:, _PP])
        smooth *= ((1 - closure) / np.maximum(1 - smooth[:, _PP], 1e-6))[:, None]
        smooth[:, _PP] = closure
        self._line = self._line[count:]
        return np.asarray(smooth / smooth.sum(axis=1, keepdims=True), np.float32)


def _rest() -> VisemeFrames:
    """The mouth before and after an utterance: shut."""
    rows = np.zeros((REACH, len(VISEMES)), np.float32)
    rows[:, VISEMES.index("sil")] = 1.0
    return rows
