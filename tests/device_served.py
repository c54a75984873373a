"""Devices at a running server: what their tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import numpy as np

from server import Server
from tests.conftest import serve
from tests.simulators.xiaozhi_device import CLIENT, DEVICE
from tests.speech import flite

SPEECH = 16_000
LONG = "one two three four five six seven eight nine ten. " * 5
AUTH = {"auth__enabled": "true"}


def serve_fast(**settings: str) -> AbstractAsyncContextManager[Server]:
    """A server with a voice that speaks fast."""
    return serve(**{"tts__options": '{"seconds_per_word": 0.1}', **settings})


def url_of(server: Server, path: str = "/xiaozhi/v1/") -> str:
    return server.url.replace("http", "ws") + path


def mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


async def eventually(check: Callable[[], object], timeout: float = 10.0) -> None:
    async with asyncio.timeout(timeout):
        while not check():
            await asyncio.sleep(0.01)


async def nothing_left(server: Server) -> None:
    """No line, no writer, no place in a session."""
    await eventually(lambda: not server.devices.lines)
    await eventually(lambda: not [t for t in asyncio.all_tasks() if t.get_name().startswith("device ")])
    assert all(not session.listened and not session.device for session in server.sessions.all())


def spoken() -> np.ndarray[Any, np.dtype[np.int16]]:
    return flite("what time is it", rate=SPEECH)


async def ota(server: Server, **headers: str) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            server.url + "/xiaozhi/ota/",
            json={"application": {"version": "1.2.3"}},
            headers={"Device-Id": DEVICE, "Client-Id": CLIENT, **headers},
        ) as response,
    ):
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
        return answer
