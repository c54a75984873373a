"""The sockets of all pages, by session id, and what each id was told last.

A session here is one socket; one id may own several (tabs, devices) and a push reaches all of them. What is pushed
to an id is numbered and kept for a while, so that a socket which comes back gets what it missed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web

from core.message_log import MessageLog, Missed
from core.messages import Message, envelope, now_ms
from core.thread_push import ThreadPush
from core.websocket_session import SEND_TIMEOUT_S, WebSocketSession, encode

__all__ = ["Delivery", "Handler", "UnifiedWebSocketManager", "WebSocketSession"]

logger = logging.getLogger(__name__)

PING_S = 20.0
"""A socket that is quiet for so long is pinged."""
PONG_S = 10.0
"""A pinged socket that stays quiet for so much longer is gone."""
MAX_ORPHANS = 4096
"""Logs kept for ids without session and socket; beyond, the oldest go early."""

MAX_ORPHAN_BYTES = 64 << 20
"""The same for what they hold in all."""

Handler = Callable[[WebSocketSession, Message], Awaitable[None]]


class Delivery(NamedTuple):
    """What became of a push."""

    reached: int
    """Sockets that took it."""
    sockets: int
    """Sockets that it was for."""


class UnifiedWebSocketManager:
    """Registry of the sockets, of their ids' message logs and of the handlers for their messages.

    Everything but `push_from_thread` is for the event loop's thread. `heartbeat_timeout_s`: a socket that sends no
    message for so long is closed; `resume_s`: how long an id without session and socket keeps its messages;
    `send_timeout_s`: a socket that takes no message for so long is dropped.
    """

    def __init__(
        self, *, heartbeat_timeout_s: float = 90.0, resume_s: float = 30.0, send_timeout_s: float = SEND_TIMEOUT_S
    ) -> None:
        self._heartbeat_timeout = heartbeat_timeout_s
        self._send_timeout = send_timeout_s
        self._resume = resume_s
        self._by_socket: dict[int, WebSocketSession] = {}
        self._by_id: dict[str, set[WebSocketSession]] = {}
        self._handlers: dict[str, Handler] = {}
        self._logs: dict[str, MessageLog] = {}
        self._orphans: dict[str, float] = {}  # id → when its log may go; oldest first
        self.dropped = 0
        """Sockets dropped so far because they read too slowly or gave no sign of life."""
        self._highest = 0  # number of any log so far: those to come begin above it
        self._threads = ThreadPush()

    async def start(self) -> None:
        """Take pushes from other threads from now on."""
        self.attach(asyncio.get_running_loop())

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """As `start`, for a loop of one's own; to be called on its thread."""
        self._threads.attach(loop)

    # -- registry

    def add_session(self, session_id: str | int, websocket: web.WebSocketResponse) -> WebSocketSession:
        """Register a socket. One that is registered already is returned (and moves when the id is another)."""
        key = str(session_id)
        session = self._by_socket.get(id(websocket))
        if session is not None and session.session_id == key:
            logger.warning("socket %s logged in again as session %s", session.connection, key)
            session.begin(self._log(key).last)
            return session
        if session is None:
            session = WebSocketSession(key, websocket, self._number, self._send_timeout)
            self._by_socket[id(websocket)] = session
        else:
            logger.info("socket %s moves from session %s to %s", session.connection, session.session_id, key)
            self._forget_id(session)
            session.session_id = key
        self._by_id.setdefault(key, set()).add(session)
        session.begin(self._log(key).last)
        return session

    def missed(self, session_id: str | int, last_seq: int) -> Missed:
        """What a client of this id with this count has not seen."""
        log = self._logs.get(str(session_id))
        return log.since(last_seq) if log is not None else Missed((), last_seq == 0)

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
            self.dropped += session.dropped
            self._forget_id(session)
        return session

    def get_expired_sessions(self) -> list[WebSocketSession]:
        """Sockets without a message for the heartbeat timeout."""
        limit = time.monotonic() - self._heartbeat_timeout
        return [session for session in self._by_socket.values() if session.last_frame < limit and not session.busy]

    def get_websocket_connections(self) -> dict[str, web.WebSocketResponse]:
        """One socket of every id."""
        return {key: next(iter(sessions)).websocket for key, sessions in self._by_id.items()}

    def all_ids(self) -> list[str]:
        """Every id that has a socket."""
        return list(self._by_id)

    def sockets(self) -> list[WebSocketSession]:
        """Every socket that is logged in (a copy)."""
        return list(self._by_socket.values())

    def describe(self, sockets: Iterable[WebSocketSession] | None = None) -> list[dict[str, Any]]:
        """These sockets (or all), for the dashboard: connection, session_id, age_s, idle_s, queued, alive, roles."""
        now = time.monotonic()
        return [
            {
                "connection": session.connection,
                "session_id": session.session_id,
                "age_s": round(now - session.connected_at, 1),
                "idle_s": round(now - session.last_frame, 1),
                "queued": session.queued,
                "alive": session.alive,
                "roles": dict(session.registrations),
            }
            for session in (self._by_socket.values() if sockets is None else sockets)
        ]

    # -- handlers

    def register_message_handler(self, message_type: str, handler: Handler) -> None:
        """Route messages of a type to a handler. One handler per type."""
        if message_type in self._handlers:
            raise ValueError(f"{message_type!r} has a handler already")
        self._handlers[message_type] = handler

    def handler(self, message_type: str) -> Handler | None:
        """The handler of a type."""
        return self._handlers.get(message_type)

    # -- delivery

    def deliver(
        self,
        session_id: str | int,
        message: Message,
        *,
        wants: Callable[[WebSocketSession], bool] | None = None,
    ) -> Delivery:
        """Push a message to the sockets of an id, or to those of them that `wants` picks. Never waits.

        Raises `TypeError` or `ValueError` for a message that JSON can't hold.
        """
        return self._deliver(str(session_id), encode(message), str(message.get("type")), wants)

    def broadcast_to_session(
        self,
        session_id: str | int,
        message_type: str,
        content: str,
        source: str = "系统",
        metadata: dict[str, Any] | None = None,
    ) -> int:
        """Push an envelope to every socket of an id; returns how many took it."""
        message = envelope(message_type, content, source, str(session_id), metadata)
        return self.deliver(session_id, message).reached

    def broadcast_raw_message_to_session(self, session_id: str | int, message: Message) -> int:
        """Push a message as it is to every socket of an id; returns how many took it."""
        return self.deliver(session_id, message).reached

    def broadcast_to_all(self, message: Message) -> Delivery:
        """Push a message to every socket; ids whose messages are kept for a return get it too."""
        data, kind = encode(message), str(message.get("type"))
        deliveries = [self._deliver(key, data, kind, None) for key in list(self._logs)]
        return Delivery(sum(d.reached for d in deliveries), sum(d.sockets for d in deliveries))

    def push_from_thread(self, session_id: str | int, message: Message, timeout_s: float = 5.0) -> int:
        """Push from any thread; returns how many sockets took it.

        Waits `timeout_s` at the most; what was given up is never delivered. Returns 0 and logs a line when the
        server is not running or nobody is connected. On the loop's own thread it delivers at once.
        """
        key, data, kind = str(session_id), encode(message), str(message.get("type"))
        reached = self._threads.push(lambda: self._deliver(key, data, kind, None).reached, timeout_s)
        if not reached:
            logger.info("%s from a thread reached no socket of session %s", kind, key)
        return reached

    def _deliver(self, key: str, data: bytes, kind: str, wants: Callable[[WebSocketSession], bool] | None) -> Delivery:
        log = self._logs.get(key)
        if log is None:
            logger.debug("%s to session %s: nobody is connected", kind, key)
            return Delivery(0, 0)
        number = log.append(data)
        reached = sockets = 0
        for session in tuple(self._by_id.get(key, ())):
            if wants is not None and not wants(session):
                session.skip(number)
                continue
            sockets += 1
            taken = session.push(data, number)
            reached += taken
            if logger.isEnabledFor(logging.DEBUG):
                _trace(session, kind, number, taken)
        logger.debug("%s #%d to session %s: %d of %d", kind, number, key, reached, sockets)
        return Delivery(reached, sockets)

    def _number(self, session: WebSocketSession) -> int:
        """The number of a message that is for one socket: the others of its id count it too."""
        log = self._logs.get(session.session_id)
        if log is None:  # forgotten meanwhile: nobody will ask for the number
            return now_ms()
        number = log.append()
        for other in self._by_id.get(session.session_id, ()):
            if other != session:
                other.skip(number)
        return number

    # -- logs

    def keep(self, session_id: str | int) -> None:
        """Keep what is pushed to this id, sockets or not, until `release`."""
        self._log(str(session_id)).kept = True

    def release(self, session_id: str | int) -> None:
        """The session is over: its messages go once its sockets do and `resume_s` has passed."""
        key = str(session_id)
        if (log := self._logs.get(key)) is not None:
            log.kept = False
            self._orphan(key)

    def _log(self, key: str) -> MessageLog:
        self._orphans.pop(key, None)
        log = self._logs.get(key)
        if log is None:
            # above the numbers of this id's earlier log, however fast that one counted
            log = self._logs[key] = MessageLog(max(now_ms(), self._highest + 1))
        return log

    def _orphan(self, key: str) -> None:
        log = self._logs.get(key)
        if log is None or log.kept or key in self._by_id:
            return
        self._orphans[key] = time.monotonic() + self._resume
        if len(self._orphans) > MAX_ORPHANS:
            self._drop_log(next(iter(self._orphans)))

    def _drop_log(self, key: str) -> None:
        del self._orphans[key]
        self._highest = max(self._highest, self._logs.pop(key).last)

    # -- housekeeping

    async def close_expired(self) -> None:
        """One round of housekeeping: quiet sockets are pinged, silent ones closed, old logs dropped."""
        now = time.monotonic()
        held = sum(self._logs[key].size for key in self._orphans)
        for key, until in list(self._orphans.items()):
            if until > now and held <= MAX_ORPHAN_BYTES:
                break
            held -= self._logs[key].size
            self._drop_log(key)
        expired = self.get_expired_sessions()
        for session in expired:
            logger.info("socket %s of session %s: no heartbeat, closed", session.connection, session.session_id)
            self.remove_session(session.websocket)
        await self._ping_quiet()
        await asyncio.gather(*(session.close(WSCloseCode.GOING_AWAY) for session in expired))

    async def _ping_quiet(self) -> None:
        for index, session in enumerate(self.sockets()):
            quiet = 0.0 if session.busy else time.monotonic() - session.last_sign
            if quiet > PING_S + PONG_S:
                session.drop(f"no sign of life for {quiet:.0f} s")
            elif quiet > PING_S and not session.pinged:
                session.send_control(WSMsgType.PING)
            if index % 200 == 199:
                await asyncio.sleep(0)  # a crowd's pings must not hold up messages

    async def close_all(self) -> None:
        """Close everything (server shutdown)."""
        self._threads.detach()
        sessions = self.sockets()
        self._by_socket.clear()
        self._by_id.clear()
        self._logs.clear()
        self._orphans.clear()
        await asyncio.gather(*(session.close(WSCloseCode.GOING_AWAY) for session in sessions))

    def _forget_id(self, session: WebSocketSession) -> None:
        sessions = self._by_id.get(session.session_id)
        if sessions is not None:
            sessions.discard(session)
            if not sessions:
                del self._by_id[session.session_id]
                self._orphan(session.session_id)


def _trace(session: WebSocketSession, kind: str, number: int, taken: bool) -> None:
    age = time.monotonic() - session.connected_at
    fate = "queued" if taken else "not delivered: it is closed or reads too slowly"
    state = "alive" if session.alive else "closed"
    logger.debug("%s #%d to socket %s, %.1f s old, %s: %s", kind, number, session.connection, age, state, fate)
