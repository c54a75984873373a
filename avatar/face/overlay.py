"""What is worn over the eyes (glasses): a rigid layer that goes with the head, not with the brows or lids under it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.art import Art, Layer, Rgba, to_yuv
from avatar.face.view import View
from avatar.face.warp import INDEX, basis

Floats = NDArray[np.float32]

_RIGID = [INDEX[name] for name in ("shift_x", "shift_y", "roll", "zoom", "yaw", "pitch")]
_MARGIN = 2
"""Transparent pixels around the layer, so that its borders can be moved by parts of a pixel."""


class Overlay:
    """The layers of `rig.figure_over` at the size of one view. Read-only, shared by all sessions."""

    def __init__(self, art: Art, over: Rgba, view: View) -> None:
        """`over`: premultiplied B G R A over the art's whole canvas."""
        k = view.scale
        rows, columns = np.flatnonzero(over[..., 3].any(axis=1)), np.flatnonzero(over[..., 3].any(axis=0))
        x0, x1, y0, y1 = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
        cut = over[y0:y1, x0:x1]
        # Where the cut lies in art units, and on whole pixels of the view.
        ax, ay = x0 / art.scale + art.rig.canvas[0], y0 / art.scale + art.rig.canvas[1]
        self.left, self.top = int(view.x(ax)) - _MARGIN, int(view.y(ay)) - _MARGIN
        width = int(np.ceil((x1 - x0) / art.scale * k)) + 2 * _MARGIN + 2
        height = int(np.ceil((y1 - y0) / art.scale * k)) + 2 * _MARGIN + 2
        self._layer = _scaled(cut, k / art.scale, view.x(ax) - self.left, view.y(ay) - self.top, width, height)
        # Moved by the affine map that fits the head's motion at these points best.
        px = np.linspace(ax, ax + (x1 - x0) / art.scale, 5, dtype=np.float32)[1:-1]
        py = np.linspace(ay, ay + (y1 - y0) / art.scale, 4, dtype=np.float32)[1:-1]
        gx, gy = (grid.reshape(-1) for grid in np.meshgrid(px, py))
        here = np.stack([view.x(0) + gx * k - self.left, view.y(0) + gy * k - self.top, np.ones_like(gx)], axis=1)
        moved = basis(art.rig, gx, gy)[_RIGID] * np.float32(k)
        self._affine = np.asarray(np.einsum("cp,mpd->mdc", np.linalg.pinv(here), moved), np.float32)

    def at(self, weights: Floats) -> tuple[Layer, int, int]:
        """The layer for a pose, and the even pixel column and row of its corner."""
        matrix = np.tensordot(weights[_RIGID], self._affine, 1)
        matrix[0, 0] += 1
        matrix[1, 1] += 1
        # Whole pairs of pixels move the corner; only the rest moves the layer in its frame.
        height, width = self._layer.shape[1:]
        middle = matrix @ np.array([width / 2, height / 2, 1], np.float32)
        left = (self.left + round(float(middle[0]) - width / 2)) // 2 * 2
        top = (self.top + round(float(middle[1]) - height / 2)) // 2 * 2
        matrix[0, 2] += self.left - left
        matrix[1, 2] += self.top - top
        size = (width + 5) // 2 * 2, (height + 5) // 2 * 2
        planes = [cv2.warpAffine(plane, matrix, size, flags=cv2.INTER_LINEAR) for plane in self._layer]
        return np.asarray(planes, np.float32), left, top


def _scaled(cut: Rgba, k: float, x: float, y: float, width: int, height: int) -> Layer:
    """The cut at the view's size, its corner at pixel (x, y), as a layer of Y, U, V and alpha."""
    if k < 1:
        # Area averaging first: a plain look-up would drop thin rims.
        small = cv2.resize(cut, (max(1, round(cut.shape[1] * k)), max(1, round(cut.shape[0] * k))),
                           interpolation=cv2.INTER_AREA)  # fmt: skip
        fx, fy = cut.shape[1] * k / small.shape[1], cut.shape[0] * k / small.shape[0]
    else:
        small, fx, fy = cut, k, k
    matrix = np.array([[fx, 0, x + 0.5 * fx - 0.5], [0, fy, y + 0.5 * fy - 0.5]], np.float32)
    image = np.asarray(cv2.warpAffine(small, matrix, (width, height), flags=cv2.INTER_LINEAR), np.float32)
    alpha = image[..., 3:] / 255
    # The offsets of Y, U and V belong to what is opaque: the colours are premultiplied already.
    offset = to_yuv(np.zeros((1, 1, 3), np.float32))
    yuv = to_yuv(image[..., :3]) - offset * (1 - alpha)
    return np.ascontiguousarray(np.concatenate([yuv, alpha], axis=2).transpose(2, 0, 1))
