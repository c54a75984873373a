"""Smooth curves through a few rig points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.face.rig import Points

Floats = NDArray[np.float32]


def through(points: Points, x: NDArray[np.floating]) -> Floats:
    """y of a cubic Hermite curve through `points` (rising x) at `x`; constant beyond the ends. float32, shape of x."""
    px = np.array([p[0] for p in points], np.float64)
    py = np.array([p[1] for p in points], np.float64)
    steps = np.diff(py) / np.diff(px)
    slope = np.empty_like(px)
    slope[1:-1] = (steps[:-1] * np.diff(px)[1:] + steps[1:] * np.diff(px)[:-1]) / (px[2:] - px[:-2])
    slope[0], slope[-1] = steps[0], steps[-1]
    at = np.clip(x, px[0], px[-1])
    k = np.clip(np.searchsorted(px, at, side="right") - 1, 0, len(px) - 2)
    width = px[k + 1] - px[k]
    t = (at - px[k]) / width
    a, b = py[k], py[k + 1]
    da, db = slope[k] * width, slope[k + 1] * width
    y = a + t * (da + t * (3 * (b - a) - 2 * da - db + t * (2 * (a - b) + da + db)))
    return np.asarray(y, np.float32)
