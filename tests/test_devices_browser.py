"""A device's conversation, watched on the avatar page: a real Chromium, from the dashboard's button on."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests import browser
from tests.conftest import Serve
from tests.simulators.xiaozhi_device import DEVICE, XiaozhiDevice
from tests.speech import flite

pytestmark = pytest.mark.browser


async def test_h1_g3_from_the_dashboard_to_the_avatar_page(serving: Serve) -> None:
    face = {"face__engine": "vector", "xiaozhi__presenter": "ansel"}
    async with serving(**face) as server, XiaozhiDevice(server.url.replace("http", "ws") + "/xiaozhi/v1/") as device:
        session = device.rules.session_id
        async with browser.browser_page(f"{server.url}/dashboard.html") as page:
            row = page.locator(f'tbody[data-session="{session}"]')
            await row.get_by_text(DEVICE).wait_for()
            await browser.screenshot(page, "device_dashboard")
            async with page.context.expect_page() as opening:
                await row.locator(".cell-actions button:visible").first.click()
            watch = await opening.value
            await watch.get_by_role("button", name="Bring the avatar here").click()
            async with asyncio.timeout(30):
                while not await watch.locator("video").first.evaluate("video => video.videoWidth"):
                    await asyncio.sleep(0.1)
            since = time.monotonic()
            await device.listen("auto")
            device.say(flite("what time is it", rate=16_000))
            await device.message("tts", state="stop", since=since)
            await watch.locator(".log").get_by_text("Four five six.").first.wait_for()
            await browser.screenshot(watch, "device_watched")
            await watch.close()
            await asyncio.sleep(0.5)
            since = time.monotonic()
            await device.detect("still there")
            await device.message("tts", state="stop", since=since)
            assert len(server.sessions) == 1
