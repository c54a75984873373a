"""A turn for engines that recognise finished audio: it is kept until its end, then transcribed as a whole."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import numpy as np

from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from core.turn_room import TurnRoom

log = logging.getLogger(__name__)

_BLOCK = LISTEN_RATE // 50
_QUIET_DB = -60.0
_BELOW_PEAK_DB = 35.0
SHORTEST_S = 0.1
"""Less audio than this holds no word, and servers refuse it."""

Transcribe = Callable[[Samples], Awaitable[Transcript]]
"""Audio of a turn so far (int16, shape (n,), `LISTEN_RATE`) → what was said. Raises `RecognizerError`."""


@dataclass(frozen=True, slots=True)
class BufferLimits:
    """`max_turn_s`: audio beyond it is ignored. `partial_interval_s`: a partial each time that so much audio was
    added (each transcribes the turn so far again), 0 for none."""

    max_turn_s: float = 60.0
    partial_interval_s: float = 0.0


class BufferedStream:
    """One turn. Times of its transcripts are seconds since the first sample pushed.

    `engine` is what transcripts without an own name get. Silence is never sent to the engine: it is answered with "".
    """

    def __init__(
        self, engine: str, transcribe: Transcribe, on_partial: Callable[[Transcript], None], limits: BufferLimits
    ) -> None:
        self._engine = engine
        self._transcribe = transcribe
        self._on_partial = on_partial
        self._room = TurnRoom(limits.max_turn_s)
        self._interval = int(limits.partial_interval_s * LISTEN_RATE)
        self._pieces: list[Samples] = []
        self._fresh = 0
        self._partial: asyncio.Task[None] | None = None
        self._final: asyncio.Task[Transcript] | None = None
        self._closed = False

    @property
    def truncated(self) -> bool:
        """Whether audio was ignored because the turn was longer than `max_turn_s`."""
        return self._room.truncated

    def push(self, samples: Samples) -> None:
        """Add int16 audio at `LISTEN_RATE`, shape (n,), any n. Never blocks; ignored beyond `max_turn_s`."""
        if self._closed or not len(samples):
            return
        samples = self._room.take(samples)
        self._fresh += len(samples)
        self._pieces.append(samples.astype(np.int16))  # a copy: the caller may use its buffer again
        if self._interval and self._fresh >= self._interval and self._partial is None:
            self._fresh = 0
            self._partial = asyncio.create_task(self._tell_partial(), name=f"{self._engine} partial")

    async def finish(self) -> Transcript:
        """The final transcript. Raises `RecognizerError`."""
        self._closed = True
        await self._stop(self._partial)
        if self._final is None:
            self._final = asyncio.create_task(self._recognize(), name=f"{self._engine} final")
        return await self._final

    async def cancel(self) -> None:
        """Drop the turn. Idempotent, also after `finish`."""
        self._closed = True
        self._pieces.clear()
        await self._stop(self._partial)
        await self._stop(self._final)

    async def _recognize(self) -> Transcript:
        samples = self._samples()
        span = sounding(samples)
        if span is None:
            return Transcript("", engine=self._engine)
        found = await self._transcribe(samples)
        self._pieces.clear()
        if not found.text:
            return Transcript("", engine=self._engine)
        length = len(samples) / LISTEN_RATE
        start, end = (found.start, min(found.end, length)) if 0 <= found.start < found.end else span
        if start >= end:
            start, end = span
        return replace(found, final=True, start=start, end=end, engine=self._engine)

    async def _tell_partial(self) -> None:
        try:
            samples = self._samples()
            if sounding(samples) is not None:
                found = await self._transcribe(samples)
                if found.text and not self._closed:
                    self._on_partial(replace(found, final=False, engine=self._engine))
        except RecognizerError as error:
            log.info("no partial of %s: %s", self._engine, error.loggable)
            self._interval = 0  # the final one is what counts; it reports what is wrong
        self._partial = None

    def _samples(self) -> Samples:
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        return self._pieces[0] if self._pieces else np.zeros(0, np.int16)

    async def _stop(self, task: asyncio.Task[object] | None) -> None:
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])


def sounding(samples: Samples) -> tuple[float, float] | None:
    """Where the sound of a turn begins and ends, in seconds; None for silence and for less than `SHORTEST_S`.

    Blocks of 20 ms count that are louder than -60 dBFS and at most 35 dB below the loudest one.
    """
    blocks = len(samples) // _BLOCK
    if len(samples) < SHORTEST_S * LISTEN_RATE:
        return None
    framed = samples[: blocks * _BLOCK].reshape(blocks, _BLOCK).astype(np.float32) / 32768.0
    power = (framed * framed).mean(axis=1)
    peak = float(power.max())
    if peak <= 10 ** (_QUIET_DB / 10):
        return None
    floor = max(_QUIET_DB, 10 * math.log10(peak) - _BELOW_PEAK_DB)
    loud = np.flatnonzero(power > 10 ** (floor / 10))
    return float(loud[0]) * _BLOCK / LISTEN_RATE, float(loud[-1] + 1) * _BLOCK / LISTEN_RATE
