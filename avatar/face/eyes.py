"""Eyes: eyeball, iris, lids and lashes, drawn into the resting picture before it is warped."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.art import EYE_GROUPS, Art
from avatar.face.curve import through
from avatar.face.rig import Eye
from avatar.face.view import View

Floats = NDArray[np.float32]

_BLACK = np.array([16, 128, 128], np.float32)
_LASH = np.array([36, 125, 136], np.float32)
_RIM = np.array([168, 120, 146], np.float32)


def _over(below: Floats, layer: Floats) -> Floats:
    """A premultiplied layer over an opaque picture."""
    return np.asarray(below * (1 - layer[..., 3:]) + layer[..., :3], np.float32)


def _blend(below: Floats, above: Floats, alpha: Floats) -> Floats:
    return np.asarray(below + (above - below) * alpha[..., None], np.float32)


class EyePainter:
    """Draws one eye of one view. Read-only after construction, shared by all sessions."""

    def __init__(self, art: Art, view: View, eye: Eye, skin: Floats) -> None:
        """`skin`: the resting picture of the view as float32 Y U V, shape (height, width, 3)."""
        rig = art.rig.eyes
        cx, cy = eye.centre
        self.box = view.box(cx - 70, cy - 50, cx + 70, cy + 44)
        x0, y0, x1, y1 = self.box
        self.scale = k = view.scale
        box = (x0 / k + view.left, y0 / k + view.top, (x1 - x0) / k, (y1 - y0) / k)
        size = x1 - x0, y1 - y0
        layers = {group: art.layer(rig.art, group, box, size) for group in EYE_GROUPS}
        self._lid, self._iris, self._glint, self._lashes = (layers[g] for g in ("lid", "iris", "glint", "lashes"))
        self._skin = skin[y0:y1, x0:x1]
        self._sclera = _over(self._skin, layers["sclera"])
        self._lower_lashes = layers["lashes-lower"]
        self._gaze = rig.gaze
        # Columns in art units towards the outer corner, rows in pixels.
        across = ((np.arange(x0, x1, dtype=np.float32) + 0.5) / k + view.left - cx) * eye.outward
        middle = view.y(cy) - y0 - 0.5
        self._upper = through(rig.upper, across) * k + middle
        self._lower = through(rig.lower, across) * k + middle
        self._rows = np.arange(y1 - y0, dtype=np.float32)[:, None]
        inner, outer = rig.upper[0][0], rig.upper[-1][0]
        self._inside = np.clip((across - inner) * k + 0.5, 0, 1) * np.clip((outer - across) * k + 0.5, 0, 1)
        along = np.clip((across - inner) / (outer - inner), 0, 1)
        reach = np.clip((across - inner) / 6, 0, 1) * np.clip((outer + 5 - across) / 5, 0, 1)
        self._liner = (0.8 + 1.7 * along) * k * reach + 1e-3
        self._below_lid = np.clip(self._lower - self._rows + 0.5, 0, 1)
        self._dome = np.clip(self._rows - self._upper + 1.0, 0, 1) * np.clip(self._lower - self._rows + 1.0, 0, 1)
        self._dome *= self._inside
        self._columns = np.broadcast_to(np.arange(size[0], dtype=np.float32), size[::-1])

    def paint(self, gaze_x: float, gaze_y: float, openness: float) -> Floats:
        """The eye as float32 Y U V of the shape of `box`. Gaze in -1..1 (right, down), openness 0..1.1."""
        k, rows = self.scale, self._rows
        shut = self._lower + 0.5 * k
        edge = shut + (self._upper - shut) * openness
        picture = _blend(self._skin, self._lid[..., :3], self._dome)
        if openness > 0.04:
            ball = self._ball(gaze_x * self._gaze[0], gaze_y * self._gaze[1], edge)
            opening = np.clip(rows - edge + 0.5, 0, 1) * self._below_lid * self._inside
            picture = _blend(picture, ball, opening)
            rim = np.exp(-(((rows - self._lower - 0.4 * k) / (1.5 * k)) ** 2)) * (0.5 * self._inside * min(1, openness))
            picture = _blend(picture, _RIM, np.asarray(rim, np.float32))
        picture = _over(picture, self._lower_lashes)
        line = np.clip(1.25 - np.abs(rows - edge + 0.35 * self._liner) / (0.5 * self._liner + 0.45), 0, 1)
        picture = _blend(picture, _LASH, line * (0.88 * np.clip(self._liner / k, 0, 1)))
        return _over(picture, self._lashes_at(edge, openness))

    def _ball(self, dx: float, dy: float, edge: Floats) -> Floats:
        """Eyeball with the iris turned by (dx, dy) art units, in the shade of the upper lid."""
        k = self.scale
        shift = np.array([[1, 0, dx * k], [0, 1, dy * k]], np.float32)
        iris = cv2.warpAffine(self._iris, shift, self._iris.shape[1::-1], flags=cv2.INTER_LINEAR)
        ball = _over(self._sclera, np.asarray(iris, np.float32))
        depth = np.clip((self._rows - edge) / (13 * k), 0, 1)
        light = 0.52 + 0.48 * depth * (2 - depth)
        ball = (ball - _BLACK) * light[..., None] + _BLACK
        return _over(np.asarray(ball, np.float32), self._glint)

    def _lashes_at(self, edge: Floats, openness: float) -> Floats:
        """The upper lashes carried by the lid: they point up when it is open and down when it is shut."""
        turn = openness * 1.7 - 0.7
        if abs(turn) < 0.3:
            turn = 0.3 if turn >= 0 else -0.3
        source = self._upper + (self._rows - edge) / np.float32(min(turn, 1.0))
        return np.asarray(
            cv2.remap(self._lashes, self._columns, source.astype(np.float32), cv2.INTER_LINEAR), np.float32
        )
