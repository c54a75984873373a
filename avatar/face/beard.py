"""Hair that is laid over the lips: it hangs from a moustache and begins under the lower lip, and goes with their outer
edges."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.art import HAIR_GROUPS, Art, Layer
from avatar.face.contours import Edges
from avatar.face.limits import unit

Floats = NDArray[np.float32]


class Beard:
    """The groups `HAIR_GROUPS` of a mouth's drawing at one scale. Read-only after construction."""

    def __init__(self, art: Art, box: tuple[float, float, float, float], size: tuple[int, int]) -> None:
        """`box` (art units) and `size` (pixels) of the mouth; wherever a group is missing there is no hair."""
        empty = np.zeros((4, size[1], size[0]), np.float32)
        groups = [art.layer(art.rig.mouth.art, g, box, size) if art.has(art.rig.mouth.art, g) else empty
                  for g in HAIR_GROUPS]  # fmt: skip
        # One above the other: one look-up finds both.
        self._hair = np.ascontiguousarray(np.concatenate(groups, axis=1).transpose(1, 2, 0))
        self._height = np.float32(size[1])

    def lay(self, out: Layer, rows: Floats, columns: Floats, edges: Edges, rest: tuple[Floats, Floats]) -> None:
        """Lay the hair over a mouth. `rows`: of the mouth; `columns`: of the texture; `rest`: the rows of the texture
        in which the resting lips have their outer edges."""
        upper_out, upper_in, lower_in, lower_out = edges
        up = rows - (upper_out - rest[0])
        low = rows - (lower_out - rest[1] - self._height)
        off = rows - (upper_in + lower_in) * np.float32(0.5)
        texture_rows = np.where(off < 0, up, low)
        grid = np.empty_like(texture_rows)
        grid[:] = columns
        hair = cv2.remap(self._hair, grid, texture_rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        # None crosses the middle of the opening, where one lip's hair meets the other's.
        planes = hair.transpose(2, 0, 1) * unit(np.abs(off) * np.float32(0.5))
        out *= 1 - planes[3]
        out += planes
