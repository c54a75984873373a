"""Mouth opening seen in pictures, loudness heard in sound, and how far one lags behind the other. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Curve = NDArray[np.float64]

RATE = 100
"""Points per second of every curve."""
SEARCH_S = 0.6
"""Offsets are looked for this far to both sides."""
Area = tuple[float, float, float, float]
"""Top, bottom, left and right of a part of the picture, as shares of it."""
AREA: Area = (0.54, 0.64, 0.42, 0.58)
"""Where the mouth of the presenter "mira" moves in a square picture."""
_CELLS = (20, 12)
_RIDGE = 30.0
"""Strength of the regression's penalty, in squared grey levels per picture: noise and compression carry no weight."""


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """Sees how far a mouth is open: a linear regression from the grey levels of a coarse grid over its area."""

    weights: Curve
    middle: Curve
    """Grey levels of the mean mouth."""
    area: Area
    correlation: float
    """With known openings, for pictures that it was not learned from."""

    def of(self, picture: Luma) -> float:
        """The opening in a luma plane of shape (height, width); in the unit of the known ones, not limited to 0..1."""
        return float((_cells(picture, self.area) - self.middle) @ self.weights)


@dataclass(frozen=True, slots=True)
class Offset:
    """`seconds` by which a curve lags behind its reference, and their correlation there."""

    seconds: float
    correlation: float


def calibrated(pictures: Sequence[Luma], openings: Sequence[float], area: Area = AREA) -> Opening:
    """Learn from pictures whose openings are known. The last fourth of them only tells how well it went."""
    seen = np.stack([_cells(picture, area) for picture in pictures])
    known = np.asarray(openings, np.float64)
    kept = max(2, len(seen) * 3 // 4)
    middle = seen[:kept].mean(axis=0)
    centred = seen[:kept] - middle
    penalty = _RIDGE * kept * np.eye(centred.shape[1])
    weights = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (known[:kept] - known[:kept].mean()))
    found = (seen[kept:] - middle) @ weights
    varied = len(found) > 2 and found.std() > 0 and known[kept:].std() > 0
    return Opening(weights, middle, area, float(np.corrcoef(found, known[kept:])[0, 1]) if varied else -1.0)


def _cells(picture: Luma, area: Area) -> Curve:
    height, width = picture.shape
    top, bottom, left, right = area
    part = picture[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
    small = cv2.resize(np.ascontiguousarray(part), _CELLS, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float64).reshape(-1)


def envelope(samples: NDArray[np.int16], rate: int, width_s: float = 0.06) -> Curve:
    """RMS in Hann windows of `width_s`, `RATE` points per second; point i is centred on i / `RATE` s."""
    power = (samples.astype(np.float64) / 32768) ** 2
    window = np.hanning(int(width_s * rate) | 1)
    smooth = np.convolve(power, window / window.sum(), "same")
    return np.asarray(np.sqrt(smooth[:: rate // RATE]))


def resampled(times: Curve, values: Curve, start: float, count: int) -> Curve:
    """Values at uneven times (s) as a curve of `count` points from `start`, linear between them."""
    return np.asarray(np.interp(start + np.arange(count) / RATE, times, values), np.float64)


def offset(curve: Curve, reference: Curve) -> Offset:
    """How much later than `reference` the same things happen in `curve`; both begin at the same moment.

    The peak of the normalised cross-correlation within `SEARCH_S`, refined by a parabola through its neighbours.
    """
    count = min(len(curve), len(reference))
    reach = int(SEARCH_S * RATE)
    lags = range(-reach, reach + 1)
    scores = np.array([_correlation(curve[:count], reference[:count], lag) for lag in lags])
    peak = int(np.argmax(scores))
    shift = 0.0
    if 0 < peak < len(scores) - 1:
        left, middle, right = scores[peak - 1 : peak + 2]
        curvature = left - 2 * middle + right
        shift = 0.5 * (left - right) / curvature if curvature else 0.0
    return Offset((peak - reach + shift) / RATE, float(scores[peak]))


def _correlation(curve: Curve, reference: Curve, lag: int) -> float:
    a, b = (curve[lag:], reference[: len(reference) - lag]) if lag >= 0 else (curve[:lag], reference[-lag:])
    if not a.std() or not b.std():
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def place(part: NDArray[np.int16], whole: NDArray[np.int16]) -> tuple[int, float]:
    """Where in `whole` (samples) `part` sounds, and the correlation there; by FFT."""
    size = 1 << (len(part) + len(whole) - 1).bit_length()
    product = np.fft.rfft(whole.astype(float), size) * np.conj(np.fft.rfft(part.astype(float), size))
    scores = np.fft.irfft(product, size)[: max(1, len(whole) - len(part) + 1)]
    at = int(np.argmax(scores))
    here = whole[at : at + len(part)].astype(float)
    norm = float(np.linalg.norm(here) * np.linalg.norm(part[: len(here)].astype(float)))
    return at, float(scores[at]) / norm if norm else 0.0
