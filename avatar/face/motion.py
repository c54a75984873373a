"""The life of a face: blinks, glances, breath, moods, gestures, and a head that idles, listens, thinks and speaks.

Pure and deterministic: the same seed and the same cues give the same poses. Times come from the cues only.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from avatar.face.gaze import Blinks, Glances
from avatar.face.gestures import Gestures
from avatar.face.looks import CHANNELS, TARGETS, worn
from avatar.face.warp import INDEX, MOTIONS
from core.frames import Activity, Expression, FaceCue, MouthShape

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pose:
    """One moment of a face."""

    weights: Floats
    """Weight of each of `warp.MOTIONS`, shape (len(MOTIONS),), float32; those of the mouth are 0 here."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Direction of the eyes, -1..1, right and down in the picture."""
    openness: float = 1.0
    """Of the eyelids: 0 shut, 1 open, slightly more when attentive."""
    squint: float = 0.0
    """Lower lids raised, 0..1."""
    slant: float = 0.0
    """Outer halves of the upper lids lowered, 0..1."""
    smile: float = 0.6
    """Corners of the mouth, see `Look.smile`."""
    furrow: float = 0.0
    """The brows drawn together, 0..1."""
    mouth: MouthShape = field(default_factory=MouthShape)
    """The lips: what speech asks for, and the mood where speech leaves it room."""


_SPEEDS = {
    "roll": 5.0, "yaw": 5.0, "pitch": 5.0, "zoom": 4.0, "brow_inner": 8.0, "brow_outer": 8.0, "brow_skew": 7.0,
    "furrow": 7.0, "lids": 8.0, "squint": 7.0, "slant": 6.0, "smile": 6.0, "cheeks": 6.0, "jaw": 8.0, "press": 7.0,
    "purse": 7.0, "shrug": 4.0, "gaze_y": 8.0, "restless": 3.0,
}  # fmt: skip
_SPEED = np.array([_SPEEDS[channel] for channel in CHANNELS])
"""Natural frequency of each channel's approach, 1/s."""

_WAVES = (
    ("shift_x", 4.8, 0.11),
    ("shift_y", 2.2, 0.16),
    ("roll", 0.017, 0.09),
    ("yaw", 7.5, 0.13),
    ("pitch", 3.6, 0.17),
)
"""Idle motion: name, amplitude, base frequency in Hz."""

_NOD, _SHAKE, _TILT = 20.0, 19.0, 0.085
"""Size of the gestures: travel of the nose in art units, and radians."""
_PENSIVE = (0.5, -0.6)
"""Where the eyes look that think, for a face that wears it and has no time to look around."""
_HELD = 0.010
"""Gaze that a turn of the head takes back, per art unit of the nose's travel."""
_LOOSE = 0.07
"""How far the gaze may be off before the eyes correct it."""
_LONGEST_STEP = 0.2
"""Cues further apart than this (s) move the springs as if they were this far apart."""
_PHRASE_S, _PAUSE_S = 0.9, 0.16
"""A pause this long after speech this long is the end of a phrase."""
_QUIET = 0.02
"""Loudness below which speech pauses."""


class Motion:
    """State of one session's face."""

    def __init__(self, seed: int, amount: float = 1.0) -> None:
        """`amount` scales the head's own motion: 0 keeps it still."""
        self._amount = amount
        rng = self._rng = random.Random(f"face {seed}")
        self._phases = [[rng.uniform(0, 2 * math.pi) for _ in range(4)] for _ in _WAVES]
        self._breath_phase = rng.uniform(0, 2 * math.pi)
        self._glances = Glances(rng)
        self._blinks = Blinks(rng)
        self._gestures = Gestures()
        self._value = TARGETS[Activity.IDLE, Expression.NEUTRAL].copy()
        self._speed = np.zeros(len(CHANNELS))
        self._time: float | None = None
        self._start = 0.0
        self._fast = self._slow = self._talk = 0.0
        self._beat = self._beat_speed = 0.0
        self._held = (0.0, 0.0)
        self._effort = 0.0
        """How wide the jaw has been open lately, 0..1: brows and lids go a little with it."""
        self._spoken = self._silent = 0.0
        self._next_nod = rng.uniform(2.0, 4.0)
        self._nod = 0.0
        self._sway = self._sway_speed = 0.0
        self._lag = ((0.0, 0.0), (0.0, 0.0))
        """Place and speed of the hair's lag across, and those down."""
        self._head: tuple[float, float] = (0.0, 0.0)

    def at(self, cue: FaceCue) -> Pose:
        """The pose for a cue; cues must come in order of time."""
        if self._time is None:
            self._time = self._start = cue.time
        step = min(max(cue.time - self._time, 0.0), _LONGEST_STEP)
        self._time = cue.time
        time = cue.time - self._start
        if cue.worn:
            self._value, self._speed = worn(cue.activity, cue.expression), np.zeros(len(CHANNELS))
        else:
            self._approach(TARGETS[cue.activity, cue.expression], step)
        self._listen(cue, time, step)
        self._gestures.show(cue.gesture, cue.gesture_start - self._start, time)
        look = dict(zip(CHANNELS, self._value.tolist(), strict=True))
        weights = np.zeros(len(MOTIONS), np.float32)
        self._move_head(weights, look, time, step)
        self._move_brows(weights, look, time)
        weights[INDEX["cheeks"]] = look["cheeks"] + 3.0 * max(0.0, look["smile"])
        gaze = self._glances.at(time, step, cue.activity, cue.expression)
        if self._glances.jumped:
            self._blinks.suggest(time)
        held = self._hold(float(weights[INDEX["yaw"]]), float(weights[INDEX["pitch"]]))
        gaze = gaze[0] + held[0], gaze[1] + held[1] + look["gaze_y"]
        if cue.worn and cue.expression is Expression.THINKING:
            gaze = gaze[0] + _PENSIVE[0], gaze[1] + _PENSIVE[1]
        shut = max(cue.shut, self._blinks.at(time, cue.activity, cue.loudness))
        # Speech moves the lids: stress opens them a little, in between they relax.
        lids = (
            look["lids"]
            + 0.09 * max(0.0, self._beat)
            + 0.06 * self._effort
            - 0.05 * self._talk * self._drift(time, 0.21)
        )
        openness = (0.95 + lids - 0.12 * gaze[1] - 0.10 * max(0.0, self._nod)) * (1 - shut)
        return Pose(
            weights,
            gaze,
            max(0.0, openness),
            _unit(look["squint"]),
            _unit(look["slant"]),
            look["smile"],
            _unit(look["furrow"]),
            self._mouth(cue.mouth, look, float(cue.mouth == MouthShape()) if cue.worn else 1 - self._talk),
        )

    # -- parts of a pose

    def _hold(self, yaw: float, pitch: float) -> tuple[float, float]:
        """The gaze that keeps the eyes on the viewer while the head turns, corrected in small jumps, as eyes do."""
        wanted = -_HELD * yaw, -_HELD * pitch
        if math.dist(wanted, self._held) > _LOOSE:
            self._held = wanted
        return self._held

    def _move_head(self, weights: Floats, look: dict[str, float], time: float, step: float) -> None:
        idle = self._idle(time, max(0.0, look["restless"]))
        self._nod, shake, tilt = self._gestures.at(time)
        amount, beat, talk = self._amount, self._beat, self._talk
        breath = math.sin(2 * math.pi * 0.24 * time + self._breath_phase)
        sway = 0.010 * talk * math.sin(2 * math.pi * 0.31 * time)
        turn = 3.4 * talk * math.sin(2 * math.pi * 0.43 * time + self._phases[0][3])
        roll = amount * (idle["roll"] + look["roll"] + sway) + _TILT * tilt + 0.012 * shake
        yaw = amount * (idle["yaw"] + look["yaw"] + turn) + _SHAKE * shake
        pitch = amount * (idle["pitch"] + look["pitch"] + 6.5 * beat) + _NOD * self._nod
        x = amount * idle["shift_x"] + 2.0 * shake
        y = amount * (idle["shift_y"] + 2.4 * beat) - 0.8 * breath + 4.0 * self._nod
        for name, value in (
            ("roll", roll), ("yaw", yaw), ("pitch", pitch), ("shift_x", x), ("shift_y", y),
            ("zoom", amount * look["zoom"] + 0.006 * self._nod), ("breath", 3.0 * breath + look["shrug"]),
        ):  # fmt: skip
            weights[INDEX[name]] = value
        head = x + 0.3 * yaw - 420 * roll, y + 0.3 * pitch
        self._swing(head, step)
        weights[INDEX["sway"]] = self._sway
        weights[INDEX["lag_x"]], weights[INDEX["lag_y"]] = (place for place, _ in self._lag)

    def _move_brows(self, weights: Floats, look: dict[str, float], time: float) -> None:
        lift = 7.5 * max(0.0, self._beat) + 3.5 * self._effort + 2.4 * self._talk * self._drift(time, 0.16)
        # Less at the inner ends: brows that rise there most look worried.
        inner, outer = look["brow_inner"] + 0.6 * lift, look["brow_outer"] + lift
        skew = look["brow_skew"] + 1.2 * self._talk * (self._drift(time, 0.12) - 0.5)
        furrow = look["furrow"]
        weights[INDEX["brow_inner_left"]] = inner + skew
        weights[INDEX["brow_outer_left"]] = outer + skew
        weights[INDEX["brow_inner_right"]] = inner * 0.94 - skew
        weights[INDEX["brow_outer_right"]] = outer * 0.94 - skew
        weights[INDEX["furrow"]] = 6.0 * furrow

    def _mouth(self, said: MouthShape, look: dict[str, float], quiet: float) -> MouthShape:
        """Speech first: what it closes stays closed, and the more it moves the lips the less the mood does.

        `quiet`: 0 while it speaks, 1 when it has been silent for long.
        """
        free = (1 - said.close) * (1 - said.press)
        jaw = said.jaw_open + look["jaw"] * (1 - said.jaw_open) * free * (0.25 + 0.75 * quiet)
        still = quiet * max(0.0, 1 - 4 * (said.jaw_open + said.funnel + said.pucker + said.teeth))
        return MouthShape(
            jaw_open=_unit(jaw),
            close=said.close,
            press=_unit(said.press + look["press"] * (1 - said.press) * still),
            funnel=said.funnel,
            pucker=_unit(said.pucker + look["purse"] * (1 - said.pucker) * free * quiet),
            stretch=said.stretch,
            roll_lower=said.roll_lower,
            tongue_up=said.tongue_up,
            teeth=said.teeth,
        )

    # -- state

    def _approach(self, goal: NDArray[np.float64], step: float) -> None:
        """Critically damped springs, exact for any step."""
        gap = self._value - goal
        push = (self._speed + _SPEED * gap) * step
        decay = np.exp(-_SPEED * step)
        self._speed = (self._speed - _SPEED * push) * decay
        self._value = goal + (gap + push) * decay

    def _listen(self, cue: FaceCue, time: float, step: float) -> None:
        """Stress and phrases of its own speech; small nods while the user speaks."""
        speaking = cue.activity is Activity.SPEAKING
        loud = min(1.0, max(0.0, cue.loudness)) ** 0.5 if speaking else 0.0
        self._fast += (loud - self._fast) * (1 - math.exp(-step / 0.07))
        self._slow += (loud - self._slow) * (1 - math.exp(-step / 0.9))
        jaw = cue.mouth.jaw_open * (1 - cue.mouth.close) if speaking else 0.0
        self._effort += (jaw - self._effort) * (1 - math.exp(-step / 0.14))
        self._talk += (float(speaking) - self._talk) * (1 - math.exp(-step / 0.35))
        # How far the loudness is above its recent mean, through a spring: heads and brows have mass.
        goal = math.tanh(2.4 * (self._fast - self._slow))
        gap, speed = self._beat - goal, 16.0
        push = (self._beat_speed + speed * gap) * step
        decay = math.exp(-speed * step)
        self._beat_speed = (self._beat_speed - speed * push) * decay
        self._beat = goal + (gap + push) * decay
        self._watch_phrases(speaking and cue.loudness > _QUIET, time, step)
        if cue.activity is not Activity.LISTENING:
            self._next_nod = max(self._next_nod, time + 1.8)
        elif time >= self._next_nod:
            self._gestures.nod(time, self._rng.uniform(0.22, 0.40))
            self._next_nod = time + self._rng.uniform(2.6, 5.5)

    def _watch_phrases(self, heard: bool, time: float, step: float) -> None:
        """A small nod at the end of a phrase."""
        if heard:
            self._spoken = self._spoken + step if self._silent < _PAUSE_S else step
            self._silent = 0.0
            return
        before = self._silent
        self._silent += step
        if before < _PAUSE_S <= self._silent and self._spoken > _PHRASE_S:
            self._gestures.nod(time, self._rng.uniform(0.28, 0.5) * self._amount)

    def _idle(self, time: float, amount: float) -> dict[str, float]:
        motion = {}
        for (name, size, hertz), phase in zip(_WAVES, self._phases, strict=True):
            turn = 2 * math.pi * hertz * time
            wave = 0.6 * math.sin(turn + phase[0]) + 0.3 * math.sin(1.93 * turn + phase[1])
            wave += 0.16 * math.sin(3.71 * turn + phase[2])
            motion[name] = size * amount * wave
        return motion

    def _drift(self, time: float, hertz: float) -> float:
        """A slow wave, 0..1."""
        return 0.5 + 0.5 * math.sin(2 * math.pi * hertz * time + self._breath_phase)

    def _swing(self, head: tuple[float, float], step: float) -> None:
        """Hair behind the head follows late; its tips swing: a damped pendulum driven by the head's motion."""
        moved = head[0] - self._head[0], head[1] - self._head[1]
        if self._time == self._start:
            moved = 0.0, 0.0
        self._head = head
        (across, across_speed), (down, down_speed) = self._lag
        self._lag = (
            _drawn(across - 0.45 * moved[0], across_speed, step),
            _drawn(down - 0.45 * moved[1], down_speed, step),
        )
        self._sway -= 0.35 * moved[0]
        for _ in range(2):
            self._sway_speed += (-30 * self._sway - 5 * self._sway_speed) * step / 2
            self._sway += self._sway_speed * step / 2
        self._sway = max(-9.0, min(9.0, self._sway))


def _drawn(place: float, speed: float, step: float) -> tuple[float, float]:
    """Place and speed of hair that is drawn back to its place, after `step` seconds."""
    push = (speed + 12 * place) * step
    decay = math.exp(-12 * step)
    return max(-7.0, min(7.0, (place + push) * decay)), (speed - 12 * push) * decay


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))
