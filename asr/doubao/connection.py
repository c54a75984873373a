"""One WebSocket to Doubao, with the numbers of its messages. Never used again after a failure."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus
from websockets.http11 import Response

from asr.doubao.endpoint import Endpoint
from asr.doubao.errors import (
    CERTIFICATE,
    CLOSED,
    LOST,
    MALFORMED,
    PROXY,
    SILENT,
    UNREACHABLE,
    Failure,
    rule_for,
    rule_for_status,
)
from asr.doubao.options import Options
from asr.doubao.protocol import MAX_PAYLOAD, Frame, MessageType, ProtocolError, decode
from asr.doubao.request import RecognitionConfig, RequestBuilder
from asr.doubao.response import error_text

log = logging.getLogger(__name__)

_CLEAN_CLOSES = (1000, 1001, 1005)
_CLOSE_TIMEOUT_S = 1.0
_NUMBERS_LOGGED = 12
"""Bytes of a frame's beginning that hold header, sequence and size, and no audio."""

_wire = logging.getLogger("websockets.doubao")
_wire.setLevel(logging.WARNING)  # its debug lines show the headers, and so our keys


class _Connect(connect):
    """Follows no redirect: our keys go to the host in the settings and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Connection:
    """Made together with the socket. `seq` is the number of the next message: 1 for the full request.

    `lock` is held over taking a number, sending and counting on, so that a number is neither used twice nor left out
    whoever sends; it counts only what was sent. One reader at a time.
    """

    def __init__(self, socket: ClientConnection, endpoint: Endpoint, options: Options, *, numbered: bool) -> None:
        self.log_id = _log_id(socket.response)
        self.seq = 1
        self.lock = asyncio.Lock()
        self._socket = socket
        self._endpoint = endpoint
        self._send_timeout = options.send_timeout_s
        self._numbered = numbered
        self._sent: deque[bytes] = deque(maxlen=4)

    @classmethod
    async def open(
        cls, endpoint: Endpoint, options: Options, *, numbered: bool, tls: ssl.SSLContext | None = None
    ) -> Connection:
        """Connect and authenticate. Raises `Failure`."""
        try:
            socket = await _Connect(
                endpoint.url,
                additional_headers=endpoint.headers(),
                ssl=tls if endpoint.url.startswith("wss:") else None,
                proxy=None if endpoint.on_this_machine else True,
                compression=None,  # audio does not shrink
                open_timeout=options.connect_timeout_s,
                close_timeout=_CLOSE_TIMEOUT_S,
                ping_interval=None,  # the service is slow to answer pings while it takes audio
                max_size=MAX_PAYLOAD,
                logger=_wire,
            )
        except InvalidStatus as error:
            rule = rule_for_status(error.response.status_code)
            raise Failure(rule, log_id=_log_id(error.response)) from None
        except ssl.SSLCertVerificationError as error:
            raise Failure(CERTIFICATE, error.verify_message) from None
        except (InvalidProxy, ImportError) as error:
            raise Failure(PROXY, type(error).__name__) from None
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise Failure(UNREACHABLE, type(error).__name__) from None
        connection = cls(socket, endpoint, options, numbered=numbered)
        log.info("connected to doubao, X-Tt-Logid %s", connection.log_id)
        return connection

    async def send_request(self, config: RecognitionConfig) -> None:
        """The full client request: the first message. Raises `Failure`."""
        await self._send(lambda seq: RequestBuilder.new_full_client_request(seq, config))

    async def send_audio(self, data: bytes, is_last: bool = False) -> None:
        """One packet. Raises `Failure`; then the connection is of no use any more."""
        await self._send(lambda seq: RequestBuilder.new_audio_only_request(seq, data, is_last))

    async def receive(self) -> Frame:
        """The next full response. Raises `Failure`: closed, malformed, or what an error frame says."""
        while True:
            try:
                message = await self._socket.recv()
            except ConnectionClosed as error:
                code = error.rcvd.code if error.rcvd else 1006
                raise Failure(CLOSED if code in _CLEAN_CLOSES else LOST, f"close code {code}") from None
            if isinstance(message, str):
                raise Failure(MALFORMED, "a text message")
            try:
                frame = decode(message)
            except ProtocolError as error:
                raise Failure(MALFORMED, str(error)) from None
            if frame.type is MessageType.FULL_RESPONSE:
                return frame
            if frame.type is MessageType.ERROR:
                raise self._error(frame)
            if frame.type is not MessageType.ACK:
                raise Failure(MALFORMED, f"a message of type {frame.type.name}")

    async def close(self) -> None:
        """Say goodbye; takes a second at most. Idempotent."""
        await self._socket.close()

    def abort(self) -> None:
        """Leave without a word, at once."""
        self._socket.transport.abort()

    async def _send(self, build: Callable[[int | None], bytes]) -> None:
        async with self.lock:
            if self._socket.transport.is_closing():
                raise Failure(LOST, "while sending")
            message = build(self.seq if self._numbered else None)
            self._sent.append(message[:_NUMBERS_LOGGED])
            try:
                async with asyncio.timeout(self._send_timeout):
                    await self._socket.send(message)
            except ConnectionClosed:
                raise Failure(LOST, "while sending") from None
            except TimeoutError:
                raise Failure(SILENT, "it takes no more audio") from None
            self.seq += 1

    def _error(self, frame: Frame) -> Failure:
        rule = rule_for(frame.code or 0)
        if rule.code == "45000000":
            log.warning("doubao could not decode one of: %s", ", ".join(part.hex(" ") for part in self._sent))
        return Failure(rule, self._endpoint.masked(error_text(frame.payload)))


def _log_id(response: Response | None) -> str:
    """What the vendor's support asks for."""
    values = response.headers.get_all("X-Tt-Logid") if response else []
    return "".join(filter(str.isprintable, " ".join(values)))[:100] or "-"
