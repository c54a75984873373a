"""What a face does while it idles, listens, thinks or speaks, and in each mood: resting targets of its motion."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from core.frames import Activity, Expression


@dataclass(frozen=True, slots=True)
class Look:
    """Targets of the channels of `Motion`; what an activity and a mood ask for is added up."""

    roll: float = 0.0
    """Radians, clockwise in the picture."""
    yaw: float = 0.0
    """Travel of the nose to the right, art units."""
    pitch: float = 0.0
    """Travel of the nose downwards, art units."""
    zoom: float = 0.0
    """Towards the viewer, ratio minus one."""
    brow_inner: float = 0.0
    """Lift of the inner ends of the brows, art units."""
    brow_outer: float = 0.0
    brow_skew: float = 0.0
    """Lift of the brow at the left and fall of the one at the right, art units."""
    furrow: float = 0.0
    """The brows drawn together, 0..1."""
    lids: float = 0.0
    """Upper lids: above 0 wider, below 0 drooping; a share of the open eye."""
    squint: float = 0.0
    """Lower lids raised, 0..1."""
    slant: float = 0.0
    """Outer halves of the upper lids lowered, 0..1."""
    smile: float = 0.0
    """Corners of the mouth: about 0.6 friendly, 1.2 a broad smile, below 0 a frown."""
    cheeks: float = 0.0
    """Lift of the cheeks, art units."""
    jaw: float = 0.0
    """How far the mouth hangs open where speech doesn't say, as `MouthShape.jaw_open`."""
    press: float = 0.0
    """How thin the resting lips are, as `MouthShape.press`."""
    purse: float = 0.0
    """How far the resting lips are pushed forward, as `MouthShape.pucker`."""
    shrug: float = 0.0
    """Lift of the shoulders, art units."""
    gaze_y: float = 0.0
    """Where the eyes rest, -1..1, downwards."""
    restless: float = 0.0
    """Amplitude of the idle motion."""


CHANNELS = tuple(f.name for f in fields(Look))

ACTIVITIES = {
    Activity.IDLE: Look(smile=0.60, restless=1.0),
    Activity.LISTENING: Look(
        roll=0.036, pitch=2.0, zoom=0.026, brow_inner=4.0, brow_outer=4.5, lids=0.04, smile=0.70, restless=0.6
    ),
    Activity.RECOGNIZING: Look(
        roll=0.020, pitch=3.0, zoom=0.022, brow_inner=3.0, brow_outer=2.5, lids=0.02, smile=0.55, restless=0.5
    ),
    Activity.THINKING: Look(
        roll=-0.032, yaw=8.0, pitch=-6.0, brow_inner=3.0, brow_outer=3.5, brow_skew=3.0, furrow=0.25,
        smile=0.38, press=0.25, restless=0.7,
    ),
    Activity.SPEAKING: Look(zoom=0.010, brow_outer=1.0, smile=0.52, restless=1.2),
    Activity.INTERRUPTED: Look(
        roll=0.012, pitch=-2.0, zoom=0.004, brow_inner=6.0, brow_outer=6.0, lids=0.09, smile=0.40, restless=0.4
    ),
    Activity.ERROR: Look(
        roll=-0.020, pitch=4.0, brow_inner=6.0, brow_outer=-1.0, slant=0.3, smile=0.15, press=0.2, restless=0.5
    ),
}  # fmt: skip

MOODS = {
    Expression.NEUTRAL: Look(),
    Expression.HAPPY: Look(
        roll=0.014, zoom=0.008, brow_inner=2.5, brow_outer=4.0, squint=0.75, smile=0.86, cheeks=7.0, restless=0.15
    ),
    Expression.SAD: Look(
        roll=-0.034, pitch=8.0, zoom=-0.006, brow_inner=12.5, brow_outer=-7.0, furrow=0.55, lids=-0.10, slant=0.76,
        smile=-1.35, shrug=-3.0, gaze_y=0.28, restless=-0.35,
    ),
    Expression.SURPRISED: Look(
        pitch=-6.0, zoom=-0.012, brow_inner=14.0, brow_outer=14.0, lids=0.22, smile=-0.55, jaw=0.36, purse=0.38,
        shrug=3.0, restless=-0.3,
    ),
    Expression.THINKING: Look(
        roll=-0.040, yaw=9.0, pitch=-5.0, brow_inner=0.5, brow_outer=2.0, brow_skew=7.0, furrow=0.55, squint=0.45,
        smile=-0.35, press=0.35, purse=0.30,
    ),
    Expression.APOLOGETIC: Look(
        roll=0.062, pitch=5.0, zoom=-0.004, brow_inner=13.0, brow_outer=1.0, furrow=0.25, lids=-0.03, slant=0.5,
        squint=0.25, smile=-0.28, press=0.50, cheeks=2.0, shrug=9.0,
    ),
}  # fmt: skip


def _target(activity: Activity, expression: Expression) -> NDArray[np.float64]:
    mood = np.array(astuple(MOODS[expression]))
    if activity is Activity.SPEAKING:
        mood[:4] *= 0.7  # a mood moves the head fully only while there is nothing to say
    return np.asarray(np.array(astuple(ACTIVITIES[activity])) + mood)


def worn(activity: Activity, expression: Expression) -> NDArray[np.float64]:
    """As `TARGETS`, but the mood is in the face alone: the head is where it is without one."""
    target, calm = TARGETS[activity, expression].copy(), TARGETS[activity, Expression.NEUTRAL]
    target[_HEAD] = calm[_HEAD]
    return target


_HEAD = [CHANNELS.index(name) for name in ("roll", "yaw", "pitch", "zoom", "shrug", "restless")]
TARGETS = {(activity, mood): _target(activity, mood) for activity in Activity for mood in Expression}
"""What both ask for together, shape (len(CHANNELS),)."""
