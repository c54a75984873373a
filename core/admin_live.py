"""The dashboards that look on: each logs in over its WebSocket and gets the newest snapshot every second.

The snapshot is made once for all. A dashboard that reads slowly misses snapshots, never the newest; one that reads
nothing for `Pace.send_timeout_s` is dropped.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from core.errors import BadRequest, EmanError, RateLimited, Refused, Unauthorized
from core.messages import json_value

logger = logging.getLogger(__name__)

HEARTBEAT_S = 20.0
CLOSE_TIMEOUT_S = 1.0
MAX_DASHBOARDS = 16
MAX_WAITING = 64
"""Sockets that have not logged in yet."""
MAX_FRAME = 4096


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds."""

    interval_s: float = 1.0
    """Between two snapshots."""
    login_timeout_s: float = 10.0
    send_timeout_s: float = 3.0


class _Dashboard:
    """One socket that logged in; holds the newest snapshot that it has not got yet."""

    def __init__(self, socket: web.WebSocketResponse, send_timeout_s: float) -> None:
        self._socket = socket
        self._send_timeout_s = send_timeout_s
        self._newest: str | None = None
        self._news = asyncio.Event()

    def show(self, text: str) -> None:
        """Send this next; what waited is out of date."""
        self._newest = text
        self._news.set()

    async def write(self) -> None:
        """Send until the socket breaks or is too slow."""
        while True:
            await self._news.wait()
            self._news.clear()
            text, self._newest = self._newest, None
            if text is not None:
                async with asyncio.timeout(self._send_timeout_s):
                    await self._socket.send_str(text)


class LiveView:
    """`attend` one socket until it leaves; `close` sends all away. `snapshot()` makes what they see."""

    def __init__(self, snapshot: Callable[[], Awaitable[dict[str, Any]]], pace: Pace | None = None) -> None:
        self._snapshot = snapshot
        self._pace = pace or Pace()
        self._dashboards: set[_Dashboard] = set()
        self._sockets: set[web.WebSocketResponse] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._closing = False

    def __len__(self) -> int:
        return len(self._dashboards)

    async def attend(self, request: web.Request, check: Callable[[str | None], None]) -> web.WebSocketResponse:
        """Serve one dashboard until it leaves. `check(token)` raises `Unauthorized`, `RateLimited`."""
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MAX_FRAME, timeout=CLOSE_TIMEOUT_S)
        await socket.prepare(request)
        if self._closing:
            await _close(socket, WSCloseCode.GOING_AWAY)
            return socket
        self._sockets.add(socket)
        try:
            if await self._login(socket, check):
                await self._serve(socket, request.transport)
        finally:
            self._sockets.discard(socket)
        return socket

    async def close(self) -> None:
        """Send all dashboards away and take no others (server shutdown)."""
        self._closing = True
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait({self._ticker})
            self._ticker = None
        await asyncio.gather(*(_close(socket, WSCloseCode.GOING_AWAY) for socket in list(self._sockets)))

    # -- inside

    async def _login(self, socket: web.WebSocketResponse, check: Callable[[str | None], None]) -> bool:
        if len(self._sockets) - len(self._dashboards) > MAX_WAITING:
            error: EmanError = RateLimited("too many dashboards are logging in", code="busy")
            await _refuse(socket, error, WSCloseCode.TRY_AGAIN_LATER)
            return False
        try:
            async with asyncio.timeout(self._pace.login_timeout_s):
                first = await socket.receive()
            if first.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return False  # it left
            check(_token(first.data))
        except TimeoutError:
            error = Unauthorized(f"no login within {self._pace.login_timeout_s:.0f} s")
        except (BadRequest, Refused) as refusal:
            error = refusal
        else:
            if len(self._dashboards) < MAX_DASHBOARDS:
                return True
            text = f"{MAX_DASHBOARDS} dashboards are open already"
            await _refuse(socket, RateLimited(text, code="busy"), WSCloseCode.TRY_AGAIN_LATER)
            return False
        await _refuse(socket, error, WSCloseCode.POLICY_VIOLATION)
        return False

    async def _serve(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        dashboard = _Dashboard(socket, self._pace.send_timeout_s)
        self._dashboards.add(dashboard)
        writer = asyncio.create_task(dashboard.write(), name="dashboard writer")
        reader = asyncio.create_task(_drain(socket), name="dashboard reader")
        try:
            dashboard.show(json.dumps(await self._snapshot()))
            if self._ticker is None or self._ticker.done():
                self._ticker = asyncio.create_task(self._tick(), name="dashboards")
            await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._dashboards.discard(dashboard)
            for task in (writer, reader):
                task.cancel()
            await asyncio.wait({writer, reader})
        if not writer.cancelled() and (error := writer.exception()) is not None:
            logger.warning("dashboard dropped: %r", error)
            if transport is not None:
                transport.abort()  # a closing handshake would wait behind what it does not read

    async def _tick(self) -> None:
        try:
            while self._dashboards:
                await asyncio.sleep(self._pace.interval_s)
                if self._dashboards:
                    text = json.dumps(await self._snapshot())
                    for dashboard in self._dashboards:
                        dashboard.show(text)
        except Exception:
            # the dashboards end here and come back by themselves; the sessions never notice
            logger.exception("the dashboards' snapshot broke")
            await asyncio.gather(*(_close(socket, WSCloseCode.INTERNAL_ERROR) for socket in list(self._sockets)))


def _token(data: str | bytes) -> str | None:
    try:
        message = json_value(data if isinstance(data, str) else data.decode())
    except ValueError:
        raise BadRequest("expected a JSON object") from None
    if not isinstance(message, dict) or message.get("type") != "login":
        raise BadRequest('expected {"type": "login", "token": "<admin token>"}')
    token = message.get("token")
    return token if isinstance(token, str) else None


async def _drain(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass  # a dashboard has nothing more to say; reading answers pings and notices that it left


async def _refuse(socket: web.WebSocketResponse, error: EmanError, code: int) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await socket.send_json({"type": "error", "code": error.code, "message": str(error)})
    except (ConnectionError, TimeoutError):
        return
    await _close(socket, code)


async def _close(socket: web.WebSocketResponse, code: int) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await socket.close(code=code)
    except (ConnectionError, TimeoutError):
        return  # it was gone
