"""The operator's page over the real server with live sessions (G3): every action works and is seen to work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import pytest
from playwright.async_api import Page

from core import log
from tests import browser
from tests.avatar_client import AvatarClient
from tests.conftest import Serve
from tests.test_dashboard_page import shown

pytestmark = pytest.mark.browser


async def eventually(true: Callable[[], bool], timeout: float = 10.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(timeout):
        while not true():
            await asyncio.sleep(0.02)


async def act(page: Page, session: str, number: int, text: str = "") -> None:
    """Press one of a session's buttons (speak, message, stop), write a text, confirm."""
    await page.locator(f'tbody[data-session="{session}"] .cell-actions button:visible').nth(number).click()
    if text:
        await page.fill("#dialog-input", text)
    await page.click("#dialog-action")


async def test_g3_live_sessions_are_seen_spoken_to_told_and_stopped(serving: Serve) -> None:
    before = log.level()
    async with serving() as server, AvatarClient(server.url) as one, AvatarClient(server.url) as two:
        for client in (one, two):
            await client.connect()
            await client.login()
        async with browser.browser_page(f"{server.url}/dashboard.html") as page:
            await shown(page, "#session-count", "2")
            row = page.locator(f'tbody[data-session="{one.session}"]')
            await row.locator(".toggle").click()
            await row.locator(".sockets li").wait_for()

            asked = time.monotonic()
            await act(page, one.session, 0, "good morning " * 12)
            await one.audible(asked)
            await row.locator(".activity", has_text="Speaking").wait_for()
            await shown(page, "#turn-rows .turn", "read out")

            await act(page, two.session, 1, "the office closes soon")
            told = await two.message("wsa_command")
            assert told["data"] == {"type": "broadcast", "content": "the office closes soon"}
            assert not [message for message in one.messages if message["type"] == "wsa_command"]
            await page.click("#broadcast")
            await page.fill("#dialog-input", "good bye")
            await page.click("#dialog-action")
            for client in (one, two):
                await client.message("wsa_command", data={"type": "broadcast", "content": "good bye"})

            await page.select_option("#log-level", "error")
            await eventually(lambda: log.level() == "error")
            log.set_level(before)

            await browser.screenshot(page, "dashboard_live")
            await act(page, two.session, 2)
            await shown(page, "#session-count", "1")
            assert [session.id for session in server.sessions.all()] == [one.session]


async def test_g3_the_real_server_wants_its_token(serving: Serve) -> None:
    token = "an admin's own secret of some length"
    async with serving(auth__admin_token=token) as server, AvatarClient(server.url) as client:
        await client.connect()
        async with browser.browser_page(f"{server.url}/dashboard.html") as page:
            await shown(page, "#gate")
            await page.fill("#gate-token", "wrong")
            await page.keyboard.press("Enter")
            await shown(page, "#gate-reason")
            await page.fill("#gate-token", token)
            await page.keyboard.press("Enter")
            await shown(page, "#session-count", "1")
            await act(page, client.session, 2)
            await shown(page, "#session-count", "0")
            assert not server.sessions.all()


def failed(client: AvatarClient, count: int) -> bool:
    """Whether so many answers have failed."""
    return len([message for message in client.messages if message.get("state") == "error"]) >= count


async def test_g3_errors_of_a_stage_are_grouped(serving: Serve) -> None:
    async with serving(dialogue__options="{fail: true}") as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        async with browser.browser_page(f"{server.url}/dashboard.html") as page:
            for count in (1, 2):
                await client.human("hello", "chat")
                await eventually(partial(failed, client, count))
            await shown(page, "#error-rows li", "2×")
            await shown(page, "#findings li", "An error in the last 5 minutes")
