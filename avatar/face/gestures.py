"""Short movements of the head: nod, shake, tilt. Pure; times are the session's own, in seconds."""

from __future__ import annotations

import math
from itertools import pairwise

from core.frames import Gesture

Keys = tuple[tuple[float, float], ...]
State = tuple[tuple[float, float], ...]

# Time and place of the turning points: a small move the other way, the stroke, what it overshoots, and less each time.
NOD: Keys = ((0, 0), (0.16, -0.16), (0.42, 1), (0.68, -0.22), (0.94, 0.36), (1.2, -0.06), (1.44, 0))
SHAKE: Keys = ((0, 0), (0.14, 0.14), (0.4, -1), (0.72, 0.92), (1.02, -0.58), (1.3, 0.28), (1.56, -0.08), (1.8, 0))
TILT: Keys = ((0, 0), (0.16, -0.08), (0.56, 1.08), (0.84, 1), (1.5, 1), (2.06, -0.07), (2.4, 0))
SMALL_NOD: Keys = ((0, 0), (0.3, 1), (0.62, -0.1), (0.86, 0))

_KEYS = {Gesture.NOD: NOD, Gesture.SHAKE: SHAKE, Gesture.TILT: TILT}
_AXIS = {gesture: number for number, gesture in enumerate(Gesture)}
_SETTLE = 11.0
"""Natural frequency (1/s) at which what a switch of gestures left over dies away."""


def along(keys: Keys, time: float) -> tuple[float, float]:
    """Place and speed at `time`: minimum-jerk strokes from one turning point to the next (Flash and Hogan 1985)."""
    for (t0, a), (t1, b) in pairwise(keys):
        if t0 <= time < t1:
            s = (time - t0) / (t1 - t0)
            place = a + (b - a) * s * s * s * (10 + s * (6 * s - 15))
            return place, (b - a) * 30 * s * s * (1 - s) ** 2 / (t1 - t0)
    return 0.0, 0.0


class Gestures:
    """The gestures of one session. One plays at a time; place and speed of the head are carried over into the next."""

    def __init__(self) -> None:
        self._keys: Keys = ((0.0, 0.0),)
        self._axis = 0
        self._size = 1.0
        self._start = 0.0
        self._latest: tuple[Gesture, float] | None = None
        # What the last switch left over: place and speed of each axis at `_left`.
        self._rest: State = ((0.0, 0.0),) * 3
        self._left = 0.0

    def show(self, gesture: Gesture | None, start: float, time: float) -> None:
        """What the cue at `time` asks for: the gesture that began at `start`, or none."""
        if gesture is None:
            if self._latest is not None:
                self._switch(((0.0, 0.0),), 0, 0.0, 1.0, time)
            self._latest = None
        elif (gesture, start) != self._latest:
            self._latest = gesture, start
            self._switch(_KEYS[gesture], _AXIS[gesture], start, 1.0, time)

    def nod(self, time: float, size: float) -> None:
        """A small nod of its own, unless a gesture is being made."""
        if time >= self._start + self._keys[-1][0]:
            self._switch(SMALL_NOD, _AXIS[Gesture.NOD], time, size, time)

    def at(self, time: float) -> tuple[float, float, float]:
        """Nod, shake and tilt, each about -1..1."""
        (nod, _), (shake, _), (tilt, _) = self._state(time)
        return nod, shake, tilt

    def _switch(self, keys: Keys, axis: int, start: float, size: float, time: float) -> None:
        before = self._state(time)
        self._keys, self._axis, self._start, self._size = keys, axis, start, size
        place, speed = self._play(time)
        rest = list(before)
        rest[axis] = before[axis][0] - place, before[axis][1] - speed
        self._rest, self._left = tuple(rest), time

    def _state(self, time: float) -> State:
        """Place and speed of each axis."""
        since = max(0.0, time - self._left)
        fade = math.exp(-_SETTLE * since)
        state = []
        for place, speed in self._rest:
            push = speed + _SETTLE * place
            state.append(((place + push * since) * fade, (speed - _SETTLE * push * since) * fade))
        (place, speed), (more, faster) = state[self._axis], self._play(time)
        state[self._axis] = place + more, speed + faster
        return tuple(state)

    def _play(self, time: float) -> tuple[float, float]:
        """Place and speed of the gesture, along its axis."""
        place, speed = along(self._keys, time - self._start)
        return place * self._size, speed * self._size
