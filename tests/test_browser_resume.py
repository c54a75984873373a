"""A conversation goes on by itself, in a real Chromium: sockets cut, server restarted, page reloaded, session gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page

from core.identity import visitor_link
from server import Server
from tests import browser
from tests.browser import until, until_said
from tests.conftest import Serve

pytestmark = pytest.mark.browser

ANSWER = "One two three. Four five six."
LIVE = "window.eman.state.connection === 'connected' && window.eman.state.socket"
MOVING = "document.querySelector('#video').videoWidth > 16"


@asynccontextmanager
async def talking(server: Server, *flags: str) -> AsyncIterator[Page]:
    """The page, connected without a microphone, with one question answered."""
    url = server.url.replace("127.0.0.1", "localhost")
    async with browser.browser_page(url, flags=flags or browser.FAKE_MEDIA) as page:
        await page.uncheck("#use-microphone", force=True)
        await browser.connect(page)
        await ask(page, "first")
        await page.locator('#log .message[data-state="done"]').wait_for(timeout=10_000)
        await until_said(page, "first", ANSWER)
        yield page


async def ask(page: Page, text: str) -> None:
    await page.fill("#text", text)
    await page.keyboard.press("Enter")


async def session_of(page: Page) -> str:
    return str(await page.evaluate("window.eman.state.sessionid"))


async def test_b7_sockets_closed_under_the_page_lose_nothing_and_nobody_notices(serving: Serve) -> None:
    async with serving() as server, talking(server) as page:
        session = await session_of(page)
        await asyncio.gather(*(socket.close() for socket in server.sockets.get_sessions_by_id(session)))
        server.sessions.find(session).conversation.chat("meanwhile")
        await until_said(page, "first", ANSWER, "meanwhile", ANSWER)
        await until(page, LIVE)
        assert await page.locator("#notice .notice").count() == 0
        assert await session_of(page) == session
        await browser.screenshot(page, "sockets-closed")


async def test_b7_a_restarted_server_goes_on_with_the_same_session(serving: Serve, tmp_path: Path) -> None:
    kept = {"history__enabled": "true", "history__path": str(tmp_path / "history.db")}
    async with serving(**kept) as server:
        port = server.url.rpartition(":")[2]
        async with talking(server) as page:
            session = await session_of(page)
            await server.stop()
            async with serving(**kept, server__port=port) as again:
                async with asyncio.timeout(12):
                    while not len(again.sessions):
                        await asyncio.sleep(0.05)
                await until(page, LIVE)
                assert [live.id for live in again.sessions.all()] == [session]
                assert await session_of(page) == session
                await until_said(page, "first", ANSWER)
                await ask(page, "second")
                await until_said(page, "first", ANSWER, "second", ANSWER)
                await browser.screenshot(page, "server-restarted")
                assert await page.locator("#notice .notice[data-kind=error]").count() == 0


async def test_b7_a_reloaded_page_takes_its_conversation_up_again(serving: Serve) -> None:
    async with serving() as server, talking(server) as page:
        session = await session_of(page)
        times = await page.locator("#log time").all_inner_texts()
        await page.reload()
        await until(page, f"{LIVE} && {MOVING}")
        await until_said(page, "first", ANSWER)
        assert await session_of(page) == session
        assert len(server.sessions) == 1
        assert await page.locator("#log time").all_inner_texts() == times
        assert await page.evaluate("window.eman.state.microphone") == "off"
        assert await page.locator("#notice .notice").count() == 0
        await browser.screenshot(page, "reloaded")
        await ask(page, "second")
        await until_said(page, "first", ANSWER, "second", ANSWER)


async def test_b7_a_reload_leaves_the_microphone_as_it_was(serving: Serve) -> None:
    async with (
        serving() as server,
        browser.browser_page(server.url.replace("127.0.0.1", "localhost")) as page,
    ):
        await browser.connect(page)
        await page.click("#ptt")
        await page.reload()
        await until(page, LIVE)
        assert await page.evaluate("window.eman.state.microphone") == "push_to_talk"


async def test_b8_a_visitors_link_opens_a_guarded_server_and_its_conversation_goes_on(serving: Serve) -> None:
    async with serving(auth__enabled="true", auth__api_keys='["a key"]') as server:
        link = visitor_link(server.url.replace("127.0.0.1", "localhost"), server.tokens.issue_visitor(60))
        async with browser.browser_page(link) as page:
            await page.uncheck("#use-microphone", force=True)
            await browser.connect(page)
            await ask(page, "first")
            await page.locator('#log .message[data-state="done"]').wait_for(timeout=10_000)
            await page.reload()
            await until(page, LIVE)
            await until_said(page, "first", ANSWER)
        async with browser.browser_page(link.partition("#")[0]) as stranger:
            await stranger.locator("#microphone-note", has_text="invitation link").wait_for(timeout=10_000)
            await stranger.click("#start")
            await stranger.locator('#curtain[data-code="auth_failed"]').wait_for(timeout=10_000)
            await browser.screenshot(stranger, "no-invitation")


async def test_b7_a_conversation_that_is_gone_gives_the_first_screen_without_a_word(serving: Serve) -> None:
    async with serving() as server, talking(server) as page:
        await page.evaluate(
            """() => addEventListener("pagehide", () => {
                const kept = JSON.parse(sessionStorage.getItem("eman.ticket"));
                sessionStorage.setItem("eman.ticket", JSON.stringify({...kept, sessionid: "12345"}));
            })"""
        )
        await page.reload()
        await until(page, "document.body.dataset.phase === 'connecting'")
        await until(page, "document.body.dataset.phase === 'welcome'")
        assert await page.is_visible("#start")
        assert await page.locator("#notice .notice").count() == 0
        await asyncio.sleep(0.4)
        await browser.screenshot(page, "gone")
        await page.reload()
        await asyncio.sleep(0.3)
        assert await page.evaluate("document.body.dataset.phase") == "welcome"
