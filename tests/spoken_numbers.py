"""Speech for machines: a "word" is a run of samples of one loudness, so lost or doubled audio shows in the text."""

from __future__ import annotations

import numpy as np

from core.frames import LISTEN_RATE, Samples

PAUSE_S = 1.0
"""Ends a sentence."""
_QUIETEST = 1000


def word(number: int, seconds: float = 0.3) -> Samples:
    """The number (0 to 3000), spoken."""
    return np.full(int(seconds * LISTEN_RATE), _QUIETEST + 10 * number, np.int16)


def pause(seconds: float = PAUSE_S) -> Samples:
    """Silence."""
    return np.zeros(int(seconds * LISTEN_RATE), np.int16)


def sentence(*numbers: int) -> Samples:
    """The numbers one after the other, each other than the one before, and a pause."""
    return np.concatenate([*(word(number) for number in numbers), pause()])


def pcm(*parts: Samples) -> bytes:
    """As bytes for the wire."""
    return np.concatenate(parts).astype("<i2").tobytes()


def recognise(sound: bytes) -> str:
    """The numbers in it, each run once, however short."""
    samples = np.frombuffer(sound[: len(sound) & ~1], "<i2").astype(np.int32)
    loud = samples[samples >= _QUIETEST]
    if not len(loud):
        return ""
    runs = loud[np.insert(np.diff(loud) != 0, 0, True)]
    return " ".join(str((value - _QUIETEST) // 10) for value in runs)
