"""A server without an avatar that speaks to the chat page strictly by docs/websocket-api.md, and notes what it does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from core.web_pages import add_headers, page_routes

WEB = Path(__file__).parent.parent / "web"
SESSION = "204346"
TOKEN = "a.secret.token"
START = 1_750_000_000_000
"""Number before the first message, as of a log made at that time."""

Message = dict[str, Any]


class PageServer:
    """One conversation, `SESSION`. Attributes are what tests look at and change."""

    def __init__(self) -> None:
        self.url = ""
        self.config: dict[str, Any] = {"name": "Eman", "avatar_name": "Eman", "history": True}
        self.start = START
        self.log: list[Message] = []
        self.dropped = 0
        """How many of the oldest messages are no longer kept."""
        self.refuse_logins = False
        self.answers = True
        """Whether heartbeats are answered."""
        self.kept: list[Message] = []
        """What GET /api/history tells."""
        self.deleted: list[str] = []
        self.received: list[Message] = []
        """What pages sent over their sockets, but heartbeats."""
        self.posted: list[tuple[str, Message]] = []
        self.addresses: list[str] = []
        """Path and query of every request."""
        self._sockets: dict[web.WebSocketResponse, web.Request] = {}

    @property
    def link(self) -> str:
        """Opens the page as a companion."""
        return f"{self.url}/webrtcapichat.html#session={SESSION}&token={TOKEN}"

    @property
    def last(self) -> int:
        """Number of the newest message."""
        return self.start + len(self.log)

    def logins(self) -> list[Message]:
        """The login messages so far."""
        return [message for message in self.received if message["type"] == "login"]

    async def push(self, *messages: Message, sync: bool = True) -> None:
        """Number messages and send them; without `sync` the page must have counted."""
        for message in messages:
            self.log.append(message)
            await self.send(message)
        if sync:
            await self.send({"type": "sync", "seq": self.last})

    async def send(self, message: Message) -> None:
        """Send something that has no number."""
        for socket in list(self._sockets):
            await socket.send_json(message)

    async def cut(self) -> None:
        """Close every socket under the pages, as a network does."""
        for request in self._sockets.values():
            if request.transport is not None:
                request.transport.abort()
        self._sockets.clear()

    def restart(self, start: int) -> None:
        """Forget the log, as a restarted server does."""
        self.start, self.log, self.dropped = start, [], 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[PageServer]:
        """Listen on a free port."""
        runner = web.AppRunner(self._application(), shutdown_timeout=0.2, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://localhost:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await self.cut()
            await runner.cleanup()

    def _application(self) -> web.Application:
        @web.middleware
        async def note(request: web.Request, handler: Any) -> web.StreamResponse:
            self.addresses.append(request.path_qs)
            response: web.StreamResponse = await handler(request)
            return response

        async def no_picture() -> bytes:
            return b""

        application = web.Application(middlewares=[note])
        application.on_response_prepare.append(add_headers)
        application.add_routes([
            web.get("/api/config", self._config), web.get("/ws", self._ws), web.get("/api/history", self._history),
            web.delete("/api/history", self._delete),
            *(web.post(path, self._post) for path in ("/human", "/interrupt_talk", "/offer", "/api/hangup")),
            *page_routes(WEB, no_picture),
        ])  # fmt: skip
        return application

    async def _config(self, request: web.Request) -> web.Response:
        return web.json_response({"code": 0, "msg": "ok", "data": self.config})

    async def _post(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text())
        self.posted.append((request.path, body))
        if request.path == "/offer":
            return web.json_response({"code": -1, "msg": "session not found", "error": "session_not_found"})
        return web.json_response({"code": 0, "msg": "ok"})

    async def _history(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        return web.json_response({"code": 0, "msg": "ok", "data": {"entries": self.kept, "before": None}})

    async def _delete(self, request: web.Request) -> web.Response:
        self.deleted.append(request.query["sessionid"])
        self.kept.clear()
        await self.push({"type": "history_cleared", "session_id": SESSION})
        return web.json_response({"code": 0, "msg": "ok", "data": {"deleted": 1}})

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    await self._on_message(request, socket, json.loads(frame.data))
        self._sockets.pop(socket, None)
        return socket

    async def _on_message(self, request: web.Request, socket: web.WebSocketResponse, message: Message) -> None:
        if message["type"] == "heartbeat":
            if self.answers:
                await socket.send_json({"type": "heartbeat_response", "timestamp": 0})
            return
        if message["type"] == "login" and self.refuse_logins:
            await socket.close()
            return
        self.received.append(message)
        if message["type"] == "login":
            await self._login(socket, message)
            self._sockets[socket] = request
        elif message["type"] == "wsa_register_web":
            assert socket in self._sockets, "registered before it was logged in"
            await socket.send_json({"type": "wsa_registered", "role": "web", "username": message["username"]})

    async def _login(self, socket: web.WebSocketResponse, login: Message) -> None:
        assert login["session_id"] == SESSION
        assert login["token"] == TOKEN
        number = login["last_seq"]
        kept = self.log[self.dropped :]
        first = self.start + self.dropped + 1
        known = self.start <= number <= self.last
        missed = kept[max(0, number + 1 - first) :] if known else kept
        resumed = number + 1 >= first if known else number == 0 and not self.dropped
        await socket.send_json({
            "type": "login_success", "session_id": SESSION, "username": f"User_{SESSION}", "resumed": resumed,
            "missed": len(missed),
        })  # fmt: skip
        if missed and number + 1 != self.last - len(missed) + 1:
            await socket.send_json({"type": "sync", "seq": self.last - len(missed)})
        for message in missed:
            await socket.send_json(message)
        await socket.send_json({"type": "sync", "seq": self.last})


def asked(text: str) -> Message:
    """The user typed this."""
    return {"type": "chat_message", "sender": "user", "content": text, "Username": f"User_{SESSION}", "model_info": ""}


def answered(text: str, reply_id: str) -> list[Message]:
    """The messages of one answer of one sentence."""
    reply = {"type": "reply", "session_id": SESSION, "reply_id": reply_id, "at_ms": 0}
    return [
        {**reply, "state": "start", "text": ""},
        {**reply, "state": "sentence", "text": text},
        {**reply, "state": "end", "text": text},
        {
            "type": "chat_message",
            "sender": "Eman",
            "content": text,
            "Username": f"User_{SESSION}",
            "model_info": "fake",
        },
    ]
