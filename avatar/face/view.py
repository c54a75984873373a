"""Which part of the art a picture shows."""

from __future__ import annotations

from dataclasses import dataclass

SQUARE = 1024.0
"""Side of the head-and-shoulders square in art units."""

_NARROWEST = 800.0
"""Narrower than this the hair and shoulders would be cut."""

_TALLEST = 1560.0
"""The art ends below this."""


@dataclass(frozen=True, slots=True)
class View:
    """Maps art units to pixels: pixel = (art - origin) * scale."""

    width: int
    height: int
    scale: float
    left: float
    top: float

    @classmethod
    def fit(cls, width: int, height: int, canvas: tuple[float, float, float, float]) -> View:
        """The head-and-shoulders square fills the height; upright pictures show more of the body instead.

        The origin is chosen so that the art's canvas begins on a whole pixel.
        """
        shown = max(SQUARE, min(_TALLEST, _NARROWEST * height / width)) if width < height else SQUARE
        scale = height / shown
        left = SQUARE / 2 - width / scale / 2
        top = -(shown - SQUARE) * 0.2
        column, row = round((canvas[0] - left) * scale), round((canvas[1] - top) * scale)
        return cls(width, height, scale, canvas[0] - column / scale, canvas[1] - row / scale)

    def x(self, art: float) -> float:
        """Pixel column of an art coordinate."""
        return (art - self.left) * self.scale

    def y(self, art: float) -> float:
        """Pixel row of an art coordinate."""
        return (art - self.top) * self.scale

    def box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, int, int]:
        """Even pixel rectangle x0, y0, x1, y1 around an art rectangle, cut to the picture."""
        left = max(0, int(self.x(x0)) // 2 * 2)
        top = max(0, int(self.y(y0)) // 2 * 2)
        right = min(self.width, (int(self.x(x1)) + 3) // 2 * 2)
        bottom = min(self.height, (int(self.y(y1)) + 3) // 2 * 2)
        return left, top, max(right, left + 2), max(bottom, top + 2)
