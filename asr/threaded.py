"""Engines that compute in this process: their worker threads, and a turn whose audio goes there as it comes."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from asr.buffered import BufferLimits
from asr.loss import loss_of
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from core.turn_room import TurnRoom

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Engine(Protocol):
    """A loaded model. Blocking. Streams are opaque; each is used by one thread at a time."""

    def begin(self) -> Any:
        """A new turn."""

    def feed(self, stream: Any, samples: Samples) -> Transcript:
        """More audio (int16, shape (n,), `LISTEN_RATE`); what is recognised so far, "" for models of whole turns."""

    def end(self, stream: Any) -> Transcript:
        """The turn is over: all of it."""


class Worker:
    """Threads of one adapter, with the time that a result may take."""

    def __init__(self, name: str, threads: int, finish_timeout_s: float) -> None:
        self.name = name
        self.finish_timeout_s = finish_timeout_s
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(threads, name)

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do blocking work in a thread. Whatever the library raises becomes a retryable `RecognizerError`."""
        if self._pool is None:
            raise RecognizerError("the recogniser is closed", adapter=self.name)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except RecognizerError:
            raise
        except Exception as error:
            # without the message: a library may quote what the user said in it
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s failed in its thread with %s:\n%s", self.name, type(error).__name__, where)
            message = f"{self.name} failed ({type(error).__name__})"
            raise RecognizerError(message, adapter=self.name, retryable=True) from error

    async def transcribe(self, engine: Engine, samples: Samples) -> Transcript:
        """A whole turn at once. Raises `RecognizerError`."""

        def whole() -> Transcript:
            stream = engine.begin()
            engine.feed(stream, samples)
            return engine.end(stream)

        try:
            async with asyncio.timeout(self.finish_timeout_s):
                return await self.run(whole)
        except TimeoutError:
            raise self.too_slow() from None

    def too_slow(self) -> RecognizerError:
        """What a turn ends with whose result did not come in time."""
        message = (
            f"{self.name} did not finish within {self.finish_timeout_s:g} s; the model is too slow for this machine"
        )
        return RecognizerError(message, adapter=self.name, code="asr_timeout", retryable=True)

    def close(self) -> None:
        """Take no more work; what is being computed ends by itself. Idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


class ThreadedStream:
    """One turn of a streaming model. Times of its transcripts are seconds since the first sample pushed."""

    def __init__(
        self, engine: Engine, worker: Worker, on_partial: Callable[[Transcript], None], limits: BufferLimits
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._on_partial = on_partial
        self._room = TurnRoom(limits.max_turn_s)
        self._heard = 0
        self._waiting: list[Samples] = []
        self._more = asyncio.Event()
        self._closed = False
        self._work = asyncio.create_task(self._run(), name=f"{worker.name} turn")
        self._work.add_done_callback(_seen)

    @property
    def failure(self) -> RecognizerError | None:
        """Why the turn is lost, as soon as that is known; None while it goes on."""
        return loss_of(self._work)

    @property
    def truncated(self) -> bool:
        """Whether audio was ignored because the turn was longer than `max_turn_s`."""
        return self._room.truncated

    def push(self, samples: Samples) -> None:
        """Add int16 audio at `LISTEN_RATE`, shape (n,), any n. Never blocks; ignored beyond `max_turn_s`."""
        if self._closed or not len(samples) or self._work.done():
            return
        samples = self._room.take(samples)
        self._heard += len(samples)
        self._waiting.append(samples.astype(np.int16))  # a copy: the caller may use its buffer again
        self._more.set()

    async def finish(self) -> Transcript:
        """The final transcript. Raises `RecognizerError`."""
        self._closed = True
        self._more.set()
        try:
            return await asyncio.wait_for(asyncio.shield(self._work), self._worker.finish_timeout_s)
        except TimeoutError:
            self._work.cancel()
            raise self._worker.too_slow() from None

    async def cancel(self) -> None:
        """Drop the turn; what a thread is computing for it ends by itself. Idempotent, also after `finish`."""
        self._closed = True
        self._waiting.clear()
        if not self._work.done():
            self._work.cancel()
            await asyncio.wait([self._work])

    async def _run(self) -> Transcript:
        stream = await self._worker.run(self._engine.begin)
        told = ""
        while True:
            await self._more.wait()
            self._more.clear()
            if self._waiting:
                found = await self._feed(stream)
                if found.text and found.text != told:
                    told = found.text
                    self._on_partial(replace(found, final=False, engine=self._worker.name))
            if self._waiting:
                self._more.set()
            elif self._closed:
                return self._final(await self._worker.run(lambda: self._engine.end(stream)))

    async def _feed(self, stream: Any) -> Transcript:
        samples, self._waiting = np.concatenate(self._waiting), []
        return await self._worker.run(lambda: self._engine.feed(stream, samples))

    def _final(self, found: Transcript) -> Transcript:
        length = self._heard / LISTEN_RATE
        end = min(found.end, length) if found.end > 0 else length
        return replace(found, final=True, start=min(found.start, end), end=end, engine=self._worker.name)


def _seen(task: asyncio.Task[Transcript]) -> None:
    """A turn that nobody finishes must not be reported as an unread failure."""
    if not task.cancelled():
        task.exception()
