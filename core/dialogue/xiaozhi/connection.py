"""One WebSocket to a xiaozhi server, with one writer. Never used again after a failure."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus

from core.dialogue.xiaozhi import protocol
from core.dialogue.xiaozhi.endpoint import Endpoint, Options
from core.dialogue.xiaozhi.failure import Failure, Reason, failure_of_close
from core.dialogue.xiaozhi.messages import ServerHello
from core.dialogue.xiaozhi.protocol import read_from_server
from core.dialogue.xiaozhi.recording import MOST_PACKETS

Message = str | bytes

_MOST_WAITING = MOST_PACKETS + 256
"""Messages that wait to be sent: a kept recording, and what comes while it is on its way. Then they are refused."""
_LARGEST = 1024 * 1024
_CLOSE_TIMEOUT_S = 1.0

_wire = logging.getLogger("websockets.xiaozhi")
_wire.setLevel(logging.WARNING)  # its debug lines show the headers, and so the token, and what is said


class _Connect(connect):
    """Follows no redirect: the token goes to the address in the settings and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Connection:
    """Made together with the socket, after both hellos. `clock`: seconds, of the event loop by default."""

    def __init__(self, socket: ClientConnection, options: Options, clock: Callable[[], float]) -> None:
        self._socket = socket
        self._options = options
        self._clock = clock
        self._waiting: deque[tuple[Message, asyncio.Future[bool]]] = deque()
        self._more = asyncio.Event()
        self._over = False
        self.heard_at = clock()
        """When something last came from the server."""
        self.hello = ServerHello()
        """The server's."""
        self.paused = False
        """Nothing is read, so that nothing can be heard: the listener has not enough room."""

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        options: Options,
        *,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] | None = None,
    ) -> Connection:
        """Connect, authenticate, exchange hellos. Raises `Failure`."""
        try:
            socket = await _Connect(
                endpoint.url,
                additional_headers=endpoint.headers(),
                ssl=tls if endpoint.url.startswith("wss:") else None,
                proxy=None if endpoint.on_this_machine else True,
                compression=None,
                open_timeout=options.connect_timeout_s,
                close_timeout=_CLOSE_TIMEOUT_S,
                ping_interval=None,  # `beat` pings; a listener that takes its time is no reason to hang up
                max_size=_LARGEST,
                logger=_wire,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            reason = Reason.UNREACHABLE if status >= 500 or status == 429 else Reason.REFUSED
            raise Failure(reason, f"HTTP {status}") from None
        except ssl.SSLCertVerificationError as error:
            raise Failure(Reason.CERTIFICATE, error.verify_message) from None
        except (OSError, TimeoutError, InvalidHandshake, InvalidProxy, ImportError) as error:
            raise Failure(Reason.UNREACHABLE, type(error).__name__) from None
        connection = cls(socket, options, clock or asyncio.get_running_loop().time)
        try:
            await connection._exchange_hellos(endpoint.version)
        except BaseException:
            await connection.close()
            raise
        return connection

    def send(self, message: Message) -> asyncio.Future[bool]:
        """Have it sent, after what was given before. The future tells whether it was; it never fails."""
        sent: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._over or len(self._waiting) >= _MOST_WAITING:
            sent.set_result(False)
        else:
            self._waiting.append((message, sent))
            self._more.set()
        return sent

    async def write(self) -> None:
        """The one writer. Raises `Failure` when the connection is over."""
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            message, sent = self._waiting[0]
            await self._write(message)
            self._waiting.popleft()
            _resolve(sent, True)

    async def receive(self) -> Message:
        """The next message. Raises `Failure` when the connection is over."""
        try:
            message = await self._socket.recv()
        except ConnectionClosed as error:
            raise failure_of_close(error.rcvd.code if error.rcvd else 1006) from None
        self.heard_at = self._clock()
        return message

    async def beat(self) -> None:
        """Ping, and notice a server that is gone. Raises `Failure`; does not return."""
        options = self._options
        while True:
            await asyncio.sleep(min(options.ping_s, options.silent_s / 4))
            if self.paused:
                self.heard_at = self._clock()
            elif self._clock() - self.heard_at >= options.silent_s:
                raise Failure(Reason.SILENT, f"nothing for {options.silent_s:g} s")
            try:
                pong = cast("asyncio.Future[float]", await self._socket.ping())
            except ConnectionClosed:
                await asyncio.Event().wait()  # the reader knows why, and ends this
            pong.add_done_callback(self._ponged)

    async def close(self) -> None:
        """Say goodbye; takes a second at most. What waits is not sent. Idempotent."""
        self._over = True
        for _, sent in self._waiting:
            _resolve(sent, False)
        self._waiting.clear()
        await self._socket.close()

    async def _exchange_hellos(self, version: int) -> None:
        hello = protocol.hello(version, frame_ms=self._options.frame_ms, aec=self._options.aec)
        try:
            async with asyncio.timeout(self._options.hello_timeout_s):
                await self._write(protocol.encode(hello) or "")
                while True:
                    message = await self.receive()
                    answer = read_from_server(message) if isinstance(message, str) else None
                    if isinstance(answer, ServerHello):  # anything else before it is ignored
                        self.hello = answer
                        return
        except TimeoutError:
            raise Failure(Reason.NO_HELLO, f"within {self._options.hello_timeout_s:g} s") from None

    async def _write(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._options.send_timeout_s):
                await self._socket.send(message)
        except ConnectionClosed as error:
            raise failure_of_close(error.rcvd.code if error.rcvd else 1006) from None
        except TimeoutError:
            raise Failure(Reason.SILENT, "it takes no more") from None

    def _ponged(self, pong: asyncio.Future[float]) -> None:
        if not pong.cancelled() and pong.exception() is None:
            self.heard_at = self._clock()


def _resolve(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():  # who waited may have been cancelled
        future.set_result(value)
