"""Doubao's streaming recognition for whoever has audio: start, send packets, get the newest text."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from asr.doubao.endpoint import Endpoint
from asr.doubao.errors import NAME
from asr.doubao.options import Options, Stats
from asr.doubao.request import RecognitionConfig
from asr.doubao.retry import CircuitBreaker, RetryPolicy
from asr.doubao.session import OnResult, Session
from asr.doubao.transcript import RecognitionResult
from asr.loss import loss_of
from core.errors import RecognizerError


class STTClient:
    """One turn after the other, each of them one `Session`. All methods belong to one event loop; any number of tasks
    may call `send_audio` at the same time.

    `breaker`, `stats` and `slots` (turns at the same time) may be shared with other clients. `retry` makes the policy
    of a turn.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        config: RecognitionConfig | None = None,
        options: Options | None = None,
        *,
        breaker: CircuitBreaker | None = None,
        stats: Stats | None = None,
        slots: asyncio.Semaphore | None = None,
        retry: Callable[[], RetryPolicy] = RetryPolicy,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._config = config or RecognitionConfig()
        self._options = options or Options()
        self._breaker = breaker or CircuitBreaker()
        self.stats = stats or Stats()
        self._slots = slots
        self._retry = retry
        self._tls = tls
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._unused_lock = asyncio.Lock()

    @property
    def seq(self) -> int:
        """The number of the next message on the present connection; 1 before there is one."""
        connection = self._session.connection if self._session else None
        return connection.seq if connection else 1

    @property
    def failure(self) -> RecognizerError | None:
        """Why the turn is lost, as soon as that is known; None while it goes on."""
        return loss_of(self._session.done if self._session is not None else None)

    @property
    def _seq_lock(self) -> asyncio.Lock:
        """Held by the present connection while a message is numbered, sent and counted."""
        connection = self._session.connection if self._session else None
        return connection.lock if connection else self._unused_lock

    def begin(self, on_result: OnResult | None = None) -> None:
        """Begin a turn in the background; audio may be offered at once. A turn that still runs is dropped."""
        if self._task is not None and self._session is not None:
            self._task.cancel()
            self._session.abandon()
        session = Session(
            self._endpoint, self._config, self._options, on_result=on_result or _ignore,
            breaker=self._breaker, stats=self.stats, retry=self._retry(), tls=self._tls,
        )  # fmt: skip
        self._session = session
        self._task = asyncio.create_task(self._run(session), name="doubao session")

    async def start_recognition(self, on_result: OnResult | None = None) -> None:
        """Begin a turn and wait until the server has accepted it. Raises `RecognizerError`."""
        self._endpoint.check()
        self._options.check()
        self.begin(on_result)
        assert self._session is not None
        await asyncio.shield(self._session.started)

    async def send_audio(self, audio_data: bytes, is_last: bool = False) -> bool:
        """Send a packet of 16 kHz 16-bit mono PCM; `is_last` ends the turn. Returns after it was sent.

        False if it can't be: no turn, the turn is over or failed, or more waits than `Options.max_audio_s`. If the
        connection breaks it waits for the next one.
        """
        sent = self.offer(audio_data, is_last)
        return sent is not None and await sent

    def offer(self, audio_data: bytes, is_last: bool = False) -> asyncio.Future[bool] | None:
        """As `send_audio`, without waiting: the future tells the outcome, None that nothing was taken."""
        return self._session.offer(audio_data, is_last) if self._session else None

    async def finish(self) -> RecognitionResult:
        """End the turn if that was not done; the final result. Raises `RecognizerError`."""
        if self._session is None:
            raise RecognizerError("no recognition was started", adapter=NAME)
        self._session.offer(b"", last=True)
        return await asyncio.shield(self._session.done)

    async def close(self) -> None:
        """Drop the turn and close the connection. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._session is not None:
            self._session.abandon()  # a task that never ran could not

    def when_closed(self, callback: Callable[[STTClient], object]) -> None:
        """Call back when the turn that was begun is over and its connection closed."""
        if self._task is not None:
            self._task.add_done_callback(lambda _: callback(self))

    async def closed(self) -> None:
        """Wait until the finished turn has closed its connection."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self, session: Session) -> None:
        if self._slots is None:
            await session.run()
            return
        async with self._slots:
            await session.run()


def _ignore(_: RecognitionResult) -> None:
    """For who wants the final result only."""
