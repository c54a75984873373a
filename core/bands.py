"""How loud a moment of sound is, band by band. Pure."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.frames import Samples

Levels = NDArray[np.float64]
"""dBFS of each band, shape (bands,)."""

EDGES_HZ = (100, 300, 500, 700, 1000, 1400, 2000, 2800, 4000, 5600, 8000)
"""Bands about as wide as the ear's, in which a voice differs from another one that sounds at the same time."""
FRAME_S = 0.032
"""Sound that is looked at at a time."""
SILENCE_DB = -100.0
_SILENCE = np.float64(10 ** (SILENCE_DB / 10))


def band_levels(samples: Samples, rate: int) -> Levels:
    """Levels of the bands of `EDGES_HZ`, shape (..., 10); together they are the level.

    `samples`: about `FRAME_S`, shape (..., n). Several moments at once cost little more than one.
    """
    count = samples.shape[-1]
    if not count:
        return np.full((*samples.shape[:-1], len(EDGES_HZ) - 1), SILENCE_DB)
    window, edges = _prepared(count, rate)
    # in float32 twice as fast, and exact to 130 dB below the loudest band
    parts = np.fft.rfft(samples * window).view(np.float32)
    power = np.add.reduceat(np.square(parts, out=parts), edges, axis=-1)[..., :-1]
    levels: Levels = np.log10(np.maximum(power, _SILENCE))
    levels *= 10
    return levels


@lru_cache(16)
def _prepared(count: int, rate: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """A window that makes the squared spectrum add up to the power (Parseval, one side), and where bands begin.

    A spectrum is looked at as floats: two of them for each bin.
    """
    window = np.hanning(count)
    window *= np.sqrt(2 / (count * float(np.sum(window**2)))) / 32768.0
    bins = np.minimum(np.rint(np.array(EDGES_HZ) * count / rate).astype(np.intp), count // 2)
    return window.astype(np.float32), 2 * bins


def bounded(levels: Levels) -> Levels:
    """The same, between silence and full scale, whatever it was told."""
    return np.fmin(np.fmax(levels, SILENCE_DB), 0.0)  # of a number and NaN, fmax takes the number
