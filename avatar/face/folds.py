"""Folds of the skin that a mood or a mouth makes: soft shadows laid into the resting picture before it is warped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.face.lips import Lips
from avatar.face.motion import Pose
from avatar.face.rig import Rig
from avatar.face.view import View
from avatar.face.warp import INDEX
from core.frames import MouthShape

Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]

_STEPS = 10
"""Folds are drawn anew when one of them is another multiple of one part in so many."""
_BLACK, _WHITE = np.float32(16), np.float32(235)
_FOREHEAD = [INDEX[f"brow_{part}_{side}"] for part in ("inner", "outer") for side in ("left", "right")]


class Folds:
    """The folds of one view: between and above the brows, from the nose around the mouth, at its corners, under the
    lower lip. Read-only, shared by all sessions."""

    def __init__(self, rig: Rig, view: View, strength: float, eyes: list[Box]) -> None:
        """`strength` 0..1; `eyes`: pixel boxes that the folds must leave alone."""
        self._rest_width = rig.mouth.half_width
        bx, by = (rig.brows.left[0] + rig.brows.right[0]) / 2, (rig.brows.left[1] + rig.brows.right[1]) / 2
        half = (rig.brows.right[0] - rig.brows.left[0]) / 2 + rig.brows.radius[0]
        top = view.box(bx - half, by - 110, bx + half, by + 40)
        mx = rig.mouth.centre[0]
        low = view.box(mx - 160, rig.head.nose[1] - 10, mx + 160, rig.jaw.chin)
        top = (top[0], top[1], top[2], max(top[1] + 2, min(top[3], min(box[1] for box in eyes))))
        low = (low[0], max(low[1], max(box[3] for box in eyes)), low[2], low[3])
        self.boxes: list[Box] = [box for box in (top, low) if box[3] > box[1]]
        full = np.float32(strength)
        self._masks = [
            np.stack(mask(rig, *_grid(view, box))) * full
            for box, mask in ((top, _upper), (low, _lower))
            if box[3] > box[1]
        ]

    def state(self, pose: Pose, shape: MouthShape, lips: Lips) -> tuple[tuple[int, ...], ...]:
        """How deep each fold is, in steps, one tuple for each of `boxes`."""
        raised = float(pose.weights[_FOREHEAD].mean())
        wide = max(0.0, lips.width / self._rest_width - 1)
        grin = max(0.0, lips.lift / 15)
        upper = pose.furrow, raised / 14
        jaw = lips.agape * shape.jaw_open
        # However far a jaw drops: lips that are pushed forward have folds of their own.
        drop = shape.jaw_open * (1 - lips.rounded)
        lower = (
            0.75 * grin + 2.2 * wide + 0.65 * drop,
            grin + wide - 0.5 * lips.forward,
            lips.forward - 0.4 * shape.press,
            0.9 * lips.forward + 1.1 * jaw,
            1.5 * drop + 0.5 * lips.tucked,
        )
        both = [tuple(round(min(1.0, max(0.0, depth)) * _STEPS) for depth in depths) for depths in (upper, lower)]
        return tuple(both[-len(self.boxes) :])

    def shaded(self, number: int, state: tuple[int, ...], luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The resting luma of `boxes[number]` with its folds."""
        light = luma + np.float32(0.5)
        for mask, depth in zip(self._masks[number], state, strict=True):
            if depth:  # mostly only one or two are there
                light -= mask * np.float32(depth / _STEPS)
        return np.asarray(light.clip(_BLACK, _WHITE, out=light), np.uint8)


def _grid(view: View, box: Box) -> tuple[Floats, Floats]:
    """Art coordinates of the pixels of a box."""
    x = (np.arange(box[0], box[2], dtype=np.float32) + 0.5) / view.scale + view.left
    y = (np.arange(box[1], box[3], dtype=np.float32) + 0.5) / view.scale + view.top
    gx, gy = np.meshgrid(x, y)
    return gx, gy


def _bell(v: Floats, width: float) -> Floats:
    return np.asarray(np.exp(-((v / width) ** 2)), np.float32)


def _window(v: Floats, low: float, high: float, soft: float) -> Floats:
    t = np.clip(np.minimum(v - low, high - v) / soft, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _upper(rig: Rig, x: Floats, y: Floats) -> list[Floats]:
    """Luma taken away by the lines between the brows, and by those of the forehead."""
    bx, by = (rig.brows.left[0] + rig.brows.right[0]) / 2, (rig.brows.left[1] + rig.brows.right[1]) / 2
    side = np.abs(x - bx)
    between = 26 * _bell(side - 9 - 0.12 * (by - y), 2.6) * _window(y, by - 22, by + 26, 18)
    between += 7 * _bell(side, 22) * _bell(y - by, 20)
    across = np.zeros_like(x)
    for rise, depth in ((46, 1.0), (66, 0.8), (86, 0.5)):
        line = y - (by - rise) - side * side / 900
        across += depth * (13 * _bell(line, 2.8) - 5 * _bell(line + 6, 4))
    return [between, across * _window(x, bx - 120, bx + 120, 70)]


def _lower(rig: Rig, x: Floats, y: Floats) -> list[Floats]:
    """By the fold from the nose, by the corners of the mouth, by the shadow under a pushed lower lip, by cheeks that
    a long jaw or rounded lips draw in, and by the crease under a lower lip that moves."""
    mx, my = rig.mouth.centre
    hw = rig.mouth.half_width
    nose_x, nose_y = rig.head.nose
    side = np.abs(x - mx)
    begin, end = nose_y + 2, my + 14
    t = np.clip((y - begin) / (end - begin), 0, 1)
    curve = 36 + (hw - 10) * t**0.9 + abs(nose_x - mx) * (1 - t)
    off = side - curve
    fold = (22 * np.where(off < 0, _bell(off, 5), _bell(off, 3)) - 6 * _bell(off - 12, 9)) * _window(y, begin, end, 30)
    corner = 24 * _bell(side - hw - 7, 5) * _bell(y - my - rig.mouth.line[-1][1] + 2, 8)
    thick = rig.mouth.lower[0][1]
    under = 15 * _bell(side, hw * 0.55) * _bell(y - my - thick - 9, 8)
    # Where the skin gathers beside rounded lips: it is carried inwards from here.
    under += 13 * _bell(side - hw * 1.05, 13) * _bell(y - my - 2, 20)
    under += 8 * _bell(side - hw * 0.93, 6) * _bell(y - my - 2, 12)
    under -= 7 * _bell(side - hw * 1.36, 10) * _bell(y - my - 2, 22)
    under += 7 * _bell(side - 8, 4) * _bell(y - my + 27, 9)
    # The crease under a lip that comes down or is drawn in, and the light on the chin below.
    off = y - (my + thick + 11) + side * side * np.float32(0.16 / hw)
    crease = 24 * np.where(off < 0, _bell(off, 6), _bell(off, 10)) * _bell(side, hw * 0.62)
    crease -= 6 * _bell(off - 27, 11) * _bell(side, hw * 0.5)
    hollow = 8 * _bell(side - hw - 34, 20) * _bell(y - my - 4, 44)
    hollow -= 5 * _bell(side - hw - 62, 16) * _bell(y - my + 34, 26)
    return [np.asarray(mask, np.float32) for mask in (fold, corner, under, hollow, crease)]
