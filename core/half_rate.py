"""Half as many samples per second: what is played at 48 kHz, for wires that carry 24 kHz. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.frames import Samples

_REACH = 11
_LENGTH = 4 * _REACH + 3
_BETA = 7.0
"""Of the Kaiser window: 70 dB beside the band."""


def _halfband() -> NDArray[np.float32]:
    """Every second coefficient of a windowed sinc that passes the lower half of the band (the others are 0, but the
    middle one, which is 0.5). Vaidyanathan, Multirate Systems and Filter Banks, 4.6.2."""
    steps = np.arange(_LENGTH) - (_LENGTH - 1) / 2
    taps = np.sinc(steps / 2) / 2 * np.kaiser(_LENGTH, _BETA)
    even = taps[::2]
    return np.asarray(even / (2 * even.sum()), np.float32)


_TAPS = _halfband()


class HalfRate:
    """Streaming: every two samples in are one out, 0.5 ms late. One per stream."""

    def __init__(self) -> None:
        self._before: NDArray[np.float32] = np.zeros(_LENGTH - 1, np.float32)

    def feed(self, samples: Samples) -> Samples:
        """int16, shape (2n,) → shape (n,)."""
        row = np.concatenate([self._before, samples.astype(np.float32)])
        self._before = row[len(row) - (_LENGTH - 1) :]
        count = len(samples) // 2
        even = np.convolve(row[::2], _TAPS, "valid")[:count]  # symmetric: convolving is correlating
        middle = row[1::2][_REACH : _REACH + count]
        return np.clip(np.rint(even + middle / 2), -32768, 32767).astype(np.int16)

    def restart(self) -> None:
        """What comes next does not follow what came before."""
        self._before = np.zeros(_LENGTH - 1, np.float32)
