"""Devices that come, come back, hang and go, at a running server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from core.frames import LinkState
from tests.avatar_client import AvatarClient
from tests.conftest import Serve
from tests.device_served import LONG, eventually, mac, nothing_left, serve_fast, url_of
from tests.simulators.xiaozhi_device import XiaozhiDevice


@pytest.fixture
def serving() -> Serve:
    """Servers with a voice that speaks fast."""
    return serve_fast


async def test_h1_a_device_that_comes_back_goes_on_with_its_conversation(serving: Serve) -> None:
    async with serving() as server:
        async with XiaozhiDevice(url_of(server)) as device:
            await device.detect("first")
            await device.message("tts", state="stop")
            first = device.rules.session_id
        await nothing_left(server)
        async with XiaozhiDevice(url_of(server)) as device:
            assert device.rules.session_id == first
            await device.detect("second")
            await device.message("tts", state="stop")
        assert [u.text for u in server.engines.dialogue.calls[-1][0]] == ["first", "One two three. Four five six."]
        async with XiaozhiDevice(url_of(server), client_id="somebody else") as device:
            assert device.rules.session_id != first


async def test_h1_a_device_that_comes_back_late_is_remembered(serving: Serve, tmp_path: Any) -> None:
    kept = {"history__enabled": "true", "history__path": str(tmp_path / "history.db")}
    quick = {"lifecycle__vanish_s": "0.1", "lifecycle__resume_s": "0.2"}
    async with serving(**kept, **quick) as server:
        async with XiaozhiDevice(url_of(server)) as device:
            await device.detect("first")
            await device.message("tts", state="stop")
            first = device.rules.session_id
        await eventually(lambda: len(server.sessions) == 0)
        async with XiaozhiDevice(url_of(server)) as device:
            assert device.rules.session_id == first
            await device.detect("second")
            await device.message("tts", state="stop")
        assert [u.text for u in server.engines.dialogue.calls[-1][0]] == ["first", "One two three. Four five six."]


async def test_h1_a_page_that_watches_hears_on_when_the_device_goes(serving: Serve) -> None:
    async with serving() as server:
        server.engines.dialogue.answer = LONG
        device = XiaozhiDevice(url_of(server))
        await device.open()
        await device.detect("hello")
        await device.message("tts", state="sentence_start")
        ticket = {"sessionid": device.rules.session_id}
        async with AvatarClient(server.url, extra=ticket) as page:
            await page.connect()
            device.vanish()
            await nothing_left(server)
            gone = time.monotonic()
            await page.audible(gone + 0.5)  # what the device had is not taken from the page
            async with XiaozhiDevice(url_of(server)) as again:
                assert again.rules.session_id == ticket["sessionid"]
                await again.message("tts", state="start")  # the reply goes on there, too
                await again.abort()
                await again.message("tts", state="stop")
                assert server.sessions.all()[0].media.link() is LinkState.CONNECTED  # the page stays


async def test_h1_a_device_that_vanishes_in_mid_reply(serving: Serve) -> None:
    async with serving(lifecycle__vanish_s="0.3", lifecycle__resume_s="1") as server:
        server.engines.dialogue.answer = LONG
        device = XiaozhiDevice(url_of(server))
        await device.open()
        await device.detect("hello")
        await device.message("tts", state="sentence_start")
        device.vanish()
        await nothing_left(server)
        session = server.sessions.all()[0]
        await eventually(lambda: not session.conversation.busy)  # nobody hears it
        await eventually(lambda: len(server.sessions) == 0)  # and nobody took it up again


async def test_h1_a_connection_that_hangs_gives_way_to_the_devices_next(serving: Serve) -> None:
    async with serving() as server:
        server.engines.dialogue.answer = LONG
        hanging = XiaozhiDevice(url_of(server))
        await hanging.open()
        await hanging.detect("hello")
        await hanging.message("tts", state="sentence_start")
        hanging.freeze()
        async with XiaozhiDevice(url_of(server)) as device:
            assert device.rules.session_id == hanging.rules.session_id
            await device.detect("again")
            await device.message("tts", state="sentence_start")
            await eventually(lambda: len(server.devices.lines) == 1)
            await device.abort()
            await device.message("tts", state="stop")
        hanging.vanish()
        await nothing_left(server)
        assert len(server.sessions) == 1


async def test_h1_a_silent_device_is_asked_and_let_go(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.devices.line.PING_S", 0.2)
    monkeypatch.setattr("core.devices.line.SILENT_S", 0.6)
    async with serving() as server:
        async with XiaozhiDevice(url_of(server)) as device:
            await asyncio.sleep(1.5)  # it answers pings
            await device.detect("hello")
            await device.message("tts", state="start")
        dead = XiaozhiDevice(url_of(server), device_id=mac(9))
        await dead.open()
        dead.freeze()
        await nothing_left(server)
        dead.vanish()


async def test_h1_without_voice_the_server_says_goodbye(serving: Serve) -> None:
    async with serving(xiaozhi__idle_s="0.8") as server, XiaozhiDevice(url_of(server)) as device:
        await device.listen("realtime")  # the microphone sends all the time
        began = time.monotonic()
        assert await device.when("goodbye") - began > 0.7
        assert await device.closed() == 1000


async def test_h1_a_goodbye_of_the_device(serving: Serve) -> None:
    async with serving() as server:
        async with XiaozhiDevice(url_of(server)) as device:
            await device.send(type="goodbye")
            assert await device.closed() == 1000
        await nothing_left(server)
