"""Media time.

One clock per avatar, counted in samples at `MEDIA_RATE`. Audio and video timestamps are computed from
it and both tracks wait on it, so they start together and can't drift apart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from core.frames import MEDIA_RATE

MAX_LAG_S = 0.5
"""A track that is later than this (a suspended machine) moves the clock instead of bursting to catch up."""


class MediaClock:
    """Maps media positions (samples since the start) to moments of a monotonic clock.

    The clock starts with the first `wait_until`. `now` and `sleep` are injected by tests.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now = now
        self._sleep = sleep
        self._origin: float | None = None
        self.resyncs = 0
        """How often the clock had to be moved because a track was later than `MAX_LAG_S`."""

    @property
    def started(self) -> bool:
        """Whether media has begun to flow."""
        return self._origin is not None

    def position(self) -> int:
        """The current media position in samples; 0 before the start."""
        return 0 if self._origin is None else int((self._now() - self._origin) * MEDIA_RATE)

    async def wait_until(self, position: int) -> float:
        """Sleep until `position` is due; return how late it is in seconds (0 when on time)."""
        if self._origin is None:
            self._origin = self._now() - position / MEDIA_RATE
        delay = self._origin + position / MEDIA_RATE - self._now()
        if delay > 0:
            await self._sleep(delay)
            return 0.0
        if -delay > MAX_LAG_S:
            self._origin -= delay
            self.resyncs += 1
            return 0.0
        return -delay
