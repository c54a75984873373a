"""`/ws`: reads one socket's frames and hands each message to the service that registered its type."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from core.errors import BadRequest, EmanError
from core.identity import normalize_username, session_id_of
from core.log import bound
from core.message_log import Missed
from core.messages import Login, Message, heartbeat_response, json_value, login_success, parse, wsa_error
from core.websocket_manager import UnifiedWebSocketManager, WebSocketSession
from core.websocket_session import TRANSPORT, close_websocket, encode

logger = logging.getLogger(__name__)

SESSION: web.ResponseKey[WebSocketSession] = web.ResponseKey("session", WebSocketSession)
"""The session that a socket logged in to last."""
MAX_MESSAGE = 1 << 20
"""Bytes; a larger message is refused."""
MAX_FRAME = 4 << 20
"""Bytes; a larger frame closes the socket with 1009."""
ERROR_CODES = frozenset(
    {
        "not_logged_in", "bad_username", "bad_message", "unknown_type", "rate_limited", "auth_failed", "asr_failed",
        "busy",
    }
)  # fmt: skip
"""What a `wsa_error` may say; any other error of ours is a `bad_message`."""
FRAMES_IN_A_ROW = 32
"""Frames of one socket that are handled before others get their turn."""


class SocketAccess(Protocol):
    """Who may connect, log in, and send how much (`core.access`)."""

    def admit(self, request: web.Request) -> str:
        """The client's address. Raises `OriginRefused` for a page of a foreign origin."""

    def may_login(self, session_id: str, token: str | None) -> None:
        """Raises `Unauthorized`."""

    def may_send(self, address: str) -> bool:
        """False: this message is over the rate limit."""


class SocketService(Protocol):
    """What the router asks of a service; its handlers are registered with the manager by itself."""

    def closed(self, socket: WebSocketSession) -> Awaitable[None] | None:
        """The socket is gone, or leaves its session for another."""


class WebSocketRouter:
    """The WebSocket endpoint. `login_timeout_s`: a socket that has not logged in by then is closed with 1008."""

    def __init__(
        self,
        manager: UnifiedWebSocketManager,
        *,
        services: Sequence[SocketService],
        access: SocketAccess,
        login_timeout_s: float = 10.0,
    ) -> None:
        self._manager = manager
        self._services = services
        self._access = access
        self._login_timeout = login_timeout_s

    def send_raw_to_session(self, session_id: str | int, message: Message) -> int:
        """Push a message to every socket of an id; returns how many took it."""
        return self._manager.broadcast_raw_message_to_session(session_id, message)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one socket until it closes."""
        address = self._access.admit(request)
        # pings are the manager's: a timer per socket costs more than one look at all of them. Compression would
        # take 300 kB per socket for messages that are mostly shorter than a packet.
        websocket = web.WebSocketResponse(max_msg_size=MAX_FRAME, autoping=False, compress=False)
        await websocket.prepare(request)
        websocket[TRANSPORT] = request.transport
        try:
            if await self._until_login(websocket, address):
                await self._serve(websocket, address)
        except ConnectionError as error:
            logger.warning("socket broke: %r", error)
        finally:
            await self._end(websocket)
        return websocket

    async def _until_login(self, websocket: web.WebSocketResponse, address: str) -> bool:
        try:
            async with asyncio.timeout(self._login_timeout):
                await self._serve(websocket, address, until_login=True)
        except TimeoutError:
            logger.info("socket closed: no login within %.1f s", self._login_timeout)
            await close_websocket(websocket, WSCloseCode.POLICY_VIOLATION, "without login")
        return self._manager.get_session(websocket) is not None

    async def _serve(self, websocket: web.WebSocketResponse, address: str, until_login: bool = False) -> None:
        in_a_row = 0
        async for frame in websocket:
            session = self._manager.get_session(websocket)
            if session is None:
                await self._on_frame(websocket, None, address, frame.type, frame.data)
            else:
                session.touch(pong=frame.type in (WSMsgType.PONG, WSMsgType.PING))
                session.busy = True
                await session.has_room()
                await self._on_frame(websocket, session, address, frame.type, frame.data)
                session.busy = False
                session.touch(pong=True)
            if until_login and self._manager.get_session(websocket) is not None:
                return
            in_a_row = (in_a_row + 1) % FRAMES_IN_A_ROW
            if not in_a_row:
                await asyncio.sleep(0)  # one that floods must not keep the others waiting

    async def _on_frame(
        self,
        websocket: web.WebSocketResponse,
        session: WebSocketSession | None,
        address: str,
        kind: WSMsgType,
        data: str | bytes,
    ) -> None:
        if kind is WSMsgType.PING and not isinstance(data, str):
            await self._pong(websocket, session, bytes(data))
        elif kind not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return
        elif not self._may_send(session, address, kind):
            await self._answer(websocket, wsa_error("rate_limited", "too many messages, slow down"))
        elif len(data) > MAX_MESSAGE:
            await self._answer(websocket, wsa_error("bad_message", f"larger than {MAX_MESSAGE} bytes"))
        elif isinstance(data, str):
            await self._on_text(websocket, data)
        else:
            await self._on_binary(websocket, session, data)

    def _may_send(self, session: WebSocketSession | None, address: str, kind: WSMsgType) -> bool:
        # sound that a service asked for comes as fast as somebody speaks, and that service watches its pace
        stream = kind is WSMsgType.BINARY and session is not None and session.binary_to is not None
        return stream or self._access.may_send(address)

    async def _on_text(self, websocket: web.WebSocketResponse, text: str) -> None:
        try:
            data = json_value(text)
        except ValueError:
            await self._answer(websocket, wsa_error("bad_message", "not valid JSON"))
            return
        if not isinstance(data, dict) or not isinstance(data.get("type"), str):
            await self._answer(websocket, wsa_error("bad_message", "expected an object with a text field 'type'"))
            return
        kind = data["type"]
        handler = self._manager.handler(kind)
        session = self._manager.get_session(websocket)
        if kind == "login":
            await self._guarded(websocket, kind, lambda: self._login(websocket, data))
        elif kind in ("heartbeat", "ping"):
            await self._answer(websocket, heartbeat_response())
        elif handler is None:
            short = kind[:64]
            await self._answer(websocket, wsa_error("unknown_type", f"unknown message type {short!r}", short))
        elif session is None:
            await self._answer(websocket, wsa_error("not_logged_in", "send login first", kind))
        else:
            await self._guarded(websocket, kind, partial(handler, session, data))

    async def _on_binary(self, websocket: web.WebSocketResponse, session: WebSocketSession | None, data: bytes) -> None:
        if session is None:
            await self._answer(websocket, wsa_error("not_logged_in", "send login first"))
        else:
            await self._guarded(websocket, "", partial(self._binary, session, data))

    async def _binary(self, session: WebSocketSession, data: bytes) -> None:
        if session.binary_to is None:
            raise BadRequest("nobody asked for binary frames: send open_audio or start_asr_recognition first")
        await session.binary_to.binary(session, data)

    async def _guarded(self, websocket: web.WebSocketResponse, ref: str, handle: Callable[[], Awaitable[None]]) -> None:
        """Tell the client what was wrong with its message."""
        session = self._manager.get_session(websocket)
        with bound(session.session_id if session else "-"):
            try:
                await handle()
            except EmanError as error:
                code = error.code if error.code in ERROR_CODES else "bad_message"
                await self._answer(websocket, wsa_error(code, str(error), ref))

    # -- login

    async def _login(self, websocket: web.WebSocketResponse, data: Message) -> None:
        login = parse(Login, data)
        session_id = _id_of(login)
        self._access.may_login(session_id, login.token)
        session = self._manager.get_session(websocket)
        if session is not None and session.session_id != session_id:
            await self._leave(session)
        again = session is not None and session.session_id == session_id
        session = websocket[SESSION] = self._manager.add_session(session_id, websocket)
        if login.last_seq is None:
            session.send_message(login_success(session_id))
            return
        # a socket that was in this session already has got everything
        missed = Missed((), True) if again else self._manager.missed(session_id, login.last_seq)
        session.send_message(login_success(session_id, resumed=missed.complete, missed=len(missed.messages)))
        session.replay(missed.messages)

    async def _end(self, websocket: web.WebSocketResponse) -> None:
        # one that fell silent was removed by the manager already: the services have to hear of it all the same
        session = self._manager.remove_session(websocket) or websocket.get(SESSION)
        if session is not None:
            with bound(session.session_id):
                await self._leave(session)
            await session.close()

    async def _leave(self, session: WebSocketSession) -> None:
        """The socket is no longer in its session: the services forget what it was for them."""
        for service in self._services:
            leaving = service.closed(session)
            if inspect.isawaitable(leaving):
                await leaving
        session.registrations.clear()
        session.binary_to = None

    # -- answers

    async def _pong(self, websocket: web.WebSocketResponse, session: WebSocketSession | None, data: bytes) -> None:
        if session is None:
            await websocket.pong(data)
        else:
            session.send_control(WSMsgType.PONG, data)

    async def _answer(self, websocket: web.WebSocketResponse, message: Message) -> None:
        session = self._manager.get_session(websocket)
        if session is not None:
            session.send_message(message)  # through the socket's one writer
        else:
            await websocket.send_frame(encode(message), WSMsgType.TEXT)


def _id_of(login: Login) -> str:
    """The id that a login names; the current Unix time when it names none: such a socket gets broadcasts only."""
    if login.session_id is not None:
        return session_id_of(login.session_id)
    if login.sessionid is not None:
        return session_id_of(login.sessionid)
    if login.username:
        return session_id_of(normalize_username(login.username).removeprefix("User_"))
    return str(int(time.time()))
