"""What the chat page keeps, counts and forgets, in a real Chromium with a server that speaks strictly by the book."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page

from tests import browser
from tests.browser import until, until_said
from tests.page_server import SESSION, TOKEN, PageServer, answered, asked

pytestmark = pytest.mark.browser


@pytest.fixture
async def server() -> AsyncIterator[PageServer]:
    async with PageServer().serving() as running:
        yield running


async def joined(page: Page) -> None:
    await until(page, "window.eman?.state.socket === true")


async def confirm(page: Page, opener: str) -> None:
    """Open the menu, use something in it, and say yes."""
    await page.click("#more")
    await page.click(opener)
    await page.click("#confirm-yes")


async def test_b7_messages_are_counted_between_syncs_and_channel_messages_are_not(server: PageServer) -> None:
    async with browser.browser_page(server.link) as page:
        await joined(page)
        await server.push(asked("one"))
        await server.push(asked("two"), sync=False)
        await server.send({"type": "heartbeat_response", "timestamp": 1})
        await server.send({"type": "wsa_status", "role": "human", "connected": True})
        await server.push({"type": "a_kind_of_tomorrow"}, asked("three"), sync=False)
        await until_said(page, "one", "two", "three")
        number = server.last
        await server.cut()
        server.log.append(asked("said meanwhile"))
        await until_said(page, "one", "two", "three", "said meanwhile")
        assert [login["last_seq"] for login in server.logins()] == [0, number]
        assert await page.locator("#notice .notice").count() == 0


async def test_b7_a_server_that_forgot_is_asked_for_its_history_and_nothing_is_shown_twice(server: PageServer) -> None:
    async with browser.browser_page(server.link) as page:
        await joined(page)
        await server.push(asked("one"), *answered("First.", "r1"))
        await until_said(page, "one", "First.")
        await server.cut()
        server.kept = [
            {"id": 1, "role": "user", "text": "one", "at_ms": 1000, "state": "final"},
            {"id": 2, "role": "assistant", "text": "First.", "at_ms": 2000, "state": "final"},
            {"id": 3, "role": "user", "text": "one", "at_ms": 3000, "state": "final"},
            {"id": 4, "role": "assistant", "text": "Again.", "at_ms": 4000, "state": "interrupted"},
        ]
        server.restart(server.start + 60_000)
        server.log += answered("After.", "r1")
        await until_said(page, "one", "First.", "one", "Again.", "After.")


async def test_b7_what_is_told_again_is_quiet(server: PageServer) -> None:
    server.log += [
        {"type": "wsa_command", "data": {"type": "control", "action": "hangup"}},
        {"type": "broadcast", "content": "old news"},
        {"type": "status_update", "status": "error", "content": "old trouble"},
        *answered("Hello.", "r1"),
        {"type": "asr_result", "text": "half a sen", "is_final": False},
        {"type": "status_update", "status": "idle", "content": ""},
    ]
    async with browser.browser_page(server.link) as page:
        await until_said(page, "Hello.")
        assert await page.evaluate("window.eman.state.connection") == "elsewhere"
        assert await page.evaluate("document.querySelector('#subtitle').dataset.shown") == "false"
        assert await page.locator("#notice .notice").count() == 0


async def test_b4_wrapped_data_messages_of_older_servers_are_understood(server: PageServer) -> None:
    async with browser.browser_page(server.link) as page:
        await joined(page)
        wrapped = {"type": "chat_message", "sender": "Fay", "content": "wrapped"}
        await server.push({"type": "wsa_command", "data": wrapped})
        await server.push({"type": "wsa_command", "data": {"type": "status_update", "status": "thinking"}})
        await until_said(page, "wrapped")
        await until(page, "window.eman.state.activity === 'thinking'")


async def test_the_token_of_a_link_reaches_no_address(server: PageServer) -> None:
    server.kept = [{"id": 1, "role": "user", "text": "kept", "at_ms": 1000, "state": "final"}]
    async with browser.browser_page(server.link) as page:
        await until_said(page, "kept")
        assert page.url == f"{server.url}/webrtcapichat.html"
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.click("#share")
        assert await page.evaluate("navigator.clipboard.readText()") == server.link
        await page.reload()
        await until_said(page, "kept")
        assert server.logins()[-1]["token"] == TOKEN
        assert [address for address in server.addresses if TOKEN in address] == []
        assert not [path for path, _ in server.posted if path == "/api/hangup"], "a companion must not end anything"


async def test_g2_conversations_are_kept_shown_again_dimmed_and_bounded(server: PageServer) -> None:
    async with browser.browser_page(server.link) as page:
        await joined(page)
        await server.push(asked("of yesterday"), *answered("Remembered.", "r1"))
        await until_said(page, "of yesterday", "Remembered.")
        many = [{"id": n, "role": "user", "who": "", "text": f"n{n}", "at": n, "state": "final"} for n in range(700)]
        await page.evaluate(
            """many => {
                const kept = JSON.parse(localStorage.getItem("eman.chat"));
                kept.conversations[0].sessionid = "1";
                kept.conversations[0].entries = [...many, ...kept.conversations[0].entries];
                localStorage.setItem("eman.chat", JSON.stringify(kept));
            }""",
            many,
        )
        await page.reload()
        await until_said(page, "of yesterday", "Remembered.")
        assert (await browser.said(page, "#earlier"))[-2:] == ["of yesterday", "Remembered."]
        await browser.screenshot(page, "earlier")
        kept = json.loads(await page.evaluate("localStorage.getItem('eman.chat')"))
        assert sum(len(one["entries"]) for one in kept["conversations"]) == 500
        assert kept["conversations"][-1]["entries"][-1]["text"] == "Remembered."


FILL = """() => {
    let text = "";
    for (let more = 1 << 24; more >= 256; ) {
        try { localStorage.setItem("other", text + "x".repeat(more)); text += "x".repeat(more); } catch { more >>= 1; }
    }
    localStorage.setItem("other", text.slice(6000));
}"""
"""Leaves room for about 6000 characters."""


async def test_g2_a_full_storage_keeps_the_newest(server: PageServer) -> None:
    async with browser.browser_page(server.link) as page:
        await joined(page)
        await page.evaluate(FILL)
        await server.push(*(asked(f"{number} " + "x" * 700) for number in range(12)))
        await until(page, "document.querySelectorAll('#log .message').length === 12")
        kept = json.loads(await page.evaluate("localStorage.getItem('eman.chat')"))
        texts = [entry["text"].split()[0] for entry in kept["conversations"][-1]["entries"]]
        assert texts[-1] == "11"
        assert 0 < len(texts) < 12


OLD_HISTORY = """<div class="chat-messages">
<div class="message user-message"><div class="content">What is <b>this</b>?</div><span class="time">9:00</span></div>
<div class="message bot-message"><div class="content">An answer.<img src="./stolen" onerror="window.stolen=1">
<script>window.stolen=2</script><iframe src="./stolen-too"></iframe></div></div></div>"""


async def test_g2_the_html_of_older_pages_is_imported_once_as_text(server: PageServer) -> None:
    async with browser.browser_page(f"{server.url}/webrtcapichat.html") as page:
        await page.evaluate("html => localStorage.setItem('chatHistory', html)", OLD_HISTORY)
        await page.reload()
        await until_said(page, "What is this?", "An answer.", box="#earlier")
        assert await page.evaluate("localStorage.getItem('chatHistory')") is None
        assert await page.evaluate("document.querySelectorAll('#earlier :is(img, script, iframe, b)').length") == 0
        await page.reload()
        await until_said(page, "What is this?", "An answer.", box="#earlier")
        assert await page.evaluate("window.stolen") is None
        assert not [address for address in server.addresses if "stolen" in address]


async def test_g2_off_means_nothing_is_kept_here_or_there(server: PageServer) -> None:
    async with browser.browser_page(server.link) as page:
        await joined(page)
        await server.push(asked("confidential"), *answered("Quite.", "r1"))
        await until_said(page, "confidential", "Quite.")
        await page.click("#more")
        await page.click(".menu .switch:has(#enable-storage)")
        await browser.screenshot(page, "storage-off")
        await page.click("#confirm-no")
        assert await page.is_checked("#enable-storage")
        await page.click("#more")
        await page.click(".menu .switch:has(#enable-storage)")
        await page.click("#confirm-yes")
        await until_said(page)
        await until(page, "document.querySelector('#notice [data-code=cleared]') !== null")
        assert {"type": "storage", "enabled": False} in server.received
        assert server.deleted == [SESSION]
        await server.push(asked("unheard of"))
        await until_said(page, "unheard of")
        everything = await page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
        assert "confidential" not in everything
        assert "unheard" not in everything
        await page.reload()
        await until_said(page, "unheard of")
        assert not await page.is_checked("#enable-storage")
        await page.click("#more")
        await page.click(".menu .switch:has(#enable-storage)")
        await asyncio.sleep(0.1)
        await server.push(asked("to be kept"))
        await until_said(page, "unheard of", "to be kept")
        assert {"type": "storage", "enabled": True} in server.received
        kept = str(await page.evaluate("localStorage.getItem('eman.chat')"))
        assert "to be kept" in kept
        assert "unheard" not in kept


async def test_g2_clearing_reaches_every_format_the_server_and_the_other_tabs(server: PageServer) -> None:
    async with browser.browser_page(server.link) as page:
        await joined(page)
        await server.push(asked("one"), *answered("First.", "r1"))
        other = await page.context.new_page()
        await other.goto(server.link)
        await until_said(other, "one", "First.")
        await page.evaluate(
            """() => {
                const kept = JSON.parse(localStorage.getItem("eman.chat"));
                kept.conversations.unshift({...kept.conversations[0], sessionid: "77"});
                localStorage.setItem("eman.chat", JSON.stringify(kept));
                localStorage.setItem("chatHistory", "<p>old</p>");
            }"""
        )
        await page.bring_to_front()
        await confirm(page, "#clear")
        await until_said(page)
        await until_said(other)
        await until(page, "document.querySelector('#notice [data-code=cleared]') !== null")
        assert sorted(server.deleted) == sorted([SESSION, "77"])
        kept = str(await page.evaluate("JSON.stringify(localStorage)"))
        assert "First" not in kept
        assert "chatHistory" not in kept
        await other.reload()
        await joined(other)
        await until_said(other)
