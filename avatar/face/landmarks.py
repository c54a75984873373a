"""Where the features of a face are for a pose, without drawing it: for tests and for judging a presenter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.face.curve import through
from avatar.face.lips import lips_of
from avatar.face.motion import Pose
from avatar.face.rig import Rig
from avatar.face.warp import basis, follow_lips

Floats = NDArray[np.float32]


class Landmarks:
    """Named points of one presenter, art units."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._rest = _rest(rig)
        self._names = list(self._rest)
        points = np.array(list(self._rest.values()), np.float32)
        self._points = points
        self._basis = basis(rig, points[:, 0], points[:, 1])

    def at(self, pose: Pose) -> dict[str, tuple[float, float]]:
        """Each point's x and y. Lids and lips include what they do by themselves."""
        rig = self._rig
        lips = lips_of(pose.mouth, rig.mouth, rig.jaw.drop, pose.smile)
        weights = follow_lips(pose.weights, pose.mouth, lips, rig.mouth, rig.jaw.drop)
        moved = self._points + np.tensordot(weights, self._basis, 1)
        found = dict(zip(self._names, ((float(x), float(y)) for x, y in moved), strict=True))
        mx, my = rig.mouth.centre
        shift = np.tensordot(pose.weights, basis(rig, np.array([mx], np.float32), np.array([my], np.float32)), 1)[0]
        x, y = mx + float(shift[0]), my + float(shift[1])
        middle = y + rig.mouth.line[0][1]
        corner = y + rig.mouth.line[-1][1] * (1 - lips.level) - lips.lift
        found |= {
            "lip_upper": (x, middle - lips.up),
            "lip_lower": (x, middle + lips.down),
            "lip_top": (x, middle - lips.up - rig.mouth.upper[0][1] * lips.upper),
            "lip_bottom": (x, middle + lips.down + rig.mouth.lower[0][1] * lips.lower),
            "corner_left": (x - lips.width, corner),
            "corner_right": (x + lips.width, corner),
        }
        for name in ("left", "right"):
            found |= self._eye(name, pose, found[f"eye_{name}"])
        return found

    def _eye(self, name: str, pose: Pose, centre: tuple[float, float]) -> dict[str, tuple[float, float]]:
        eyes = self._rig.eyes
        top, bottom = (float(through(points, np.zeros(1))[0]) for points in (eyes.upper, eyes.lower))
        bottom -= 0.26 * (bottom - top) * pose.squint
        return {
            f"lid_upper_{name}": (centre[0], centre[1] + bottom + (top - bottom) * pose.openness * eyes.lids),
            f"lid_lower_{name}": (centre[0], centre[1] + bottom),
            f"iris_{name}": (centre[0] + pose.gaze[0] * eyes.gaze[0], centre[1] + pose.gaze[1] * eyes.gaze[1]),
        }


def _rest(rig: Rig) -> dict[str, tuple[float, float]]:
    """What the warp carries, where it is drawn."""
    cx, cy = rig.head.centre
    found = {
        "nose": rig.head.nose,
        "chin": (rig.mouth.centre[0], rig.jaw.chin),
        "crown": (cx, cy - rig.head.radius[1] * 0.9),
        "temple_left": (cx - rig.head.radius[0] * 0.8, cy),
        "temple_right": (cx + rig.head.radius[0] * 0.8, cy),
        "shoulder_left": (cx - 280, rig.body.shoulders + 120),
        "shoulder_right": (cx + 280, rig.body.shoulders + 120),
    }
    for name, eye, brow in (("left", rig.eyes.left, rig.brows.left), ("right", rig.eyes.right, rig.brows.right)):
        found[f"eye_{name}"] = eye.centre
        for part, where in (("inner", -0.6), ("middle", 0.0), ("outer", 0.6)):
            found[f"brow_{part}_{name}"] = (brow[0] + where * eye.outward * rig.brows.radius[0], brow[1])
    for number, tip in enumerate(rig.body.hair_tips):
        found[f"hair_{number}"] = tip
    return found
