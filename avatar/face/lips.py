"""Where the lips are for the blend parameters of a mouth. Pure arithmetic, in art units."""

from __future__ import annotations

from dataclasses import dataclass

from avatar.face.rig import Mouth
from core.frames import MouthShape


@dataclass(frozen=True, slots=True)
class Lips:
    """The lips' measures at the middle of the mouth, art units unless said otherwise."""

    width: float
    """Half the width of the mouth."""
    inner: float
    """Half the width of the opening relative to the mouth's: below 1 the lips touch towards the corners."""
    up: float
    """Rise of the upper lip's lower edge from the resting line."""
    down: float
    """Fall of the lower lip's upper edge; below 0 it is raised."""
    upper: float
    """Thickness of the upper lip relative to rest."""
    lower: float
    """Thickness of the lower lip relative to rest."""
    lift: float
    """Lift of the corners."""
    rounded: float
    """How far the outline is an oval instead of an almond, 0..1."""
    forward: float
    """How far the lips are pushed forward, 0..1."""
    tucked: float
    """How far the lower lip is drawn in under the upper teeth, 0..1."""
    agape: float = 0.0
    """How far a dropped jaw rounds the corners of the opening, 0..1."""
    level: float = 0.0
    """How far the line on which the lips meet is straight, whatever curve it has at rest, 0..1."""

    @property
    def gap(self) -> float:
        """Distance between the lips."""
        return self.up + self.down


def lips_of(shape: MouthShape, mouth: Mouth, drop: float, smile: float) -> Lips:
    """The lips for blend parameters. Continuous in all of them; `close` or `press` of 1 gives a gap of 0.

    `drop`: travel of the chin at jaw_open = 1; `smile`: `mouth.smile` leaves the corners as they are drawn.
    """
    apart = (1 - shape.close) * (1 - shape.press)
    rounded = _rounded(shape)
    agape = min(1.0, 1.35 * shape.jaw_open) * (1 - 0.6 * shape.stretch) * (1 - rounded) * apart
    open_ = shape.jaw_open * drop * (0.98 - 0.34 * shape.pucker - 0.20 * shape.funnel)
    open_ += 0.47 * mouth.half_width * shape.funnel * (0.35 + shape.jaw_open) + 0.20 * mouth.half_width * shape.pucker
    open_ += 7.5 * shape.teeth * (1 - 0.5 * agape) + 1.5 * shape.stretch
    open_ = max(0.0, open_ - 0.6)
    inner = 1 - 0.38 * shape.pucker**0.9 - 0.25 * shape.funnel
    roll = _tucked(shape) * apart
    width = _width(shape, roll, mouth)
    narrow = _narrow(2 * mouth.half_width * width * inner, open_, rounded * (1 - 0.6 * shape.teeth) * (1 - roll))
    inner, open_ = inner * narrow * (1 + 0.10 * rounded), open_ / narrow * (1 + 0.15 * rounded)
    share = 0.24 + 0.13 * rounded
    up = (share * open_ + 1.5 * shape.teeth) * apart * (1 - roll) + 5.2 * roll
    down = (1 - share) * open_ * apart * (1 - roll) + 1.4 * roll
    grin = smile - mouth.smile
    broad = 0.13 * grin if grin > 0 else 0.04 * grin
    full = 0.05 * shape.pucker - 0.04 * shape.funnel - 0.12 * shape.stretch - 0.10 * shape.jaw_open
    full -= 0.16 * max(0.0, grin)
    # Thin lips show more when they come forward.
    more = rounded * max(0.0, 1 - max(thick for _, thick in mouth.upper) / 17)
    drawn = min(0.28, max(0.0, mouth.lower[0][1] - 11.5) / 38)  # a full lip is drawn in further
    thin = max(0.0, 1 - mouth.lower[0][1] / 20)  # and of a thin one more is shown, or none would be seen
    lift = 15 * grin * (1 - 0.5 * shape.press) * (1 - 0.75 * rounded) * (1 - 0.35 * shape.jaw_open) * (1 - 0.8 * roll)
    # A jaw that drops takes the corners along, about half as far as the lip.
    fall = (0.30 + 0.12 * agape) * max(0.0, down) * (1 - rounded)
    return Lips(
        width=mouth.half_width * max(0.42, width + broad * (1 - rounded)),
        inner=max(0.34, inner - 0.47 * roll),
        up=up,
        down=down,
        upper=max(0.3, 1 + full - 0.34 * shape.press - 0.10 * roll - 0.18 * rounded + 1.2 * more),
        lower=max(0.18, 1 + full - 0.48 * shape.press - drawn * roll + 0.8 * thin * roll - 0.04 * rounded + 0.5 * more),
        lift=lift + 1.5 * shape.stretch - fall - (1.0 + 0.65 * max(0.0, down - up)) * rounded,
        rounded=rounded,
        forward=rounded * apart,
        tucked=roll,
        agape=agape,
        level=max(0.85 * rounded, 0.65 * roll, 0.68 * agape, 0.9 * shape.press),
    )


def _width(shape: MouthShape, roll: float, mouth: Mouth) -> float:
    """Of the mouth, relative to rest."""
    # Lips that are drawn together already hardly get narrower by being pushed forward.
    drawn = 0.46 * shape.pucker + 0.36 * shape.funnel - 0.44 * shape.pucker * shape.funnel
    drawn *= mouth.half_width / 62  # a wide mouth is drawn in further
    return 1 + 0.15 * shape.stretch - 0.15 * shape.jaw_open - 0.10 * roll - drawn


def _narrow(wide: float, high: float, rounded: float) -> float:
    """The width of an opening that is to be round, of the same area, relative to what it is."""
    return float(min(1.5, max(0.34, 1.2 * high / wide)) ** (0.5 * rounded))


def _tucked(shape: MouthShape) -> float:
    # The teeth are on the lip before it is drawn in all the way.
    return 1 - float((1 - shape.roll_lower) ** 2.2)


def _rounded(shape: MouthShape) -> float:
    part = min(1.0, 1.15 * shape.pucker + 0.95 * shape.funnel)
    # Lips are round long before they are drawn together all the way.
    return part * (1.96 - 0.96 * part)


@dataclass(frozen=True, slots=True)
class Inside:
    """What is behind the lips, below the resting line at the middle of the mouth, art units."""

    upper_teeth: float
    """Lower edge of the upper teeth."""
    lower_teeth: float
    """Upper edge of the lower teeth."""
    tongue: float
    """Top of the tongue."""


def inside_of(shape: MouthShape, drop: float) -> Inside:
    """Teeth and tongue for blend parameters; continuous in all of them."""
    jaw = shape.jaw_open * drop
    rounded = _rounded(shape)
    # The upper teeth stay with the skull; lips that come forward cover them.
    covered = rounded * (1 - shape.teeth) ** 2
    tucked = _tucked(shape)
    upper = 4.0 - 2.4 * shape.teeth * (1 - tucked) - 2.0 * shape.tongue_up * (1 - shape.teeth)
    upper += 2.6 * tucked - 36.0 * covered
    lower = upper + 0.8 + 0.6 * (1 - shape.teeth) + max(0.0, 0.80 * jaw - 4.5 * shape.teeth) + 60.0 * covered
    rest = 6 + 0.29 * jaw + rounded - 2.5 * shape.pucker
    return Inside(upper, lower, rest + (upper - 0.5 - rest) * shape.tongue_up)
