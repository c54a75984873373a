"""A server of nothing but `/ws` with the services under test, and sockets that speak to it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
from aiohttp import web

from core.services.base import WebSocketServiceBase
from core.websocket_manager import UnifiedWebSocketManager
from core.websocket_router import WebSocketRouter


class OpenDoor:
    """Lets everybody in (`core.websocket_router.SocketAccess`)."""

    def admit(self, request: web.Request) -> str:
        return request.remote or ""

    def may_login(self, session_id: str, token: str | None) -> None:
        return

    def may_send(self, address: str) -> bool:
        return True


class Line:
    """One socket. `sync` is not shown: it only numbers the others."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def send(self, kind: str, **fields: Any) -> None:
        await self.ws.send_json({"type": kind, **fields})

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        await self.send(kind, **fields)
        return await self.next()

    async def next(self, timeout: float = 5.0) -> dict[str, Any]:
        while True:
            message: dict[str, Any] = await self.ws.receive_json(timeout=timeout)
            if message["type"] != "sync":
                return message

    async def quiet(self) -> bool:
        """Whether nothing has arrived by the time that the server has answered a heartbeat."""
        return (await self.ask("heartbeat"))["type"] == "heartbeat_response"


class Office:
    """The server and its sockets."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http
        self._lines: list[Line] = []

    async def line(self, session_id: object, *roles: str, username: str = "", **login: Any) -> Line:
        """A socket that is logged in and registered in these roles."""
        line = Line(await self._http.ws_connect(self._url))
        self._lines.append(line)  # one that nobody holds would be closed by the garbage collector
        assert (await line.ask("login", session_id=session_id, **login))["type"] == "login_success"
        for role in roles:
            answer = await line.ask(f"wsa_register_{role}", username=username or f"User_{session_id}")
            assert answer["type"] == "wsa_registered", answer
        return line


@contextlib.asynccontextmanager
async def office(manager: UnifiedWebSocketManager, services: Sequence[WebSocketServiceBase]) -> AsyncIterator[Office]:
    """Serve on a free port; everything is closed at the end."""
    application = web.Application()
    router = WebSocketRouter(manager, services=services, access=OpenDoor())
    application.add_routes([web.get("/ws", router.handle)])
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await manager.start()
    for service in services:
        await service.start()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            yield Office(f"http://127.0.0.1:{runner.addresses[0][1]}/ws", http)
    finally:
        for service in services:
            await service.close()
        await manager.close_all()
        await runner.cleanup()
