"""Mouths move, they don't switch: visemes blended over neighbouring frames, rounding ahead of time, closures kept."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync import closures
from avatar.lipsync.closures import Closures
from core.frames import VISEMES, VisemeFrames

BEHIND, AHEAD = 4, 6
"""Frames before and after a frame that shape it; it waits for the latter."""
_MOVE = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 0], np.float32)
"""Standard deviation 20 ms; with the doubt in the posteriors themselves, movements are as quick as real ones."""
_ROUND = np.array([1, 2, 3, 4, 5, 5, 4.5, 4, 3, 2, 1], np.float32)
"""Lips begin to round 60 ms before a rounded vowel sounds."""
_SURE = 0.45
"""A closure this probable is kept as it is: smoothing would part the lips again."""
assert closures.AHEAD == AHEAD, "a second look at closures takes no time of its own"
_PAST = max(BEHIND, closures.BEFORE)
_HARDLY = 0.02
"""Where no PP is more probable, there is nothing to look at twice."""
_PP = VISEMES.index("PP")
_AT_ONCE = 32
"""Rows that are smoothed in one product, whose matrices grow with their square."""
_FIRST_ROUNDED = VISEMES.index("oh")
"""The rounded ones come last."""
assert VISEMES[_FIRST_ROUNDED:] == ("oh", "ou")


@lru_cache(maxsize=_AT_ONCE)
def _kernels(count: int) -> VisemeFrames:
    """Two matrices one below the other, shape (2 count, BEHIND + count + AHEAD): a kernel each."""
    size = len(_MOVE)
    both = np.zeros((2 * count, count + size - 1), np.float32)
    for i in range(count):
        both[i, i : i + size] = _MOVE / _MOVE.sum()
        both[count + i, i : i + size] = _ROUND / _ROUND.sum()
    return both


class Glide:
    """Smooths rows of one utterance as they come. A sure PP never gets less: p, b and m are short."""

    def __init__(self, closures: Closures | None = None) -> None:
        """`closures` say where the lips touch by the sound; without them the rows themselves do."""
        self._closures = closures
        self._past = _PAST if closures else BEHIND
        self._line = rest(self._past)
        """Rows that are still needed, the first `_past` of them already returned."""
        self._heard = rest(self._past)
        """What the sound alone says of these frames."""
        self._doubt = np.zeros(self._past, np.float32)
        """How far its closures count."""

    def feed(
        self, rows: VisemeFrames, heard: VisemeFrames | None = None, doubt: NDArray[np.float32] | None = None
    ) -> VisemeFrames:
        """Take the next rows, shape (n, 15); the smoothed ones that are decided.

        `doubt`, shape (n,), 0..1: how far the closures that are heard in `heard`, shape (n, 15), count more than those
        of `rows`. Without these two the rows are what is heard.
        """
        self._line = np.concatenate((self._line, rows))
        if self._closures is not None:
            self._heard = np.concatenate((self._heard, rows if heard is None else heard))
            more = np.ones(len(rows), np.float32) if doubt is None else doubt
            self._doubt = np.concatenate((self._doubt, more))
        return self._smooth()

    def finish(self) -> VisemeFrames:
        """The last `AHEAD` rows, or all when there were fewer."""
        return self.feed(rest(AHEAD))

    def _smooth(self) -> VisemeFrames:
        count = len(self._line) - self._past - AHEAD
        if count <= 0:
            return np.zeros((0, len(VISEMES)), np.float32)
        starts = range(0, count, _AT_ONCE)
        parts = [self._smoothed(at, self._past + min(at + _AT_ONCE, count) + AHEAD) for at in starts]
        self._line, self._heard, self._doubt = self._line[count:], self._heard[count:], self._doubt[count:]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _smoothed(self, start: int, end: int) -> VisemeFrames:
        """The rows from `start` to `end` but for the first `_past` and the last `AHEAD`, smoothed."""
        smooth = _moving(self._line[start + self._past - BEHIND : end])
        now, itself = smooth[:, _PP], self._line[start + self._past : end - AHEAD, _PP]
        closure = now
        if max(itself.tolist()) > _SURE:
            closure = np.where(itself > _SURE, np.maximum(itself, now), now)
        if self._closures is not None:
            doubt, heard = self._doubt[start + self._past : end - AHEAD], self._heard[start:end]
            if max(doubt.tolist()) > 0 and max(heard[:, _PP].tolist()) > _HARDLY:
                seen = self._closures.of(heard)
                by_sound = np.where(seen > _SURE, seen, np.minimum(now, _SURE))
                closure = np.asarray(closure + doubt * (by_sound - closure), np.float32)
        if closure is not now:
            _close(smooth, closure)
        return smooth


def _moving(line: VisemeFrames) -> VisemeFrames:
    """All rows of `line` but the first `BEHIND` and the last `AHEAD`, blended with those around them."""
    count = len(line) - BEHIND - AHEAD
    both: VisemeFrames = _kernels(count).dot(line)
    smooth, rounded = both[:count], both[count:]
    smooth[:, _FIRST_ROUNDED:] = rounded[:, _FIRST_ROUNDED:]
    smooth /= np.add.reduce(smooth, axis=1, keepdims=True)
    return smooth


def _close(smooth: VisemeFrames, closure: NDArray[np.float32]) -> None:
    """Make PP as probable as `closure` says."""
    smooth *= ((1 - closure) / np.maximum(1 - smooth[:, _PP], 1e-6))[:, None]
    smooth[:, _PP] = closure
    smooth /= smooth.sum(axis=1, keepdims=True)


def rest(count: int) -> VisemeFrames:
    """The mouth before and after an utterance: shut."""
    rows = np.zeros((count, len(VISEMES)), np.float32)
    rows[:, VISEMES.index("sil")] = 1.0
    return rows
