"""The sockets of all pages, by session id.

A session here is one socket; one id may own several (tabs, devices) and a push reaches all of them.
Each socket has one bounded outgoing queue and one writer, so messages keep their order and a slow
reader can't hold up the others.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSCloseCode, web

from core.messages import Message, now_ms

logger = logging.getLogger(__name__)

QUEUE_SIZE = 256
"""Messages that may wait for one socket; a reader that falls further behind is dropped."""
SEND_TIMEOUT_S = 3.0
CLOSE_TIMEOUT_S = 1.0
HEARTBEAT_TIMEOUT_S = 90.0

Handler = Callable[["WebSocketSession", Message], Awaitable[None]]


class WebSocketSession:
    """One socket that logged in under a session id. Equality and hash are the socket's identity."""

    def __init__(self, session_id: str, websocket: web.WebSocketResponse) -> None:
        self.session_id = session_id
        self.websocket = websocket
        self.connected_at = time.monotonic()
        self.last_frame = self.connected_at
        self.registrations: dict[str, str] = {}
        """Role ("web", "human") → username it registered under."""
        self._queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_SIZE)
        self._closed = False
        self._writer = asyncio.create_task(self._write(), name=f"ws writer {session_id}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WebSocketSession) and other.websocket is self.websocket

    def __hash__(self) -> int:
        return id(self.websocket)

    @property
    def alive(self) -> bool:
        """Whether messages can still be queued."""
        return not self._closed and not self.websocket.closed

    def touch(self) -> None:
        """A frame arrived."""
        self.last_frame = time.monotonic()

    def send_message(self, message: Message) -> bool:
        """Queue a message. False when the socket is gone or its queue is full (it is then dropped)."""
        if not self.alive:
            return False
        try:
            self._queue.put_nowait(_encoded(message))
        except asyncio.QueueFull:
            logger.warning("socket of session %s reads too slowly: dropped", self.session_id)
            self._writer.cancel()
            self._abort()
            return False
        return True

    async def close(self, code: int = WSCloseCode.OK) -> None:
        """Close the socket and stop the writer. Idempotent; waits `CLOSE_TIMEOUT_S` at the most."""
        first, self._closed = not self._closed, True
        self._writer.cancel()
        await asyncio.wait({self._writer})
        if not first:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.websocket.close(code=code)
        except (ConnectionError, TimeoutError) as error:
            logger.warning("socket of session %s was gone on close: %r", self.session_id, error)
            self._abort()

    async def _write(self) -> None:
        try:
            while True:
                text = await self._queue.get()
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self.websocket.send_str(text)
        except (ConnectionError, TimeoutError) as error:
            logger.warning("socket of session %s: %r", self.session_id, error)
            self._abort()

    def _abort(self) -> None:
        # no closing handshake: one would wait behind everything that the peer does not read
        self._closed = True
        connection = self.websocket.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            try:
                connection.shutdown(socket.SHUT_RDWR)  # wakes the task that reads it, which then forgets the session
            except OSError:
                return  # gone already


def _encoded(message: Message) -> str:
    # a lone surrogate, which JSON can carry, has no place in a text frame
    return json.dumps(message, ensure_ascii=False).encode(errors="replace").decode()


class UnifiedWebSocketManager:
    """Registry of the sockets and of the handlers for their messages."""

    def __init__(self, heartbeat_timeout_s: float = HEARTBEAT_TIMEOUT_S) -> None:
        self._heartbeat_timeout = heartbeat_timeout_s
        self._by_socket: dict[int, WebSocketSession] = {}
        self._by_id: dict[str, set[WebSocketSession]] = {}
        self._handlers: dict[str, Handler] = {}

    def add_session(self, session_id: str | int, websocket: web.WebSocketResponse) -> WebSocketSession:
        """Register a socket. One that is registered already is returned (and moves when the id is another)."""
        key = str(session_id)
        session = self._by_socket.get(id(websocket))
        if session is None:
            session = WebSocketSession(key, websocket)
            self._by_socket[id(websocket)] = session
        elif session.session_id == key:
            logger.warning("socket logged in again as session %s", key)
        else:
            logger.info("socket moves from session %s to %s", session.session_id, key)
            self._forget_id(session)
            session.session_id = key
        self._by_id.setdefault(key, set()).add(session)
        return session

    def get_session(self, websocket: web.WebSocketResponse) -> WebSocketSession | None:
        """The session of a socket."""
        return self._by_socket.get(id(websocket))

    def get_sessions_by_id(self, session_id: str | int) -> set[WebSocketSession]:
        """All sockets of an id (a copy)."""
        return set(self._by_id.get(str(session_id), ()))

    def remove_session(self, websocket: web.WebSocketResponse) -> WebSocketSession | None:
        """Forget a socket; it is not closed."""
        session = self._by_socket.pop(id(websocket), None)
        if session is not None:
            self._forget_id(session)
        return session

    def get_expired_sessions(self) -> list[WebSocketSession]:
        """Sockets without a frame for the heartbeat timeout."""
        limit = time.monotonic() - self._heartbeat_timeout
        return [session for session in self._by_socket.values() if session.last_frame < limit]

    def get_websocket_connections(self) -> dict[str, web.WebSocketResponse]:
        """One socket of every id."""
        return {key: next(iter(sessions)).websocket for key, sessions in self._by_id.items()}

    def all_ids(self) -> list[str]:
        """Every id that has a socket."""
        return list(self._by_id)

    def register_message_handler(self, message_type: str, handler: Handler) -> None:
        """Route messages of a type to a handler. One handler per type."""
        if message_type in self._handlers:
            raise ValueError(f"{message_type!r} has a handler already")
        self._handlers[message_type] = handler

    def handler(self, message_type: str) -> Handler | None:
        """The handler of a type."""
        return self._handlers.get(message_type)

    def broadcast_to_session(
        self,
        session_id: str | int,
        message_type: str,
        content: str,
        source: str = "系统",
        metadata: dict[str, Any] | None = None,
    ) -> int:
        """Push an envelope to every socket of an id; returns how many took it."""
        message = {
            "type": message_type, "content": content, "source": source, "session_id": str(session_id),
            "metadata": metadata or {}, "timestamp": now_ms(),
        }  # fmt: skip
        return self.broadcast_raw_message_to_session(session_id, message)

    def broadcast_raw_message_to_session(self, session_id: str | int, message: Message) -> int:
        """Push a message as it is to every socket of an id; returns how many took it."""
        sessions = self.get_sessions_by_id(session_id)
        reached = sum(session.send_message(message) for session in sessions)
        logger.debug("%s to session %s: %d of %d", message.get("type"), session_id, reached, len(sessions))
        return reached

    async def close_expired(self) -> None:
        """Close the expired sockets gracefully."""
        expired = self.get_expired_sessions()
        for session in expired:
            logger.info("socket of session %s: no heartbeat, closed", session.session_id)
            self.remove_session(session.websocket)
        await asyncio.gather(*(session.close(WSCloseCode.GOING_AWAY) for session in expired))

    async def close_all(self) -> None:
        """Close everything (server shutdown)."""
        sessions = list(self._by_socket.values())
        self._by_socket.clear()
        self._by_id.clear()
        await asyncio.gather(*(session.close(WSCloseCode.GOING_AWAY) for session in sessions))

    def _forget_id(self, session: WebSocketSession) -> None:
        sessions = self._by_id.get(session.session_id)
        if sessions is not None:
            sessions.discard(session)
            if not sessions:
                del self._by_id[session.session_id]
