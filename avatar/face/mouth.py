"""The mouth: lips, teeth and tongue drawn from blend parameters onto the finished picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.art import MOUTH_GROUPS, Art, Layer
from avatar.face.curve import through
from avatar.face.lips import Lips, inside_of, lips_of
from avatar.face.rig import Mouth
from avatar.face.view import View
from core.frames import MouthShape

Floats = NDArray[np.float32]

_STEPS = 511
"""Resolution of the tabulated resting contours over half the mouth."""


class MouthPainter:
    """Draws the mouth of one view. Read-only after construction, shared by all sessions."""

    def __init__(self, art: Art, view: View) -> None:
        self.rig: Mouth = art.rig.mouth
        self.drop = art.rig.jaw.drop
        self.scale = k = view.scale
        self._side, self._up, down = self.rig.reach
        self.size = 2 * round(self._side * k), 2 * round((self._up + down) * k / 2)
        cx, cy = self.rig.centre
        box = (cx - self._side, cy - self._up, self.size[0] / k, self.size[1] / k)
        layers = {g: art.layer(self.rig.art, g, box, self.size) for g in MOUTH_GROUPS}
        lips = np.concatenate([layers["lip-upper"][:3], layers["lip-lower"][:3]], axis=1)
        self._lips = np.ascontiguousarray(np.clip(lips, 0, 255).astype(np.uint8))
        self._cavity = layers["cavity"][:3]
        self._upper_teeth, self._lower_teeth = layers["teeth-upper"], layers["teeth-lower"]
        self._tongue = layers["tongue"]
        self._rows = np.arange(self.size[1], dtype=np.float32)[:, None]
        self._columns = np.arange(self.size[0], dtype=np.float32)
        v = np.linspace(0, 1, _STEPS + 1, dtype=np.float32)
        # Line, upper thickness, lower thickness (pixels), and the quarter of a circle.
        rest = [through(points, v) * k for points in (self.rig.line, self.rig.upper, self.rig.lower)]
        self._rest = np.array([*rest, np.sqrt(1 - v * v)], np.float32)

    def paint(self, at: tuple[float, float], tilt: float, shape: MouthShape, smile: float) -> tuple[Layer, int, int]:
        """The mouth with its middle at pixel `at`, sloping by `tilt` (radians).

        Returns the layer and the even pixel column and row of its corner.
        """
        k = self.scale
        left = int(at[0] - self._side * k) // 2 * 2
        top = int(at[1] - self._up * k) // 2 * 2
        mx, my = at[0] - left - 0.5, at[1] - top - 0.5
        lips = lips_of(shape, self.rig.half_width, self.drop, smile)
        across = self._columns - np.float32(mx)
        u = across * np.float32(1 / (lips.width * k))
        v = np.minimum(np.abs(u), 1)
        rest_line, *rest = self._rest[:, (v * _STEPS).astype(np.intp)]
        line = rest_line - np.float32(lips.lift * k) * v * v + across * np.float32(tilt) + np.float32(my)
        edges, rest = self._contours(lips, line, v, rest)
        out = np.empty((4, self.size[1], self.size[0]), np.float32)
        self._skin(out, u, rest_line, edges, rest)
        if lips.gap * k > 0.05:
            self._interior(out, edges, (mx, my), tilt, u, shape)
        soft = np.float32(1 / max(1.0, self.rig.soft * k))
        ends = np.clip((1 - np.abs(u)) * np.float32(lips.width * k) + np.float32(0.5), 0, 1)
        alpha = np.clip((self._rows - (edges[0] - np.float32(0.5 / soft))) * soft, 0, 1)
        alpha *= np.clip((edges[3] + np.float32(0.5 / soft) - self._rows) * soft, 0, 1)
        alpha *= ends
        out[:3] *= alpha
        out[3] = alpha
        return out, left, top

    def _contours(
        self, lips: Lips, line: Floats, v: Floats, rest: list[Floats]
    ) -> tuple[tuple[Floats, ...], list[Floats]]:
        """Upper lip's outer and inner, lower lip's inner and outer edge, in rows by column; and the lips' thickness
        in the texture."""
        k = self.scale
        rest_up, rest_low, oval = rest
        inner = np.minimum(v * np.float32(1.04 + 0.22 * lips.rounded), 1)
        profile = np.power(1 - np.power(inner, 2.2 - 0.2 * lips.rounded), 0.75 - 0.25 * lips.rounded)
        upper_in = line - profile * np.float32(lips.up * k)
        lower_in = line + profile * np.float32(lips.down * k)
        much = np.float32(0.8 * lips.rounded)
        rest_up = rest_up + (np.float32(16 * k) * oval - rest_up) * much
        rest_low = rest_low + (np.float32(21 * k) * oval - rest_low) * much
        upper_out = upper_in - rest_up * np.float32(lips.upper)
        lower_out = lower_in + rest_low * np.float32(lips.lower)
        return (upper_out, upper_in, lower_in, lower_out), [rest_up, rest_low]

    def _skin(self, out: Layer, u: Floats, rest_line: Floats, edges: tuple[Floats, ...], rest: list[Floats]) -> None:
        """The lips' texture stretched between their edges, shaded where they meet or roll inwards."""
        k = self.scale
        upper_out, upper_in, lower_in, lower_out = edges
        line = rest_line + np.float32(self._up * k - 0.5)
        above, below = self._rows - upper_in, self._rows - lower_in
        up = above * (rest[0] / np.maximum(upper_in - upper_out, 0.5)) + line
        low = below * (rest[1] / np.maximum(lower_out - lower_in, 0.5)) + (line + self.size[1])
        rows = np.where(above < -below, np.minimum(up, self.size[1] - 1), low)
        columns = np.clip(u, -1.1, 1.1) * np.float32(self.rig.half_width * k) + np.float32(self._side * k - 0.5)
        grid = np.empty_like(rows)
        grid[:] = columns
        whole, part = cv2.convertMaps(grid, rows, cv2.CV_16SC2)
        for plane, texture in zip(out, self._lips, strict=False):
            plane[:] = cv2.remap(texture, whole, part, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        near = np.minimum(np.abs(above), np.abs(below))
        light = 1 - np.float32(0.3 * self.rig.shade) * np.exp(near * near * np.float32(-1 / (1.5 * k) ** 2))
        out[0] = (out[0] - 16) * light + 16

    def _interior(
        self, out: Layer, edges: tuple[Floats, ...], middle: tuple[float, float], tilt: float, u: Floats,
        shape: MouthShape,
    ) -> None:  # fmt: skip
        """Cavity, teeth and tongue between the lips."""
        k = self.scale
        _, upper_in, lower_in, _ = edges
        r0, r1 = max(0, int(upper_in.min()) - 1), min(self.size[1], int(lower_in.max()) + 3)
        open_ = np.flatnonzero(np.abs(u) < 1)
        c0, c1 = int(open_[0]), int(open_[-1]) + 1
        upper_in, lower_in, u = upper_in[c0:c1], lower_in[c0:c1], u[c0:c1]
        rows = self._rows[r0:r1]
        depth = rows - upper_in
        side = np.maximum(1 - np.float32(0.6) * u * u, np.float32(0.2))
        lit = np.float32(1 - self.rig.shade)
        teeth_light = lit + (1 - lit) * side * (0.7 + np.clip(depth * np.float32(0.05 / k), 0, 0.3))
        tongue_light = lit + (1 - lit) * side * (0.5 + np.clip(depth * np.float32(0.0357 / k), 0, 0.5))
        place = inside_of(shape, self.drop)
        inside = self._cavity[:, r0:r1, c0:c1]
        for layer, dy, light in (
            (self._lower_teeth, place.lower_teeth, teeth_light * np.float32(0.8)),
            (self._tongue, place.tongue, tongue_light),
            (self._upper_teeth, place.upper_teeth, teeth_light),
        ):
            dx = middle[0] - self._side * k + 0.5 - c0
            # Turned with the head about the middle of the mouth.
            down = middle[1] + (dy - self._up) * k + 0.5 - r0 - tilt * (self._side * k - 0.5)
            matrix = np.array([[1, 0, dx], [tilt, 1, down]], np.float32)
            size = c1 - c0, r1 - r0
            y, cb, cr, alpha = (cv2.warpAffine(plane, matrix, size, flags=cv2.INTER_LINEAR) for plane in layer)
            dark = 16 * alpha
            inside = inside * (1 - alpha) + np.array([(y - dark) * light + dark, cb, cr], np.float32)
        mask = np.clip(depth + 0.5, 0, 1) * np.clip(lower_in - rows + 0.5, 0, 1)
        mask *= np.clip((lower_in - upper_in) * 1.2, 0, 1)
        part = out[:3, r0:r1, c0:c1]
        part += (inside - part) * mask
