"""Changes features as rooms, devices, speakers and noise change sound: cheap, so done anew at every training step.

Features are natural logarithms of mel powers, shape (frames, 40).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.features import MEL_BANDS
from core.frames import VISEME_RATE

Mel = NDArray[np.float32]
_FLOOR = 1e-8
_HIGHEST_MEL = 2595 * np.log10(1 + 7800 / 700)
_LOWEST_MEL = 2595 * np.log10(1 + 60 / 700)
_CENTRES = 700 * (10 ** (np.linspace(_LOWEST_MEL, _HIGHEST_MEL, MEL_BANDS + 2)[1:-1] / 2595) - 1)
"""Middle frequencies of the bands in Hz."""


@dataclass(frozen=True, slots=True)
class Noises:
    """Features of sounds to be heard behind the speech: `babble` and `music`, shape (frames, 40)."""

    babble: Mel
    music: Mel


def stretched(mel: Mel, classes: NDArray[np.int8], count: int, factor: float) -> tuple[Mel, NDArray[np.int8]]:
    """`count` frames of `mel` and `classes` spoken `factor` times as slowly; `mel` has count / factor + 2 frames."""
    at = np.arange(count) / factor
    low = at.astype(int)
    share = (at - low).astype(np.float32)[:, None]
    return mel[low] * (1 - share) + mel[low + 1] * share, classes[np.round(at).astype(int)]


def other_tract(mel: Mel, factor: float) -> Mel:
    """Another length of vocal tract: what was at frequency f appears at f * factor."""
    at = np.interp(_CENTRES / factor, _CENTRES, np.arange(MEL_BANDS))
    low = np.minimum(at.astype(int), MEL_BANDS - 2)
    share = (at - low).astype(np.float32)
    return np.asarray(mel[:, low] * (1 - share) + mel[:, low + 1] * share, np.float32)


def equalised(mel: Mel, strength: float, rng: np.random.Generator) -> Mel:
    """Another microphone: a smooth curve over frequency, `strength` in natural log units of power."""
    x = np.linspace(0, np.pi, MEL_BANDS)
    curve = sum(rng.normal(0, strength / k) * np.cos(k * x + rng.uniform(0, 6)) for k in range(1, 6))
    return np.asarray(mel + curve, np.float32)


def reverberated(mel: Mel, seconds: float, wet: float) -> Mel:
    """A room with that reverberation time (60 dB); `wet`: power of the tail against the direct sound."""
    power = np.exp(mel)
    keep = np.float32(10 ** (-6 / (VISEME_RATE * seconds)))
    tail = np.zeros(MEL_BANDS, np.float32)
    out = np.empty_like(power)
    gain = np.float32(wet * (1 - keep))
    for i, row in enumerate(power):
        out[i] = row + tail
        tail = keep * (tail + gain * row)
    return np.asarray(np.log(out), np.float32)


def with_noise(mel: Mel, noise: Mel, snr_db: float) -> Mel:
    """Noise behind the speech; the ratio is that of the loud speech frames to the mean noise, over all bands."""
    speech = np.quantile(np.exp(mel).sum(axis=1), 0.85)
    level = np.exp(noise).sum(axis=1).mean()
    shift = np.log(speech / (level + 1e-12) + 1e-12) - snr_db * np.log(10) / 10
    return np.asarray(np.logaddexp(mel, noise + np.float32(shift)), np.float32)


def band_limited(mel: Mel, low: float, high: float, depth: float) -> Mel:
    """A telephone or a cheap codec: outside of `low`..`high` Hz all is `depth` natural log units weaker."""
    octaves = np.maximum(np.log2(low / _CENTRES), np.log2(_CENTRES / high)).clip(0, None)
    return np.asarray(mel - np.minimum(octaves * 12, depth), np.float32)


def hiss(count: int, rng: np.random.Generator) -> Mel:
    """Stationary noise with a random slope over frequency, from rumble to hiss."""
    slope = rng.uniform(-1.5, 1.2)
    degrees = 2 + np.arange(MEL_BANDS) / 8  # wider bands average more bins
    fluctuation = np.log(rng.gamma(degrees, 1 / degrees, (count, MEL_BANDS)))
    return np.asarray(fluctuation + slope * np.log(_CENTRES / 1000) + 0.8 * np.log(_CENTRES + 300), np.float32)


def disturbed(mel: Mel, noises: Noises, rng: np.random.Generator) -> Mel:
    """A random mixture of all of these, then another level and the floor of digital silence."""
    if rng.random() < 0.75:
        mel = other_tract(mel, float(np.exp(np.clip(rng.normal(0, 0.09), -0.22, 0.22))))
    if rng.random() < 0.7:
        mel = equalised(mel, 1.0, rng)
    if rng.random() < 0.25:
        mel = reverberated(mel, float(rng.uniform(0.1, 0.5)), float(10 ** rng.uniform(-1.5, -0.3)))
    if rng.random() < 0.5:
        mel = with_noise(mel, *_noise(len(mel), noises, rng))
    if rng.random() < 0.25:
        low, high = float(rng.uniform(60, 350)), float(rng.uniform(3200, 7500))
        mel = band_limited(mel, low, high, float(rng.uniform(3, 9)))
    mel = mel + np.float32(rng.uniform(-4.0, 2.0))
    return np.asarray(np.logaddexp(mel, np.float32(np.log(_FLOOR))), np.float32)


def masked(mel: Mel, rng: np.random.Generator) -> Mel:
    """SpecAugment (Park et al. 2019): some bands and some moments are hidden behind the mean."""
    mel = mel.copy()
    mean = mel.mean(axis=0)
    for _ in range(int(rng.integers(0, 3))):
        width, first = int(rng.integers(1, 7)), int(rng.integers(0, MEL_BANDS - 6))
        mel[:, first : first + width] = mean[first : first + width]
    for _ in range(int(rng.integers(0, 3))):
        length, start = int(rng.integers(1, 7)), int(rng.integers(0, len(mel) - 8))
        mel[start : start + length] = mean
    return mel


def _noise(count: int, noises: Noises, rng: np.random.Generator) -> tuple[Mel, float]:
    """A noise and its distance in dB: loud babble would teach that quiet voices are silence."""
    kind = rng.random()
    if kind < 0.5:
        return hiss(count, rng), float(rng.uniform(5, 40))
    if kind < 0.75:
        starts = rng.integers(0, len(noises.music) - count, 1)
        return noises.music[starts[0] : starts[0] + count], float(rng.uniform(10, 40))
    starts = rng.integers(0, len(noises.babble) - count, int(rng.integers(3, 7)))
    babble = np.logaddexp.reduce([noises.babble[start : start + count] for start in starts])
    return np.asarray(babble, np.float32), float(rng.uniform(16, 40))
