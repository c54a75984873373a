"""Everything about a presenter at one picture size, shared read-only by all sessions."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.art import Art, Layer, to_yuv
from avatar.face.backdrop import STUDIO, backdrop
from avatar.face.eyes import EyePainter
from avatar.face.folds import Folds
from avatar.face.matte import TRANSPARENT, bled, limited, mix
from avatar.face.mouth import MouthPainter, Place
from avatar.face.outline import Outline
from avatar.face.overlay import Overlay
from avatar.face.shelf import Shelf
from avatar.face.view import View
from avatar.face.warp import Field, basis
from core.frames import Picture

Floats = NDArray[np.float32]
Plane = NDArray[np.uint8]

_SHADES_KEPT = 2 << 20
"""Bytes of folded skin that are kept: at 512×512 nine of ten folds of a speaking face are there already."""


def planes(picture: Picture) -> tuple[Plane, Plane, Plane]:
    """Views of the Y, U and V planes of an I420 picture."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    flat = picture.reshape(-1)
    luma, chroma = width * height, width * height // 4
    half = height // 2, width // 2
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(half),
        flat[luma + chroma :].reshape(half),
    )


def put(picture: Picture, yuv: Floats, left: int, top: int) -> None:
    """Write float32 Y U V pixels (3, h, w), 0..255, at an even corner of an I420 picture."""
    height, width = yuv.shape[1:]
    y, u, v = planes(picture)
    y[top : top + height, left : left + width] = yuv[0] + 0.5
    half = slice(top // 2, (top + height) // 2), slice(left // 2, (left + width) // 2)
    for plane, full in ((u, yuv[1]), (v, yuv[2])):
        plane[half] = cv2.resize(full, (width // 2, height // 2), interpolation=cv2.INTER_AREA) + 0.5


def lay(picture: Picture, layer: Layer, left: int, top: int) -> None:
    """A layer (4, h, w) over an I420 picture at an even corner; parts outside are cut."""
    y, u, v = planes(picture)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(y.shape[1], left + layer.shape[2]), min(y.shape[0], top + layer.shape[1])
    layer = layer[:, y0 - top : y1 - top, x0 - left : x1 - left]
    here = y[y0:y1, x0:x1]
    here[:] = here * (1 - layer[3]) + (layer[0] + 0.5)
    size = (x1 - x0) // 2, (y1 - y0) // 2
    cb, cr, alpha = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in layer[1:])
    rest = 1 - alpha
    for plane, colour in ((u, cb), (v, cr)):
        part = plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2]
        part[:] = part * rest + (colour + 0.5)


class Plate:
    """The resting picture of one view and the painters of its moving parts."""

    def __init__(self, art: Art, width: int, height: int, background: str) -> None:
        rig = art.rig
        self.motion = rig.motion
        self.view = View.fit(width, height, rig.canvas)
        figure = _figure(art, self.view)
        alpha = figure[..., 3:] / 255
        self.transparent = background == TRANSPARENT
        # Shapes behind the head must not move with it; soft backgrounds may, a little, and cost less that way.
        self.backdrop: tuple[Plane, Plane, Plane] | None = None
        self.matte = None
        if self.transparent:
            bgr = bled(figure)
        else:
            behind = backdrop(art.studio, width, height, background)
            if background == STUDIO and not art.studio.blur:
                self.backdrop = planes(_picture(to_yuv(behind)))
                bgr = bled(figure)
            else:
                bgr = np.asarray(behind * (1 - alpha) + figure[..., :3], np.float32)
        if self.transparent or self.backdrop is not None:
            matte = np.rint(figure[..., 3]).astype(np.uint8)
            half = cv2.resize(matte, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            self.matte = limited(matte) if self.transparent else matte, np.asarray(half, np.uint8)
        yuv = to_yuv(bgr)
        self.base = _picture(yuv)
        """The resting figure with what is behind it; with a matte, on colours that go on beyond its outline."""
        self.field = Field(rig, self.view)
        self.outline = None if self.backdrop is None or self.matte is None else Outline(self.matte[0], self.field.cell)
        """Of the figure, where nothing moves around it."""
        self.eyes = tuple(EyePainter(art, self.view, eye, yuv) for eye in (rig.eyes.left, rig.eyes.right))
        self.mouth = MouthPainter(art, self.view)
        boxes = [eye.box for eye in self.eyes]
        self.folds = Folds(rig, self.view, rig.folds, boxes) if rig.folds else None
        largest = max(((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in self.folds.boxes), default=1) if self.folds else 1
        self._shades: Shelf[tuple[int, tuple[int, ...]], Plane] = Shelf(max(1, _SHADES_KEPT // largest))
        self.over = None if art.over is None or not art.over[..., 3].any() else Overlay(art, art.over, self.view)
        # How the mouth's corners and middle travel with the field: three points, motions by (x, y), in art units.
        mx, my = rig.mouth.centre
        w = rig.mouth.half_width
        x = np.array([mx - w, mx, mx + w], np.float32)
        self._anchors = basis(rig, x, np.full(3, my, np.float32)).reshape(-1, 6)

    def mouth_place(self, weights: Floats) -> Place:
        """Where a pose carries the mouth."""
        rig, view = self.mouth.rig, self.view
        left, left_y, x, y, right, right_y = (weights @ self._anchors).tolist()
        half = rig.half_width
        return Place(
            view.x(rig.centre[0] + x),
            view.y(rig.centre[1] + y),
            (right_y - left_y) / (2 * half),
            1 + (x - left) / half,
            1 + (right - x) / half,
        )

    def folded(self, folds: Folds, number: int, state: tuple[int, ...]) -> Plane:
        """The resting luma of `folds.boxes[number]` with its folds; not to be written to. Few states come and go."""
        x0, y0, x1, y1 = folds.boxes[number]
        luma = planes(self.base)[0][y0:y1, x0:x1]
        return self._shades.get((number, state), lambda: folds.shaded(number, state, luma))

    def first(self) -> Picture:
        """The resting picture as it is sent: composed, or with the matte at its right."""
        if self.matte is None:
            return self.base.copy()
        if self.backdrop is not None:
            out = self.base.copy()
            mattes = self.matte[0], self.matte[1], self.matte[1]
            for place, back, matte in zip(planes(out), self.backdrop, mattes, strict=True):
                mix(place.copy(), back, matte, place)
            return out
        width = self.view.width
        out = np.full((self.base.shape[0], 2 * width), 128, np.uint8)
        for place, plane in zip(planes(out), planes(self.base), strict=True):
            place[:, : plane.shape[1]] = plane
        planes(out)[0][:, width:] = self.matte[0]
        return out


def _picture(yuv: Floats) -> Picture:
    """Y U V float32 (h, w, 3) as I420."""
    height, width = yuv.shape[:2]
    out: Picture = np.empty((height * 3 // 2, width), np.uint8)
    put(out, np.ascontiguousarray(yuv.transpose(2, 0, 1)), 0, 0)
    return out


def _figure(art: Art, view: View) -> Floats:
    """The presenter at the size of a view: premultiplied B G R A float32 (h, w, 4), 0..255."""
    k = view.scale / art.scale
    size = round(art.figure.shape[1] * k), round(art.figure.shape[0] * k)
    how = cv2.INTER_AREA if k < 1 else cv2.INTER_CUBIC
    figure = np.asarray(cv2.resize(art.figure, size, interpolation=how), np.float32)
    left, top = round(view.x(art.rig.canvas[0])), round(view.y(art.rig.canvas[1]))
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(view.width, left + size[0]), min(view.height, top + size[1])
    out = np.zeros((view.height, view.width, 4), np.float32)
    out[y0:y1, x0:x1] = figure[y0 - top : y1 - top, x0 - left : x1 - left]
    return out
