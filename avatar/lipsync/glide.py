"""Mouths move, they don't switch: visemes blended over neighbouring frames, rounding ahead of time, closures kept."""

from __future__ import annotations

import numpy as np

from core.frames import VISEMES, VisemeFrames

BEHIND, AHEAD = 4, 6
"""Frames before and after a frame that shape it; it waits for the latter."""
_MOVE = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 0], np.float32)
"""Standard deviation 20 ms; with the doubt in the posteriors themselves, movements are as quick as real ones."""
_ROUND = np.array([1, 2, 3, 4, 5, 5, 4.5, 4, 3, 2, 1], np.float32)
"""Lips begin to round 60 ms before a rounded vowel sounds."""
_ROUNDED = ("oh", "ou")
_SURE = 0.45
"""A closure this probable is kept as it is: smoothing would part the lips again."""
_PP = VISEMES.index("PP")
_KERNELS = np.stack([k / k.sum() for k in (_ROUND if viseme in _ROUNDED else _MOVE for viseme in VISEMES)], axis=1)
"""Shape (11, 15): weight of each neighbour, for each viseme."""


class Glide:
    """Smooths rows of one utterance as they come. A sure PP never gets less: p, b and m are short."""

    def __init__(self) -> None:
        self._line = _rest(BEHIND)
        """Rows that are still needed, the first `BEHIND` of them already returned."""

    def feed(self, rows: VisemeFrames) -> VisemeFrames:
        """Take the next rows, shape (n, 15); the smoothed ones that are decided."""
        self._line = np.concatenate((self._line, rows))
        return self._smooth()

    def finish(self) -> VisemeFrames:
        """The last `AHEAD` rows, or all when there were fewer."""
        self._line = np.concatenate((self._line, _rest(AHEAD)))
        return self._smooth()

    def _smooth(self) -> VisemeFrames:
        count = len(self._line) - BEHIND - AHEAD
        if count <= 0:
            return np.zeros((0, len(VISEMES)), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._line, len(_KERNELS), axis=0)
        smooth = np.einsum("nvk,kv->nv", windows, _KERNELS)
        smooth /= smooth.sum(axis=1, keepdims=True)
        itself = windows[:, _PP, BEHIND]
        closure = np.where(itself > _SURE, np.maximum(itself, smooth[:, _PP]), smooth[:, _PP])
        smooth *= ((1 - closure) / np.maximum(1 - smooth[:, _PP], 1e-6))[:, None]
        smooth[:, _PP] = closure
        self._line = self._line[count:]
        return np.asarray(smooth / smooth.sum(axis=1, keepdims=True), np.float32)


def _rest(count: int) -> VisemeFrames:
    """The mouth before and after an utterance: shut."""
    rows = np.zeros((count, len(VISEMES)), np.float32)
    rows[:, VISEMES.index("sil")] = 1.0
    return rows
