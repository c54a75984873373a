"""One turn of a chain: its audio is kept, so that another engine can hear all of it from the beginning."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from asr.chain_link import NAME, Link
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from core.stages import RecognizerStream
from core.turn_room import TurnRoom

log = logging.getLogger(__name__)

_PIECE = LISTEN_RATE // 10


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The engine that hears the turn now, and since when (seconds of the clock)."""

    link: Link
    stream: RecognizerStream
    since: float


class ChainStream:
    """One turn. Times of its transcripts are seconds since the first sample pushed, whichever engine gives them.

    An engine fails when it can't be opened, when its stream has a `failure` (looked at with each push, where a stream
    has one), when `finish` raises or takes too long. Engines that rest are tried last.
    """

    def __init__(
        self,
        links: Sequence[Link],
        on_partial: Callable[[Transcript], None],
        *,
        max_turn_s: float,
        timeout_s: float,
        clock: Callable[[], float],
        in_background: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._on_partial = on_partial
        self._timeout = timeout_s
        self._clock = clock
        self._in_background = in_background
        self._room = TurnRoom(max_turn_s)
        self._pieces: list[Samples] = []
        self._waiting = list(links)
        self._errors: list[RecognizerError] = []
        self._attempt: _Attempt | None = None
        self._result: Transcript | None = None
        self._closed = self._cancelled = False
        self._next()

    @property
    def failure(self) -> RecognizerError | None:
        """Why this turn can't be recognised any more; None while some engine still may."""
        return self._error() if self._attempt is None and self._result is None and not self._closed else None

    @property
    def truncated(self) -> bool:
        """Whether audio was ignored because the turn was longer than `max_turn_s`."""
        return self._room.truncated

    def push(self, samples: Samples) -> None:
        """Add int16 audio at `LISTEN_RATE`, shape (n,), any n. Never blocks; ignored beyond `max_turn_s`."""
        if self._closed or not len(samples):
            return
        samples = self._room.take(samples)
        samples = samples.astype(np.int16)  # a copy: the caller may use its buffer again
        self._pieces.append(samples)
        attempt = self._attempt
        if attempt is None:
            return
        attempt.stream.push(samples)
        error = getattr(attempt.stream, "failure", None)
        if isinstance(error, RecognizerError):
            self._give_up(attempt, error)
            self._next()

    async def finish(self) -> Transcript:
        """The first engine's transcript that succeeds. Raises the last one's `RecognizerError` if none does."""
        self._closed = True
        while self._result is None and (attempt := self._attempt) is not None:
            try:
                async with asyncio.timeout(self._patience(attempt)):
                    found = await attempt.stream.finish()
            except TimeoutError:
                message = f"{attempt.link.name} did not answer in time"
                self._give_up(attempt, RecognizerError(message, adapter=attempt.link.name, retryable=True))
                self._next()
            except RecognizerError as error:
                self._give_up(attempt, error)
                self._next()
            else:
                attempt.link.breaker.succeeded()
                self._attempt = None
                self._drop(attempt.stream)
                self._result = replace(found, engine=found.engine or attempt.link.name)
        self._pieces.clear()
        if self._result is None:
            raise self._error()
        return self._result

    async def cancel(self) -> None:
        """Drop the turn. Idempotent, also after `finish`."""
        self._closed = self._cancelled = True
        self._pieces.clear()
        self._waiting.clear()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.link.breaker.released()
            await attempt.stream.cancel()

    def _patience(self, attempt: _Attempt) -> float:
        """Seconds that an engine may take from now on: audio that came faster than it was spoken takes its time."""
        heard = sum(map(len, self._pieces)) / LISTEN_RATE
        return self._timeout + max(0.0, attempt.since + heard - self._clock())

    def _next(self) -> None:
        """Open the next engine that can be opened and let it hear everything so far."""
        while (link := self._choose()) is not None:
            try:
                stream = link.recognizer.open(self._partial_of(link))
            except RecognizerError as error:
                link.failed(error)
                self._note(link, error)
                continue
            self._attempt = _Attempt(link, stream, self._clock())
            if self._pieces:
                self._pieces = [np.concatenate(self._pieces)]
                for start in range(0, len(self._pieces[0]), _PIECE):
                    stream.push(self._pieces[0][start : start + _PIECE])
            return

    def _choose(self) -> Link | None:
        """The first that is ready and does not rest; when all do, the one whose rest ends first."""
        ready = [link for link in self._waiting if link.ready]
        link = next((link for link in ready if link.breaker.acquire()), None)
        if link is None and ready:
            link = min(ready, key=lambda link: link.breaker.rest_left_s)
        if link is not None:
            self._waiting.remove(link)
        return link

    def _partial_of(self, link: Link) -> Callable[[Transcript], None]:
        def tell(transcript: Transcript) -> None:
            # before the stream is returned from `open` it may speak already; after its failure it may not any more
            if self._result is None and not self._cancelled and (self._attempt is None or self._attempt.link is link):
                self._on_partial(replace(transcript, engine=transcript.engine or link.name))

        return tell

    def _give_up(self, attempt: _Attempt, error: RecognizerError) -> None:
        attempt.link.failed(error)
        self._note(attempt.link, error)
        self._attempt = None
        self._drop(attempt.stream)

    def _note(self, link: Link, error: RecognizerError) -> None:
        self._errors.append(error)
        log.warning("%s failed (%s: %s)", link.name, error.code, error.loggable)

    def _drop(self, stream: RecognizerStream) -> None:
        self._in_background(stream.cancel())

    def _error(self) -> RecognizerError:
        """The last failure, retryable if any of them was."""
        if not self._errors:
            return RecognizerError("no speech recogniser is there yet", adapter=NAME, retryable=True)
        last = self._errors[-1]
        last.retryable = any(error.retryable for error in self._errors)
        return last
