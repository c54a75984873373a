"""One socket that logged in under a session id: its outgoing queue, its one writer, its way to end."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from core.messages import CHANNEL_TYPES, Message

logger = logging.getLogger(__name__)

QUEUE_SIZE = 256
"""Messages that may wait for one socket; a reader that falls further behind is dropped."""
QUEUE_BYTES = 4 << 20
SEND_TIMEOUT_S = 3.0
"""A socket that takes not one message for so long is dropped."""
CLOSE_TIMEOUT_S = 1.0
TRANSPORT: web.ResponseKey[asyncio.Transport | None] = web.ResponseKey("transport", asyncio.Transport)
"""Key under which the router keeps the connection's transport in the `WebSocketResponse`."""

_connections = itertools.count(1)


class BinaryReceiver(Protocol):
    """Who takes a socket's binary frames (a `WebSocketServiceBase`)."""

    def binary(self, socket: WebSocketSession, data: bytes) -> Awaitable[object]:
        """One binary frame."""


class _Frame(NamedTuple):
    data: bytes
    number: int | None
    """The client's count once it has this; None for what it doesn't count."""
    opcode: WSMsgType = WSMsgType.TEXT


class WebSocketSession:
    """One socket that logged in under a session id. Equality and hash are the socket's identity.

    `send_message` and `push` only queue, from the event loop; one writer sends. The writer keeps the count that the
    client must have arrived at and sends `sync` before it could become wrong, and at the end of each batch.
    """

    def __init__(
        self,
        session_id: str,
        websocket: web.WebSocketResponse,
        number: Callable[[WebSocketSession], int] | None = None,
        send_timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        self._number = number
        self._send_timeout = send_timeout_s
        self.session_id = session_id
        self.websocket = websocket
        self.connection = f"c{next(_connections)}"
        """Names the socket in logs and on the dashboard."""
        self.connected_at = time.monotonic()
        self.last_frame = self.connected_at
        """When the client last sent a message. Pongs don't count: a browser answers pings for a page that hangs."""
        self.last_sign = self.connected_at
        """When anything came, a pong included."""
        self.pinged = False
        self.busy = False
        """A message of it is being handled; until that is done nothing more is read, so its silence says nothing."""
        self.registrations: dict[str, str] = {}
        """Role ("web", "human") → username it registered under."""
        self.binary_to: BinaryReceiver | None = None
        """The service that gets this socket's binary frames; set by that service."""
        self._queue: deque[_Frame] = deque()
        self._queued_bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._tail = 0  # the client's true count once all that is queued is sent
        self._count = 0  # the client's own count so far
        self._synced = True
        self._closed = False
        self.dropped = False
        """We cut it off: it read too slowly, or gave no sign of life."""
        self._writer = asyncio.create_task(self._write(), name=f"ws writer {self.connection}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WebSocketSession) and other.websocket is self.websocket

    def __hash__(self) -> int:
        return id(self.websocket)

    @property
    def alive(self) -> bool:
        """Whether messages can still be queued."""
        return not self._closed and not self.websocket.closed

    @property
    def queued(self) -> int:
        """Messages that wait to be sent."""
        return len(self._queue)

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent."""
        return self._queued_bytes

    def touch(self, *, pong: bool = False) -> None:
        """A frame arrived."""
        self.last_sign = time.monotonic()
        self.pinged = False
        if not pong:
            self.last_frame = self.last_sign

    def send_message(self, message: Message) -> bool:
        """Queue a message for this socket only. False when the socket is gone or its queue is full (it is dropped).

        It takes a number of its session, unless it is about the channel, but is not kept for a return.
        """
        if message.get("type") in CHANNEL_TYPES:
            return self._put(_Frame(encode(message), None))
        data = encode(message)
        if not self.alive:
            return False
        return self.push(data, self._number(self) if self._number is not None else self._tail + 1)

    def push(self, data: bytes, number: int) -> bool:
        """Queue an encoded message of the session with its number. False as for `send_message`."""
        self._tail = number
        return self._put(_Frame(data, number))

    def skip(self, number: int) -> None:
        """The session's message of that number is not for this socket: its client is told the number only."""
        self._tail = number
        self._awake()

    def begin(self, last: int) -> None:
        """Belong to a session whose newest message has this number: the client is told so by the next batch's end."""
        self._tail = last
        self._synced = False
        self._awake()

    def replay(self, messages: Iterable[tuple[int, bytes]]) -> None:
        """Queue numbered messages of the session that the client has missed: one batch, bounded by the log."""
        for number, data in messages:
            self._queue.append(_Frame(data, number))
            self._queued_bytes += len(data)
        self._awake()

    def send_control(self, opcode: WSMsgType, data: bytes = b"") -> None:
        """Queue a ping or a pong."""
        self.pinged = self.pinged or opcode is WSMsgType.PING
        self._put(_Frame(data, None, opcode))

    async def has_room(self) -> None:
        """Wait while the queue is half full, so that nobody can overrun it with questions."""
        while self.alive and len(self._queue) > QUEUE_SIZE // 2:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await self._room

    async def close(self, code: int = WSCloseCode.OK) -> None:
        """Close the socket and stop the writer. Idempotent; waits `CLOSE_TIMEOUT_S` at the most."""
        first, self._closed = not self._closed, True
        self._writer.cancel()
        self._release_room()
        await asyncio.wait({self._writer})
        if first:
            await close_websocket(self.websocket, code, self.connection)

    def drop(self, why: str) -> None:
        """Cut the socket off."""
        self.dropped = self.dropped or not self._closed
        self._abort(why)

    def _abort(self, why: str) -> None:
        # without a closing handshake, which would wait behind what the peer does not read
        if self._closed:
            return
        self._closed = True
        logger.warning("socket %s of session %s: %s", self.connection, self.session_id, why)
        self._queue.clear()
        self._release_room()
        self._writer.cancel()
        cut(self.websocket)

    def _put(self, frame: _Frame) -> bool:
        if not self.alive:
            return False
        full = len(self._queue) >= QUEUE_SIZE or self._queued_bytes + len(frame.data) > QUEUE_BYTES
        if full and self._queue:
            self.drop("reads too slowly: dropped")
            return False
        self._queue.append(frame)
        self._queued_bytes += len(frame.data)
        self._awake()
        return True

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _release_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                if not self._queue and self._synced and self._count == self._tail:
                    self._wake = loop.create_future()
                    await self._wake
                    continue
                async with asyncio.timeout(self._send_timeout) as patience:
                    await self._send_batch(loop, patience)
                self._release_room()
        except TimeoutError:
            self.drop(f"took nothing for {self._send_timeout:g} s: dropped")
        except ConnectionError as error:
            self._abort(repr(error))

    async def _send_batch(self, loop: asyncio.AbstractEventLoop, patience: asyncio.Timeout) -> None:
        began = loop.time()
        while self._queue:
            frame = self._queue.popleft()
            self._queued_bytes -= len(frame.data)
            if frame.number is not None and self._count != frame.number - 1:
                await self._sync(frame.number - 1)
            await self.websocket.send_frame(frame.data, frame.opcode)
            if frame.number is not None:
                self._count, self._synced = frame.number, False
            if loop.time() - began > self._send_timeout / 10:  # slow, yet it reads: the time is for each message
                began = loop.time()
                patience.reschedule(began + self._send_timeout)
        if not self._synced or self._count != self._tail:
            await self._sync(self._tail)

    async def _sync(self, count: int) -> None:
        self._count, self._synced = count, True
        await self.websocket.send_frame(b'{"type":"sync","seq":%d}' % count, WSMsgType.TEXT)


def encode(message: Message) -> bytes:
    """A message as the text frame that carries it. Raises `TypeError`, `ValueError` for what JSON can't hold."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode(errors="replace")  # a lone surrogate, which JSON can carry, has no place in a text frame


async def close_websocket(websocket: web.WebSocketResponse, code: int, name: str) -> None:
    """Close with a handshake of `CLOSE_TIMEOUT_S` at the most, then without one."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await websocket.close(code=code)
    except (ConnectionError, TimeoutError) as error:
        logger.warning("socket %s did not take part in closing: %r", name, error)
        cut(websocket)


def cut(websocket: web.WebSocketResponse) -> None:
    """Drop the connection at once; the task that reads it then ends."""
    transport = websocket.get(TRANSPORT)
    if transport is not None:
        transport.abort()
