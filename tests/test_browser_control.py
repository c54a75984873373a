"""The optional third-party control server, and the menu by keyboard, in a real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests import browser
from tests.browser import until, until_said
from tests.conftest import Serve
from tests.page_server import SESSION, PageServer, asked

pytestmark = pytest.mark.browser


@pytest.fixture
async def server() -> AsyncIterator[PageServer]:
    async with PageServer().serving() as running:
        yield running


class ControlServer:
    """A third party: it hears names, and commands."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[str] = []
        self.socket: web.WebSocketResponse | None = None

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[ControlServer]:
        application = web.Application()
        application.add_routes([web.get("/", self._ws)])
        runner = web.AppRunner(application, shutdown_timeout=0.2, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            yield self
        finally:
            if self.socket is not None:
                await self.socket.close()
            await runner.cleanup()

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        self.socket = web.WebSocketResponse()
        await self.socket.prepare(request)
        async for frame in self.socket:
            self.heard.append(frame.data)
        return self.socket

    async def say(self, **message: str) -> None:
        assert self.socket is not None
        await self.socket.send_json(message)


async def test_b6_the_control_server_learns_a_name_only_and_may_stop_the_avatar(server: PageServer) -> None:
    async with ControlServer().serving() as control:
        server.config["control_url"] = control.url
        async with browser.browser_page(server.link) as page:
            async with asyncio.timeout(5):
                while not control.heard:
                    await asyncio.sleep(0.02)
            await control.say(type="control", action="interrupt", Username="User_of_somebody_else")
            await control.say(type="control", action="dance")
            await control.say(type="chat_message", sender="user", content="no way in")
            await control.say(type="broadcast", content="Closing at six.")
            await control.say(type="control", action="interrupt")
            await page.locator('#notice .notice[data-code="broadcast"]', has_text="Closing at six.").wait_for()
            async with asyncio.timeout(5):
                while not server.posted:
                    await asyncio.sleep(0.02)
            assert [path for path, _ in server.posted] == ["/interrupt_talk"]
            await until_said(page)
            await control.say(type="control", action="hangup")
            await until(page, "window.eman.state.connection === 'ended'")
        assert control.heard == [f'{{"Username":"User_{SESSION}"}}']


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/", "not a url", "http://127.0.0.1:1/"])
async def test_b6_a_control_server_that_fails_disturbs_nothing(server: PageServer, url: str) -> None:
    server.config["control_url"] = url
    async with browser.browser_page(server.link) as page:
        await until(page, "window.eman?.state.socket === true")
        await server.push(asked("undisturbed"))
        await until_said(page, "undisturbed")
        assert await page.locator("#notice .notice").count() == 0


async def test_b6_no_link_can_name_a_control_server(server: PageServer) -> None:
    async with ControlServer().serving() as control:
        link = server.link.replace(".html#", f".html?control={control.url}&control_url={control.url}#")
        async with browser.browser_page(link) as page:
            await until(page, "window.eman?.state.socket === true")
            await server.push(asked("here"))
            await until_said(page, "here")
            assert control.socket is None


async def test_a_channel_that_stays_away_is_told_and_the_word_goes_when_it_is_back(server: PageServer) -> None:
    async with browser.browser_page(server.link) as page:
        await until(page, "window.eman?.state.socket === true")
        server.refuse_logins = True
        await server.cut()
        await page.locator('#notice .notice[data-code="socket_lost"]').wait_for(timeout=8_000)
        await browser.screenshot(page, "channel-lost")
        server.refuse_logins = False
        await page.evaluate("dispatchEvent(new Event('online'))")
        await until(page, "!document.querySelector('#notice .notice')", timeout=9)


async def test_g1_the_menu_works_by_keyboard(server: PageServer) -> None:
    async with browser.browser_page(server.link) as page:
        await until(page, "window.eman?.state.socket === true")
        await server.push(asked("hello"))
        await until_said(page, "hello")
        await page.focus("#more")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "copy"
        await page.keyboard.press("Escape")
        assert await page.evaluate("document.activeElement.id") == "more"
        assert await page.get_attribute("#more", "aria-expanded") == "false"
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "confirm-no"
        await page.keyboard.press("Escape")
        assert not await page.is_visible("#confirm")
        await until_said(page, "hello")
        assert server.posted == [], "Escape closed the menu and the question, and interrupted nobody"


async def test_g1_who_starts_with_the_keyboard_is_at_the_calls_buttons(serving: Serve) -> None:
    async with (
        serving() as server,
        browser.browser_page(server.url.replace("127.0.0.1", "localhost")) as page,
    ):
        await page.focus("#start")
        await page.keyboard.press("Enter")
        await until(page, "window.eman.state.connection === 'connected'")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.id") == "mic"
