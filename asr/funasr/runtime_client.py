"""One utterance at one of FunASR's official runtime servers, over a WebSocket of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)
from websockets.typing import Subprotocol

from asr.funasr.runtime_protocol import (
    BYTES_PER_MS,
    GRACE_S,
    LEAST_PATIENCE_S,
    Dialect,
    Mode,
    RuntimeConfig,
    RuntimeProtocolError,
    RuntimeSession,
    ServerFailure,
    patience_s,
)
from asr.loss import loss_of
from core.errors import RecognizerError
from core.socket_address import is_socket_address, on_this_machine

log = logging.getLogger(__name__)

NAME = "funasr_runtime"
MAX_ANSWER = 4 << 20
"""Bytes of one message of the server: the time stamps of a long file are long."""
ATTEMPTS = 2
"""Connections per utterance: if one breaks, all its audio is sent again over the next."""
_PAUSE_S = 0.2
_CLOSE_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class RuntimeEndpoint:
    """A server. `verify_tls` off takes any certificate, `ca_file` adds one that is trusted."""

    url: str = "ws://127.0.0.1:10095"
    verify_tls: bool = True
    ca_file: str = ""
    connect_timeout_s: float = 5.0

    def problem(self) -> str:
        """What is wrong with it, in words for the operator; "" if nothing is."""
        return "" if is_socket_address(self.url) else "url must look like ws://host:10095 or wss://host:10095"

    def tls(self) -> ssl.SSLContext | None:
        """None for ws://. Raises `OSError` (also `ssl.SSLError`) for a `ca_file` that can't be read."""
        if not self.url.startswith("wss:"):
            return None
        context = ssl.create_default_context()
        if self.ca_file:
            context.load_verify_locations(self.ca_file)
        if not self.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @property
    def on_this_machine(self) -> bool:
        """Whether no proxy can be between us and it."""
        return on_this_machine(self.url)


@dataclass(frozen=True, slots=True)
class RuntimeResult:
    """What was recognised. `span`: seconds from the first sample, None if the server did not tell."""

    text: str
    span: tuple[float, float] | None = None
    dialect: Dialect = field(default=Dialect.UNKNOWN)


class RuntimeClient:
    """Connects at once, in the background; audio that comes meanwhile is kept, and all of it until the end.

    `on_text` is called on the loop with the whole text so far, each time it changes. `max_audio_s`: more is ignored.
    `final_timeout_s`: least time that the server is given after the end. `expected`: see `RuntimeSession`.
    `tls`: of `endpoint.tls()`, loaded once by whoever makes many clients.
    """

    def __init__(
        self,
        endpoint: RuntimeEndpoint,
        config: RuntimeConfig,
        *,
        on_text: Callable[[str], None] | None = None,
        max_audio_s: float = 3600.0,
        final_timeout_s: float = LEAST_PATIENCE_S,
        expected: Dialect = Dialect.UNKNOWN,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._config = config
        self._on_text = on_text
        self._room = int(max_audio_s * 1000) * BYTES_PER_MS
        self._final_timeout_s = final_timeout_s
        self._expected = expected
        self._tls = tls or endpoint.tls()
        self._audio = bytearray()
        self._ended = False
        self._wake = asyncio.Event()
        self._deadline: asyncio.Timeout | None = None
        self._result: asyncio.Future[RuntimeResult] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name="funasr runtime")
        self.truncated = False
        """Whether audio was ignored because there was more than `max_audio_s`."""

    def when_over(self, callback: Callable[[], None]) -> None:
        """Call when the connection is gone, whatever became of the utterance."""
        self._task.add_done_callback(lambda _: callback())

    @property
    def audio_s(self) -> float:
        """Seconds of audio so far."""
        return len(self._audio) / BYTES_PER_MS / 1000

    @property
    def failure(self) -> RecognizerError | None:
        """Why the utterance is lost, as soon as that is known; None while it goes on."""
        return loss_of(self._result)

    def push(self, pcm: bytes) -> None:
        """Add s16le mono at 16 kHz, any whole number of samples. Never blocks."""
        if self._ended or self._result.done():
            return
        if len(self._audio) + len(pcm) > self._room:
            self.truncated = True
            pcm = pcm[: self._room - len(self._audio)]
        self._audio += pcm
        self._wake.set()

    async def play(self, pcm: bytes) -> None:
        """`push` a file as these servers expect it: as fast as possible in offline mode, else as fast as it sounds."""
        if self._config.mode is Mode.OFFLINE:
            self.push(pcm)
            return
        loop, size = asyncio.get_running_loop(), self._config.frame_bytes
        began = loop.time()
        for start in range(0, len(pcm), size):
            self.push(pcm[start : start + size])
            await asyncio.sleep(max(0.0, began + (start + size) / BYTES_PER_MS / 1000 - loop.time()))

    async def finish(self) -> RuntimeResult:
        """End of the audio: what was recognised. Raises `RecognizerError`."""
        self._ended = True
        self._wake.set()
        self._limit()
        return await asyncio.shield(self._result)

    async def cancel(self) -> None:
        """Drop the utterance and its connection. Idempotent, also after `finish`."""
        self._ended = True
        self._task.cancel()
        await asyncio.wait({self._task})
        self._result.cancel()

    # -- the connections

    async def _run(self) -> None:
        try:
            await self._try()
        except Exception:  # whatever it is, who waits for the result must not wait for ever
            log.exception("FunASR: an utterance failed")
            self._fail(_error("funasr_failed", "talking to the FunASR server failed"))

    async def _try(self) -> None:
        error = _error("funasr_closed", "the FunASR server is gone", retryable=True)
        for attempt in range(ATTEMPTS):
            if attempt:
                log.info("FunASR: trying once more after %s", error.code)
                await asyncio.sleep(_PAUSE_S)
            try:
                async with self._connection() as socket:
                    await self._utterance(socket, RuntimeSession(self._config.mode, self._expected))
                return
            except RecognizerError as failure:
                error = failure
            if not error.retryable or error.code in ("funasr_timeout", "funasr_failed"):
                break
        log.warning("FunASR: %s", error.loggable)
        self._fail(error)

    def _fail(self, error: RecognizerError) -> None:
        if not self._result.done():
            self._result.set_exception(error)
            self._result.exception()  # an utterance that nobody finishes must not be reported as an unread failure

    async def _utterance(self, socket: ClientConnection, session: RuntimeSession) -> None:
        try:
            async with asyncio.timeout(None) as self._deadline:
                if self._ended:
                    self._limit()
                writer = asyncio.create_task(self._write(socket, session), name="funasr runtime writer")
                try:
                    await self._read(socket, session)
                finally:
                    writer.cancel()
                    await asyncio.wait({writer})
            self._complete(session)
        except TimeoutError:
            self._run_out(session)
        except ConnectionClosed as closed:
            raise _closed(closed, session) from closed
        except RuntimeProtocolError as error:
            advice = f"what answers at {self._endpoint.url} does not speak FunASR's runtime protocol: {error}"
            raise _error("funasr_protocol", advice) from error
        except ServerFailure as failure:
            raise _error("funasr_failed", "the FunASR server failed", retryable=True, quoted=str(failure)) from failure
        finally:
            self._deadline = None

    def _limit(self, seconds: float | None = None) -> None:
        """From now on the server has so long, or as long as the protocol gives it."""
        if self._deadline is not None:
            wait = patience_s(self.audio_s, self._final_timeout_s) if seconds is None else seconds
            self._deadline.reschedule(asyncio.get_running_loop().time() + wait)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[ClientConnection]:
        endpoint = self._endpoint
        try:
            socket = await connect(
                endpoint.url,
                subprotocols=[Subprotocol("binary")],
                compression=None,
                proxy=None if endpoint.on_this_machine else True,
                open_timeout=endpoint.connect_timeout_s,
                close_timeout=_CLOSE_TIMEOUT_S,
                ping_interval=None,
                max_size=MAX_ANSWER,
                ssl=self._tls,
            )
        except (OSError, TimeoutError, EOFError, WebSocketException) as error:
            raise _unreachable(endpoint.url, error) from error
        try:
            yield socket
        finally:
            await socket.close()

    async def _write(self, socket: ClientConnection, session: RuntimeSession) -> None:
        try:
            await socket.send(self._config.first_message())
            sent, size = 0, self._config.frame_bytes
            while not self._ended or len(self._audio) - sent >= size:
                if len(self._audio) - sent < size:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await socket.send(bytes(self._audio[sent : sent + size]))
                sent += size
            last = self._config.last_audio(bytes(self._audio[sent:]), sent)
            for start in range(0, len(last), size):
                await socket.send(last[start : start + size])
            session.end()
            self._limit()
            await socket.send(self._config.end_message())
            if session.nudge_s is not None:
                await asyncio.sleep(session.nudge_s)
                for nudge in session.nudges(size):
                    await socket.send(nudge)
        except ConnectionClosed:
            return  # the reader sees it too, after what came before

    async def _read(self, socket: ClientConnection, session: RuntimeSession) -> None:
        while not session.done:
            if session.receive(await socket.recv()) and self._on_text is not None and not self._result.done():
                self._on_text(session.text)
            if session.settling:
                self._limit(GRACE_S)

    def _complete(self, session: RuntimeSession) -> None:
        if not self._result.done():
            self._result.set_result(RuntimeResult(session.text, session.span, session.dialect))

    def _run_out(self, session: RuntimeSession) -> None:
        if not session.ended or not (session.text or session.settling):
            raise _error("funasr_timeout", "the FunASR server did not answer in time", retryable=True)
        if not session.settling:
            log.warning("FunASR: no last result came in time; what had come is taken")
        self._complete(session)


def _error(code: str, message: str, *, retryable: bool = False, quoted: str = "") -> RecognizerError:
    return RecognizerError(message, adapter=NAME, code=code, retryable=retryable, quoted=quoted)


def _closed(closed: ConnectionClosed, session: RuntimeSession) -> RecognizerError:
    code = closed.rcvd.code if closed.rcvd is not None else 1006
    if closed.sent is not None and closed.sent.code == 1009 and not closed.rcvd_then_sent:
        return _error("funasr_protocol", "the FunASR server sent a message that is too big")
    if code == 1009:
        return _error("funasr_too_big", "the FunASR server, or a proxy before it, refused our audio as too big")
    silent = "" if session.heard else "; it may be a server that dislikes our first message"
    return _error("funasr_closed", f"the FunASR server closed the connection ({code}){silent}", retryable=True)


def _unreachable(url: str, error: Exception) -> RecognizerError:
    """Which of the many ways not to get connected it was."""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = "its certificate is not trusted; set ca_file to it, or verify_tls to false if you know the server"
        return _error("funasr_tls", f"{url}: {advice}")
    if isinstance(error, ssl.SSLError | ConnectionResetError) and url.startswith("wss:"):
        return _error("funasr_tls", f'{url}: no TLS there; if the server runs with --certfile "" or 0, use ws://')
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return _error("funasr_refused", f"{url} refused us with HTTP {status}", retryable=status >= 500)
    if isinstance(error, InvalidMessage | EOFError):
        return _error("funasr_refused", f"{url} does not speak WebSocket; a server with TLS needs wss://")
    if isinstance(error, InvalidHandshake):
        return _error("funasr_refused", f"{url} refused us: {error}")
    return _error("funasr_unreachable", f"the FunASR server at {url} can't be reached", retryable=True)
