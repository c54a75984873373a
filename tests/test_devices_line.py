"""A device's line: what one device sends keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import time

from aiohttp import WSMessage, WSMsgType

from core.devices.line import MESSAGES_IN_A_ROW, DeviceLine
from tests.hub import FakeWebSocket


class Flood(FakeWebSocket):
    """Has always another message."""

    async def receive(self, timeout: float | None = None) -> WSMessage:
        return WSMessage(WSMsgType.BINARY, b"sound", None)


async def test_h1_a_recording_that_comes_all_at_once_lets_others_run() -> None:
    line = DeviceLine(Flood(), "flood")
    rounds = 0

    async def others() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0)
            rounds += 1

    waiting = asyncio.create_task(others())
    for _ in range(10 * MESSAGES_IN_A_ROW):
        assert await line.receive(time.monotonic() + 10) is not None
    assert rounds >= 9
    waiting.cancel()
    line.cut()
