"""When to leave an engine alone that keeps failing, and when to try it again. Sans-I/O."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """After `failures` failures in a row the engine rests for `rest_s`; then one turn at a time tries it again.

    Each trial that fails doubles the rest, up to `longest_rest_s`; a success ends the matter.
    """

    def __init__(
        self,
        *,
        failures: int = 2,
        rest_s: float = 15.0,
        longest_rest_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._first_rest = self._rest = rest_s
        self._longest = longest_rest_s
        self._clock = clock
        self._count = 0
        self._until = 0.0
        self._on_trial = False

    @property
    def resting(self) -> bool:
        """Whether it is better not to use it now."""
        return self._count >= self._limit and (self._on_trial or self._clock() < self._until)

    @property
    def rest_left_s(self) -> float:
        """Seconds until it may be tried again; 0 when it may be used."""
        return max(0.0, self._until - self._clock()) if self._count >= self._limit else 0.0

    def acquire(self) -> bool:
        """Ask to use it; False while it rests, or while another turn tries whether it works again."""
        if self.resting:
            return False
        self._on_trial = self._count >= self._limit
        return True

    def succeeded(self) -> None:
        """It did its work."""
        self._count, self._rest, self._on_trial = 0, self._first_rest, False

    def failed(self, *, for_good: bool = False) -> None:
        """It did not. `for_good`: trying at once is pointless (a wrong key): it rests at once, and longest."""
        trial, self._on_trial = self._count >= self._limit, False
        self._count = self._limit if for_good else self._count + 1
        if self._count >= self._limit:
            self._rest = self._longest if for_good else min(self._rest * 2, self._longest) if trial else self._rest
            self._until = self._clock() + self._rest

    def released(self) -> None:
        """The turn was dropped before anything was known."""
        self._on_trial = False
