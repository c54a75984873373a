"""From IPA symbols to viseme labels, for training and for judging: hard classes in order, with their share of time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.ipa import Manner, targets_of
from core.frames import VISEME_RATE, VISEMES, VisemeFrames

Segment = tuple[float, float, str]
"""Start and end in seconds, name of the viseme."""

BREATH = ""
"""Label of h and the glottal stop, whose mouth is that of what follows."""
STOPS = ("PP", "DD", "kk", "CH")
_SIL = VISEMES.index("sil")
_OTHERWISE = {"ə": "aa", "ɜː": "RR", "ɐ": "aa"}
"""Where the class differs from the strongest part of the mouth: the schwa belongs to "aa", as English dictionaries
write it with the same symbol as the vowel of "cut"; espeak's American ɜː has the r in it."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One phone: IPA, start and end in seconds."""

    symbol: str
    start: float
    end: float


@lru_cache(maxsize=2048)
def visemes_of(symbol: str) -> tuple[tuple[str, float], ...]:
    """Names of the visemes of an IPA symbol with their shares of its time; (`BREATH`, 1.0) for h and unknown marks."""
    bare = symbol.lstrip("ˈˌ").rstrip("ˑ")
    if bare in _OTHERWISE:
        return ((_OTHERWISE[bare], 1.0),)
    parts: list[tuple[str, float]] = []
    for target in targets_of(symbol):
        if target.manner is Manner.PAUSE:
            return (("sil", 1.0),)
        if target.manner is Manner.BREATH:
            continue
        weights = target.weights.copy()
        weights[_SIL] = 0
        parts.append((VISEMES[int(weights.argmax())], target.share))
    return tuple(parts) or ((BREATH, 1.0),)


def segments_of(phones: list[Timed], *, shortest_pause: float = 0.07) -> list[Segment]:
    """Viseme segments of a timed phone sequence, without gaps from its start to its end.

    A breath takes the next viseme (the last one at the end of speech); a pause shorter than `shortest_pause` belongs
    to the stop that follows it, whose closure it is, else it prolongs what went before; equal neighbours are joined.
    """
    rough: list[Segment] = []
    for phone in phones:
        at, length = phone.start, phone.end - phone.start
        if length <= 0:
            continue
        for name, share in visemes_of(phone.symbol):
            rough.append((at, at + share * length, name))
            at += share * length
    joined: list[Segment] = []
    for i, (start, end, name) in enumerate(rough):
        following = rough[i + 1][2] if i + 1 < len(rough) else "sil"
        if name == "sil" and end - start < shortest_pause and joined:
            name = following if following in STOPS else joined[-1][2]
        if name == BREATH:
            name = following if following not in (BREATH, "sil") else (joined[-1][2] if joined else "sil")
        if joined and joined[-1][2] == name:
            joined[-1] = (joined[-1][0], end, name)
        else:
            joined.append((start, end, name))
    return joined


def frames_of(segments: list[Segment], count: int) -> VisemeFrames:
    """Share of each viseme in each of `count` frames, shape (count, 15); outside of all segments it is silent."""
    frames = np.zeros((count, len(VISEMES)), np.float32)
    for start, end, name in segments:
        first, last = start * VISEME_RATE, min(end * VISEME_RATE, count)
        for i in range(max(0, int(first)), min(count, int(np.ceil(last)))):
            frames[i, VISEMES.index(name)] += max(0.0, min(i + 1, last) - max(i, first))
    frames[:, _SIL] += np.maximum(0, 1 - frames.sum(axis=1))
    return np.asarray(frames / frames.sum(axis=1, keepdims=True), np.float32)


def classes_of(segments: list[Segment], count: int) -> NDArray[np.int64]:
    """Class of each of `count` frames: the viseme that sounds at its middle, shape (count,)."""
    classes = np.full(count, _SIL, np.int64)
    for start, end, name in segments:
        first, last = (int(np.ceil(t * VISEME_RATE - 0.5)) for t in (start, end))
        classes[max(0, first) : max(0, last)] = VISEMES.index(name)
    return classes
