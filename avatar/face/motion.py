"""The life of a face: blinks, glances, breath, and a head that idles, listens, thinks and speaks.

Pure and deterministic: the same seed and the same cues give the same poses. Times come from the cues only.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.face.gaze import Blinks, Glances
from avatar.face.warp import INDEX, MOTIONS
from core.frames import Activity, FaceCue

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pose:
    """One moment of a face without its mouth."""

    weights: Floats
    """Weight of each of `warp.MOTIONS`, shape (len(MOTIONS),), float32."""
    gaze: tuple[float, float]
    """Direction of the eyes, -1..1, right and down in the picture."""
    openness: float
    """Of the eyelids: 0 shut, 1 open, slightly more when attentive."""
    smile: float


@dataclass(frozen=True, slots=True)
class Look:
    """What the head and brows do in one kind of activity, in the units of `warp.MOTIONS`."""

    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    zoom: float = 0.0
    brows: float = 0.0
    inner: float = 0.0
    lids: float = 0.0
    smile: float = 0.62
    restless: float = 1.0
    """Amplitude of the idle motion."""


LOOKS = {
    Activity.IDLE: Look(),
    Activity.LISTENING: Look(roll=0.030, pitch=1.5, zoom=0.016, brows=0.42, lids=0.03, smile=0.75, restless=0.7),
    Activity.RECOGNIZING: Look(roll=0.022, pitch=2.0, zoom=0.016, brows=0.30, lids=0.02, smile=0.6, restless=0.6),
    Activity.THINKING: Look(roll=-0.024, yaw=6.0, pitch=-4.5, brows=0.30, inner=0.3, smile=0.42, restless=0.8),
    Activity.SPEAKING: Look(zoom=0.008, brows=0.12, smile=0.55, restless=1.25),
    Activity.INTERRUPTED: Look(zoom=0.012, roll=0.012, brows=0.55, lids=0.08, smile=0.35, restless=0.5),
    Activity.ERROR: Look(roll=-0.015, pitch=2.0, brows=0.05, inner=0.6, smile=0.12, restless=0.6),
}

_CHANNELS = ("roll", "yaw", "pitch", "zoom", "brows", "inner", "lids", "smile", "restless")
_SPEED = np.array([5.0, 5.0, 5.0, 4.0, 7.0, 6.0, 8.0, 5.0, 3.0])
"""Natural frequency of each channel's approach, 1/s."""

_WAVES = (
    ("shift_x", 4.8, 0.11),
    ("shift_y", 2.2, 0.16),
    ("roll", 0.017, 0.09),
    ("yaw", 7.5, 0.13),
    ("pitch", 3.6, 0.17),
)
"""Idle motion: name, amplitude, base frequency in Hz."""

_LONGEST_STEP = 0.2
"""Cues further apart than this (s) move the springs as if they were this far apart."""


class Motion:
    """State of one session's face."""

    def __init__(self, seed: int, amount: float = 1.0) -> None:
        """`amount` scales the head's own motion: 0 keeps it still."""
        self._amount = amount
        rng = random.Random(f"face {seed}")
        self._phases = [[rng.uniform(0, 2 * math.pi) for _ in range(4)] for _ in _WAVES]
        self._breath_phase = rng.uniform(0, 2 * math.pi)
        self._glances = Glances(rng)
        self._blinks = Blinks(rng)
        self._value = np.array([getattr(LOOKS[Activity.IDLE], c) for c in _CHANNELS])
        self._speed = np.zeros(len(_CHANNELS))
        self._time: float | None = None
        self._start = 0.0
        self._fast = self._slow = self._talk = 0.0
        self._sway = self._sway_speed = 0.0
        self._head_x = 0.0

    def at(self, cue: FaceCue) -> Pose:
        """The pose for a cue; cues must come in order of time."""
        if self._time is None:
            self._time = self._start = cue.time
        step = min(max(cue.time - self._time, 0.0), _LONGEST_STEP)
        self._time = cue.time
        time = cue.time - self._start
        self._approach(LOOKS[cue.activity], step)
        accent = self._follow(cue, step)
        roll, yaw, pitch, zoom, brows, inner, lids, smile, restless = self._value.tolist()
        weights = np.zeros(len(MOTIONS), np.float32)
        idle = self._idle(time, restless * self._amount)
        talk = self._talk * self._amount
        accent *= self._amount
        weights[INDEX["shift_x"]] = idle["shift_x"]
        weights[INDEX["shift_y"]] = idle["shift_y"] + 2.2 * accent
        weights[INDEX["roll"]] = idle["roll"] + roll + 0.010 * talk * math.sin(2 * math.pi * 0.31 * time)
        weights[INDEX["yaw"]] = (
            idle["yaw"] + yaw + 3.0 * talk * math.sin(2 * math.pi * 0.43 * time + self._phases[0][3])
        )
        weights[INDEX["pitch"]] = idle["pitch"] + pitch + 6.0 * accent
        weights[INDEX["zoom"]] = zoom
        lift = 9.0 * (brows + 0.75 * max(0.0, accent))
        weights[INDEX["brow_left"]] = lift
        weights[INDEX["brow_right"]] = lift * 0.9
        weights[INDEX["brow_inner"]] = 6.0 * inner
        weights[INDEX["cheeks"]] = 3.0 * smile
        breath = math.sin(2 * math.pi * 0.24 * time + self._breath_phase)
        weights[INDEX["breath"]] = 3.0 * breath
        weights[INDEX["shift_y"]] -= 0.8 * breath
        self._swing(float(weights[INDEX["shift_x"]] - 420 * weights[INDEX["roll"]] + 0.3 * weights[INDEX["yaw"]]), step)
        weights[INDEX["sway"]] = self._sway
        gaze = self._glances.at(time, step, cue.activity)
        if self._glances.jumped:
            self._blinks.suggest(time)
        shut = self._blinks.at(time, cue.activity, cue.loudness)
        openness = (0.95 + lids - 0.12 * gaze[1]) * (1 - shut)
        return Pose(weights, gaze, openness, smile)

    def _approach(self, look: Look, step: float) -> None:
        """Critically damped springs, exact for any step."""
        target = np.array([getattr(look, c) for c in _CHANNELS])
        gap = self._value - target
        push = (self._speed + _SPEED * gap) * step
        decay = np.exp(-_SPEED * step)
        self._speed = (self._speed - _SPEED * push) * decay
        self._value = target + (gap + push) * decay

    def _follow(self, cue: FaceCue, step: float) -> float:
        """Accent of the speech: how far the loudness is above its recent mean, -1..1, smoothed."""
        loud = min(1.0, max(0.0, cue.loudness)) ** 0.5 if cue.activity is Activity.SPEAKING else 0.0
        self._fast += (loud - self._fast) * (1 - math.exp(-step / 0.12))
        self._slow += (loud - self._slow) * (1 - math.exp(-step / 0.9))
        speaking = 1.0 if cue.activity is Activity.SPEAKING else 0.0
        self._talk += (speaking - self._talk) * (1 - math.exp(-step / 0.5))
        return math.tanh(2.2 * (self._fast - self._slow))

    def _idle(self, time: float, amount: float) -> dict[str, float]:
        motion = {}
        for (name, size, hertz), phase in zip(_WAVES, self._phases, strict=True):
            turn = 2 * math.pi * hertz * time
            wave = 0.6 * math.sin(turn + phase[0]) + 0.3 * math.sin(1.93 * turn + phase[1])
            wave += 0.16 * math.sin(3.71 * turn + phase[2])
            motion[name] = size * amount * wave
        return motion

    def _swing(self, head: float, step: float) -> None:
        """The tips of the hair lag behind the head: a damped pendulum driven by its motion."""
        moved = head - self._head_x if step else 0.0
        self._head_x = head
        self._sway -= 0.35 * moved
        for _ in range(2):
            self._sway_speed += (-30 * self._sway - 5 * self._sway_speed) * step / 2
            self._sway += self._sway_speed * step / 2
        self._sway = max(-9.0, min(9.0, self._sway))
