"""A real Chromium shows a page that is not ours, on the machine where the server runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Page

from core.identity import visitor_link
from server import Server
from tests import browser
from tests.conftest import Serve
from tests.offers import real_offer

pytestmark = pytest.mark.browser

REBIND = "--host-resolver-rules=MAP evil.example 127.0.0.1"
ATTACK = """async ([server, sdp, sessionid]) => {
  const send = async (path, body, more = {}) => {
    try {
      const answer = await fetch(server + path, { method: "POST", body: JSON.stringify(body), ...more });
      return answer.type === "opaque" ? "opaque" : answer.status;
    } catch (error) { return "blocked"; }
  };
  const read = async (path) => {
    try { const answer = await fetch(server + path); return [answer.status, await answer.text()]; }
    catch (error) { return ["blocked", ""]; }
  };
  const socket = (path, first) => new Promise((resolve) => {
    const line = new WebSocket(server.replace("http", "ws") + path);
    line.onopen = () => line.send(JSON.stringify(first));
    line.onmessage = (event) => resolve(event.data);
    line.onclose = () => resolve("closed");
  });
  const offer = { sdp, type: "offer" };
  const forged = { headers: { "X-Forwarded-For": "127.0.0.1" } };
  return {
    sends: [
      await send("/offer", offer), await send("/offer", offer, { mode: "no-cors" }),
      await send("/offer", offer, forged),
      await send("/human", { sessionid, text: "hi", type: "echo" }, { mode: "no-cors" }),
      await send("/api/admin/stop", { sessionid }, { mode: "no-cors" }),
      await send("/api/hangup", { sessionid }, { mode: "no-cors" }),
      String(navigator.sendBeacon(server + "/api/hangup", JSON.stringify({ sessionid }))),
    ],
    reads: [await read("/api/admin/sessions"), await read("/api/admin/config"), await read("/metrics"),
            await read("/api/history?sessionid=" + sessionid), await read("/api/admin/conversations")],
    sockets: [await socket("/ws", { type: "login", session_id: sessionid }),
              await socket("/api/admin/live", { type: "login", token: "" })],
  };
}"""


@pytest.fixture
async def elsewhere() -> AsyncIterator[str]:
    """The URL of another site, on another port: an empty page."""
    application = web.Application()

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>elsewhere</title>", content_type="text/html")

    application.add_routes([web.get("/", page)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def attack(page: Page, server: Server, url: str) -> dict[str, Any]:
    """What an evil page gets when it tries everything; the session that it tries it on must not notice."""
    session, _ = await server.sessions.open(await real_offer())
    result: dict[str, Any] = await page.evaluate(ATTACK, [url, await real_offer(), session.id])
    await page.wait_for_timeout(200)  # the beacon goes out by itself
    assert [live.id for live in server.sessions.all()] == [session.id]
    assert not session.conversation.busy
    assert session.id not in json.dumps(result["reads"])
    assert result["sockets"] == ["closed", "closed"]
    return result


async def test_k1_a_page_of_another_site_can_neither_drive_nor_read_the_server_here(
    serving: Serve, elsewhere: str
) -> None:
    async with serving() as server, browser.browser_page(elsewhere) as page:
        result = await attack(page, server, server.url)
        assert set(result["sends"][:3]) == {"blocked", "opaque"}
        assert {status for status, _ in result["reads"]} == {"blocked"}


async def test_k1_a_page_whose_name_was_pointed_here_can_neither_drive_nor_read_the_server(serving: Serve) -> None:
    async with serving() as server:
        url = server.url.replace("127.0.0.1", "evil.example")
        async with browser.browser_page(url + "/poster.png", flags=[REBIND]) as page:
            result = await attack(page, server, url)
        assert result["sends"][:3] == [403, 403, 403]  # same origin for the browser: only we stop it
        assert {status for status, _ in result["reads"]} == {401}


async def test_b7_our_own_page_starts_talks_and_says_farewell(serving: Serve) -> None:
    async with serving(auth__enabled="true") as server, browser.browser_page(server.url) as page:
        await browser.connect(page)
        await page.fill("#text", "hello")
        await page.keyboard.press("Enter")
        await page.locator('#log .message[data-role="avatar"][data-state="done"]').wait_for(timeout=15_000)
        assert len(server.sessions) == 1


async def test_k1_a_visitor_comes_in_with_the_link_and_not_without(serving: Serve) -> None:
    rules = {"auth__enabled": "true", "auth__api_keys": "[key-of-a-program-0001]"}
    async with serving(**rules) as server:
        link = visitor_link(server.url, server.tokens.issue_visitor(3600))
        async with browser.browser_page(server.url) as page:
            await page.click("#start")
            await page.locator('#curtain[data-kind="error"][data-code="auth_failed"]').wait_for(timeout=15_000)
            await page.wait_for_timeout(800)  # the curtain is drawn
            await browser.screenshot(page, "visitor_without_link")
            assert len(server.sessions) == 0
        async with browser.browser_page(link) as page:
            await browser.connect(page)
            assert len(server.sessions) == 1
            await browser.screenshot(page, "visitor_with_link")
