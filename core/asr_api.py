"""`/api/asr`: FunASR's runtime protocol with our recogniser behind it. FunASR's own clients and LiveTalking's page use
it unchanged.

A client sends what it wants (JSON), sound (s16le, mono, messages of any size) and `{"is_speaking": false}`; it gets
the words. One connection may carry many utterances, one after the other.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from core.asr_dialect import Answer, AsrDialect, Growing, Heard
from core.asr_pcm import PcmIntake
from core.errors import BadRequest, EmanError, RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from core.stages import Recognizer, RecognizerStream
from core.websocket_session import TRANSPORT, close_websocket

logger = logging.getLogger(__name__)

MAX_MESSAGE = 4 << 20
"""Bytes; a larger one closes the connection with 1009."""
LEAST_SAMPLES = LISTEN_RATE // 50
"""Less sound than this is no speech."""
IDLE_S = 300.0
"""A client that says nothing for so long is sent away."""
SEND_TIMEOUT_S = 5.0
MAX_PROBLEMS = 20
"""Messages of one connection that make no sense, before it is closed with 1008."""
FRAMES_IN_A_ROW = 32
"""Messages of one client that are handled before others get their turn."""


class AsrAccess(Protocol):
    """Who may be recognised (`core.access`)."""

    def admit(self, request: web.Request) -> str:
        """The client's address. Raises `web.HTTPForbidden` or an `EmanError` for a page of a foreign origin."""

    def may_open(self, request: web.Request, token: str | None) -> None:
        """Raises `Unauthorized`, `RateLimited`."""


class AsrApi:
    """The route. `max_turn_s`: sound of one utterance, more is ignored and said to be; `timeout_s`: for its words.

    At most `max_connections` at a time, a quarter of them from one address. A token goes into the query or a header.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        access: AsrAccess,
        *,
        max_turn_s: float,
        timeout_s: float,
        max_connections: int = 32,
    ) -> None:
        self._recognizer = recognizer
        self._access = access
        self._max_turn_s = max_turn_s
        self._timeout_s = timeout_s
        self._max_connections = max_connections
        self._addresses: Counter[str] = Counter()
        self._sockets: set[web.WebSocketResponse] = set()

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [web.get("/api/asr", self.handle)]

    async def close(self) -> None:
        """Send all clients away. Idempotent."""
        going = [close_websocket(socket, WSCloseCode.GOING_AWAY, "of /api/asr") for socket in self._sockets]
        await asyncio.gather(*going)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until it closes."""
        address = self._access.admit(request)
        self._access.may_open(request, request.query.get("token"))
        full = self._addresses.total() >= self._max_connections
        if full or self._addresses[address] >= max(1, self._max_connections // 4):
            raise web.HTTPServiceUnavailable(text="too many recognitions at a time")
        self._addresses[address] += 1
        socket = web.WebSocketResponse(protocols=("binary",), max_msg_size=MAX_MESSAGE, compress=False)
        try:
            await socket.prepare(request)
            socket[TRANSPORT] = request.transport
            self._sockets.add(socket)
            await _Connection(socket, self._utterance).serve(self._timeout_s)
        except ConnectionError:
            pass  # the client left
        finally:
            self._sockets.discard(socket)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]
        return socket

    def _utterance(self, rate: int, heard: Callable[[], None]) -> _Utterance:
        return _Utterance(self._recognizer, PcmIntake(rate, self._max_turn_s), heard)


class _Utterance:
    """One utterance on its way to the recogniser, which is troubled only once there is enough sound."""

    def __init__(self, recognizer: Recognizer, intake: PcmIntake, heard: Callable[[], None]) -> None:
        self._recognizer = recognizer
        self._intake = intake
        self._heard = heard
        self._first: list[Samples] = []
        self._stream: RecognizerStream | None = None
        self._over = False
        self.words = Growing()
        self.error: EmanError | None = None

    def push(self, data: bytes) -> None:
        """The client's next bytes."""
        if self.error is not None:
            return
        try:
            samples = self._intake.take(data)
            if self._stream is not None:
                self._stream.push(samples)
                return
            self._first.append(samples)
            if self._intake.count >= LEAST_SAMPLES:
                self._stream = self._recognizer.open(self._on_partial)
                for piece in self._first:
                    self._stream.push(piece)
                self._first.clear()
        except (BadRequest, RecognizerError) as error:
            self.error = error

    async def finish(self, timeout_s: float) -> Transcript | None:
        """The words; None if there are none, `error` may say why."""
        self._over = True
        if self._stream is None or self.error is not None:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                transcript = await self._stream.finish()
        except TimeoutError:
            self.error = RecognizerError("the recogniser did not answer in time", retryable=True)
            return None
        except RecognizerError as error:
            self.error = error
            return None
        if self._intake.truncated:
            seconds = self._intake.count / LISTEN_RATE
            self.error = BadRequest(f"only the first {seconds:g} seconds were recognised", code="too_long")
        return transcript

    async def drop(self) -> None:
        """Free what it holds. Idempotent."""
        self._over = True
        if self._stream is not None:
            await self._stream.cancel()

    def _on_partial(self, transcript: Transcript) -> None:
        if not self._over:
            self.words.update(transcript.text)
            self._heard()


class _Connection:
    """One client."""

    def __init__(self, socket: web.WebSocketResponse, begin: Callable[[int, Callable[[], None]], _Utterance]) -> None:
        self._socket = socket
        self._begin = begin
        self._dialect = AsrDialect()
        self._utterance: _Utterance | None = None
        self._news = asyncio.Event()
        self._sending = asyncio.Lock()
        self._problems = 0

    async def serve(self, timeout_s: float) -> None:
        """Until it closes. Raises `ConnectionError` when it is gone."""
        teller = asyncio.create_task(self._tell(), name="asr partials")
        try:
            in_a_row = 0
            while self._problems < MAX_PROBLEMS:
                message = await self._socket.receive(timeout=IDLE_S)
                if message.type is WSMsgType.TEXT:
                    await self._on_text(message.data, timeout_s)
                elif message.type is WSMsgType.BINARY:
                    self._on_sound(message.data)
                else:
                    return
                in_a_row = (in_a_row + 1) % FRAMES_IN_A_ROW
                if not in_a_row:
                    await asyncio.sleep(0)
            await close_websocket(self._socket, WSCloseCode.POLICY_VIOLATION, "of /api/asr")
        except TimeoutError:
            logger.info("/api/asr: a client is silent, or does not read: closed")
            await close_websocket(self._socket, WSCloseCode.POLICY_VIOLATION, "of /api/asr")
        finally:
            teller.cancel()
            try:
                await asyncio.wait({teller})
            finally:  # also when the server cancels us for a connection that is lost
                if self._utterance is not None:
                    await self._utterance.drop()

    async def _on_text(self, text: str, timeout_s: float) -> None:
        before = self._dialect.fault
        try:
            heard = self._dialect.receive(text)
        except BadRequest as error:
            self._problems += 1
            await self._send(self._dialect.problem(error))
            return
        if self._dialect.fault is not None and self._dialect.fault is not before and not heard.end:
            await self._send(self._dialect.problem(self._dialect.fault))
        if heard.end:
            await self._end(heard, timeout_s)

    def _on_sound(self, data: bytes) -> None:
        if self._dialect.fault is not None:
            return
        if self._utterance is None:
            self._utterance = self._begin(self._dialect.config.audio_fs, self._news.set)
        self._utterance.push(data)

    async def _end(self, heard: Heard, timeout_s: float) -> None:
        utterance, fault = self._utterance, self._dialect.fault
        transcript, text = None, ""
        error: EmanError | None = fault
        if utterance is not None:
            transcript = await utterance.finish(timeout_s) if fault is None else None
            await utterance.drop()
            error = fault or utterance.error
            text = transcript.text if transcript is not None else ""
            if self._dialect.config.mode == "online":
                text = utterance.words.rest(text)
        self._utterance, self._dialect.fault = None, None
        if error is not None:
            logger.info("/api/asr: an utterance was not recognised, or not all of it: %s", error.loggable)
        for answer in self._dialect.result(text, transcript, error, heard):
            await self._send(answer)

    async def _tell(self) -> None:
        """Sends what is newly known while the client speaks."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                utterance = self._utterance
                if utterance is not None and self._dialect.config.mode != "offline" and (new := utterance.words.take()):
                    await self._send(self._dialect.partial(new))
        except (ConnectionError, TimeoutError):
            return  # the reader finds out too

    async def _send(self, answer: Answer) -> None:
        async with self._sending, asyncio.timeout(SEND_TIMEOUT_S):
            await self._socket.send_str(json.dumps(answer, ensure_ascii=False))
