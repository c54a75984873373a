"""The recognition queue of the custom protocol's server: many users, one recogniser, audio of any length."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import numpy as np

from asr.funasr.refusal import Refusal
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from core.stages import Recognizer, RecognizerStream

_STEP = LISTEN_RATE // 50


def _ignore(_: Transcript) -> None:
    """Nobody waits for partials of a file."""


def pieces(samples: Samples, longest_s: float) -> Iterator[tuple[int, Samples]]:
    """`samples` in pieces of at most `longest_s` seconds, with the first index of each.

    Cut where it is quietest in the second half of what fits, over 100 ms: recognisers bound the length of a turn.
    """
    start, longest = 0, int(longest_s * LISTEN_RATE)
    while len(samples) - start > longest:
        window = samples[start + longest // 2 : start + longest]
        steps = window[: len(window) // _STEP * _STEP].reshape(-1, _STEP).astype(np.float32)
        energy = np.convolve((steps**2).mean(axis=1), np.ones(5), "valid")
        end = start + longest // 2 + int(energy.argmin()) * _STEP + 5 * _STEP // 2
        yield start, samples[start:end]
        start = end
    yield start, samples[start:]


class Transcriber:
    """`workers` recognitions at a time, first come first served, at most `waiting` in the queue.

    `piece_s`: longest stretch that the recogniser gets as one turn. `live`: turns followed while they are spoken.
    `patience`: how many times the length of a piece (at least 30 s) the recogniser may take for it.
    """

    def __init__(
        self, recognizer: Recognizer, *, workers: int = 1, waiting: int = 32, piece_s: float = 25.0, live: int = 16,
        patience: float = 4.0,
    ) -> None:  # fmt: skip
        self._recognizer = recognizer
        self._workers = asyncio.Semaphore(workers)
        self._most_waiting = waiting
        self.piece_s = piece_s
        self._most_live = live
        self._patience = patience
        self.waiting = 0
        """Recognitions in the queue."""
        self.live = 0
        """Turns that are being followed while they are spoken."""

    def check(self) -> None:
        """Raises `Refusal` (busy) when the queue is full."""
        if self.waiting >= self._most_waiting:
            raise Refusal("busy", "too many recognitions wait; try again later")

    async def transcribe(self, samples: Samples) -> Transcript:
        """Recognise int16 audio at `LISTEN_RATE`, shape (n,). Raises `Refusal` (busy), `RecognizerError`."""
        self.check()
        self.waiting += 1
        try:
            await self._workers.acquire()
        finally:
            self.waiting -= 1
        try:
            return joined([(start, await self._piece(part)) for start, part in pieces(samples, self.piece_s)])
        finally:
            self._workers.release()

    def open_live(self, on_partial: Callable[[Transcript], None]) -> RecognizerStream | None:
        """A stream for a turn that is still being spoken; None when too many are followed already.

        The caller cancels it, and says so with `closed_live`.
        """
        if self.live >= self._most_live:
            return None
        self.live += 1
        return self._recognizer.open(on_partial)

    def closed_live(self) -> None:
        """One turn less is followed."""
        self.live -= 1

    async def finished(self, stream: RecognizerStream, seconds: float) -> Transcript:
        """The final transcript of a stream. Raises `RecognizerError`, also when it takes too long."""
        try:
            async with asyncio.timeout(max(30.0, self._patience * seconds)):
                return await stream.finish()
        except TimeoutError:
            name = self._recognizer.name
            raise RecognizerError("the recogniser did not answer", adapter=name, retryable=True) from None

    async def _piece(self, samples: Samples) -> Transcript:
        if not len(samples):
            return Transcript("")
        stream = self._recognizer.open(_ignore)
        try:
            stream.push(samples)
            return await self.finished(stream, len(samples) / LISTEN_RATE)
        finally:
            await stream.cancel()


def joined(parts: list[tuple[int, Transcript]]) -> Transcript:
    """The transcripts of consecutive pieces as one. Each comes with the index of its first sample."""
    spoken = [(start / LISTEN_RATE, part) for start, part in parts if part.text]
    if not spoken:
        return Transcript("")
    text = spoken[0][1].text
    for _, part in spoken[1:]:
        text += _glue(text, part.text) + part.text
    sure = [part.confidence for _, part in spoken if part.confidence is not None]
    return Transcript(
        text,
        start=spoken[0][0] + spoken[0][1].start,
        end=spoken[-1][0] + spoken[-1][1].end,
        confidence=sum(sure) / len(sure) if sure else None,
        engine=spoken[0][1].engine,
    )


def _glue(before: str, after: str) -> str:
    """A space, but none between characters of scripts that are written without."""
    return "" if ord(before[-1]) > 0x2E7F and ord(after[0]) > 0x2E7F else " "
