"""Several recognisers, one after the other: what one can't do the next one does, with all that was said so far."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import asr
from asr.chain_link import NAME, Link
from asr.chain_stream import ChainStream
from asr.circuit import CircuitBreaker
from core.errors import RecognizerError, SettingsError
from core.frames import Transcript
from core.stages import Recognizer, load_adapter

log = logging.getLogger(__name__)


class ChainRecognizer:
    """Recognises with the first of `engines` that works.

    Each of `engines` is a name of `asr.ADAPTERS` (or "package.module:Class"), a mapping of `engine` and its options,
    or a recogniser. `options`: engine → its options, for those that are given by name only (the settings' sections).
    `timeout_s`: an engine that has not given its result so long after the end of the turn failed; what is replayed to
    an engine extends that by its own length. After `failures` failures in a row an engine rests for `rest_s`, twice as
    long each time that it fails again, up to `longest_rest_s`. `max_turn_s`: audio beyond it is ignored.
    """

    name = NAME

    def __init__(
        self,
        *,
        engines: Sequence[str | Mapping[str, Any] | Recognizer] = ("pocketsphinx",),
        options: Mapping[str, Mapping[str, Any]] | None = None,
        timeout_s: float = 5.0,
        failures: int = 2,
        rest_s: float = 15.0,
        longest_rest_s: float = 300.0,
        max_turn_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(engines, str) or not engines:
            raise SettingsError("asr.chain.engines: name at least one engine, e.g. [doubao, pocketsphinx]")
        self._timeout = timeout_s
        self._max_turn_s = max_turn_s
        self._clock = clock
        self._links = tuple(
            Link(
                _loaded(entry, options or {}),
                CircuitBreaker(failures=failures, rest_s=rest_s, longest_rest_s=longest_rest_s, clock=clock),
            )
            for entry in engines
        )
        self._restarts: list[asyncio.Task[None]] = []
        self._dropped: set[asyncio.Task[None]] = set()
        self._rest_s = rest_s
        self._longest_rest_s = longest_rest_s

    @property
    def languages(self) -> tuple[str, ...]:
        """Of all engines."""
        found = dict.fromkeys(language for link in self._links for language in link.recognizer.languages)
        return ("*",) if "*" in found else tuple(found)

    @property
    def engines(self) -> tuple[str, ...]:
        """Names in order; one of them is the `engine` of each transcript."""
        return tuple(link.name for link in self._links)

    @property
    def resting(self) -> tuple[str, ...]:
        """Names of those that are left alone just now."""
        return tuple(link.name for link in self._links if link.breaker.resting or not link.ready)

    async def start(self) -> None:
        """Start all. Raises `RecognizerError` for a wrong setting of any of them, or when none can be started.

        One that can't be started just now is tried again later.
        """
        results = await asyncio.gather(*(link.recognizer.start() for link in self._links), return_exceptions=True)
        failed = [error for error in results if isinstance(error, BaseException)]
        wrong = [e for e in failed if not isinstance(e, RecognizerError) or not e.retryable]
        for link, result in zip(self._links, results, strict=True):
            link.ready = result is None
        if wrong or len(failed) == len(self._links):
            await self.close()
            raise (wrong or failed)[0]
        for link, error in zip(self._links, results, strict=True):
            if error is not None:
                log.warning("%s can't be started now: %s", link.name, getattr(error, "loggable", error))
                self._restarts.append(asyncio.create_task(self._start_later(link), name=f"start {link.name}"))

    async def close(self) -> None:
        """Close all. Idempotent."""
        restarts, self._restarts = self._restarts, []
        for task in restarts:
            task.cancel()
        await asyncio.gather(*restarts, *self._dropped, return_exceptions=True)
        for link in self._links:
            link.ready = False
        await asyncio.gather(*(link.recognizer.close() for link in self._links))

    def open(self, on_partial: Callable[[Transcript], None]) -> ChainStream:
        """Begin a turn with the first engine that works."""
        return ChainStream(
            self._links,
            on_partial,
            max_turn_s=self._max_turn_s,
            timeout_s=self._timeout,
            clock=self._clock,
            in_background=self._in_background,
        )

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Own what a turn need not wait for: the end of streams that failed."""
        task = asyncio.get_running_loop().create_task(work, name="drop a failed recognition")
        self._dropped.add(task)
        task.add_done_callback(self._dropped.discard)

    async def _start_later(self, link: Link) -> None:
        wait = self._rest_s
        while not link.ready:
            await asyncio.sleep(wait)
            try:
                await link.recognizer.start()
                link.ready = True
                log.info("%s is there now", link.name)
            except RecognizerError as error:
                log.warning("%s still can't be started: %s", link.name, error.loggable)
                wait = min(wait * 2, self._longest_rest_s)


def _loaded(entry: str | Mapping[str, Any] | Recognizer, options: Mapping[str, Mapping[str, Any]]) -> Recognizer:
    if not isinstance(entry, str | Mapping):
        return entry
    given: dict[str, Any] = {} if isinstance(entry, str) else dict(entry)
    engine = entry if isinstance(entry, str) else given.pop("engine", None)
    if not isinstance(engine, str):
        raise SettingsError("asr.chain.engines: each entry is a name, or a mapping with 'engine' and its options")
    if engine == NAME:
        raise SettingsError("asr.chain.engines: a chain can't hold a chain")
    recognizer: Recognizer = load_adapter("asr.chain", engine, asr.ADAPTERS, {**options.get(engine, {}), **given})
    return recognizer
