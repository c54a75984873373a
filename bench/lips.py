"""Mouth opening seen in pictures, loudness heard in sound, and how far one lags behind the other. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Curve = NDArray[np.float64]

RATE = 100
"""Points per second of every curve."""
SEARCH_S = 0.6
"""Offsets are looked for this far to both sides."""
_AREA = (0.54, 0.64, 0.42, 0.58)
"""Top, bottom, left, right of where the embedded presenter's mouth moves, as shares of the picture."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Measures a mouth by its dark inside: the pixels of the mouth's area that are darker than `threshold`."""

    threshold: int
    correlation: float
    """With the openings that the calibration pictures were drawn with."""

    def of(self, picture: Luma) -> float:
        """Dark pixels, for a luma plane of shape (height, width)."""
        return float(np.count_nonzero(mouth_area(picture) < self.threshold))


@dataclass(frozen=True, slots=True)
class Offset:
    """`seconds` by which a curve lags behind its reference, and their correlation there."""

    seconds: float
    correlation: float


def mouth_area(picture: Luma) -> Luma:
    """The part of a luma plane that holds the mouth."""
    height, width = picture.shape
    top, bottom, left, right = _AREA
    return picture[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]


def calibrated(pictures: Sequence[Luma], openings: Sequence[float]) -> Opening:
    """The threshold whose dark pixels follow known openings best."""
    areas = np.stack([mouth_area(picture) for picture in pictures])
    best = Opening(0, -1.0)
    for threshold in range(40, 130, 5):
        dark = np.count_nonzero(areas < threshold, axis=(1, 2))
        if dark.std() > 0:
            found = float(np.corrcoef(dark, openings)[0, 1])
            best = max(best, Opening(threshold, found), key=lambda opening: opening.correlation)
    return best


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
