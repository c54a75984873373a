"""From sound to visemes by band energies: no model, no dictionary, any language; a first approximation.

Each 10 ms the spectrum is reduced to eight bands and compared with the average profile of each viseme.
The profiles were measured on phoneme-timed speech of seven synthetic voices (espeak-ng and flite).
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from core.frames import LISTEN_RATE, VISEME_RATE, VISEMES, Samples, VisemeFrames

HOP = LISTEN_RATE // VISEME_RATE
_WINDOW = 400
_BEFORE = (_WINDOW - HOP) // 2
"""Samples of a frame's window before the frame itself; the window is centred on it."""
_DIP_BEHIND, _DIP_AHEAD = 9, 2
"""Frames around a closure that must be louder than it."""
_SMOOTH = np.array([1, 2, 3, 2, 1], np.float32) / 9
_REACH = len(_SMOOTH) // 2
LOOK_AHEAD = (_DIP_AHEAD + _REACH + 0.75) / VISEME_RATE
"""Seconds by which the frames lag behind the sound: dip, smoothing and half a window."""
_EDGES = (80, 300, 550, 900, 1400, 2100, 3000, 4500, 7800)
_SPREAD = (6.5, 5.1, 8.9, 10.3, 10.2, 7.9, 8.8, 11.6, 9.6)
_PROFILES = {
    # Each band's level against the frame's own (dB), then the frame's against the speaker's loud vowels.
    "PP": (-1, -11, -22, -19, -28, -25, -23, -29, -15),
    "FF": (-2, -8, -18, -20, -17, -19, -16, -16, -22),
    "TH": (-2, -8, -19, -23, -21, -22, -19, -18, -18),
    "DD": (-6, -11, -18, -19, -17, -17, -13, -14, -22),
    "kk": (-4, -10, -14, -17, -15, -17, -17, -23, -20),
    "CH": (-21, -20, -28, -31, -19, -5, -7, -7, -14),
    "SS": (-11, -19, -28, -26, -24, -21, -10, -7, -14),
    "nn": (-2, -5, -20, -30, -27, -26, -27, -39, -8),
    "RR": (-8, -4, -10, -16, -15, -24, -25, -35, -6),
    "aa": (-9, -8, -4, -11, -15, -19, -20, -38, -2),
    "E": (-9, -5, -8, -22, -14, -17, -18, -36, -3),
    "ih": (-7, -3, -22, -41, -22, -16, -16, -36, -4),
    "oh": (-10, -5, -5, -11, -40, -25, -26, -38, -1),
    "ou": (-4, -4, -23, -19, -26, -21, -20, -34, -4),
}
_PEAKINESS = 0.35
"""Neighbouring bands tell much the same; counting them as independent would be too sure of itself."""
_QUIETEST = -58.0
_RANGE = 36.0
_OVER_NOISE = 8.0
_NOISIEST_START, _SILENT = -48.0, -90.0
"""dBFS: the noise floor is at most the first until a quieter frame is heard, and at least the second."""
_DIP, _DIP_SLOPE, _DIP_BOOST = 6.0, 6.0, 5.0
_SURE = 0.45
"""A closure this probable in one frame is kept at its peak: smoothing would part the lips again."""
_FALL, _RISE = 3.0 / VISEME_RATE, 1.0 / VISEME_RATE
"""dB per frame by which the speaker's level and the noise floor are forgotten."""
_SIL, _PP = VISEMES.index("sil"), VISEMES.index("PP")
_SPOKEN = tuple(VISEMES.index(name) for name in _PROFILES)

Floats = NDArray[np.float32]


def _filters() -> Floats:
    frequencies = np.fft.rfftfreq(512, 1 / LISTEN_RATE)
    bands = itertools.pairwise(_EDGES)
    return np.array([(frequencies >= low) & (frequencies < high) for low, high in bands], np.float32).T


_FILTERS = _filters()
_TAPER = np.hanning(_WINDOW + 2)[1:-1].astype(np.float32)
_FULL_SCALE = float(np.sum(_TAPER**2)) * 512 / 2
"""Power of a full-scale square wave in the one-sided spectrum: 0 dBFS."""
_SPREADS = np.array(_SPREAD, np.float32)
_MEANS = np.array(list(_PROFILES.values()), np.float32) / _SPREADS


class BandStream:
    """Visemes of one piece of sound, `VISEME_RATE` frames per second. Adapts to level and noise as it goes."""

    def __init__(self) -> None:
        self._audio = np.zeros(_BEFORE, np.float32)
        self._samples = 0
        self._returned = 0
        self._loud = -24.0
        self._noise = _NOISIEST_START
        self._levels = np.full(_DIP_BEHIND, _SILENT, np.float32)
        self._raw: Floats = np.zeros((0, len(VISEMES)), np.float32)
        self._rows: Floats = np.zeros((_REACH, len(VISEMES)), np.float32)
        self._rows[:, _SIL] = 1.0

    def feed(self, samples: Samples) -> VisemeFrames:
        """Take int16 samples at `LISTEN_RATE`; the frames decided by now, shape (n, 15)."""
        self._samples += len(samples)
        self._audio = np.concatenate((self._audio, samples.astype(np.float32) / 32768))
        return self._advance()

    def finish(self) -> VisemeFrames:
        """The rest, up to ceil(seconds * VISEME_RATE) in all."""
        missing = -(-self._samples // HOP) - self._returned
        silence = np.zeros(_WINDOW + (_DIP_AHEAD + _REACH + 1) * HOP, np.float32)
        self._audio = np.concatenate((self._audio, silence))
        return self._advance()[:missing]

    def _advance(self) -> VisemeFrames:
        """Each step runs as far as what it looks ahead to is known."""
        count = max(0, (len(self._audio) - _WINDOW) // HOP + 1)
        if count:
            self._classify(_band_levels(self._audio, count))
            self._audio = self._audio[count * HOP :]
        self._find_closures()
        frames = self._smooth()
        self._returned += len(frames)
        return frames

    def _classify(self, bands: Floats) -> None:
        """Weights of each frame by itself, from its band levels in dBFS, shape (n, 8)."""
        levels = 10 * np.log10(np.sum(10 ** (bands / 10), axis=1))
        loud, voiced = self._adapt(levels)
        shape = np.column_stack((bands - levels[:, None], levels - loud)) / _SPREADS
        distance = np.sum((shape[:, None, :] - _MEANS) ** 2, axis=2)
        weights = np.exp(-0.5 * _PEAKINESS * (distance - distance.min(axis=1, keepdims=True)))
        rows = np.zeros((len(bands), len(VISEMES)), np.float32)
        rows[:, _SPOKEN] = weights * (voiced / weights.sum(axis=1))[:, None]
        rows[:, _SIL] = 1 - voiced
        self._raw = np.concatenate((self._raw, rows))
        self._levels = np.concatenate((self._levels, levels))

    def _adapt(self, levels: Floats) -> tuple[Floats, Floats]:
        """The speaker's loudness at each frame (dBFS), and how surely there is speech, 0..1."""
        loud = np.empty_like(levels)
        voiced = np.empty_like(levels)
        for i, level in enumerate(levels.tolist()):
            self._noise = min(self._noise + _RISE, max(level, _SILENT))
            if level > self._loud:
                self._loud += 0.3 * (level - self._loud)
            elif level > self._loud - _RANGE:
                self._loud -= _FALL
            gate = max(_QUIETEST, self._noise + _OVER_NOISE, self._loud - _RANGE)
            loud[i] = self._loud
            voiced[i] = min(1.0, max(0.0, (level - gate) / 6 + 0.5))
        return loud, voiced

    def _find_closures(self) -> None:
        """A short dip between louder frames is likelier than not a closure of the lips."""
        ready = max(0, len(self._raw) - _DIP_AHEAD)
        if not ready:
            return
        rows, self._raw = self._raw[:ready], self._raw[ready:]
        around = np.lib.stride_tricks.sliding_window_view(self._levels, _DIP_BEHIND + 1 + _DIP_AHEAD)[:ready]
        self._levels = self._levels[ready:]
        before = around[:, :_DIP_BEHIND].max(axis=1)
        after = around[:, _DIP_BEHIND + 1 :].max(axis=1)
        depth = np.minimum(before, after) - around[:, _DIP_BEHIND]
        spoken = 1 - rows[:, _SIL]
        rows[:, _PP] *= 1 + _DIP_BOOST * np.clip((depth - _DIP) / _DIP_SLOPE, 0, 1)
        total = rows[:, 1:].sum(axis=1)
        rows[:, 1:] *= (spoken / np.maximum(total, 1e-6))[:, None]
        self._rows = np.concatenate((self._rows, rows))

    def _smooth(self) -> VisemeFrames:
        ready = len(self._rows) - 2 * _REACH
        if ready <= 0:
            return np.zeros((0, len(VISEMES)), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._rows, len(_SMOOTH), axis=0)
        frames = windows @ _SMOOTH
        peak = windows[:, _PP, _REACH - 1 : _REACH + 2].max(axis=1)
        closure = np.where(peak > _SURE, peak, frames[:, _PP])
        frames *= ((1 - closure) / np.maximum(1 - frames[:, _PP], 1e-6))[:, None]
        frames[:, _PP] = closure
        self._rows = self._rows[ready:]
        return np.asarray(frames / frames.sum(axis=1, keepdims=True), np.float32)


def _band_levels(audio: Floats, count: int) -> Floats:
    """Levels of the eight bands in dBFS for `count` frames, shape (count, 8)."""
    windows = np.lib.stride_tricks.sliding_window_view(audio, _WINDOW)[: count * HOP : HOP]
    power = np.abs(np.fft.rfft(windows * _TAPER, 512)) ** 2
    return np.asarray(10 * np.log10(power.astype(np.float32) @ _FILTERS / _FULL_SCALE + 1e-10), np.float32)
