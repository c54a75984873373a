"""How surely there is speech at each moment, by loudness: the mouth stays shut in silence and in noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.features import HOP
from core.frames import VISEME_RATE, Samples

Floats = NDArray[np.float32]

HOLD, AHEAD = 8, 4
"""Frames after and before a louder one that belong to it: the closure of a stop is silent, too."""
_SILENT = -90.0
_QUIETEST = -58.0
"""dBFS; quieter than this is no speech that anybody hears."""
_STEADY = 5
_REMEMBERED = 2 * VISEME_RATE
"""The noise is the quietest `_STEADY` frames in a row of the last two seconds: stops let it be heard."""
_OVER_NOISE = 12.0
_UNDER_VOICE, _RANGE = 14.0, 38.0
"""dB between a speaker's vowels and what is no longer speech: in noise, and at most."""
_FIRST_LOUD = -22.0
_SLOPE = 5.0
_FALL = 3.0 / VISEME_RATE
"""dB per frame by which the speaker's level is forgotten."""


class SpeechGate:
    """One piece of sound, `VISEME_RATE` values a second; adapts to the speaker's level and to the noise."""

    def __init__(self) -> None:
        self._left: Floats = np.zeros(0, np.float32)
        self._loud = _FIRST_LOUD
        self._power = np.full(_STEADY - 1, 10 ** (_SILENT / 10))
        self._steady = np.full(_REMEMBERED - 1, np.inf)
        self._open: Floats = np.zeros(HOLD, np.float32)

    def feed(self, samples: Samples) -> Floats:
        """Take int16 samples, shape (n,), at `LISTEN_RATE`; values 0..1 that are decided, `AHEAD` frames late."""
        audio: Floats = np.concatenate((self._left, samples.astype(np.float32) / np.float32(32768)))
        count = len(audio) // HOP
        self._left = audio[count * HOP :]
        return self._decide(audio[: count * HOP])

    def finish(self) -> Floats:
        """The rest, at least up to the last hop begun; silence follows."""
        return self._decide(np.concatenate((self._left, np.zeros((AHEAD + 2) * HOP - len(self._left), np.float32))))

    def _decide(self, audio: Floats) -> Floats:
        if len(audio):
            power = np.mean(audio.reshape(-1, HOP).astype(np.float64) ** 2, axis=1) + 10 ** (_SILENT / 10)
            self._open = np.concatenate((self._open, self._opened(power)))
        count = len(self._open) - HOLD - AHEAD
        if count <= 0:
            return np.zeros(0, np.float32)
        around = np.lib.stride_tricks.sliding_window_view(self._open, HOLD + 1 + AHEAD)[:count]
        self._open = self._open[count:]
        return np.asarray(around.max(axis=1), np.float32)

    def _opened(self, power: NDArray[np.float64]) -> Floats:
        levels = 10 * np.log10(power)
        noise = self._noise(power)
        loud = np.empty_like(levels)
        for i, level in enumerate(levels.tolist()):
            if level > self._loud:
                self._loud += 0.3 * (level - self._loud)
            elif level > self._loud - _RANGE:
                self._loud -= _FALL
            loud[i] = self._loud
        gate = np.maximum(np.minimum(noise + _OVER_NOISE, loud - _UNDER_VOICE), np.maximum(_QUIETEST, loud - _RANGE))
        return np.clip((levels - gate) / _SLOPE + 0.5, 0, 1).astype(np.float32)

    def _noise(self, power: NDArray[np.float64]) -> NDArray[np.float64]:
        """Level of the background in dBFS at each frame."""
        line = np.concatenate((self._power, power))
        self._power = line[len(power) :]
        means = np.lib.stride_tricks.sliding_window_view(line, _STEADY).mean(axis=1)
        past = np.concatenate((self._steady, means))
        self._steady = past[len(power) :]
        quietest = np.lib.stride_tricks.sliding_window_view(past, _REMEMBERED).min(axis=1)
        return np.asarray(10 * np.log10(quietest), np.float64)
