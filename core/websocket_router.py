"""`/ws`: reads one socket's frames and hands each message to the service that registered its type."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp import WSMsgType, web

from core.errors import BadRequest, EmanError, Unauthorized
from core.identity import normalize_username, session_id_of, username_of
from core.log import bound
from core.messages import Login, Message, json_value, now_ms, parse, wsa_error
from core.websocket_manager import UnifiedWebSocketManager, WebSocketSession

logger = logging.getLogger(__name__)

MAX_FRAME = 1 << 20
PING_S = 20.0


class WebSocketRouter:
    """The WebSocket endpoint. `may_login(session_id, token)` raises `Unauthorized` when it refuses."""

    def __init__(self, manager: UnifiedWebSocketManager, may_login: Callable[[str, str | None], None]) -> None:
        self._manager = manager
        self._may_login = may_login

    def send_raw_to_session(self, session_id: str | int, message: Message) -> int:
        """Push a message to every socket of an id; returns how many took it."""
        return self._manager.broadcast_raw_message_to_session(session_id, message)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one socket until it closes."""
        websocket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=MAX_FRAME, autoping=True)
        await websocket.prepare(request)
        try:
            async for frame in websocket:
                if (session := self._manager.get_session(websocket)) is not None:
                    session.touch()
                if frame.type is WSMsgType.TEXT:
                    await self._on_text(websocket, frame.data)
                elif frame.type is WSMsgType.BINARY:
                    await self._refuse(websocket, wsa_error("bad_message", "binary frames are not expected here"))
        except ConnectionError as error:
            logger.warning("socket broke: %r", error)
        finally:
            session = self._manager.remove_session(websocket)
            if session is not None:
                await session.close()
        return websocket

    async def _on_text(self, websocket: web.WebSocketResponse, text: str) -> None:
        try:
            data = json_value(text)
        except ValueError:
            await self._refuse(websocket, wsa_error("bad_message", "not valid JSON"))
            return
        if not isinstance(data, dict) or not isinstance(data.get("type"), str):
            await self._refuse(websocket, wsa_error("bad_message", "expected an object with a text field 'type'"))
            return
        session = self._manager.get_session(websocket)
        with bound(session.session_id if session else "-"):
            try:
                await self._dispatch(websocket, session, data)
            except Unauthorized as error:
                await self._refuse(websocket, wsa_error("auth_failed", str(error), data["type"]))
            except EmanError as error:
                await self._refuse(websocket, wsa_error("bad_message", str(error), data["type"]))

    async def _dispatch(
        self, websocket: web.WebSocketResponse, session: WebSocketSession | None, data: Message
    ) -> None:
        kind = data["type"]
        if kind == "login":
            self._login(websocket, data)
        elif kind in ("heartbeat", "ping"):
            await self._answer(websocket, {"type": "heartbeat_response", "timestamp": now_ms()})
        elif (handler := self._manager.handler(kind)) is None:
            await self._refuse(websocket, wsa_error("unknown_type", f"unknown message type {kind[:64]!r}", kind[:64]))
        elif session is None:
            await self._refuse(websocket, wsa_error("not_logged_in", "send login first", kind))
        else:
            await handler(session, data)

    def _login(self, websocket: web.WebSocketResponse, data: Message) -> None:
        login = parse(Login, data)
        raw = login.session_id if login.session_id is not None else login.sessionid
        if raw is None and login.username:
            raw = normalize_username(login.username).removeprefix("User_")
        if raw is None:
            raise BadRequest("session_id is missing: log in with the id that /offer returned")
        session_id = session_id_of(raw)
        self._may_login(session_id, login.token)
        session = self._manager.add_session(session_id, websocket)
        session.send_message(
            {
                "type": "login_success",
                "session_id": session_id,
                "username": username_of(session_id),
                "timestamp": now_ms(),
            }
        )

    async def _refuse(self, websocket: web.WebSocketResponse, message: Message) -> None:
        await self._answer(websocket, message)

    async def _answer(self, websocket: web.WebSocketResponse, message: Message) -> None:
        session = self._manager.get_session(websocket)
        if session is not None:
            session.send_message(message)  # through the socket's one writer
        else:
            await websocket.send_json(message)
