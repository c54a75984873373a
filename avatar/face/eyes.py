"""Eyes: eyeball, iris, lids and lashes, drawn into the resting picture before it is warped."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.art import EYE_GROUPS, SHUT_GROUP, Art, Layer, to_yuv
from avatar.face.curve import through
from avatar.face.limits import unit
from avatar.face.rig import Colour, Eye, Eyes
from avatar.face.view import View

Floats = NDArray[np.float32]
Part = tuple[slice, slice]
"""Rows and columns of a box."""

_FOLDED, _SMOOTH = 0.85, 0.15
"""Openness from which on a falling lid draws the skin above it smooth, and at which it has."""

_HEAVIER = 0.55
"""By how many art units half the line gets thicker once both rows of lashes lie on each other."""

_AHEAD = 0.64
"""How far the middle of a falling lid is ahead of its corners: its edge goes round the ball and bows down early."""

_SHADE, _DARK = 0.56, 0.92
"""What the lid's shadow takes from the brightness of an open eye, and of the slit that is left before it is shut."""

_DEEP = 15.0
"""Art units that the lid's shadow reaches down in an open eye; further in a slit."""

_SHUT, _SEAM = 0.04, 0.3
"""Openness up to which no eyeball is seen, and below which the lower lid's edge fades into the upper one's line."""


def _over(below: Floats, layer: Layer) -> Floats:
    """A premultiplied layer over an opaque picture (3, h, w)."""
    return np.asarray(below * (1 - layer[3]) + layer[:3], np.float32)


def _blend(below: Floats, above: Floats, alpha: Floats) -> Floats:
    return np.asarray(below + (above - below) * alpha, np.float32)


def _ink(colour: Colour | None) -> Floats | None:
    return None if colour is None else to_yuv(np.array(colour)).reshape(3, 1, 1)


def _lay(layer: Layer, colour: Colour, alpha: Floats) -> None:
    """Lay a colour over a premultiplied layer (4, h, w), in place."""
    layer *= 1 - alpha
    layer[:3] += to_yuv(np.array(colour)).reshape(3, 1, 1) * alpha
    layer[3] += alpha


def _together(layer: Layer) -> Floats:
    """Y, U, V and alpha of a pixel beside each other, shape (h, w, 4): one look-up moves all four."""
    return np.ascontiguousarray(layer.transpose(1, 2, 0))


def _shift(pixels: Floats, dx: float, dy: float, part: Part) -> Layer:
    """A part of a layer, given as by `_together`, after the layer moved by a fraction of pixels."""
    rows, columns = part
    size = columns.stop - columns.start, rows.stop - rows.start
    matrix = np.array([[1, 0, dx - columns.start], [0, 1, dy - rows.start]], np.float32)
    moved = np.asarray(cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR), np.float32)
    return moved.transpose(2, 0, 1)


class EyePainter:
    """Draws one eye of one view. Read-only after construction, shared by all sessions."""

    def __init__(self, art: Art, view: View, eye: Eye, skin: Floats) -> None:
        """`skin`: the resting picture of the view as float32 Y U V, shape (height, width, 3)."""
        rig = art.rig.eyes
        cx, cy = eye.centre
        side, up, down = rig.reach
        self.box = view.box(cx - side, cy - up, cx + side, cy + down)
        self._lids = rig.lids
        self._lash, self._shade = _ink(rig.lash), rig.shade
        # What the lashes shade turns brown, more than the dark ink itself is.
        self._dusk = None if self._lash is None else np.asarray(128 + 2 * (self._lash[1:] - 128), np.float32)
        x0, y0, x1, y1 = self.box
        self.scale = k = view.scale
        # Columns in art units towards the outer corner, rows in pixels.
        across = ((np.arange(x0, x1, dtype=np.float32) + 0.5) / k + view.left - cx) * eye.outward
        middle = view.y(cy) - y0 - 0.5
        self._upper = through(rig.upper, across) * k + middle
        self._lower = through(rig.lower, across) * k + middle
        self._rows = np.arange(y1 - y0, dtype=np.float32)[:, None]
        self._columns = np.array(np.broadcast_to(np.arange(x1 - x0, dtype=np.float32), (y1 - y0, x1 - x0)))
        self._gaze = rig.gaze[0] * k, rig.gaze[1] * k
        inner, outer = rig.upper[0][0], rig.upper[-1][0]
        inside = np.clip((across - inner) * k + 0.5, 0, 1) * np.clip((outer - across) * k + 0.5, 0, 1)
        along = np.clip((across - inner) / (outer - inner), 0, 1)
        reach = np.clip((across - inner) / 6, 0, 1) * np.clip((outer + 5 - across) / 5, 0, 1)
        liner = (rig.liner[0] + (rig.liner[1] - rig.liner[0]) * along) * k * reach + 1e-3
        # A shut lid's line runs out towards the outer corner, where both edges turn.
        tail = np.clip((across - outer) / 11 + 1, 0, 1)
        self._tail = np.asarray(tail * tail * (3 - 2 * tail), np.float32)
        # Lashes beyond the corner would stick out of a shut lid sideways.
        self._stray = np.repeat(np.asarray(np.clip((across - outer) / 8 + 0.5, 0, 0.9), np.float32), 4)
        self._ink = np.asarray(0.88 * np.clip(liner / k, 0, 1), np.float32)
        # Of the line: how far its middle lies above the edge of the lid, and one over its half thickness.
        self._above, self._thin = np.asarray(0.35 * liner, np.float32), np.asarray(1 / (0.5 * liner + 0.45), np.float32)
        # How far a squint raises the lower lid, and how far sadness lowers the outer half of the upper one.
        open_ = self._lower - self._upper
        self._ahead = np.asarray(_AHEAD * 4 * open_ / open_.max(), np.float32)
        self._raised = np.asarray(0.26 * open_, np.float32)
        self._outer = np.asarray(0.5 * along * along * (3 - 2 * along) - 0.06, np.float32)
        self._inside = np.asarray(inside, np.float32)
        self._within = np.asarray(np.clip(self._lower - self._rows + 0.5, 0, 1) * inside, np.float32)
        # Beyond this part neither the eyeball nor the line along the lid is ever seen.
        seen, margin = np.flatnonzero(inside), round(6 * k)
        top = max(0, int(self._upper[seen].min() - 0.25 * open_[seen].max()) - margin)
        bottom = min(y1 - y0, int(self._lower[seen].max()) + 1 + margin)
        self._part = slice(top, bottom), slice(max(0, int(seen[0]) - margin), min(x1 - x0, int(seen[-1]) + 1 + margin))
        # The lower lid's edge, raised or not, lies in the lower rows of that part.
        self._low = slice(max(top, int((self._lower - self._raised)[seen].min() - 4 * k)), bottom)
        self._seam = self._draw_seam(rig, along)
        self._draw_layers(art, view, skin[y0:y1, x0:x1], inside)

    def _draw_layers(self, art: Art, view: View, skin: Floats, inside: Floats) -> None:
        """Rasterise the art of this eye; what never changes is put together here."""
        x0, y0, x1, y1 = self.box
        k = view.scale
        box = (x0 / k + view.left, y0 / k + view.top, (x1 - x0) / k, (y1 - y0) / k)
        layers = {g: art.layer(art.rig.eyes.art, g, box, (x1 - x0, y1 - y0)) for g in (*EYE_GROUPS, SHUT_GROUP)}
        self._iris, self._glint, self._lashes = (_together(layers[name]) for name in ("iris", "glint", "lashes"))
        around = np.ascontiguousarray(skin.transpose(2, 0, 1))
        dome = np.clip(self._rows - self._upper + 1, 0, 1) * np.clip(self._lower - self._rows + 1, 0, 1) * inside
        lid = _over(around, np.asarray(layers["lid"] * dome, np.float32))
        self._lid = _over(lid, layers["lashes-lower"])
        self._smooth = _over(_over(lid, layers[SHUT_GROUP]), layers["lashes-lower"])
        self._smoothing = self._smooth - self._lid
        self._sclera = np.ascontiguousarray(_over(around, layers["sclera"])[:, *self._part])

    def _draw_seam(self, rig: Eyes, along: Floats) -> Floats:
        """The lower lid's edge from eyeball to lashes, a layer of `_low`; `along`: 0..1 from inner to outer corner."""
        columns = self._part[1]
        down = (self._rows - self._lower)[self._low, columns] / self.scale
        along, inside = along[columns], self._inside[columns]
        seam = np.zeros((4, *down.shape), np.float32)

        def stripe(middle: float, width: float) -> Floats:
            # In a small picture a stripe gets fainter, not thinner than a pixel, or it would break into dots.
            broad = max(width, 0.75 / self.scale)
            return np.asarray(width / broad * np.exp(-(((down - middle) / broad) ** 2)), np.float32)

        if rig.rim is not None:
            _lay(seam, rig.rim, 0.5 * stripe(0.4, 1.5) * inside)
        if rig.margin is not None:
            dark = rig.lash or rig.rim or (0, 0, 0)
            # The margin narrows into both corners.
            lit = inside * np.clip(6 * along, 0, 1) * np.clip(5 - 5 * along, 0, 1)
            _lay(seam, dark, 0.26 * stripe(-0.9, 1.5) * inside)
            _lay(seam, dark, (0.08 + 0.24 * along) * stripe(3.5, 1.8) * lit)
            _lay(seam, rig.margin, 0.7 * stripe(1.2, 1.3) * lit)
        return _together(seam)

    def paint(self, gaze_x: float, gaze_y: float, openness: float, squint: float = 0.0, slant: float = 0.0) -> Floats:
        """The eye as float32 Y U V, shape (3, h, w) of `box`. Gaze -1..1 (right, down), openness 0..1.2; `squint` 0..1
        raises the lower lid, `slant` 0..1 lowers the outer half of the upper one."""
        part = self._part
        rows = self._rows
        shutting = min(1.0, max(0.0, (_FOLDED - openness) / (_FOLDED - _SMOOTH)))
        shutting *= shutting * (3 - 2 * shutting)
        lower = self._lower - np.float32(squint) * self._raised if squint else self._lower
        edge = self._edge(openness, lower, slant)
        openness *= self._lids
        below = np.asarray(rows - edge, np.float32)
        picture: Floats
        if 0 < shutting < 1:
            picture = self._lid + self._smoothing * np.float32(shutting)
        else:
            picture = (self._smooth if shutting else self._lid).copy()
        place, near = picture[:, *part], np.ascontiguousarray(below[part])
        if openness > _SHUT:
            # Nothing of the eyeball is seen above the upper lid's edge or below the lower one's.
            start, columns = part[0].start, part[1]
            first = min(len(near) - 1, max(0, int(edge[columns].min()) - start - 1))
            bare = slice(first, max(first + 1, int(lower[columns].max()) - start + 2))
            ball = self._ball(gaze_x * self._gaze[0], gaze_y * self._gaze[1], near[bare], bare, shutting)
            seen = unit(near[bare] + np.float32(0.5))
            seen *= self._within[part][bare] if not squint else self._within_raised(lower, bare)
            place[:, bare] = _blend(place[:, bare], ball, seen)
            low = picture[:, self._low, part[1]]
            low[:] = _over(low, self._seam_at(openness, squint))
        if self._lash is not None:
            place[:] = _blend(place, self._lash, self._line(near, shutting))
        lashes = self._lashes_at(below, openness, shutting)
        picture *= 1 - lashes[3]
        picture += lashes[:3]
        return picture

    def _edge(self, openness: float, lower: Floats, slant: float) -> Floats:
        """Rows of the upper lid's edge over the `lower` lid's."""
        falling = min(1.0, openness / _FOLDED)
        ahead = np.float32((falling * (1 - falling)) ** 2) * self._ahead
        shut = lower + 0.5 * self.scale
        edge = shut + (self._upper - shut) * (openness * self._lids - ahead)
        if slant:
            edge = edge + np.float32(slant) * self._outer * (shut - edge)
        return np.asarray(edge, np.float32)

    def _within_raised(self, lower: Floats, bare: slice) -> Floats:
        """How far a pixel of the rows `bare` of `_part` lies above the raised lower lid, between both corners, 0..1."""
        rows, columns = self._part
        down = self._rows[rows][bare]
        return np.asarray(unit(lower[columns] - down + np.float32(0.5)) * self._inside[columns])

    def _ball(self, dx: float, dy: float, below: Floats, bare: slice, shutting: float) -> Floats:
        """Eyeball with the iris moved by (dx, dy) pixels, in the shade of the upper lid, which deepens as it falls;
        `below` and it: of the rows `bare` of `_part`."""
        start, columns = self._part[0].start, self._part[1]
        part = slice(start + bare.start, start + bare.start + len(below)), columns
        dark = min(1.0, 1.3 * shutting)
        ball = _over(self._sclera[:, bare], _shift(self._iris, dx, dy, part))
        shadow = 1 - unit(below * np.float32(1 / (_DEEP * (1 + 2 * dark) * self.scale)))
        depth = self._shade * (_SHADE + (_DARK - _SHADE) * dark)
        # Only the brightness is shaded: shadows in an eye stay warm.
        ball[0] = (ball[0] - 16) * (1 - np.float32(depth) * shadow * shadow) + 16
        if dark and self._dusk is not None:
            # In the shadow of the lashes iris and white have nearly one colour.
            ball[1:] += (self._dusk - ball[1:]) * np.float32(0.7 * self._shade * dark)
        if dark == 1:
            return ball
        # The reflection of a lamp moves about half as far as the iris.
        glint = _shift(self._glint, 0.5 * dx, 0.5 * dy, part)
        return _over(ball, glint * np.float32(1 - dark) if dark else glint)

    def _seam_at(self, openness: float, squint: float) -> Layer:
        """The lower lid's edge, raised by a squint; it sinks into the line of a lid that shuts."""
        seam = self._seam
        if squint:
            height, width = seam.shape[:2]
            source = self._rows[:height] + np.float32(squint) * self._raised[self._part[1]]
            whole, part = cv2.convertMaps(self._columns[:height, :width], source, cv2.CV_16SC2)
            seam = np.asarray(cv2.remap(seam, whole, part, cv2.INTER_LINEAR), np.float32)
        layer = seam.transpose(2, 0, 1)
        return layer if openness >= _SEAM else np.asarray(layer * np.float32((openness - _SHUT) / (_SEAM - _SHUT)))

    def _line(self, below: Floats, shutting: float) -> Floats:
        """How strong the line along the upper lid is; `below` and it: of `_part`."""
        columns = self._part[1]
        tail = np.float32(shutting) * self._tail[columns]
        thin = self._thin[columns] * (1 + tail)
        thin = thin / (1 + np.float32(_HEAVIER * shutting * self.scale) * thin)
        line = unit(np.float32(1.25) - np.abs(below + self._above[columns]) * thin)
        return np.asarray(self._ink[columns] * (1 - tail) * line, np.float32)

    def _lashes_at(self, below: Floats, openness: float, shutting: float) -> Layer:
        """The upper lashes carried by the lid: they point up when it is open and down when it is shut."""
        turn = min(1.0, openness * 1.7 - 0.7)
        if abs(turn) < 0.3:
            turn = 0.3 if turn >= 0 else -0.3
        source = self._upper + below * np.float32(1 / turn)
        whole, part = cv2.convertMaps(self._columns, source, cv2.CV_16SC2)
        lashes = np.asarray(cv2.remap(self._lashes, whole, part, cv2.INTER_LINEAR), np.float32)
        if shutting:
            beside = lashes.reshape(len(lashes), -1)
            beside *= 1 - np.float32(shutting) * self._stray
        return lashes.transpose(2, 0, 1)
