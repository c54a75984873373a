"""Many WebSockets from one process, as lean as the client library allows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import aiohttp

LOGIN_TIMEOUT_S = 30.0


class Caller:
    """One socket that has logged in. Everything received is handed to `on_message`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, took_s: float) -> None:
        self._socket = socket
        self.took_s = took_s
        """From opening the connection to `login_success`."""
        self.on_message: Callable[[dict[str, Any]], None] = lambda message: None
        self.lost = False
        self._reader = asyncio.create_task(self._read())

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        await self._socket.send_str(json.dumps(message))

    async def close(self) -> None:
        """Close it, which is no loss."""
        self._reader.cancel()
        await asyncio.wait({self._reader})
        await self._socket.close()

    async def _read(self) -> None:
        async for frame in self._socket:
            if frame.type is aiohttp.WSMsgType.TEXT:
                self.on_message(frame.json())
        self.lost = True


class Crowd:
    """The sockets of one process. `async with` closes them all."""

    def __init__(self, url: str) -> None:
        self._address = url.replace("http", "ws") + "/ws"
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        self.callers: list[Caller] = []

    async def __aenter__(self) -> Crowd:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for start in range(0, len(self.callers), 200):
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                await asyncio.gather(*(caller.close() for caller in self.callers[start : start + 200]))
        await self._http.close()

    async def join(self, session_ids: Sequence[str], at_once: int) -> list[float]:
        """Connect and log in once for each id, `at_once` at a time. Returns how long each took, in seconds."""
        room = asyncio.Semaphore(at_once)

        async def one(session_id: str) -> Caller:
            async with room:
                return await self._call(session_id)

        joined = await asyncio.gather(*(one(session_id) for session_id in session_ids))
        self.callers += joined
        return [caller.took_s for caller in joined]

    async def visit(self, session_id: str) -> None:
        """Connect, log in, leave."""
        await (await self._call(session_id)).close()

    @property
    def lost(self) -> int:
        """Sockets that the server closed."""
        return sum(caller.lost for caller in self.callers)

    async def _call(self, session_id: str) -> Caller:
        began = time.perf_counter()
        async with asyncio.timeout(LOGIN_TIMEOUT_S):
            socket = await self._http.ws_connect(self._address)
            await socket.send_str(json.dumps({"type": "login", "session_id": session_id}))
            while (await socket.receive_json())["type"] != "login_success":
                pass
        return Caller(socket, time.perf_counter() - began)
