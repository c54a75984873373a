"""One turn of a streaming model: audio goes to a worker thread as fast as that keeps up, words come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from asr.sherpa_model import NAME
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript

if TYPE_CHECKING:
    from asr.sherpa import SherpaRecognizer


class SherpaStream:
    """Times of its transcripts are seconds since the first sample pushed."""

    def __init__(self, owner: SherpaRecognizer, on_partial: Callable[[Transcript], None]) -> None:
        self._owner = owner
        self._on_partial = on_partial
        self._room = int(owner.limits.max_turn_s * LISTEN_RATE)
        self._heard = 0
        self._waiting: list[Samples] = []
        self._more = asyncio.Event()
        self._closed = False
        self._work = asyncio.create_task(self._run(), name="sherpa turn")
        self._work.add_done_callback(_seen)
        self.truncated = False
        """Whether audio was ignored because the turn was longer than `max_turn_s`."""

    @property
    def failure(self) -> RecognizerError | None:
        """Why the turn is lost, as soon as that is known; None while it goes on."""
        error = self._work.exception() if self._work.done() and not self._work.cancelled() else None
        return error if isinstance(error, RecognizerError) else None

    def push(self, samples: Samples) -> None:
        """Add int16 audio at `LISTEN_RATE`, shape (n,), any n. Never blocks; ignored beyond `max_turn_s`."""
        if self._closed or not len(samples) or self._work.done():
            return
        if len(samples) > self._room:
            self.truncated = True
            samples = samples[: self._room]
        self._room -= len(samples)
        self._heard += len(samples)
        self._waiting.append(samples.astype(np.int16))  # a copy: the caller may use its buffer again
        self._more.set()

    async def finish(self) -> Transcript:
        """The final transcript. Raises `RecognizerError`."""
        self._closed = True
        self._more.set()
        try:
            return await asyncio.wait_for(asyncio.shield(self._work), self._owner.finish_timeout_s)
        except TimeoutError:
            self._work.cancel()
            raise RecognizerError("the model is too slow for this machine", adapter=NAME, retryable=True) from None

    async def cancel(self) -> None:
        """Drop the turn; what a thread is computing for it ends by itself. Idempotent, also after `finish`."""
        self._closed = True
        self._waiting.clear()
        if not self._work.done():
            self._work.cancel()
            await asyncio.wait([self._work])

    async def _run(self) -> Transcript:
        engine = self._owner.engine
        stream = await self._owner.in_thread(engine.begin)
        told = ""
        while True:
            await self._more.wait()
            self._more.clear()
            if self._waiting:
                samples, self._waiting = np.concatenate(self._waiting), []
                found = await self._owner.in_thread(lambda samples=samples: engine.feed(stream, samples))  # type: ignore[misc]
                if found.text and found.text != told:
                    told = found.text
                    self._on_partial(replace(found, final=False, engine=NAME))
            if self._waiting:
                self._more.set()
            elif self._closed:
                return self._final(await self._owner.in_thread(lambda: engine.end(stream)))

    def _final(self, found: Transcript) -> Transcript:
        length = self._heard / LISTEN_RATE
        end = min(found.end, length) if found.end > 0 else length
        return replace(found, final=True, start=min(found.start, end), end=end, engine=NAME)


def _seen(task: asyncio.Task[Transcript]) -> None:
    """A turn that nobody finishes must not be reported as an unread failure."""
    if not task.cancelled():
        task.exception()
