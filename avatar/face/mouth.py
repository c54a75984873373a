"""The mouth: lips, teeth and tongue drawn from blend parameters onto the finished picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.art import MOUTH_GROUPS, Art
from avatar.face.curve import through
from avatar.face.rig import Mouth
from avatar.face.view import View
from core.frames import MouthShape

Floats = NDArray[np.float32]

_MARGIN = (92.0, 46.0, 92.0)
"""Extent of everything a mouth can cover: to each side, up, down, in art units."""

_BLACK = np.array([16, 128, 128], np.float32)


@dataclass(frozen=True, slots=True)
class Lips:
    """Where the lips are, in art units: `width` is half the mouth; the rest is measured at its middle."""

    width: float
    up: float
    """Rise of the upper lip's lower edge from the resting line."""
    down: float
    """Fall of the lower lip's upper edge."""
    upper: float
    """Thickness of the upper lip relative to rest."""
    lower: float
    """Thickness of the lower lip relative to rest."""
    lift: float
    """Lift of the corners."""
    rounded: float
    """How far the outline is an oval instead of an almond, 0..1."""

    @property
    def gap(self) -> float:
        """Distance between the lips."""
        return self.up + self.down


def lips_of(shape: MouthShape, rest_width: float, drop: float, smile: float) -> Lips:
    """The lips for blend parameters. Continuous in all of them; `close` or `press` of 1 gives a gap of 0."""
    apart = (1 - shape.close) * (1 - shape.press)
    open_ = shape.jaw_open * drop * (0.86 - 0.22 * shape.pucker)
    open_ += 7 * shape.funnel + 4 * shape.pucker + 5.5 * shape.teeth + 1.5 * shape.stretch
    open_ = max(0.0, open_ - 0.6)
    roll = shape.roll_lower * apart
    rounded = min(1.0, shape.pucker + 0.7 * shape.funnel)
    share = 0.24 + 0.16 * rounded
    up = (share * open_ + 1.5 * shape.teeth) * apart * (1 - roll) + 5.0 * roll
    down = (1 - share) * open_ * apart * (1 - roll) + 0.4 * roll
    width = 1 + 0.17 * shape.stretch - 0.40 * shape.pucker - 0.22 * shape.funnel - 0.07 * shape.jaw_open
    full = 0.16 * shape.pucker + 0.22 * shape.funnel - 0.14 * shape.stretch - 0.10 * shape.jaw_open
    return Lips(
        width=rest_width * max(0.42, width + 0.05 * (smile - 0.35)),
        up=up,
        down=down,
        upper=max(0.3, 1 + full - 0.42 * shape.press - 0.12 * roll),
        lower=max(0.3, 1 + full - 0.38 * shape.press - 0.55 * roll),
        lift=5.5 * smile * (1 - 0.7 * rounded) + 1.5 * shape.stretch - 0.30 * down - 3.5 * rounded,
        rounded=rounded,
    )


class MouthPainter:
    """Draws the mouth of one view. Read-only after construction, shared by all sessions."""

    def __init__(self, art: Art, view: View) -> None:
        rig = art.rig.mouth
        self.rig: Mouth = rig
        self.view = view
        self.scale = k = view.scale
        self.size = 2 * round(_MARGIN[0] * k), 2 * round((_MARGIN[1] + _MARGIN[2]) * k / 2)
        self.drop = art.rig.jaw.drop
        cx, cy = rig.centre
        box = (cx - _MARGIN[0], cy - _MARGIN[1], self.size[0] / k, self.size[1] / k)
        layers = {g: art.layer(rig.art, g, box, self.size) for g in MOUTH_GROUPS}
        skin = [np.clip(layers[g][..., :3], 0, 255).astype(np.uint8) for g in ("lip-upper", "lip-lower")]
        self._lips = np.concatenate(skin)
        self._cavity = layers["cavity"][..., :3]
        self._upper_teeth, self._lower_teeth = layers["teeth-upper"], layers["teeth-lower"]
        self._tongue = layers["tongue"]
        self._rows = np.arange(self.size[1], dtype=np.float32)[:, None]
        self._columns = np.arange(self.size[0], dtype=np.float32)

    def paint(self, at: tuple[float, float], tilt: float, shape: MouthShape, smile: float) -> tuple[Floats, int, int]:
        """The mouth with its middle at pixel `at`, sloping by `tilt` (radians).

        Returns the premultiplied picture, float32 (h, w, 4), and the even pixel column and row of its corner.
        """
        k = self.scale
        left = int(at[0] - _MARGIN[0] * k) // 2 * 2
        top = int(at[1] - _MARGIN[1] * k) // 2 * 2
        mx, my = at[0] - left - 0.5, at[1] - top - 0.5
        lips = lips_of(shape, self.rig.half_width, self.drop, smile)
        u = (self._columns - mx) / np.float32(lips.width * k)
        v = np.abs(u)
        base = my + (self._columns - mx) * np.float32(tilt)
        inside = np.clip(v, 0, 1)
        line = base + (through(self.rig.line, inside) - np.float32(lips.lift) * inside * inside) * np.float32(k)
        oval = np.sqrt(1 - inside * inside)
        inner = np.clip(v * np.float32(1.04 + 0.22 * lips.rounded), 0, 1)
        profile = np.power(1 - np.power(inner, 2.2 - 0.2 * lips.rounded), 0.75 - 0.25 * lips.rounded, dtype=np.float32)
        upper_in = line - profile * np.float32(lips.up * k)
        lower_in = line + profile * np.float32(lips.down * k)
        rest_up, rest_low = through(self.rig.upper, inside), through(self.rig.lower, inside)
        rest_up += (16 * oval - rest_up) * np.float32(0.8 * lips.rounded)
        rest_low += (21 * oval - rest_low) * np.float32(0.8 * lips.rounded)
        upper_out = upper_in - rest_up * np.float32(lips.upper * k)
        lower_out = lower_in + rest_low * np.float32(lips.lower * k)
        ends = np.clip((1 - v) * (lips.width * k) + 0.5, 0, 1)
        picture = self._skin_of_lips(u, (upper_out, upper_in, lower_in, lower_out), (rest_up, rest_low))
        soft = np.float32(1 / max(1.0, 2.6 * k))
        alpha = np.clip((self._rows - upper_out) * soft + 0.5, 0, 1)
        alpha *= np.clip((lower_out - self._rows) * soft + 0.5, 0, 1) * ends
        self._seam(picture, upper_in, lower_in)
        if lips.gap * k > 0.05:
            self._interior(picture, (upper_in, lower_in), (mx, my), tilt, u, shape)
        return np.concatenate([picture * alpha[..., None], alpha[..., None]], axis=2), left, top

    def _skin_of_lips(self, u: Floats, edges: tuple[Floats, ...], rest: tuple[Floats, Floats]) -> Floats:
        """The lips' texture stretched between their edges; float32 (h, w, 3)."""
        k = self.scale
        upper_out, upper_in, lower_in, lower_out = edges
        line = through(self.rig.line, np.clip(np.abs(u), 0, 1)) * k + _MARGIN[1] * k - 0.5
        up = (self._rows - upper_in) * (rest[0] * k / np.maximum(upper_in - upper_out, 0.5)) + line
        low = (self._rows - lower_in) * (rest[1] * k / np.maximum(lower_out - lower_in, 0.5)) + line
        rows = np.where(self._rows < (upper_in + lower_in) * 0.5, np.minimum(up, self.size[1] - 1), low + self.size[1])
        columns = np.clip(u, -1.1, 1.1) * (self.rig.half_width * k) + (_MARGIN[0] * k - 0.5)
        grid = np.broadcast_to(columns.astype(np.float32), rows.shape)
        lips = cv2.remap(self._lips, grid, rows.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(lips, np.float32)

    def _seam(self, picture: Floats, upper_in: Floats, lower_in: Floats) -> None:
        """Soft shade where the lips meet or roll inwards."""
        k = self.scale
        near = np.minimum(np.abs(self._rows - upper_in), np.abs(self._rows - lower_in))
        light = 1 - 0.30 * np.exp(-((near / np.float32(1.5 * k)) ** 2))
        picture -= _BLACK
        picture *= light[..., None]
        picture += _BLACK

    def _interior(
        self, picture: Floats, inner: tuple[Floats, Floats], middle: tuple[float, float], tilt: float, u: Floats,
        shape: MouthShape,
    ) -> None:  # fmt: skip
        """Cavity, teeth and tongue between the lips, painted into `picture`."""
        k = self.scale
        upper_in, lower_in = inner
        r0 = max(0, int(upper_in.min()) - 1)
        r1 = min(self.size[1], int(lower_in.max()) + 3)
        rows = self._rows[r0:r1]
        mask = np.clip(rows - upper_in + 0.5, 0, 1) * np.clip(lower_in - rows + 0.5, 0, 1)
        mask *= np.clip((lower_in - upper_in) * 1.2, 0, 1)
        jaw = shape.jaw_open * self.drop
        rounded = max(shape.pucker, shape.funnel)
        show = max(shape.teeth, shape.roll_lower, 0.8 * shape.stretch)
        teeth_up = -1.5 + 1.5 * show - 7 * rounded * (1 - shape.roll_lower) - 2.5 * shape.tongue_up
        teeth_low = 3.5 + 0.58 * jaw - 3.5 * show + 5 * rounded
        tongue = 6 + 0.36 * jaw + 3 * rounded
        tongue += (2.0 - tongue) * shape.tongue_up

        def put(layer: Floats, dy: float, light: Floats | float = 1.0) -> None:
            shift = np.array(
                [[1, 0, middle[0] - _MARGIN[0] * k + 0.5], [tilt, 1, middle[1] + (dy - _MARGIN[1]) * k + 0.5 - r0
                  - tilt * _MARGIN[0] * k]], np.float32,
            )  # fmt: skip
            moved = cv2.warpAffine(layer, shift, (self.size[0], r1 - r0), flags=cv2.INTER_LINEAR)
            nonlocal inside
            alpha = moved[..., 3:]
            colour = (moved[..., :3] - _BLACK * alpha) * light + _BLACK * alpha
            inside = inside * (1 - alpha) + colour

        inside = np.array(self._cavity[r0:r1])
        side = np.clip(1 - 0.6 * u * u, 0.2, 1)
        below_lip = np.clip((rows - upper_in) / np.float32(9 * k), 0, 1)
        shade = (side * (0.55 + 0.45 * below_lip))[..., None]
        put(self._lower_teeth, teeth_low, shade * 0.8)
        put(self._tongue, tongue, (side * (0.5 + 0.5 * np.clip((rows - upper_in) / np.float32(14 * k), 0, 1)))[..., None])
        put(self._upper_teeth, teeth_up, shade)
        part = picture[r0:r1]
        part += (inside - part) * mask[..., None]
