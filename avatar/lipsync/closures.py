"""Whether the lips touch: a second look at what the lip model heard, from before to after a frame.

The model answers 40 ms after a sound. The smoothing of the mouth (`glide.py`) waits for another 60 ms, in which much
becomes clear: how an l or a t goes on, and how a p or an m. So this costs no delay. Two small layers see the
model's posteriors around a frame; `avatar.lipsync.train.closures` trains them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.weights_file import read_weights
from core.errors import LipSyncError
from core.frames import VISEMES, VisemeFrames

BEFORE, AHEAD = 12, 6
"""Frames before and after a frame that are looked at."""
WINDOW = BEFORE + 1 + AHEAD
WEIGHTS = Path(__file__).with_name("closures.npz")
_LEAST, _SCALE = np.float32(3e-4), np.float32(1 / 3)
_ZERO: NDArray[np.float32] = np.zeros((), np.float32)
"""Python's 0 would be converted at each use."""
_PP = VISEMES.index("PP")

Floats = NDArray[np.float32]


class Closures:
    """Weights, shared by all streams and never changed."""

    def __init__(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """`arrays`: weights and biases of the three layers, "0.weight" (285, n) to "2.bias" (1,).

        Raises `LipSyncError` when some are missing or don't fit.
        """
        try:
            self._layers = [
                tuple(np.ascontiguousarray(arrays[f"{i}.{name}"], np.float32) for name in ("weight", "bias"))
                for i in range(3)
            ]
            self.of(np.full((WINDOW, len(VISEMES)), 1 / len(VISEMES), np.float32))
        except (KeyError, ValueError) as error:
            raise LipSyncError(f"the weights of the closures don't fit: {error}", adapter="audio") from error

    @staticmethod
    def load(path: Path = WEIGHTS) -> Closures:
        """Read an .npz file once. Raises `LipSyncError`."""
        return _load(path)

    def of(self, rows: VisemeFrames) -> Floats:
        """Probability of touching lips, shape (n,), in all `rows` but the first `BEFORE` and the last `AHEAD`."""
        (first, bias), (second, bias_2), (last, bias_3) = self._layers
        x = np.dot(windows(rows), first)
        x += bias
        x = np.dot(np.maximum(x, _ZERO, out=x), second)
        x += bias_2
        logits = np.dot(np.maximum(x, _ZERO, out=x), last[:, 0])
        logits += bias_3
        np.negative(logits, out=logits)
        touch: Floats = 1 / (1 + np.exp(logits, out=logits))
        return touch


def windows(rows: VisemeFrames) -> Floats:
    """What the first layer sees of the frames in the middle, shape (n, 19 * 15): logarithms, oldest row first."""
    logs = np.maximum(rows, _LEAST)
    np.log(logs, out=logs)
    logs *= _SCALE
    # as numpy's as_strided, in a fifth of its time
    return np.ndarray((len(rows) - WINDOW + 1, WINDOW * len(VISEMES)), np.float32, logs, strides=logs.strides)


@lru_cache(maxsize=2)
def _load(path: Path) -> Closures:
    return Closures(read_weights(path, "weights of the closures", "avatar.lipsync.train.closures"))
