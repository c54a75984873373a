"""Speech recognition without key, download or GPU: CMU PocketSphinx, English, in a worker process of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from asr.loss import loss_of
from asr.pocketsphinx_wire import HEADER, MAX_PAYLOAD, Kind, pack, unpack_header
from core.errors import RecognizerError
from core.frames import Samples, Transcript
from core.turn_room import TurnRoom

log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parent.parent
_NAME = "pocketsphinx"


class PocketsphinxStream:
    """One turn. Times of its transcripts are seconds since the first sample pushed."""

    def __init__(self, owner: PocketsphinxRecognizer, number: int, on_partial: Callable[[Transcript], None]) -> None:
        self._owner = owner
        self._number = number
        self._on_partial = on_partial
        self._result: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()
        self._room = TurnRoom(owner.max_turn_s)
        self._closed = False

    @property
    def failure(self) -> RecognizerError | None:
        """Why the turn is lost, as soon as that is known; None while it goes on."""
        return loss_of(self._result)

    @property
    def truncated(self) -> bool:
        """Whether audio was ignored because the turn was longer than `max_turn_s`."""
        return self._room.truncated

    def push(self, samples: Samples) -> None:
        """Add int16 audio at `LISTEN_RATE`, shape (n,), any n. Never blocks; ignored beyond `max_turn_s`."""
        if self._closed or self._result.done():
            return
        samples = self._room.take(samples)
        data = np.ascontiguousarray(samples, dtype="<i2").tobytes()
        for start in range(0, len(data), MAX_PAYLOAD):
            self._owner.send(Kind.AUDIO, self._number, data[start : start + MAX_PAYLOAD])

    async def finish(self) -> Transcript:
        """The final transcript. Raises `RecognizerError` (retryable) if the worker died or is stuck."""
        if not self._closed:
            self._closed = True
            self._owner.send(Kind.FINISH, self._number)
        try:
            return await asyncio.wait_for(asyncio.shield(self._result), self._owner.finish_timeout_s)
        except TimeoutError:
            self._owner.restart()
            raise RecognizerError("speech recognition did not answer", adapter=_NAME, retryable=True) from None
        finally:
            self._owner.forget(self._number)

    async def cancel(self) -> None:
        """Drop the turn. Idempotent, also after `finish`."""
        self._closed = True
        if self._owner.forget(self._number):
            self._owner.send(Kind.CANCEL, self._number)
        self._result.cancel()

    def take(self, kind: Kind, payload: bytes) -> None:
        """A message of the worker about this turn."""
        if self._result.done():
            return
        if kind is Kind.PARTIAL:
            self._on_partial(Transcript(json.loads(payload)["text"], final=False, engine=_NAME))
        elif kind is Kind.FINAL:
            self._result.set_result(Transcript(**json.loads(payload), engine=_NAME))
        elif kind is Kind.FAILED:
            self.fail(RecognizerError("speech recognition failed", adapter=_NAME, retryable=True))

    def fail(self, error: RecognizerError) -> None:
        """There will be no transcript."""
        if not self._result.done():
            self._result.set_exception(error)
            self._result.exception()  # a turn that nobody finishes must not be reported as an unread failure


class PocketsphinxRecognizer:
    """Owns the worker process: starts it, restarts it with back-off when it dies, routes its messages.

    `max_turn_s`: audio beyond it is ignored. `vocabulary`: the most frequent words that are known, 0 for all
    (more memory, twice the work). `partial_interval_s`: at most one partial per turn in that time.
    `nice`: added to the worker's niceness so that media comes first. `finish_timeout_s`: then it counts as stuck.
    """

    name = _NAME
    languages: tuple[str, ...] = ("en",)

    def __init__(
        self,
        *,
        max_turn_s: float = 40.0,
        vocabulary: int = 20_000,
        partial_interval_s: float = 0.2,
        nice: int = 5,
        start_timeout_s: float = 30.0,
        finish_timeout_s: float = 8.0,
        longest_backoff_s: float = 10.0,
    ) -> None:
        self.max_turn_s = max_turn_s
        self.finish_timeout_s = finish_timeout_s
        settings = {"vocabulary": vocabulary, "nice": nice, "partial_interval": partial_interval_s}
        self._worker_settings = json.dumps(settings)
        self._start_timeout_s = start_timeout_s
        self._longest_backoff_s = longest_backoff_s
        self._numbers = itertools.count(1)
        self._streams: dict[int, PocketsphinxStream] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self.restarts = 0
        """How often the worker had to be started again."""

    @property
    def pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the worker and wait until its model is loaded. Raises `RecognizerError`."""
        self._supervisor = asyncio.create_task(self._supervise(), name="pocketsphinx")
        try:
            await self.ready()
        except RecognizerError:
            await self.close()
            raise

    async def ready(self) -> None:
        """Wait until a worker is there with its model loaded. Raises `RecognizerError`."""
        try:
            await asyncio.wait_for(self._ready.wait(), self._start_timeout_s)
        except TimeoutError:
            advice = "the pocketsphinx worker did not start; try: python -c 'import pocketsphinx'"
            raise RecognizerError(advice, adapter=_NAME) from None

    async def close(self) -> None:
        """End the worker and fail what is open. Idempotent."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None

    def open(self, on_partial: Callable[[Transcript], None]) -> PocketsphinxStream:
        """Begin a turn. While the worker is being restarted the turn fails at `finish`, retryable."""
        stream = PocketsphinxStream(self, next(self._numbers), on_partial)
        if self._process is None:
            stream.fail(RecognizerError("speech recognition is restarting", adapter=_NAME, retryable=True))
        else:
            self._streams[stream._number] = stream
            self.send(Kind.OPEN, stream._number)
        return stream

    def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        """Queue a message to the worker; lost if it is dead (its turns have failed already)."""
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(pack(kind, number, payload))

    def forget(self, number: int) -> bool:
        """Stop routing messages to a turn; False if that was so already."""
        return self._streams.pop(number, None) is not None

    def restart(self) -> None:
        """Kill a worker that is stuck; the supervisor starts another one."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _supervise(self) -> None:
        backoff = 0.1
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._run_worker()
            except OSError as error:
                log.error("can't start the pocketsphinx worker: %s", error)
            if asyncio.get_running_loop().time() - began > self._longest_backoff_s:
                backoff = 0.1
            log.warning("the pocketsphinx worker ended; starting it again in %.1f s", backoff)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, self._longest_backoff_s)
            self.restarts += 1

    async def _run_worker(self) -> None:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "asr.pocketsphinx_worker", self._worker_settings)
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=_ROOT)
        self._process = process
        try:
            assert process.stdout is not None
            await self._route(process.stdout)
        finally:
            self._process = None
            self._ready.clear()
            for stream in list(self._streams.values()):
                stream.fail(RecognizerError("speech recognition broke off", adapter=_NAME, retryable=True))
            self._streams.clear()
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _route(self, source: asyncio.StreamReader) -> None:
        try:
            while True:
                length, kind, number = unpack_header(await source.readexactly(HEADER.size))
                payload = await source.readexactly(length)
                if kind is Kind.READY:
                    self._ready.set()
                elif stream := self._streams.get(number):
                    stream.take(kind, payload)
        except (asyncio.IncompleteReadError, ValueError):
            return  # died, or writes nonsense: either way a new worker is needed
