"""What the face of one avatar acts: its expression and gesture at any media time. Pure: times are told.

The acts of an utterance are given by shares of its sound. While the voice still speaks it, its length is estimated
from its text, so an act is never waited for; it comes early or late by the error of that estimate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.acts import LETTERS_PER_S, Act, Deed, weight
from core.frames import AUDIO_FRAME, MEDIA_RATE, Expression, Gesture

LEAST_S = 1.5
"""An expression is kept so long at least, if the reply ends right after it."""
_KEPT = 32


@dataclass(frozen=True, slots=True)
class Sounded:
    """How far an utterance was played, in samples. `known`: of which it is certain that they are all."""

    utterance: int
    played: int
    queued: int
    known: bool


class Acting:
    """`begin` as an utterance starts, `follow` while it sounds, `at` for each picture."""

    def __init__(self, told: Callable[[Deed, float], None] = lambda deed, time: None) -> None:
        """`told`: called with each deed and the media time at which it is done, or will be."""
        self._told = told
        self._expressions: deque[tuple[float, Expression]] = deque([(0.0, Expression.NEUTRAL)], _KEPT)
        self._gestures: deque[tuple[float, Gesture]] = deque(maxlen=_KEPT)
        self._waiting: list[Act] = []
        self._utterance = -1
        self._estimate = 0

    def begin(self, utterance: int, text: str, acts: Sequence[Act]) -> None:
        """These acts belong to an utterance that begins to sound."""
        self._utterance = utterance
        self._waiting = sorted(acts, key=lambda act: act.share)
        self._estimate = int(weight(text) / LETTERS_PER_S * MEDIA_RATE)

    def follow(self, sounded: Sounded, time: float) -> None:
        """An utterance was played so far at media time `time`: do what is due since the last packet."""
        if sounded.utterance != self._utterance:
            return
        total = sounded.queued if sounded.known else max(sounded.queued, self._estimate)
        while self._waiting and (due := self._waiting[0].share * total) <= sounded.played:
            ago = min(sounded.played - due, AUDIO_FRAME) / MEDIA_RATE
            self.do(self._waiting.pop(0).deed, time - ago)

    def do(self, deed: Deed, time: float) -> None:
        """Do it from media time `time` on. An expression takes the place of one that was to begin later."""
        if isinstance(deed, Gesture):
            self._gestures.append((time, deed))
            self._told(deed, time)
            return
        while self._expressions and self._expressions[-1][0] >= time:
            self._expressions.pop()
        if not self._expressions or self._expressions[-1][1] is not deed:
            self._expressions.append((time, deed))
            self._told(deed, time)

    def finish(self, time: float) -> None:
        """The reply is over: neutral again, but not before the last expression could be seen."""
        self._waiting = []
        since, expression = self._expressions[-1]
        if expression is not Expression.NEUTRAL:
            self.do(Expression.NEUTRAL, max(time, since + LEAST_S))

    def clear(self, time: float) -> None:
        """The reply was interrupted: neutral from now on."""
        self._waiting = []
        self.do(Expression.NEUTRAL, time)

    def at(self, time: float) -> tuple[Expression, Gesture | None, float]:
        """Expression, newest gesture and when that began, at a media time."""
        expression = next((what for since, what in reversed(self._expressions) if since <= time), Expression.NEUTRAL)
        for since, gesture in reversed(self._gestures):
            if since <= time:
                return expression, gesture, since
        return expression, None, 0.0
