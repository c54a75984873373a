"""The four edges of the lips, by pixel column: between those at rest and those of rounded lips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.face.curve import through
from avatar.face.lips import Lips
from avatar.face.rig import Mouth

Floats = NDArray[np.float32]
Edges = tuple[Floats, Floats, Floats, Floats]
"""Upper lip's outer and inner, lower lip's inner and outer edge, in rows by column."""

_STEPS = 511
"""Resolution of the tabulated contours over half the mouth."""


class Contours:
    """The edges of one presenter's lips at one scale. Read-only after construction."""

    def __init__(self, rig: Mouth, scale: float) -> None:
        """`scale`: pixels per art unit."""
        self._scale = scale
        v = np.linspace(0, 1, _STEPS + 1, dtype=np.float32)
        rest = [through(points, v) * scale for points in (rig.line, rig.upper, rig.lower)]
        drawn = [through(points, v) for points in (rig.round_upper, rig.round_lower)]
        # A quarter of an oval that is fuller than an ellipse.
        self._table = np.array([*rest, *drawn, np.sqrt(1 - v**2.2)], np.float32)
        self._middle = rest[1][0], rest[2][0]
        self._thick = rest[1].max(), rest[2].max()

    def at(self, v: Floats) -> Floats:
        """Shape (6, n): at `v` of the way from the middle to the corner (0..1), the line between the resting lips and
        their thickness (pixels), the heights of rounded lips relative to their middle, and a quarter of an oval."""
        found: Floats = self._table[:, (v * _STEPS).astype(np.intp)]
        return found

    def edges(self, lips: Lips, line: Floats, v: Floats, table: Floats) -> tuple[Edges, Floats, Floats]:
        """The lips' edges, and how much of each lip's texture lies between its edges (pixels).

        `line`: the rows in which the lips meet; `table`: what `at` says of `v`."""
        inner = np.minimum(v / np.float32(reach(lips)), 1)
        upper_out, upper_in, lower_in, lower_out = self._spread(lips, v, inner, table)
        much = lips.rounded
        if lips.rounded:
            drawn = self._round(lips, inner, table)
            upper_out = upper_out + (drawn[0] - upper_out) * np.float32(much)
            upper_in = upper_in + (drawn[1] - upper_in) * np.float32(much)
            lower_in = lower_in + (drawn[2] - lower_in) * np.float32(much)
            lower_out = lower_out + (drawn[3] - lower_out) * np.float32(much)
        rest_up, rest_low = self._fleshy(lips, v, table, 0.5 * much, 0.55 * much)
        return (line - upper_out, line - upper_in, line + lower_in, line + lower_out), rest_up, rest_low

    def _fleshy(self, lips: Lips, v: Floats, table: Floats, up: float = 0.0, low: float = 0.0) -> tuple[Floats, Floats]:
        """The lips' thickness: flesh between them shows where a wide mouth turns its corners. `up` and `low`: how far
        they are thick besides."""
        _, rest_up, rest_low, _, _, oval = table
        flesh = np.float32(0.35 * lips.agape)
        return (
            rest_up + (self._thick[0] * oval - rest_up) * (flesh * v + np.float32(up)),
            rest_low + (self._thick[1] * oval - rest_low) * (flesh + np.float32(low)),
        )

    def _spread(self, lips: Lips, v: Floats, inner: Floats, table: Floats) -> Edges:
        """How far the edges are from the line between lips that are not rounded."""
        k, oval = self._scale, table[5]
        rest_up, rest_low = self._fleshy(lips, v, table)
        # A lip that is drawn in is left in the middle; over it the other is raised evenly, and the opening ends in
        # points.
        rest_low = rest_low + (self._middle[1] * np.power(1 - v * v, 1.1) - rest_low) * np.float32(lips.tucked)
        profile = np.power(1 - np.power(inner, 2.2 + 1.6 * lips.tucked), 0.75 - 0.225 * lips.agape - 0.05 * lips.tucked)
        # Towards the corners of a wide mouth the lips go around the opening, not along the line, and a lip raised
        # off the front teeth is raised as a whole.
        arch = profile + (oval - profile) * np.float32(0.7 * lips.agape)
        above = arch + (np.float32(0.8) * (1 - v * v) - arch) * np.float32(lips.tucked)
        up, down = np.float32(lips.up * k), np.float32(lips.down * k)
        return (
            above * up + rest_up * np.float32(lips.upper),
            profile * up,
            profile * down,
            arch * down + rest_low * np.float32(lips.lower),
        )

    def _round(self, lips: Lips, inner: Floats, table: Floats) -> Edges:
        """How far the edges are from the line between lips that are all rounded: contours as they are drawn around
        an oval that follows Cupid's bow."""
        _, _, _, upper, lower, _ = table
        k = self._scale
        up, down = np.float32(lips.up * k), np.float32(lips.down * k)
        bow = np.float32(1.05) - np.float32(0.05) * np.exp(np.square(inner) * np.float32(-12))
        upper_in = np.sqrt(1 - inner * inner) * bow * up
        lower_in = np.sqrt(1 - inner * inner) * down
        upper_out = upper * (up + self._middle[0] * np.float32(lips.upper))
        lower_out = lower * (down + self._middle[1] * np.float32(lips.lower))
        # Some flesh is left wherever the opening is.
        return np.maximum(upper_out, upper_in + 1), upper_in, lower_in, np.maximum(lower_out, lower_in + 1)


def reach(lips: Lips) -> float:
    """Where the opening ends, relative to half the width of the mouth."""
    return min(0.97, lips.inner / (1.04 + 0.03 * lips.rounded + 0.05 * lips.agape))
