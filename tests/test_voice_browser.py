"""What the page shows of a voice service, in a real Chromium."""

from __future__ import annotations

import contextlib

import pytest

from tests import browser
from tests.simulators.xiaozhi import Sentence, XiaozhiServer
from tests.test_browser_errors import notice
from tests.test_voice_live import led, up

pytestmark = pytest.mark.browser


async def test_h1_the_page_tells_that_the_service_is_away_and_goes_on_when_it_is_back() -> None:
    service = XiaozhiServer(reply=(Sentence("Forty two.", 440.0, (60,) * 10),))
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(service)
        server = await stack.enter_async_context(led(service))
        async with browser.browser_page(server.url.replace("127.0.0.1", "localhost")) as page:
            assert "only" not in await page.inner_text("#microphone-note"), "the service's languages are its own affair"
            await browser.connect(page)
            await up(server)
            await service.stop()
            assert "can't be reached" in await notice(page, "voice_line")
            await browser.screenshot(page, "voice_line_failed")
            await service.start()
            await page.locator('.notice[data-code="voice_line"]').wait_for(state="detached", timeout=15_000)
            await page.fill("#text", "what is seven times six")
            await page.keyboard.press("Enter")
            answer = page.locator('#log .message[data-role="avatar"][data-state="done"]')
            await answer.wait_for(timeout=15_000)
            assert "Forty two." in await answer.inner_text()
            await browser.screenshot(page, "voice_line_answer")
