"""What loudness says of speech: the mouth stays shut in silence and in noise, and no clear voice is silence."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.features import HOP
from core.frames import VISEME_RATE, Samples

Floats = NDArray[np.float32]

HOLD, AHEAD = 12, 4
"""Frames after and before a louder one that belong to it: the closure of a stop is silent, too."""
_QUIETEST = -58.0
"""dBFS; quieter than this is no speech that anybody hears."""
_STEADY = 10
_REMEMBERED = 4 * VISEME_RATE
"""The noise is the quietest `_STEADY` frames in a row of the last four seconds: pauses let it be heard."""
_OVER_NOISE = 18.0
"""dB: voices in the background are loud at times."""
_UNDER_VOICE, _RANGE = 12.0, 38.0
"""dB between a speaker's vowels and what is no longer speech: in noise, and at most."""
_CLEAR = 26.0
"""dB below the vowels down to which a sound is no silence."""
_FIRST_LOUD = -16.0
"""dBFS of the vowels before any was heard: as loud as the program's voices are."""
_SLOPE = 5.0
_TO_FULL_SCALE = 1 / (HOP * 32768**2)
"""From a hop's sum of squares to its power."""
_SILENT_POWER = 1e-9
"""Added to the power: digital silence is -90 dBFS."""
_FALL = 3.0 / VISEME_RATE
"""dB per frame by which the speaker's level is forgotten."""


class Presence(NamedTuple):
    """Of each frame, 0..1."""

    may: list[float]
    """Speech is possible: loud enough here or so near that this may be a closure within it."""
    must: list[float]
    """It can't be silence: clearly above the noise, and not far below the speaker's vowels."""


class SpeechGate:
    """One piece of sound, `VISEME_RATE` frames a second; adapts to the speaker's level and to the noise.

    Some values at a time are quicker in Python's own numbers than in arrays.
    """

    def __init__(self) -> None:
        self._left: Floats = np.zeros(0, np.float32)
        self._loud = _FIRST_LOUD
        self._power: deque[float] = deque(maxlen=_STEADY)
        self._frame = 0
        self._quietest: deque[tuple[int, float]] = deque()
        """Frame and level of what may yet be the quietest of what is remembered, quietest first."""
        self._before = 0.0
        """Level of the last frame; what is clearly no silence is loud for two."""
        self._may = [0.0] * HOLD
        self._must: list[float] = []

    def feed(self, samples: Samples | Floats) -> Presence:
        """Take int16 samples, or the same numbers as float32, shape (n,), at `LISTEN_RATE`; the frames that are
        decided, `AHEAD` frames late."""
        return self._decide(np.asarray(samples, np.float32))

    def finish(self) -> Presence:
        """The rest, at least up to the last hop begun; silence follows."""
        return self._decide(np.zeros((AHEAD + 2) * HOP - len(self._left), np.float32))

    def _decide(self, audio: Floats) -> Presence:
        if len(self._left):
            audio = np.concatenate((self._left, audio))
        count = len(audio) // HOP
        self._left = audio[count * HOP :]
        hops = audio[: count * HOP].reshape(count, HOP)
        for power in np.vecdot(hops, hops).tolist():
            self._hear(power * _TO_FULL_SCALE + _SILENT_POWER)
        count = max(0, len(self._may) - HOLD - AHEAD)
        if 1.0 in self._may[count - 1 : HOLD + 1 + AHEAD]:  # every frame has it in reach
            may = [1.0] * count
        else:
            may = [max(self._may[i : i + HOLD + 1 + AHEAD]) for i in range(count)]
        must = self._must[:count]
        self._may, self._must = self._may[count:], self._must[count:]
        return Presence(may, must)

    def _hear(self, power: float) -> None:
        """The next frame, by its power."""
        level = 10 * math.log10(power)
        loud = self._loud
        if level > loud:
            self._loud = loud = loud + 0.3 * (level - loud)
        elif level > loud - _RANGE:
            self._loud = loud = loud - _FALL
        self._power.append(power)
        # of the last frames: voices in the background are loud for a moment at times
        steady = 10 * math.log10(sum(self._power) / len(self._power))
        over_noise = self._noise(steady) + _OVER_NOISE
        gate = max(min(over_noise, loud - _UNDER_VOICE), _QUIETEST, loud - _RANGE)
        self._may.append(_ramp(steady - gate))
        lasting, self._before = min(level, self._before), level
        self._must.append(_ramp(lasting - max(over_noise, loud - _CLEAR, _QUIETEST)))

    def _noise(self, steady: float) -> float:
        """Level of the background in dBFS."""
        while self._quietest and self._quietest[-1][1] >= steady:
            self._quietest.pop()
        self._quietest.append((self._frame, steady))
        self._frame += 1
        if self._quietest[0][0] < self._frame - _REMEMBERED:
            self._quietest.popleft()
        return self._quietest[0][1]


def _ramp(above: float) -> float:
    """From 0 to 1 over `_SLOPE` dB around nothing."""
    share = above / _SLOPE + 0.5
    return 0.0 if share < 0 else min(share, 1.0)
