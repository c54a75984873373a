"""Where the lips are for the blend parameters of a mouth. Pure arithmetic, in art units."""

from __future__ import annotations

from dataclasses import dataclass

from core.frames import MouthShape


@dataclass(frozen=True, slots=True)
class Lips:
    """The lips' measures at the middle of the mouth, art units unless said otherwise."""

    width: float
    """Half the width of the mouth."""
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
    """The lips for blend parameters. Continuous in all of them; `close` or `press` of 1 gives a gap of 0.

    `drop`: travel of the chin at jaw_open = 1; `smile`: 0..1.
    """
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
        width=rest_width * max(0.42, width + 0.10 * (smile - 0.35)),
        up=up,
        down=down,
        upper=max(0.3, 1 + full - 0.42 * shape.press - 0.12 * roll),
        lower=max(0.3, 1 + full - 0.38 * shape.press - 0.55 * roll),
        lift=8.0 * smile * (1 - 0.7 * rounded) + 1.5 * shape.stretch - 0.30 * down - 3.5 * rounded,
        rounded=rounded,
    )


@dataclass(frozen=True, slots=True)
class Inside:
    """Vertical position of what is behind the lips, relative to where it is drawn in the art, art units."""

    upper_teeth: float
    lower_teeth: float
    tongue: float


def inside_of(shape: MouthShape, drop: float) -> Inside:
    """Teeth and tongue for blend parameters; continuous in all of them."""
    jaw = shape.jaw_open * drop
    rounded = max(shape.pucker, shape.funnel)
    show = max(shape.teeth, shape.roll_lower, 0.8 * shape.stretch)
    tongue = 6 + 0.36 * jaw + 3 * rounded
    return Inside(
        upper_teeth=-1.5 + 1.5 * show - 7 * rounded * (1 - shape.roll_lower) - 2.5 * shape.tongue_up,
        lower_teeth=3.5 + 0.58 * jaw - 3.5 * show + 5 * rounded,
        tongue=tongue + (2 - tongue) * shape.tongue_up,
    )
