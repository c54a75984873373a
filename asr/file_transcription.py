"""A long recording through a recogniser made for turns: one stretch of speech after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from core.stages import Recognizer

_PACKET = LISTEN_RATE // 10
_ATTEMPTS = 3
_FIRST_WAIT_S = 0.5


class Stretch(Protocol):
    """A stretch of speech. `samples`: int16, shape (n,), `LISTEN_RATE`; `start`: seconds into the recording."""

    @property
    def samples(self) -> Samples:
        """Its sound."""

    @property
    def start(self) -> float:
        """Where it begins."""


class Cutter(Protocol):
    """Cuts a recording at its pauses."""

    def push(self, samples: Samples) -> Sequence[Stretch]:
        """More of the recording; the stretches that are complete now."""

    def finish(self) -> Sequence[Stretch]:
        """The recording is over."""


class FileTranscription:
    """`pieces` are decoded and cut in a worker thread while they are asked for; so a file of any length takes no room.

    `on_progress` is told the seconds that are done. `sleep` exists for tests.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        cutter: Cutter,
        pieces: Iterator[Samples],
        on_progress: Callable[[float], None] = lambda _: None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._recognizer = recognizer
        self._cutter = cutter
        self._pieces = pieces
        self._on_progress = on_progress
        self._sleep = sleep
        self._read = 0
        self._done = 0.0

    async def transcripts(self) -> AsyncGenerator[Transcript, None]:
        """What was said, in order, with times in the recording. Raises `RecognizerError`, `BadRequest`."""
        while (found := await self._in_thread()) is not None:
            for stretch in found:
                transcript = await self._patiently(stretch)
                if transcript.text:
                    yield _moved(transcript, stretch)
                self._tell(stretch.start + len(stretch.samples) / LISTEN_RATE)
            if not found:
                self._tell(self._read / LISTEN_RATE)

    def _tell(self, seconds: float) -> None:
        """Progress never goes back: a stretch ends before what was read to find its end."""
        self._done = max(self._done, seconds)
        self._on_progress(self._done)

    async def _in_thread(self) -> Sequence[Stretch] | None:
        """`_next` in a worker thread. Who is cancelled waits for it: the file may not be closed under its decoder."""
        reading = asyncio.ensure_future(asyncio.to_thread(self._next))
        try:
            return await asyncio.shield(reading)
        finally:
            if not reading.done():
                await asyncio.wait([reading])

    def _next(self) -> Sequence[Stretch] | None:
        """The stretches that end in the next piece, None at the end of the recording. In a worker thread."""
        piece = next(self._pieces, None)
        if piece is not None:
            self._read += len(piece)
            return self._cutter.push(piece)
        return self._cutter.finish() or None

    async def _patiently(self, stretch: Stretch) -> Transcript:
        """What may pass is tried again."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return await self._recognize(stretch.samples)
            except RecognizerError as error:
                if not error.retryable:
                    raise
            await self._sleep(_FIRST_WAIT_S * attempt)
        return await self._recognize(stretch.samples)

    async def _recognize(self, samples: Samples) -> Transcript:
        stream = self._recognizer.open(lambda _: None)
        try:
            for start in range(0, len(samples), _PACKET):
                stream.push(samples[start : start + _PACKET])
                await asyncio.sleep(0)
            return await stream.finish()
        finally:
            await stream.cancel()


def _moved(transcript: Transcript, stretch: Stretch) -> Transcript:
    """With times in the recording; where the engine tells none, the whole stretch."""
    length = len(stretch.samples) / LISTEN_RATE
    start, end = (transcript.start, transcript.end) if transcript.end > transcript.start else (0.0, length)
    return replace(transcript, start=stretch.start + start, end=stretch.start + end)
