"""How much later than it is due the stage is heard by those who listen. Pure."""

from __future__ import annotations

from collections.abc import Callable

from core.frames import MEDIA_RATE

MOST_LATE_S = 2.0
"""Seconds that count at the most."""
RUN_OUT = MEDIA_RATE * 60 // 1000
"""Samples that a client may still play once it is told to be silent."""


class Lateness:
    """`told()`: seconds from the arrival of a reply's first sound to its being heard; asked when it matters.

    Positions are samples of the media clock.
    """

    def __init__(self, told: Callable[[], float] = lambda: 0.0) -> None:
        self._told = told
        self._cut = 0

    def samples(self, lead: int) -> int:
        """How late, for a reply whose first sound arrives `lead` samples before it is due."""
        return max(0, round(min(self._told(), MOST_LATE_S) * MEDIA_RATE) - lead)

    def heard(self, cursor: int, lead: int) -> int:
        """Up to where it is heard while `cursor` is due."""
        return max(cursor - self.samples(lead), min(cursor, self._cut))

    def cut(self, cursor: int) -> None:
        """Who listens fell silent here: what was not heard by now is not heard before the place that comes next."""
        self._cut = cursor
