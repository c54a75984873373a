"""What the page says, in a real Chromium, when something is not as it should be; typing works all the same."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from core.errors import ServerFull
from tests import browser
from tests.conftest import Serve

pytestmark = pytest.mark.browser

DEVICE = "--use-fake-device-for-media-stream"
PERMISSION = "--use-fake-ui-for-media-stream"


async def notice(page: Page, code: str) -> str:
    """The notice with that code."""
    found = page.locator(f'#notice .notice[data-code="{code}"]')
    await found.wait_for(timeout=15_000)
    return str(await found.inner_text())


async def curtain(page: Page, code: str, timeout: float = 15.0) -> str:
    """The error that covers the picture."""
    found = page.locator(f'#curtain[data-kind="error"][data-code="{code}"]')
    await found.wait_for(timeout=timeout * 1000)
    return str(await found.inner_text())


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ([PERMISSION], "mic_not_found", "microphone"),
        ([DEVICE], "mic_denied", "microphone"),
        ([*browser.FAKE_MEDIA, "--host-resolver-rules=MAP eman.test 127.0.0.1"], "mic_insecure", "https"),
    ],
)
async def test_without_a_microphone_the_page_says_why_and_typing_works(
    serving: Serve, flags: list[str], code: str, said: str
) -> None:
    async with serving() as server:
        host = "eman.test" if code == "mic_insecure" else "localhost"
        async with browser.browser_page(server.url.replace("127.0.0.1", host), flags=flags) as page:
            await browser.connect(page)
            assert said in (await notice(page, code)).lower()
            await page.fill("#text", "hello")
            await page.keyboard.press("Enter")
            await page.locator('#log .message[data-role="avatar"][data-state="done"]').wait_for(timeout=15_000)
            await browser.screenshot(page, code)


async def test_a_full_server_is_explained_and_can_be_tried_again(serving: Serve) -> None:
    async with serving(limits__max_sessions="1") as server:
        url = server.url.replace("127.0.0.1", "localhost")
        async with browser.browser_page(url) as first, browser.browser_page(url) as second:
            await browser.connect(first)
            await second.click("#start")
            assert "busy" in (await curtain(second, ServerFull.code)).lower()
            await browser.screenshot(second, "server_full")
            await first.click("#hangup")
            await second.click("#retry")
            await browser.until(second, "document.querySelector('#video').videoWidth > 0")


async def test_blocked_media_are_explained(serving: Serve) -> None:
    blocked = "--webrtc-ip-handling-policy=disable_non_proxied_udp"
    async with serving() as server:
        url = server.url.replace("127.0.0.1", "localhost") + "/webrtcapichat.html"
        async with browser.browser_page(url + "?media=webrtc", flags=[*browser.FAKE_MEDIA, blocked]) as page:
            await page.click("#start")
            assert "udp" in (await curtain(page, "ice_failed", timeout=25)).lower()
            await browser.screenshot(page, "ice_failed")
            # and where the user leaves the choice to the page, it goes on without
            other = await page.context.new_page()
            await other.goto(url)
            await other.click("#start")
            assert "webrtc" in (await notice(other, "fallen")).lower()
            await browser.until(other, "window.eman.state.connection === 'connected'")
