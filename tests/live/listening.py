"""A socket that can be cut at any moment and misses nothing: "Resume" in docs/websocket-api.md, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

CHANNEL = {"login_success", "heartbeat_response", "sync", "wsa_registered", "wsa_status", "wsa_error"}
"""Messages about the channel itself: not counted."""


class Listening:
    """Collects the messages of one session in `messages`. `async with` ends it.

    It reads only while a method of it runs, so that a test decides where the line breaks.
    """

    def __init__(self, url: str, session: str, token: str) -> None:
        self.messages: list[dict[str, Any]] = []
        self.count: int | None = None
        self.welcome: dict[str, Any] = {}
        """The answer to the last login."""
        self._url = url.replace("http", "ws", 1) + "/ws"
        self._login = {"type": "login", "session_id": session, "token": token}
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> Listening:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._socket is not None:
            await self._socket.close()
        await self.cut()

    async def connect(self, patience: float = 10.0) -> None:
        """Log in, with the count where there is one; returns with the answer."""
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(self._url)
        asked = {} if self.count is None else {"last_seq": self.count}
        await self._socket.send_json({**self._login, **asked})
        self.welcome = {}
        async with asyncio.timeout(patience):
            while not self.welcome:
                await self.read()

    async def read(self) -> None:
        """Take one message."""
        assert self._socket is not None
        message: dict[str, Any] = await self._socket.receive_json()
        kind = message["type"]
        if kind == "sync":
            self.count = message["seq"]
        elif kind == "login_success":
            self.welcome = message
        elif kind not in CHANNEL:
            self.messages.append(message)
            if self.count is not None:
                self.count += 1

    async def until(self, patience: float, **fields: Any) -> None:
        """Read until a message with these fields has come. Raises `TimeoutError`."""
        async with asyncio.timeout(patience):
            while not any(all(m.get(k) == v for k, v in fields.items()) for m in self.messages):
                await self.read()

    async def until_counting(self, patience: float) -> None:
        """Read until the first `sync` has come: from then on nothing is missed."""
        async with asyncio.timeout(patience):
            while self.count is None:
                await self.read()

    async def cut(self) -> None:
        """The line breaks, without a farewell; what was not read yet is lost."""
        self._socket = None
        if self._http is not None:
            await self._http.close()
