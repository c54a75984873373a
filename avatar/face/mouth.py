"""The mouth: lips, teeth and tongue drawn from blend parameters onto the finished picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.art import HAIR_GROUPS, MOUTH_GROUPS, Art, Layer
from avatar.face.beard import Beard
from avatar.face.contours import Contours, Edges, reach
from avatar.face.limits import unit
from avatar.face.lips import Lips, inside_of
from avatar.face.rig import Mouth
from avatar.face.view import View
from core.frames import MouthShape

Floats = NDArray[np.float32]

_BITE = 6.0
"""How far the upper teeth reach over a lower lip that is drawn in, art units."""
_CREASED = 1.5
"""The creases of rounded lips end where the way from the middle of the mouth goes this far aside per way up or down."""
_STEPS = 511
"""Resolution of the tabulated creases."""
_HAIR = 14
"""How far hair may reach beyond the lips, art units."""
_SEAM = 4.0
"""Half the width of the line between closed lips in their drawing, art units."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the head has carried the mouth, in pixels of the picture."""

    x: float
    y: float
    tilt: float
    """Slope, radians."""
    left: float = 1.0
    """Width of the left half relative to rest: the half that turns away gets narrower."""
    right: float = 1.0


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
        self._lips = np.ascontiguousarray(np.clip(lips, 0, 255).astype(np.uint8).transpose(1, 2, 0))
        self._cavity = layers["cavity"][:3]
        # Y, U, V and alpha of a pixel beside each other: one look-up moves all four.
        self._upper_teeth, self._lower_teeth, self._tongue = (
            np.ascontiguousarray(layers[name].transpose(1, 2, 0)) for name in ("teeth-upper", "teeth-lower", "tongue")
        )
        # Where the drawings have the edges that `Inside` speaks of, below the resting line.
        line = (self._up + self.rig.line[0][1]) * k
        self._edges = tuple(
            (float(_edge(layers[name][3], last)) - line) / k
            for name, last in (("teeth-upper", True), ("teeth-lower", False), ("tongue", False))
        )
        hairy = any(art.has(self.rig.art, group) for group in HAIR_GROUPS)
        self._beard = Beard(art, box, self.size) if hairy else None
        self._rows = np.arange(self.size[1], dtype=np.float32)[:, None]
        self._columns = np.arange(self.size[0], dtype=np.float32)
        self._lines = Contours(self.rig, k)
        self._creases = _creases(self.rig.shade)

    def paint(self, place: Place, shape: MouthShape, lips: Lips) -> tuple[Layer, int, int]:
        """The mouth as a layer, and the even pixel column and row of its corner."""
        k = self.scale
        left = int(place.x - self._side * k) // 2 * 2
        top = int(place.y - self._up * k) // 2 * 2
        mx, my = place.x - left - 0.5, place.y - top - 0.5
        # Only the columns the mouth covers now.
        half = lips.width * k
        more = 0 if self._beard is None else _HAIR * k
        c0 = max(0, int(mx - half * place.left - more) // 2 * 2)
        c1 = min(self.size[0], (int(mx + half * place.right + more) + 3) // 2 * 2)
        across = self._columns[c0:c1] - np.float32(mx)
        u = across * np.where(across < 0, np.float32(1 / (half * place.left)), np.float32(1 / (half * place.right)))
        v = np.minimum(np.abs(u), 1)
        table = self._lines.at(v)
        line = (
            table[0] * np.float32(1 - lips.level)
            - np.float32(lips.lift * k) * v * v
            + across * np.float32(place.tilt)
            + np.float32(my)
        )
        edges, *rest = self._lines.edges(lips, line, v, table)
        r0 = min(max(0, int(edges[0].min() - 2.5 * k - more - 1) // 2 * 2), self.size[1] - 2)
        r1 = min(self.size[1], max(r0 + 2, (int(edges[3].max() + 2.5 * k + more) + 3) // 2 * 2))
        rows = self._rows[r0:r1]
        out = np.empty((4, r1 - r0, c1 - c0), np.float32)
        self._skin(out, rows, u, table[0], edges, rest, lips)
        if lips.gap * k > 0.05:
            self._interior(out, (c0, r0), edges, (mx, my), place.tilt, u, shape, lips)
        # The edge is as soft across a steep contour as across a level one.
        soft = np.float32(1 / max(1.0, self.rig.soft * (1 + 0.25 * self.rig.shade * lips.rounded) * k))
        alpha = unit((rows - edges[0]) * (soft / _steepness(edges[0])) + np.float32(0.5))
        alpha *= unit((edges[3] - rows) * (soft / _steepness(edges[3])) + np.float32(0.5))
        # The point of an almond and the side of an oval fade into the cheek.
        fade = np.float32(1 + (2.7 + 0.2 * lips.rounded) * self.rig.soft * k)
        ends = unit(((1 - np.abs(u)) * np.float32(half) + np.float32(0.5)) / fade)
        alpha *= ends * (2 - ends)
        out[:3] *= alpha
        out[3] = alpha
        if self._beard is not None:
            seam = table[0] + np.float32(self._up * k - 0.5)
            columns = u * np.float32(self.rig.half_width * k) + np.float32(self._side * k - 0.5)
            self._beard.lay(out, rows, columns, edges, (seam - table[1], seam + table[2]))
        return out, left + c0, top + r0

    def _skin(
        self, out: Layer, rows: Floats, u: Floats, rest_line: Floats, edges: Edges, rest: list[Floats],
        lips: Lips,
    ) -> None:  # fmt: skip
        """The lips' texture stretched between their edges, shaded where they meet or roll inwards."""
        k = self.scale
        _, upper_in, lower_in, _ = edges
        line = rest_line + np.float32(self._up * k - 0.5)
        # Beside the opening of rounded lips, whose border sags a little there.
        ends = np.float32(0.6 * reach(lips))
        past = unit((np.abs(u) - ends) / (1 - ends)) * np.float32(lips.rounded)
        border = np.asarray((upper_in + lower_in) / 2 + past * (1 - past) * np.float32(12 * k), np.float32)
        is_upper = rows < border
        up, low = self._texture_rows(rows, u, line, edges, rest, past, lips)
        texture_rows = np.where(is_upper, up, low)
        columns = np.clip(u, -1.1, 1.1) * np.float32(self.rig.half_width * k) + np.float32(self._side * k - 0.5)
        grid = np.empty_like(texture_rows)
        grid[:] = columns
        whole, part = cv2.convertMaps(grid, texture_rows, cv2.CV_16SC2)
        skin = cv2.remap(self._lips, whole, part, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        out[:3] = skin.transpose(2, 0, 1)
        if lips.rounded:
            # The ends of the lower lip take the tone of the upper one: they are one ring there.
            at = (line - 0.5 * rest[0]).astype(np.intp), columns.astype(np.intp)
            tone = self._lips[at[0].clip(0, self.size[1] - 1), at[1].clip(0, self.size[0] - 1)]
            share = past * np.minimum(past * np.float32(1.4), 1) * ~is_upper
            out[:3] += (tone.T[:, None, :] - out[:3]) * share
        if self.rig.shade:
            out[0] = (out[0] - 16) * self._light(u, rows - upper_in, rows - lower_in, past, lips) + 16
        if lips.rounded:
            self._join(out, float(rows[0, 0]), border, past)

    def _texture_rows(
        self, rows: Floats, u: Floats, line: Floats, edges: Edges, rest: list[Floats], past: Floats, lips: Lips
    ) -> tuple[Floats, Floats]:
        """The rows of the texture that the upper and the lower lip show in `rows`; `line`: its row between them."""
        upper_out, upper_in, lower_in, lower_out = edges
        middle = np.maximum(1 - np.abs(u) * np.float32(1 / reach(lips)), 0)
        # The line that closed lips make is not there beside a round opening, nor under teeth.
        seam = np.float32(_SEAM * self.scale)
        lifted = np.minimum(4 * past, 1) * seam
        hidden = np.maximum(lifted, np.minimum(8 * middle, 1) * (seam * np.float32(lips.tucked)))
        up = np.minimum(rows - upper_in, 0) * (rest[0] / np.maximum(upper_in - upper_out, 0.5)) + (line - lifted)
        # A lip that rolls inwards takes its inner part along: what is left shows the outer one.
        rolled = np.float32(0.4 * (1 - min(1.0, lips.lower)) * lips.tucked) * middle
        low = (rows - lower_in) * (rest[1] * (1 - rolled) / np.maximum(lower_out - lower_in, 0.5))
        low += line + hidden + rolled * rest[1] + np.float32(self.size[1])
        return up, low

    def _join(self, out: Layer, first: float, border: Floats, past: Floats) -> None:
        """Smooth the steps of the border between rounded lips; `border`: its rows, `first`: the row of `out`'s first
        pixels, `past`: where the lips meet."""
        columns = np.flatnonzero(past)
        at = border[columns] - np.float32(first)
        rows = np.rint(at).astype(np.intp)
        inside = (rows > 0) & (rows < out.shape[1] - 1)
        columns, rows, at, past = columns[inside], rows[inside], at[inside], past[columns[inside]]
        upper, here, lower = (out[:3, rows + step, columns] for step in (-1, 0, 1))
        share = at - rows + np.float32(0.5)
        out[:3, rows, columns] = here + (lower + (upper - lower) * share - here) * np.minimum(8 * past, 1)

    def _light(self, u: Floats, above: Floats, below: Floats, past: Floats, lips: Lips) -> Floats:
        """The light on the lips, 0..1; `above` and `below`: rows below the edges of the opening, `past`: how far
        beside it."""
        k = self.scale
        # The lower lip is lit up to its edge where it comes forward, the upper one is not.
        near = np.minimum(
            np.abs(above) * np.float32(1 + 0.3 * lips.forward), np.abs(below) * np.float32(1 + lips.forward)
        )
        near *= near
        if lips.rounded:
            near += np.square(past * np.float32((1 - reach(lips)) * lips.width * k))
        # Lips that come forward curl around the opening: their inner wall lies in the shade.
        curled = np.float32(lips.forward) * unit((above[0] - below[0]) * np.float32(0.4 / k))
        wide = (1.5 + 2.6 * curled) * np.float32(k)
        dark = np.float32(self.rig.shade) * (0.30 + 0.16 * curled)
        light = 1 - dark * np.exp(near * (-1 / (wide * wide)))
        if lips.forward:
            # The front of the upper lip faces the floor.
            upper = unit((above + below) * np.float32(-0.08 / k) + np.float32(0.5))
            light *= 1 - np.float32(0.14 * self.rig.shade * lips.forward) * upper
        if lips.forward and self._creases is not None:
            # They run out from the opening.
            away = np.abs(above + below) * np.float32(0.5 / (lips.width * k)) + np.float32(0.30)
            place = (u / away + np.float32(_CREASED)) * np.float32(_STEPS / (2 * _CREASED))
            np.clip(place, 0, _STEPS, out=place)
            light *= 1 - np.float32(lips.forward) * self._creases[place.astype(np.intp)]
        return np.asarray(light, np.float32)

    def _interior(
        self, out: Layer, corner: tuple[int, int], edges: Edges, middle: tuple[float, float], tilt: float,
        u: Floats, shape: MouthShape, lips: Lips,
    ) -> None:  # fmt: skip
        """Cavity, teeth and tongue between the lips."""
        k = self.scale
        left, top = corner
        _, upper_in, lower_in, _ = edges
        open_ = np.flatnonzero(lower_in - upper_in > 0.02)
        if not len(open_):
            return
        c0, c1 = int(open_[0]), int(open_[-1]) + 1
        upper_in, lower_in, u = upper_in[c0:c1], lower_in[c0:c1], u[c0:c1]
        over = lips.tucked * _BITE * k
        r0 = max(top, int(upper_in.min()) - 1)
        r1 = min(top + out.shape[1], int(lower_in.max() + 2.2 * over) + 3)
        if r1 <= r0:
            return
        rows = self._rows[r0:r1]
        depth = rows - upper_in
        inside = self._cavity[:, r0:r1, left + c0 : left + c1]
        upper: Floats = np.zeros((1, 1), np.float32)
        for layer, dy, light, seen in self._behind(depth, u, shape, lips):
            # Turned with the head about the middle of the mouth.
            down = middle[1] + (dy - self._up) * k + 0.5 - r0 - tilt * (self._side * k - 0.5)
            # Teeth that meet show their whole row: the lower one reaches as far as the upper one.
            wide = 1 + 0.32 * shape.teeth if layer is self._lower_teeth else 1.0
            dx = middle[0] - wide * (self._side * k - 0.5) - left - c0
            matrix = np.array([[wide, 0, dx], [tilt, 1, down]], np.float32)
            moved = np.asarray(cv2.warpAffine(layer, matrix, (c1 - c0, r1 - r0), flags=cv2.INTER_LINEAR), np.float32)
            if seen < 1:
                moved *= np.float32(seen)
            y, cb, cr, alpha = moved.transpose(2, 0, 1)
            if layer is self._upper_teeth:
                upper = alpha
            dark = 16 * alpha
            inside = inside * (1 - alpha)
            inside[0] += (y - dark) * light + dark
            inside[1] += cb
            inside[2] += cr
        part = out[:3, r0 - top : r1 - top, c0:c1]
        mask = self._opening(rows, upper_in, lower_in, u, upper, lips)
        if over:
            # They throw a shadow on it, downwards.
            tall = round(6 * k) + 1
            shadow = cv2.blur(mask, (1, tall), anchor=(0, tall - 1), borderType=cv2.BORDER_REPLICATE)
            part[0] -= (part[0] - 16) * (shadow * np.float32((0.14 + 0.10 * self.rig.shade) * lips.tucked))
        part += (inside - part) * mask

    def _opening(
        self, rows: Floats, upper_in: Floats, lower_in: Floats, u: Floats, upper: Floats, lips: Lips
    ) -> Floats:
        """Where the inside of the mouth is seen, 0..1; `upper`: the alpha of the upper teeth."""
        k = self.scale
        # Where a lip comes forward its edge rolls inwards.
        edge = _steepness(lower_in) * np.float32(1 + 1.6 * self.rig.shade * lips.forward * k)
        mask = unit((lower_in - rows) / edge + np.float32(0.5))
        if lips.tucked:
            # The teeth rest on a lip that is drawn in: their own edges are seen, and no gap is left below them.
            way = u * np.float32(1 / reach(lips))
            edge = lower_in + (1 - np.float32(0.8) * way * way) * np.float32(lips.tucked * _BITE * k)
            mask *= 1 - np.float32(lips.tucked) * (1 - upper)
            mask = np.maximum(mask, upper * unit(edge - rows + np.float32(0.5)))
        mask *= unit((rows - upper_in) * (1 / _steepness(upper_in)) + np.float32(0.5))
        mask *= unit((lower_in - upper_in) * np.float32(1.2))
        # Its ends are as smooth as its edges.
        mask *= unit((np.float32(reach(lips)) - np.abs(u)) * np.float32(lips.width * k) + np.float32(0.5))
        return mask

    def _behind(
        self, depth: Floats, u: Floats, shape: MouthShape, lips: Lips
    ) -> Iterator[tuple[Floats, float, Floats, float]]:
        """What can be seen of lower teeth, tongue and upper teeth, in the order of painting: the layer, how far it
        lies below where it is drawn (art units), the light on it, and how much of it is there (0..1)."""
        # However flat a drawing is, a mouth is dark inside.
        shade = np.float32(0.6 + 0.4 * self.rig.shade)
        # Towards the cheeks it gets dark; of teeth on a lip the middle ones catch the light.
        begin = 0.22 + 0.08 * lips.tucked
        away = unit((np.abs(u) - np.float32(begin)) * np.float32(1 / (reach(lips) - begin)))
        side = 1 - shade * np.float32(0.82 - 0.3 * lips.tucked) * away * away * (2 - away)
        side = side * (1 - np.float32(0.18) * shade * np.float32(lips.forward))
        # The upper lip throws a shadow on the teeth, and more of it on the tongue behind them.
        shadow = shade * (1 - unit(depth * np.float32(0.16 / self.scale)))
        place = inside_of(shape, self.drop)
        upper, lower, tongue = self._edges
        lowest, highest = lips.down + max(0.0, -lips.lift) + 1, -lips.up - max(0.0, lips.lift) - 1
        if place.lower_teeth < lowest:
            light = side * (1 - np.float32(0.32) * shadow) * (1 - shade * np.float32(0.2))
            yield self._lower_teeth, place.lower_teeth - lower, light, _seen(lowest - place.lower_teeth, lips)
        if place.tongue < lowest:
            # Round lips leave it in the dark.
            dim = side * (1 - np.float32(0.36) * shadow)
            yield self._tongue, place.tongue - tongue, dim, 1 - 0.9 * lips.forward
        if place.upper_teeth > highest:
            dark = np.float32(0.42 + 0.04 * lips.tucked)
            light = side * (1 - dark * shadow)
            yield self._upper_teeth, place.upper_teeth - upper, light, _seen(place.upper_teeth - highest, lips)


def _creases(shade: float) -> Floats | None:
    """Light lost in the creases of lips that are drawn together, by the slope of the way from the middle of the
    mouth, -`_CREASED`..`_CREASED`; None for a flat drawing."""
    strength = 0.16 * (shade - 0.4)
    if strength <= 0:
        return None
    slope = np.linspace(-_CREASED, _CREASED, _STEPS + 1, dtype=np.float32)
    chance = np.random.default_rng(7)
    lost = np.zeros_like(slope)
    for at in np.linspace(-_CREASED, _CREASED, 15)[1:-1]:
        off = (slope - np.float32(at + chance.uniform(-0.05, 0.05))) / np.float32(chance.uniform(0.035, 0.055))
        lost += np.float32(chance.uniform(0.5, 1.0)) * np.exp(-off * off)
    ends = unit((_CREASED - np.abs(slope)) / np.float32(0.6))
    return np.asarray(lost * ends * np.float32(strength), np.float32)


def _seen(part: float, lips: Lips) -> float:
    """How much is there of teeth of which `part` shows (art units): round lips show no slivers."""
    return 1 - lips.rounded * (1 - min(1.0, max(0.0, part - 2.5) / 3.5))


def _steepness(edge: Floats) -> Floats:
    """Rows along a contour per row across it, by column."""
    steep = np.ones_like(edge)
    slope = edge[2:] - edge[:-2]
    np.sqrt(1 + np.float32(0.25) * slope * slope, out=steep[1:-1])
    return steep


def _edge(alpha: Floats, last: bool) -> int:
    """First or last row of the middle column that is mostly painted; the middle row when none is."""
    middle = alpha.shape[1] // 2
    rows = np.flatnonzero(alpha[:, middle - 1 : middle + 2].max(axis=1) > 0.5)
    return int(rows[-1] + 1 if last else rows[0]) if len(rows) else alpha.shape[0] // 2
