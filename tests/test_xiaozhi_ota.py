"""Discovery by the OTA address."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from core.dialogue.xiaozhi.endpoint import Endpoint
from core.dialogue.xiaozhi.ota import Activation, discover, read
from core.errors import DialogueError
from tests.simulators.xiaozhi import CLIENT, DEVICE, TOKEN

WEBSOCKET = {"url": "ws://127.0.0.1:8000/xiaozhi/v1/", "token": TOKEN, "version": 3}
ANSWER: dict[str, Any] = {
    "server_time": {"timestamp": 1, "timezone_offset": 480},
    "firmware": {"version": "1", "url": ""},
    "websocket": WEBSOCKET,
}


@contextlib.asynccontextmanager
async def served(answer: Any, status: int = 200) -> AsyncIterator[tuple[str, list[Any]]]:
    """Its address, and what it was asked."""
    asked: list[Any] = []

    async def ota(request: web.Request) -> web.Response:
        asked.append((dict(request.headers), await request.json()))
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return web.Response(body=body, status=status, headers={"Location": "http://127.0.0.1:9/"})

    app = web.Application()
    app.router.add_post("/xiaozhi/ota/", ota)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/xiaozhi/ota/", asked
    finally:
        await runner.cleanup()


async def test_h1_discovery(caplog: Any) -> None:
    with caplog.at_level(logging.DEBUG):
        async with served(ANSWER) as (url, asked):
            found = await discover(url, DEVICE, CLIENT)
    assert found.endpoint == Endpoint(WEBSOCKET["url"], DEVICE, CLIENT, TOKEN, 3)  # type: ignore[arg-type]
    assert found.activation is None
    headers, report = asked[0]
    assert headers["Device-Id"] == DEVICE
    assert headers["Client-Id"] == CLIENT
    assert {"User-Agent", "Accept-Language", "Activation-Version"} <= set(headers)
    assert report["mac_address"] == DEVICE
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(found)


def test_h1_what_is_optional() -> None:
    bare = read(b'{"websocket":{"url":"ws://a/","version":"2"}}', DEVICE, CLIENT)
    assert bare.endpoint == Endpoint("ws://a/", DEVICE, CLIENT)
    asks = read(json.dumps(ANSWER | {"activation": {"code": "123", "message": "m"}}).encode(), DEVICE, CLIENT)
    assert asks.activation == Activation("123", "m")


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (ANSWER, 404, "ota_refused"),
        (ANSWER, 302, "ota_refused"),
        (b"<html>", 200, "ota_malformed"),
        ([], 200, "ota_malformed"),
        (b"[" * 50_000, 200, "ota_malformed"),
        (b'{"websocket":{"url":"ws://a/"}}' + b" " * 70_000, 200, "ota_malformed"),
        ({"mqtt": {}}, 200, "ota_no_websocket"),
        ({"websocket": "ws://a"}, 200, "ota_no_websocket"),
        ({"websocket": {"url": "http://a/"}}, 200, "settings"),
    ],
)
async def test_h1_answers_that_are_of_no_use(answer: Any, status: int, code: str) -> None:
    async with served(answer, status) as (url, _):
        with pytest.raises(DialogueError) as caught:
            await discover(url, DEVICE, CLIENT)
        assert caught.value.code == f"xiaozhi_{code}"


async def test_h1_nobody_there() -> None:
    for url in ("http://127.0.0.1:9/", "nonsense"):
        with pytest.raises(DialogueError) as caught:
            await discover(url, DEVICE, CLIENT)
        assert caught.value.code == "xiaozhi_ota_unreachable"
