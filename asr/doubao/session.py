"""One turn at Doubao, over as many connections as it needs.

    offer ──▶ Backlog ──▶ writer (one per connection) ──▶ server ──▶ reader ──▶ TurnText ──▶ on_result

When a connection fails, the table in `errors` says what to do; a new one begins with the audio behind the last
finished sentence, so that no word is lost and none is heard twice.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable

from asr.doubao.backlog import BYTES_PER_MS, PACKET_BYTES, Backlog, Packet
from asr.doubao.connection import Connection
from asr.doubao.endpoint import Endpoint
from asr.doubao.errors import CIRCUIT_OPEN, CLOSED, MALFORMED, NAME, SILENT, Action, Failure
from asr.doubao.options import Options, Stats
from asr.doubao.protocol import ProtocolError
from asr.doubao.request import RecognitionConfig
from asr.doubao.response import Response
from asr.doubao.retry import CircuitBreaker, RetryPolicy
from asr.doubao.transcript import RecognitionResult, Sentence, Timeline, TurnText
from core.errors import RecognizerError

log = logging.getLogger(__name__)

OnResult = Callable[[RecognitionResult], None]

_SILENCE = bytes(PACKET_BYTES)
_LAST_WORDS_S = 1.0
"""When writing fails the reader gets so long to find out why."""
_LAST_PAUSE_S = 1.5
"""A turn ends with about so much silence at most."""
_IDLE = "45000081"


class Session:
    """`run` does it all, until there is a result or an error; `on_result` is called on the event loop.

    `started` is resolved when the server first accepts the session, `done` with the final result; both may fail with
    `RecognizerError`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        config: RecognitionConfig,
        options: Options,
        *,
        on_result: OnResult,
        breaker: CircuitBreaker,
        stats: Stats,
        retry: RetryPolicy,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._config = config
        self._options = options
        self._on_result = on_result
        self._breaker = breaker
        self._stats = stats
        self._retry = retry
        self._tls = tls
        self._numbered = options.sequence_mode == "explicit"
        self._backlog = Backlog(int(options.max_audio_s * 1000) * BYTES_PER_MS)
        self._text = TurnText()
        self._more = asyncio.Event()
        self._tail_sent = False
        self._log_id = "-"
        loop = asyncio.get_running_loop()
        self._spoken_at = loop.time()
        self.connection: Connection | None = None
        """The newest one."""
        self.started: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[RecognitionResult] = loop.create_future()

    def offer(self, data: bytes, last: bool = False) -> asyncio.Future[bool] | None:
        """Queue audio; never blocks. The future tells when it is sent, None that it will not be."""
        packet = self._backlog.add(data, last)
        self._more.set()
        return packet.sent if packet else None

    @property
    def heard(self) -> int:
        """Bytes offered so far."""
        return self._backlog.end

    async def run(self) -> None:
        """Recognise until the turn is over."""
        try:
            while not self.done.done():
                try:
                    await self._attempt()
                except Failure as failure:
                    await self._recover(failure)
        except Exception:
            log.exception("a doubao session ended")
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Whoever still waits for something is told that it will not come. Idempotent."""
        self._fail(RecognizerError("speech recognition broke off", adapter=NAME, retryable=True))
        self._backlog.abandon()

    # -- one connection

    async def _attempt(self) -> None:
        if self._breaker.open:
            raise Failure(CIRCUIT_OPEN)
        self._stats.connections += 1
        self._log_id = "-"
        connection = await Connection.open(self._endpoint, self._options, numbered=self._numbered, tls=self._tls)
        self.connection = connection
        self._log_id = connection.log_id
        try:
            await self._introduce(connection)
            self._breaker.succeeded()
            if not self.started.done():
                self.started.set_result(None)
            timeline = Timeline(self._backlog.rewind(self._text.carry()))
            self._text.begin(timeline)
            await self._exchange(connection, timeline)
        except BaseException:
            connection.abort()
            raise
        await connection.close()

    async def _introduce(self, connection: Connection) -> None:
        """The full request and the server's first answer; before it no audio is sent."""
        try:
            async with asyncio.timeout(self._options.first_response_timeout_s):
                try:
                    await connection.send_request(self._config)
                except Failure:
                    await connection.receive()  # why it was closed, if the server said so
                    raise
                frame = await connection.receive()
        except TimeoutError:
            raise Failure(SILENT, "no answer to the full request") from None
        _parsed(frame.payload)

    async def _exchange(self, connection: Connection, timeline: Timeline) -> None:
        self._tail_sent = False
        writer: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(None) as deadline:
                writer = asyncio.create_task(self._write(connection, timeline, deadline), name="doubao writer")
                try:
                    await self._read(connection)
                finally:
                    writer.cancel()
                    await asyncio.wait([writer])
        except TimeoutError:
            if (error := _error_of(writer)) is not None:
                raise error from None
            raise Failure(SILENT, "no final result") from None
        finally:
            if (error := _error_of(writer)) is not None and not isinstance(error, Failure):
                raise error

    async def _read(self, connection: Connection) -> None:
        while True:
            frame = await connection.receive()
            response = _parsed(frame.payload)
            before = self._text.text
            sentences = self._text.take(response)
            if sentences:
                self._retry.progress()
                self._backlog.settle(self._text.settled)
            if frame.last:
                if not self._tail_sent:
                    raise Failure(CLOSED, "a final result before the end of the audio")
                self._finish(sentences)
                return
            if sentences or self._text.text != before:
                self._on_result(self._text.result(final=False, sentences=sentences, heard=self._backlog.end))

    async def _write(self, connection: Connection, timeline: Timeline, deadline: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        ready_at = loop.time()
        complete = False
        try:
            while not complete:
                packet = await self._next_packet(connection, timeline)
                if (wait := ready_at - loop.time()) > 0:
                    await asyncio.sleep(wait)
                timeline.sent(len(packet.data))
                self._tail_sent = packet.last
                if packet.last:
                    deadline.reschedule(loop.time() + self._options.final_timeout_s)
                await connection.send_audio(packet.data, packet.last)
                self._backlog.advance()
                self._spoken_at = loop.time()
                complete = packet.last
                ready_at = max(ready_at, loop.time()) + self._sending_time(len(packet.data))
        finally:
            if not complete and not deadline.expired():
                deadline.reschedule(loop.time() + _LAST_WORDS_S)

    async def _next_packet(self, connection: Connection, timeline: Timeline) -> Packet:
        """The next audio; while there is none the server gets silence, or it would end the session."""
        interval, silent = self._options.keep_alive_s, 0.0
        while (packet := self._backlog.next()) is None:
            self._more.clear()
            try:
                async with asyncio.timeout(interval if silent < self._options.keep_alive_for_s else None):
                    await self._more.wait()
            except TimeoutError:
                silent += interval
                timeline.silence(len(_SILENCE))
                await connection.send_audio(_SILENCE)
                self._stats.keep_alives += 1
        return packet

    def _sending_time(self, count: int) -> float:
        speed = self._options.max_speed
        return count / (1000 * BYTES_PER_MS) / speed if speed else 0.0

    # -- the end of a connection

    async def _recover(self, failure: Failure) -> None:
        """Wait for the next attempt, or end the turn."""
        rule = failure.rule
        self._stats.errors[rule.code] += 1
        log.warning("doubao failed: %s; X-Tt-Logid %s", str(failure), failure.log_id or self._log_id)
        if self.done.done():
            return
        if rule.action is Action.NO_SPEECH:
            self._finish()
            return
        if rule.action is Action.BACK_OFF and rule is not CIRCUIT_OPEN:
            self._breaker.failed()
        pause = None if self._breaker.open else self._retry.pause(failure)
        if pause is None:
            self._give_up(failure)
            return
        if rule.action is Action.RENUMBER:
            self._numbered = False
            self._stats.mismatches += 1
        if rule.code == _IDLE and self._idle and await self._nothing_more():
            self._finish()
            return
        await asyncio.sleep(pause)
        self._stats.reconnects += 1

    @property
    def _idle(self) -> bool:
        silent = asyncio.get_running_loop().time() - self._spoken_at
        return self._backlog.next() is None and not self._text.open and silent >= self._options.idle_after_s

    async def _nothing_more(self) -> bool:
        """The server left because nothing came: there is no hurry to be back. Whether the turn ends without a word."""
        self._text.skip(self._backlog.position)
        while (packet := self._backlog.next()) is None:
            self._more.clear()
            await self._more.wait()
        if packet.last and not packet.data:
            self._backlog.advance()
            return True
        return False

    def _give_up(self, failure: Failure) -> None:
        if failure.rule.action is Action.ASK_AGAIN and self._tail_sent and self._heard_out:
            log.warning("doubao gave no final result; the newest one counts")
            self._finish()
        else:
            self._fail(failure.error())

    @property
    def _heard_out(self) -> bool:
        """Whether the newest text reaches to where a speaker's last pause may have begun."""
        result = self._text.result(final=False, heard=self._backlog.end)
        return bool(result.text) and result.end >= self._backlog.end / (1000 * BYTES_PER_MS) - _LAST_PAUSE_S

    def _finish(self, sentences: tuple[Sentence, ...] = ()) -> None:
        result = self._text.result(final=True, sentences=sentences, heard=self._backlog.end)
        if not self.started.done():
            self.started.set_result(None)
        self.done.set_result(result)
        self._on_result(result)

    def _fail(self, error: RecognizerError) -> None:
        for future in (self.started, self.done):
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody has to ask


def _error_of(task: asyncio.Task[None] | None) -> BaseException | None:
    return task.exception() if task is not None and task.done() and not task.cancelled() else None


def _parsed(payload: bytes) -> Response:
    try:
        return Response.parse(payload)
    except ProtocolError as error:
        raise Failure(MALFORMED, str(error)) from None
