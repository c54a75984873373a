"""Blends mouth targets over time, so that neighbours shape each other as in real speech.

Dominance functions after Cohen & Massaro, "Modeling coarticulation in synthetic visual speech" (1993):
every target pulls with a strength that falls off around its own time, and the mouth is their weighted mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.ipa import SILENCE, Manner, Target, targets_of
from core.frames import VISEME_RATE, VISEMES, Phoneme, VisemeFrames


@dataclass(frozen=True, slots=True)
class _Pull:
    """Strength and reach, in seconds, of a manner: how far ahead and how long after it is felt."""

    strength: float
    lead: float
    lag: float


_PULLS = {
    Manner.PAUSE: _Pull(1.0, 0.040, 0.035),
    Manner.VOWEL: _Pull(1.0, 0.035, 0.035),
    Manner.ROUNDED: _Pull(1.2, 0.060, 0.030),
    Manner.TONGUE: _Pull(1.0, 0.025, 0.025),
    Manner.LABIODENTAL: _Pull(3.0, 0.030, 0.022),
    Manner.CLOSURE: _Pull(3.0, 0.025, 0.018),
}
LOOK_AHEAD = 0.12
"""Seconds after which a later target's pull is below 2 % and may still be unknown."""
_MEMORY = 0.3
_SHORT_PAUSE = 0.08
"""A shorter silence is part of a stop or a word boundary; the mouth does not rest in it."""
_SETTLE, _PREPARE = 0.08, 0.05
"""Into a pause the mouth closes this long after the sound ends, and opens again this long before the next."""
_SHORTEST_HOLD = 0.03
_PP = VISEMES.index("PP")


@dataclass(frozen=True, slots=True)
class _Segment:
    target: Target
    start: float
    end: float


class Blend:
    """One utterance's targets on a time line; frames are taken from it in order, `VISEME_RATE` per second."""

    def __init__(self, start: float = 0.0) -> None:
        """`start`: time of the first frame on the phonemes' clock, in seconds."""
        self._start = start
        self._segments = [_Segment(SILENCE, start - 1.0, start - 0.01)]
        self._holds: list[tuple[float, float]] = []
        self._frame = 0
        self._spoken_until = start
        self.known_until = start
        """Everything before this time is known."""

    def add(self, phoneme: Phoneme) -> None:
        """The next phoneme; phonemes come in the order of their starts."""
        length = phoneme.end - phoneme.start
        self._spoken_until = max(self._spoken_until, phoneme.end)
        self.known_until = max(self.known_until, phoneme.end)
        at = phoneme.start
        for target in targets_of(phoneme.symbol):
            end = at + target.share * length
            if target.manner is Manner.PAUSE:
                self._rest(at, end)
            elif target.manner is not Manner.BREATH:
                self._segments.append(_Segment(target, at, end))
            if target.hold:
                self._holds.append((at, at + max(_SHORTEST_HOLD, target.hold * (end - at))))
            at = end

    def take(self, count: int) -> VisemeFrames:
        """The next `count` frames, shape (count, 15)."""
        if count <= 0:
            return np.zeros((0, len(VISEMES)), np.float32)
        times = self._start + (self._frame + np.arange(count) + 0.5) / VISEME_RATE
        self._frame += count
        first = times[0] - _MEMORY
        # The nearest one stays, however long ago: the mouth keeps it when nothing follows.
        self._segments = [s for s in self._segments[:-1] if s.end > first] + self._segments[-1:]
        self._holds = [h for h in self._holds if h[1] > first]
        log_pull = np.stack([_log_dominance(s, times) for s in self._segments])
        pull = np.exp(log_pull - log_pull.max(axis=0))
        frames = (pull / pull.sum(axis=0)).T @ np.stack([s.target.weights for s in self._segments])
        for start, end in self._holds:
            held = (times >= start) & (times < end)
            frames[held] = 0.0
            frames[held, _PP] = 1.0
        return np.asarray(frames, np.float32)

    def _rest(self, start: float, end: float) -> None:
        if end - start < _SHORT_PAUSE:
            return
        settle = min(_SETTLE, 0.4 * (end - start))
        prepare = min(_PREPARE, 0.3 * (end - start))
        self._segments.append(_Segment(SILENCE, start + settle, end - prepare))

    def know(self, until: float) -> None:
        """No further phoneme starts before `until`; where none is spoken the mouth rests."""
        self.known_until = max(self.known_until, until)
        if self.known_until - self._spoken_until > LOOK_AHEAD:
            self._rest(self._spoken_until, self.known_until)
            self._spoken_until = self.known_until

    def end(self) -> None:
        """Speech is over: the mouth closes."""
        at = self._spoken_until
        self._segments.append(_Segment(SILENCE, at, at + 10.0))


def _log_dominance(segment: _Segment, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the pull at `times`: flat in the segment's middle, Gaussian flanks."""
    pull = _PULLS[segment.target.manner]
    inset = min(0.02, 0.25 * (segment.end - segment.start))
    before = np.maximum(segment.start + inset - times, 0.0) / pull.lead
    after = np.maximum(times - (segment.end - inset), 0.0) / pull.lag
    return np.asarray(np.log(pull.strength) - before**2 - after**2)
