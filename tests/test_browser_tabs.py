"""Several windows of one conversation, in a real Chromium: the same chat, and one avatar that moves between them."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page

from tests import browser
from tests.browser import until, until_said
from tests.conftest import Serve

pytestmark = pytest.mark.browser

ANSWER = "One two three. Four five six."


async def companion(page: Page) -> Page:
    """A second window of the same browser, opened by the copied link."""
    await page.context.grant_permissions(["clipboard-read", "clipboard-write", "microphone"])
    await page.click("#share")
    link = str(await page.evaluate("navigator.clipboard.readText()"))
    other = await page.context.new_page()
    await other.goto(link)
    await until(other, "window.eman?.state.socket === true")
    return other


async def ask(page: Page, text: str) -> None:
    await page.bring_to_front()
    await page.fill("#text", text)
    await page.keyboard.press("Enter")


async def phase(page: Page, name: str) -> None:
    await until(page, f"window.eman.state.connection === '{name}'")


async def test_a4_two_windows_see_the_same_chat_and_the_avatar_moves_without_a_fight(serving: Serve) -> None:
    async with (
        serving(face__engine="vector") as server,
        browser.browser_page(server.url.replace("127.0.0.1", "localhost")) as first,
    ):
        await browser.connect(first)
        await ask(first, "one")
        await until_said(first, "one", ANSWER)
        second = await companion(first)
        await until_said(second, "one", ANSWER)
        await phase(second, "elsewhere")
        await browser.screenshot(second, "companion")
        await ask(second, "two")
        for page in (first, second):
            await until_said(page, "one", ANSWER, "two", ANSWER)

        await second.click("#retry")
        await until(second, "document.querySelector('#video').videoWidth > 16")
        await phase(second, "connected")
        await phase(first, "elsewhere")
        assert await first.evaluate("window.eman.state.microphone") == "off"
        assert await first.evaluate("document.querySelector('#video').srcObject") is None
        await first.bring_to_front()
        await browser.screenshot(first, "moved")
        await asyncio.sleep(1.2)  # longer than a page that fights for it would wait
        assert await first.evaluate("window.eman.state.connection") == "elsewhere"
        assert await second.evaluate("window.eman.state.connection") == "connected"
        assert len(server.sessions) == 1

        await first.click("#retry")
        await phase(first, "connected")
        await phase(second, "elsewhere")
        assert await first.evaluate("window.eman.state.microphone") == "open"
        await second.bring_to_front()
        await second.click("#hangup")
        await phase(second, "ended")
        await asyncio.sleep(0.3)
        assert await first.evaluate("window.eman.state.connection") == "connected"
        assert len(server.sessions) == 1


async def test_g2_clearing_in_one_window_clears_the_other_and_the_server(serving: Serve, tmp_path: object) -> None:
    kept = {"history__enabled": "true", "history__path": f"{tmp_path}/history.db"}
    async with (
        serving(**kept) as server,
        browser.browser_page(server.url.replace("127.0.0.1", "localhost")) as first,
    ):
        await browser.connect(first)
        await ask(first, "one")
        await until_said(first, "one", ANSWER)
        second = await companion(first)
        await until_said(second, "one", ANSWER)
        session = str(await first.evaluate("window.eman.state.sessionid"))
        assert len(await server.history.page(session, before=None, limit=10)) == 2
        await second.bring_to_front()
        await second.click("#more")
        await second.click("#clear")
        await second.click("#confirm-yes")
        for page in (first, second):
            await until_said(page)
        assert await server.history.page(session, before=None, limit=10) == []
        await second.reload()
        await until(second, "window.eman?.state.socket === true")
        await until_said(second)


async def test_b7_when_the_server_is_gone_every_window_says_so(serving: Serve) -> None:
    async with (
        serving(face__engine="vector") as server,
        browser.browser_page(server.url.replace("127.0.0.1", "localhost")) as first,
    ):
        await browser.connect(first)
        second = await companion(first)
        await until(second, "document.querySelector('#connection').dataset.state === 'connected'")
        await server.stop()
        await until(second, "document.querySelector('#connection').dataset.state === 'reconnecting'")
        # the still, not a black video, is behind what the page says
        await first.bring_to_front()
        await first.locator('#curtain[data-kind="wait"]').wait_for(timeout=25_000)
        await until(first, "getComputedStyle(document.querySelector('#video')).opacity === '0'")
        await browser.screenshot(first, "server-gone")
