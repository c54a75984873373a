"""Eyes in time: fixations, glances and blinks. Pure and deterministic for a given random generator."""

from __future__ import annotations

import math
import random

from core.frames import Activity, Expression

_ATTENTIVE = (Activity.LISTENING, Activity.RECOGNIZING, Activity.INTERRUPTED)
_CLOSING, _OPENING = 0.07, 0.11
"""Seconds a lid takes to fall and to rise (spontaneous blinks last 120 to 180 ms above half shut)."""


class Glances:
    """Where the eyes look: mostly at the viewer, with micro-fixations; aside now and then; up when thinking."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._next = 0.0
        self._target = (0.0, 0.0)
        self._x = self._y = 0.0
        self._aside = 1.0
        self._thinks = False
        self.jumped = False
        """Whether the latest call began a large glance; blinks like to go with those."""

    def at(
        self, time: float, step: float, activity: Activity, expression: Expression = Expression.NEUTRAL
    ) -> tuple[float, float]:
        """Gaze right and down, -1..1, at `time` (s), `step` seconds after the call before."""
        self.jumped = False
        thinks = activity is Activity.THINKING or expression is Expression.THINKING
        if thinks != self._thinks:
            self._next = time + self._rng.uniform(0.05, 0.2)
        self._thinks = thinks
        if time >= self._next:
            before = self._target
            self._target, hold = self._choose(activity)
            self._next = time + hold
            self.jumped = math.dist(before, self._target) > 0.5
        # A saccade of this size takes 30 to 60 ms.
        reach = 1 - math.exp(-step / 0.028)
        self._x += (self._target[0] - self._x) * reach
        self._y += (self._target[1] - self._y) * reach
        return self._x, self._y

    def _choose(self, activity: Activity) -> tuple[tuple[float, float], float]:
        rng = self._rng
        if self._thinks:
            if rng.random() < 0.25:
                self._aside = -self._aside
            return (self._aside * rng.uniform(0.45, 0.75), rng.uniform(-0.9, -0.55)), rng.uniform(0.6, 1.5)
        away = {Activity.IDLE: 0.16, Activity.SPEAKING: 0.09}.get(activity, 0.0)
        if rng.random() < away:
            side = rng.choice((-1.0, 1.0))
            far = 0.5 if activity is Activity.SPEAKING else 0.7
            return (side * rng.uniform(0.3, far), rng.uniform(-0.2, 0.35)), rng.uniform(0.4, 1.0)
        spread = 0.05 if activity in _ATTENTIVE else 0.09
        return (rng.gauss(0, spread), rng.gauss(0, spread * 0.7)), rng.uniform(0.5, 1.9)


class Blinks:
    """How far the lids are shut."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._start = -10.0
        self._hold = 0.02
        self._next = rng.uniform(0.8, 2.5)
        self._again = False
        self._silent_since: float | None = None

    def suggest(self, time: float) -> None:
        """A large glance happened: often the eyes blink with it."""
        if time - self._start > 1.0 and self._rng.random() < 0.35:
            self._next = min(self._next, time)

    def at(self, time: float, activity: Activity, loudness: float) -> float:
        """0 open … 1 shut at `time` (s)."""
        self._watch_pauses(time, activity, loudness)
        if time >= self._next and time - self._start > _CLOSING + self._hold + _OPENING:
            self._begin(max(self._next, time - 0.04))  # the true start, unless the cue comes much later
        since = time - self._start
        if since < _CLOSING:
            return 0.5 - 0.5 * math.cos(math.pi * since / _CLOSING)
        since -= _CLOSING + self._hold
        if since <= 0:
            return 1.0
        if since < _OPENING:
            return 0.5 + 0.5 * math.cos(math.pi * since / _OPENING)
        return 0.0

    def _begin(self, start: float) -> None:
        rng = self._rng
        self._start = start
        self._hold = rng.uniform(0.01, 0.04)
        twice = not self._again and rng.random() < 0.14
        self._again = twice
        total = _CLOSING + self._hold + _OPENING
        self._next = self._start + (total + rng.uniform(0.06, 0.16) if twice else rng.uniform(2.0, 6.0))

    def _watch_pauses(self, time: float, activity: Activity, loudness: float) -> None:
        """People blink, and longer, when a phrase ends."""
        if activity is not Activity.SPEAKING or loudness > 0.02:
            self._silent_since = None
            return
        if self._silent_since is None:
            self._silent_since = time
        elif 0.2 < time - self._silent_since < 1.0 and time - self._start > 2.0:
            self._begin(time)
            self._hold = self._rng.uniform(0.05, 0.10)
            self._silent_since = time - 1.0
