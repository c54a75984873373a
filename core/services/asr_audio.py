"""PCM as it comes over a socket: in pieces of any size, perhaps repeated, perhaps with holes. Pure but for the pace."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable

import numpy as np

from core.errors import BadRequest
from core.frames import LISTEN_RATE, Samples

logger = logging.getLogger(__name__)


def decoded(text: str) -> bytes:
    """The bytes of a base64 text. Raises `BadRequest`."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise BadRequest("audio: expected base64 of 16-bit mono PCM at 16 kHz") from None


class PcmReader:
    """Puts one socket's pieces together. `repeats` and `gaps` count what was wrong with their numbers."""

    def __init__(self) -> None:
        self._rest = b""
        self._last: int | None = None
        self.repeats = 0
        """Pieces that came again (or late) and were left out."""
        self.gaps = 0
        """Pieces that never came."""

    def take(self, data: bytes, sequence: int | None = None) -> Samples:
        """The samples that are complete now: int16, shape (n,). `data` may end in the middle of one.

        `sequence`: the piece's number, from any first one up by one; without it no piece is missed.
        """
        if sequence is not None and not self._follows(sequence):
            return np.zeros(0, np.int16)
        data = self._rest + data
        whole = len(data) & ~1
        self._rest = data[whole:]
        return np.frombuffer(data[:whole], dtype="<i2").astype(np.int16)

    def _follows(self, sequence: int) -> bool:
        last, first_fault = self._last, not (self.repeats or self.gaps)
        if last is not None and sequence <= last:
            self.repeats += 1
        elif last is not None and sequence > last + 1:
            self.gaps += sequence - last - 1
            self._rest = b""  # half a sample whose other half is lost
        if first_fault and (self.repeats or self.gaps):
            logger.warning("audio piece %d came after %s: pieces are repeated or missing", sequence, last)
        if last is not None and sequence <= last:
            return False
        self._last = sequence
        return True


class Pace:
    """Holds up whoever sends sound faster than it can have been spoken, once `ahead_s` of it came too early.

    Tests inject the clock and the sleep.
    """

    def __init__(
        self,
        ahead_s: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._limit = ahead_s
        self._now = now
        self._sleep = sleep
        self._ahead = 0.0
        self._at = now()

    async def after(self, count: int) -> None:
        """`count` samples were taken: return when more may come. Lets others run in any case."""
        now = self._now()
        self._ahead = max(0.0, self._ahead - (now - self._at)) + count / LISTEN_RATE
        self._at = now
        await self._sleep(max(0.0, self._ahead - self._limit))
