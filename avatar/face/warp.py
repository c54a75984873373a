"""Motion of the whole picture as a smooth displacement field.

Every motion (a turn of the head, the jaw, a brow, a breath) is a basis field on a coarse grid; a pose is a
weighted sum of them. The sum is interpolated to pixels and the resting picture is looked up through it, so
hair, neck and shoulders stay connected without any layers to composite.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.lips import Lips
from avatar.face.rig import Mouth, Rig
from avatar.face.view import View
from core.frames import MouthShape

Floats = NDArray[np.float32]
Area = tuple[int, int, int, int]
Map = tuple[Floats, Floats]

MOTIONS = (
    "shift_x", "shift_y", "roll", "zoom", "yaw", "pitch",
    "brow_inner_left", "brow_outer_left", "brow_inner_right", "brow_outer_right", "furrow",
    "jaw", "corner_out", "corner_up", "gather", "philtrum", "cheeks", "breath", "sway", "lag_x", "lag_y",
)  # fmt: skip
"""The basis fields. Units: art units of travel, but roll in radians and zoom as a ratio minus one; yaw and pitch by
the travel of the nose, `gather` by that of the skin at the corners of the mouth, inwards."""

_DISTANCE = 200 * 1500.0
"""Radius of a head times the distance of the viewer, in art units."""
_REACH = 0.01
"""Pixels per unit of motion below which a cell counts as still."""
_BAND = 170.0
"""Height of one area, in art units."""

INDEX = {name: i for i, name in enumerate(MOTIONS)}

Put = Callable[[str, NDArray[np.floating] | float, NDArray[np.floating] | float], None]
"""Sets what a motion does: name, displacement to the right and down."""


def _smooth(low: float | Floats, high: float | Floats, v: Floats) -> Floats:
    """Smoothstep from 0 at `low` to 1 at `high` (either order)."""
    t = np.clip((v - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _bump(x: Floats, y: Floats, cx: float, cy: float, rx: float, ry: float | Floats) -> Floats:
    return np.asarray(np.exp(-(((x - cx) / rx) ** 2) - ((y - cy) / ry) ** 2), np.float32)


def basis(rig: Rig, x: Floats, y: Floats) -> Floats:
    """Displacement of the points (x, y) (art units, any shape s) per unit of each motion.

    Returns float32 of shape (len(MOTIONS), *s, 2), in art units.
    """
    head = rig.head
    cx, cy = head.centre
    radius = np.asarray(np.sqrt(((x - cx) / head.radius[0]) ** 2 + ((y - cy) / head.radius[1]) ** 2), np.float32)
    # The neck and the hair beside it: full motion at the chin, none at the collar.
    fixed = _smooth(head.neck[1] + 60, head.neck[0] - 60, y)
    whole = _smooth(1.42, 0.98, radius) * fixed
    px, py = head.pivot
    out = np.zeros((len(MOTIONS), *x.shape, 2), np.float32)

    def put(name: str, dx: NDArray[np.floating] | float, dy: NDArray[np.floating] | float) -> None:
        out[INDEX[name], ..., 0] = dx
        out[INDEX[name], ..., 1] = dy

    put("shift_x", whole, 0)
    put("shift_y", 0, whole)
    put("roll", -whole * (y - py), whole * (x - px))
    put("zoom", whole * (x - px), whole * (y - py))
    depth = _depth(rig, x, y, radius, whole)
    # The side that turns away gets smaller, the other larger: perspective at the distance of a portrait.
    far = whole * (x - cx) / _DISTANCE
    put("yaw", depth - far * (x - cx), -far * (y - cy))
    far = whole * (y - cy) / _DISTANCE
    put("pitch", -far * (x - cx), depth - far * (y - cy))
    _brows(rig, x, y, put)
    # Hair behind the face, which follows late.
    ring = _smooth(0.82, 1.12, radius) * _smooth(1.45, 1.12, radius) * fixed
    put("lag_x", ring, 0)
    put("lag_y", 0, ring)
    _jaw(rig, x, y, put)
    _mouth(rig, x, y, put)
    down = _smooth(rig.body.shoulders - 60, rig.body.shoulders + 110, y)
    put("breath", (x - cx) / 420 * down * 0.5, -down * (0.55 + 0.45 * _smooth(430, 150, np.abs(x - cx))))
    sway = np.zeros_like(x)
    for hx, hy in rig.body.hair_tips:
        # A head that tilts to the right swings what hangs below its pivot to the left.
        sway = sway + (1 if hy > py else -0.6) * _bump(x, y, hx, hy, 75, 120)
    put("sway", sway, 0)
    return out


def _jaw(rig: Rig, x: Floats, y: Floats, put: Put) -> None:
    """The chin comes down, and the skin between it and the mouth."""
    jaw, mouth = rig.jaw, rig.mouth
    cx, mx = rig.head.centre[0], mouth.centre[0]
    # Beside the mouth the skin stretches over a longer way than under the lips that cover it.
    beside = _smooth(mouth.half_width * 0.6, mouth.half_width * 1.5, np.abs(x - mx))
    begin, end = jaw.top - jaw.span * (0.25 + 0.45 * beside), jaw.top + jaw.span * (0.75 + 0.20 * beside)
    # It ends along the edge of the jaw: the chin slides over the neck, and collars stay where they are.
    under = jaw.chin + 112 - 250 * ((x - cx) / jaw.width) ** 2
    sides = np.minimum(((x - cx) / (0.7 * jaw.width)) ** 2, 1)
    open_ = _smooth(begin, end, y) * _smooth(under, under - 65 - 45 * sides, y)
    # Its sides give way to the broader part that comes down, or the face would get narrow.
    broad = 0.24 * np.sign(x - cx) * _bump(np.abs(x - cx), y, 0.62 * jaw.width, jaw.chin - 50, 44, 46)
    broad *= _smooth(jaw.chin + 30, jaw.chin - 20, y)
    put("jaw", broad, open_ * _smooth(jaw.width, jaw.width * 0.54, np.abs(x - cx)))


def _mouth(rig: Rig, x: Floats, y: Floats, put: Put) -> None:
    """The corners, what the lips draw together, the moustache's place and the cheeks."""
    jaw, mouth = rig.jaw, rig.mouth
    mx, my = mouth.centre
    side = np.asarray(np.tanh((x - mx) / 25), np.float32)
    corner = _bump(np.abs(x - mx), y, mouth.half_width + 8, my - 4, 44, 46)
    put("corner_out", side * corner, 0)
    put("corner_up", 0, -corner)
    # The outline of the jaw keeps its width.
    near = _bump(x, y, mx, my, 80, 50) * _smooth(jaw.width * 0.75, jaw.width * 0.42, np.abs(x - mx))
    # The folds beside the nose come along.
    near += 0.22 * _bump(np.abs(x - mx), y, 70, my - 42, 28, 34)
    put("gather", -(x - mx) / mouth.half_width * near * 1.75, 0)  # 1 unit at the corners
    put("philtrum", 0, _bump(x, y, mx, my - 22, mouth.half_width * 1.1, 26))
    # The lower lids move a little with the cheeks, what is above them does not.
    lid = (rig.eyes.left.centre[1] + rig.eyes.right.centre[1]) / 2
    high = np.where(y < my - 75, np.float32(80), np.float32(42))
    cheek = _bump(np.abs(x - mx), y, 100, my - 75, 50, high) * _smooth(lid - 2, lid + 22, y)
    put("cheeks", side * cheek * 0.3, -cheek)


def _depth(rig: Rig, x: Floats, y: Floats, radius: Floats, whole: Floats) -> Floats:
    """How much of the nose's travel a point makes when the head turns: what is in front moves most, ears and hair
    hardly."""
    eyes, mouth = rig.eyes, rig.mouth
    middle = (eyes.left.centre[0] + eyes.right.centre[0]) / 2
    spread = abs(eyes.right.centre[0] - eyes.left.centre[0])
    brow = (rig.brows.left[1] + rig.brows.right[1]) / 2
    ball = np.sqrt(np.clip(1 - (np.clip(radius, 0, 1) * 0.93) ** 2, 0, 1))
    depth = whole * (0.05 + 0.38 * ball)
    depth += 0.36 * whole * _bump(x, y, middle, (brow + rig.jaw.chin) / 2, spread * 0.95, (rig.jaw.chin - brow) * 0.75)
    depth += 0.22 * _bump(x, y, *rig.head.nose, spread * 0.34, 80)
    depth += 0.05 * whole * _bump(x, y, middle, brow, spread, 30)
    depth += 0.05 * whole * _bump(x, y, *mouth.centre, mouth.half_width * 1.4, 45)
    return np.asarray(depth, np.float32)


def _brows(rig: Rig, x: Floats, y: Floats, put: Put) -> None:
    """Lift of each end of each brow, and the furrow that draws the inner ends together."""
    brows = rig.brows
    rx, ry = brows.radius
    size = brows.lift / 9
    middle = (brows.left[0] + brows.right[0]) / 2
    furrow_x: Floats = np.zeros_like(x)
    furrow_y: Floats = np.zeros_like(x)
    for name, (bx, by) in (("left", brows.left), ("right", brows.right)):
        inwards = 1 if middle > bx else -1
        # Skin above the brow follows, the lid crease below hardly.
        high = np.asarray(np.exp(-(((y - by) / np.where(y < by, ry * 1.7, ry)) ** 2)), np.float32)
        along = np.asarray((x - bx) * inwards / rx, np.float32)
        # The two parts add up to an even lift of the whole brow.
        span = np.asarray(np.exp(-((np.clip(np.abs(along) - 0.45, 0, None) / 0.62) ** 2)) * high * size, np.float32)
        inner = _smooth(-0.75, 0.75, along)
        put(f"brow_inner_{name}", 0, -span * inner)
        put(f"brow_outer_{name}", 0, -span * (1 - inner))
        pull = np.exp(-(((along - 0.6) / 0.5) ** 2)) * high * size
        furrow_x += inwards * pull
        furrow_y += 0.55 * pull
    put("furrow", furrow_x, furrow_y)


def follow_lips(weights: Floats, shape: MouthShape, lips: Lips, mouth: Mouth, drop: float) -> Floats:
    """The weights of a pose with those of the skin that the mouth takes along; shape (len(MOTIONS),)."""
    out = weights.copy()
    wider = lips.width - mouth.half_width
    # A lower lip under the teeth bunches the chin; rounded lips draw it down.
    out[INDEX["jaw"]] = shape.jaw_open * drop - 9.0 * lips.tucked + 3.5 * lips.forward
    out[INDEX["corner_out"]] = 0.75 * max(0.0, wider)
    out[INDEX["gather"]] = (0.6 + 0.02 * lips.rounded) * max(0.0, -wider)
    out[INDEX["corner_up"]] = 0.8 * lips.lift
    # Lips that come forward draw the skin under the nose down, lips that rise push it up.
    out[INDEX["philtrum"]] = 4.5 * lips.forward - 0.3 * lips.up * (1 - 0.5 * lips.rounded)
    # A long jaw draws the cheeks down.
    out[INDEX["cheeks"]] += 2.5 * shape.stretch - 8.0 * shape.jaw_open
    return out


class Field:
    """The basis fields of one view, and the areas of the picture that ever move.

    `areas` are pixel rectangles x0, y0, x1, y1 on even coordinates, bands from top to bottom, each as narrow as
    its motion allows, and `moving` is around them; all else stays bit-identical.
    """

    def __init__(self, rig: Rig, view: View) -> None:
        self.view = view
        self.cell = max(4, round(view.scale * 16 / 2) * 2)
        cell = self.cell
        self.columns = -(-view.width // cell) + 2
        self.rows = -(-view.height // cell) + 2
        # Cell centres; one cell more on each side, because interpolation is flat in the outer half cell.
        px = (np.arange(self.columns, dtype=np.float32) - 0.5) * cell - 0.5
        py = (np.arange(self.rows, dtype=np.float32) - 0.5) * cell - 0.5
        gx, gy = np.meshgrid(px, py)
        self._identity = np.stack([gx, gy])
        fields = basis(rig, (gx + 0.5) / view.scale + view.left, (gy + 0.5) / view.scale + view.top)
        self._basis = np.ascontiguousarray((fields * view.scale).transpose(0, 3, 1, 2)).reshape(len(MOTIONS), -1)
        self.areas = self._moving()
        self.moving = around(self.areas)

    def _moving(self) -> list[tuple[int, int, int, int]]:
        """Bands of the picture on cell borders, each only as wide as any motion reaches in it."""
        view, cell = self.view, self.cell
        reach = np.abs(self._basis).max(axis=0).reshape(2, self.rows, self.columns).max(axis=0) > _REACH
        step = max(1, round(_BAND * view.scale / cell))
        areas = []
        for first in range(0, -(-view.height // cell), step):
            # grid rows and columns are shifted by one cell, and interpolation looks one cell further on each side
            columns = np.flatnonzero(reach[first : first + step + 2].any(axis=0))
            if len(columns):
                x0, x1 = max(0, int(columns[0]) - 2) * cell, min(view.width, (int(columns[-1]) + 1) * cell)
                areas.append((x0, first * cell, x1, min(view.height, (first + step) * cell)))
        return areas

    def cells(self, grid: Floats, area: Area) -> Floats:
        """The part of a grid that an area is interpolated from."""
        x0, y0, x1, y1 = area
        cell = self.cell
        return grid[:, y0 // cell : -(-y1 // cell) + 2, x0 // cell : -(-x1 // cell) + 2]

    def solve(self, weights: Floats) -> Floats:
        """The look-up grid for a pose: `weights` has shape (len(MOTIONS),). Returns x and y, pixels, shape
        (2, rows, columns)."""
        moved = weights @ self._basis
        return self._identity - moved.reshape(self._identity.shape)

    def travel(self, grid: Floats, area: Area) -> tuple[float, float]:
        """How far the look-ups of an area are from where they are at rest, at most: x, y in pixels."""
        return apart(self.cells(grid, area), self.cells(self._identity, area))

    def moved(self, before: Floats, grid: Floats, still: float) -> Area:
        """Around what is looked up more than `still` pixels from where it was; on cell borders, perhaps empty."""
        now, then = self.cells(grid, self.moving), self.cells(before, self.moving)
        off = np.asarray(cv2.max(cv2.absdiff(now[0], then[0]), cv2.absdiff(now[1], then[1])), np.float32)
        column, row, columns, rows = cv2.boundingRect((off > np.float32(still)).view(np.uint8))
        if not columns:
            return 0, 0, 0, 0
        # a cell of the grid has its middle in the block of pixels before it, and is interpolated with its neighbours
        x0, y0, x1, y1 = self.moving
        left, top = x0 + max(0, column - 2) * self.cell, y0 + max(0, row - 2) * self.cell
        return left, top, min(x1, x0 + (column + columns) * self.cell), min(y1, y0 + (row + rows) * self.cell)

    def showing(self, boxes: list[Area], grid: Floats) -> list[Area]:
        """The parts of the picture that may show these boxes of the resting one; on cell borders."""
        cell, (left, top, right, bottom) = self.cell, self.moving
        dx, dy = (int(way) + 2 for way in apart(grid, self._identity))
        return [
            (
                max(left, (x0 - dx) // cell * cell),
                max(top, (y0 - dy) // cell * cell),
                min(right, -(-(x1 + dx) // cell) * cell),
                min(bottom, -(-(y1 + dy) // cell) * cell),
            )
            for x0, y0, x1, y1 in boxes
        ]

    def warped(self, before: Floats, grid: Floats, box: Area) -> Floats:
        """`before`, changed to what each part of the picture was last warped with, now that it was `grid` in a box."""
        (x0, y0, x1, y1), (left, top, right, bottom) = box, self.moving
        cell = self.cell
        # cells that pixels beyond the box depend on as well stay as they were: those pixels are still to be warped
        columns = slice(0 if x0 == left else x0 // cell + 2, None if x1 == right else x1 // cell)
        rows = slice(0 if y0 == top else y0 // cell + 2, None if y1 == bottom else y1 // cell)
        before[:, rows, columns] = grid[:, rows, columns]
        return before

    def maps(self, grid: Floats, area: Area) -> tuple[Map, Map]:
        """Pixel maps of an area, x and y, for the Y plane and for a half-size plane; both relative to the whole plane.

        The latter with one more pixel on each side.
        """
        x0, y0, x1, y1 = area
        cell, h = self.cell, self.cell // 2
        part = self.cells(grid, area)
        width, height = part.shape[2] * cell, part.shape[1] * cell
        fine = slice(cell, cell + y1 - y0), slice(cell, cell + x1 - x0)
        coarse = slice(h - 1, h + (y1 - y0) // 2 + 1), slice(h - 1, h + (x1 - x0) // 2 + 1)
        half = part * np.float32(0.5) - np.float32(0.25)
        return (
            (_interpolated(part[0], (width, height))[fine], _interpolated(part[1], (width, height))[fine]),
            (
                _interpolated(half[0], (width // 2, height // 2))[coarse],
                _interpolated(half[1], (width // 2, height // 2))[coarse],
            ),
        )


def around(boxes: list[Area]) -> Area:
    """The smallest box that holds these, of which some may be empty."""
    full = [box for box in boxes if box[0] < box[2] and box[1] < box[3]]
    if not full:
        return 0, 0, 0, 0
    return min(b[0] for b in full), min(b[1] for b in full), max(b[2] for b in full), max(b[3] for b in full)


def apart(one: Floats, other: Floats) -> tuple[float, float]:
    """How far two grids of one shape (2, rows, columns) are from each other, at most: x, y in pixels."""
    # a quarter of the time of numpy's abs and max
    return cv2.norm(one[0], other[0], cv2.NORM_INF), cv2.norm(one[1], other[1], cv2.NORM_INF)


def _interpolated(cells: Floats, size: tuple[int, int]) -> Floats:
    return np.asarray(cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR), np.float32)
