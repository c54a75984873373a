"""Pages and logs that watch a device's conversation."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from tests.avatar_client import AvatarClient
from tests.conftest import Serve
from tests.device_served import AUTH, ota, serve_fast, spoken, url_of
from tests.simulators.xiaozhi_device import XiaozhiDevice


@pytest.fixture
def serving() -> Serve:
    """Servers with a voice that speaks fast."""
    return serve_fast


async def test_h1_a_page_watches_and_the_device_goes_on(serving: Serve) -> None:
    async with serving() as server, XiaozhiDevice(url_of(server)) as device:
        await device.detect("hello")
        await device.message("tts", state="stop")
        session_id = device.rules.session_id
        async with AvatarClient(server.url) as operator:
            ticket = (await operator.post("/api/admin/watch", sessionid=session_id))["data"]
        async with AvatarClient(server.url, extra=ticket) as page:
            await page.connect()
            await page.login()
            assert page.session == session_id
            await device.listen("auto")
            await asyncio.sleep(0.3)
            await page.send(type="listen", mode="off")  # the device's microphone is not the page's to switch
            await asyncio.sleep(0.3)
            since = time.monotonic()
            device.say(spoken())
            stopped = await device.when("tts", state="stop", since=since)
            heard = [sound for at, sound in device.heard if at > since]
            assert len(heard) >= 10
            assert await page.audible(since) < stopped
            await page.message("reply", state="end")
            # the page goes: the conversation does not
            await page.post("/api/hangup", **ticket)
        await asyncio.sleep(0.3)
        since = time.monotonic()
        await device.detect("still there")
        await device.message("tts", state="stop", since=since)
        assert device.rules.session_id == session_id
        assert len(server.sessions) == 1


async def test_h1_only_devices_are_watched(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as page:
        await page.connect()
        answer = await page.post("/api/admin/watch", sessionid=page.session)
        assert answer["error"] == "no_device"


async def test_k2_nothing_that_was_said_is_logged(serving: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving(**AUTH) as server:
            token = (await ota(server))["websocket"]["token"]
            async with XiaozhiDevice(url_of(server), token=token) as device:
                await device.detect("the secret garden")
                await device.message("tts", state="stop")
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith(("core", "app", "avatar")))
    assert "garden" not in ours
    assert token not in ours
