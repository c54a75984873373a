"""The message channel alone, for tests: manager and router on a free port, a client that speaks frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
from aiohttp import web

from core.envelope import envelope_failures
from core.errors import OriginRefused, Unauthorized
from core.websocket_manager import UnifiedWebSocketManager
from core.websocket_router import SocketService, WebSocketRouter

CHANNEL = {"login_success", "heartbeat_response", "sync", "wsa_registered", "wsa_status", "wsa_error"}


class Doorman:
    """Access for tests: `refused` ids may not log in, `foreign` origins not connect; `allowance` messages in all."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.allowance = 1_000_000
        self.logins: list[tuple[str, str | None]] = []

    def admit(self, request: web.Request) -> str:
        if request.headers.get("Origin") == "http://foreign.example":
            raise OriginRefused("not from there")
        return request.remote or ""

    def may_login(self, session_id: str, token: str | None) -> None:
        self.logins.append((session_id, token))
        if session_id in self.refused:
            raise Unauthorized("wrong token")

    def may_send(self, address: str) -> bool:
        self.allowance -= 1
        return self.allowance >= 0


class Hub:
    """A running manager and router."""

    def __init__(self, manager: UnifiedWebSocketManager, door: Doorman, http: aiohttp.ClientSession) -> None:
        self.manager = manager
        self.door = door
        self.http = http
        self.port = 0

    async def connect(self, **options: Any) -> Client:
        """A new socket, not logged in."""
        return Client(await self.http.ws_connect(f"http://127.0.0.1:{self.port}/ws", **options))

    async def client(self, session_id: object, **login: Any) -> Client:
        """A new socket that is logged in (the answer and the first `sync` are read)."""
        client = await self.connect()
        await client.login(session_id, **login)
        return client

    async def count(self, session_id: str, sockets: int) -> None:
        """Wait until the id has so many sockets."""
        async with asyncio.timeout(5):
            while len(self.manager.get_sessions_by_id(session_id)) != sockets:
                await asyncio.sleep(0.005)


class Client:
    """One WebSocket. It counts as docs/websocket-api.md tells a client to."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.seq: int | None = None

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Send a message; the next one that is no `sync`."""
        await self.ws.send_json(message)
        return await self.next()

    async def any(self, timeout: float = 3.0) -> dict[str, Any]:
        """The next message of any type."""
        message: dict[str, Any] = await self.ws.receive_json(timeout=timeout)
        if message["type"] == "sync":
            self.seq = message["seq"]
        elif message["type"] not in CHANNEL and self.seq is not None:
            self.seq += 1
        return message

    async def next(self, timeout: float = 3.0) -> dict[str, Any]:
        """The next message that is no `sync`."""
        while (message := await self.any(timeout))["type"] == "sync":
            pass
        return message

    async def login(self, session_id: object, **login: Any) -> dict[str, Any]:
        """Log in and read up to the answer; without `last_seq` also the `sync` after it."""
        answer = await self.ask(type="login", session_id=session_id, **login)
        assert answer["type"] == "login_success", answer
        if "last_seq" not in login:
            assert (await self.any())["type"] == "sync"
        return answer

    async def settled(self) -> list[dict[str, Any]]:
        """Everything that the server has queued so far, without `sync` (told by the answer to a heartbeat)."""
        await self.ws.send_json({"type": "heartbeat"})
        messages = []
        while (message := await self.next())["type"] != "heartbeat_response":
            messages.append(message)
        return messages

    async def closed(self) -> int | None:
        """Read until the server closes; its code."""
        while True:
            frame = await self.ws.receive(timeout=5)
            if frame.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return self.ws.close_code


@contextlib.asynccontextmanager
async def hub(
    services: Sequence[SocketService] = (), manager: UnifiedWebSocketManager | None = None, **router: Any
) -> AsyncIterator[Hub]:
    """A hub that runs until the context ends."""
    sockets = manager or UnifiedWebSocketManager()
    door = Doorman()
    application = web.Application(middlewares=[envelope_failures])
    application.add_routes([web.get("/ws", WebSocketRouter(sockets, services=services, access=door, **router).handle)])
    runner = web.AppRunner(application, shutdown_timeout=0.5)
    await sockets.start()
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as http:
            running = Hub(sockets, door, http)
            running.port = runner.addresses[0][1]
            yield running
    finally:
        await sockets.close_all()
        await runner.cleanup()


async def raw_login(port: int, session_id: str) -> socket.socket:
    """A logged-in WebSocket that does nothing by itself, not even read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    upgrade = (
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await loop.sock_sendall(raw, upgrade)
    await loop.sock_recv(raw, 4096)
    login = json.dumps({"type": "login", "session_id": session_id}).encode()
    await loop.sock_sendall(raw, b"\x81" + bytes([0x80 | len(login)]) + b"\0\0\0\0" + login)
    return raw


class FakeWebSocket(web.WebSocketResponse):
    """A WebSocket without a network: it remembers what was sent. `block()` makes it a reader that stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[dict[str, Any]] = []
        self.control: list[aiohttp.WSMsgType] = []
        self.close_codes: list[int] = []
        self.fails: Exception | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()

    def block(self) -> None:
        self._flowing.clear()

    @property
    def closed(self) -> bool:
        return bool(self.close_codes)

    async def send_frame(self, message: bytes, opcode: aiohttp.WSMsgType, compress: int | None = None) -> None:
        await self._flowing.wait()
        if self.fails is not None:
            raise self.fails
        if opcode is aiohttp.WSMsgType.TEXT:
            self.sent.append(json.loads(message))
        else:
            self.control.append(opcode)

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        self.close_codes.append(code)
        if self.fails is not None:
            raise self.fails
        return True
