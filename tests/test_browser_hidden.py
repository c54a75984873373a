"""A page in a tab that nobody looks at: it is heard on, nothing piles up, and all is right when the user comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from server import Server
from tests import browser
from tests.browser import until
from tests.conftest import serve
from tests.page_server import PageServer
from tests.tabs import Tab, tab_of

pytestmark = [pytest.mark.browser, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]

EMBEDDED = {
    "dialogue__engine": "demo", "tts__engine": "espeak", "face__engine": "vector", "lipsync__engine": "phonemes",
}  # fmt: skip
SENTENCES = [
    "One two three four five six seven.",
    "Eight nine ten eleven twelve.",
    "Apples and pears are good for all.",
    "This is the last one of today.",
]
SUBTITLE = "document.querySelector('#subtitle[data-shown=true] span')?.textContent"
STATE = "window.eman.state"
NEXT_PICTURE = (
    "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(window.eman.state.mood))))"
)
SEEN = {
    "websocket": "document.querySelector('#puppet').toDataURL()",
    "webrtc": "document.querySelector('#video').getVideoPlaybackQuality().totalVideoFrames",
}
"""Another one with each new picture."""
HEARD = {
    "websocket": "window.eman.state.sound.played_ms / 1000",
    "webrtc": "document.querySelector('#video').currentTime",
}
"""Seconds."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    async with serve(**EMBEDDED) as running:
        yield running


def address(server: Server, mode: str) -> str:
    return server.url.replace("127.0.0.1", "localhost") + f"/webrtcapichat.html?media={mode}"


async def start(tab: Tab, mode: str) -> None:
    await tab.until("window.eman?.state.connection === 'welcome'")
    await tab.evaluate("document.querySelector('#start').click()")
    await tab.until(f"{STATE}.media === '{mode}' && {STATE}.socket", timeout=60)
    shown = {"websocket": "document.querySelector('.screen').dataset.puppet === 'true'", "webrtc": f"{SEEN[mode]} > 5"}
    await tab.until(shown[mode], timeout=60)


@pytest.mark.parametrize("mode", ["websocket", "webrtc"])
async def test_h3_a_hidden_tab_speaks_on_and_is_right_afterwards(server: Server, mode: str) -> None:
    async with tab_of(address(server, mode)) as tab:
        await start(tab, mode)
        session = server.sessions.find(str(await tab.evaluate(f"{STATE}.sessionid")))
        session.conversation.say(" ".join(SENTENCES))
        await tab.until(f"({SUBTITLE}) === '{SENTENCES[0]}'")
        await tab.hide()
        before, began = float(await tab.evaluate(HEARD[mode])), time.monotonic()
        await tab.until(f"({SUBTITLE}) === '{SENTENCES[2]}'")
        heard, took = float(await tab.evaluate(HEARD[mode])) - before, time.monotonic() - began
        assert heard > 0.7 * took, "its sound goes on"
        await tab.show()
        assert await tab.evaluate(SUBTITLE) in SENTENCES[2:]
        assert await tab.evaluate(f"{STATE}.activity") == "speaking"
        assert await tab.evaluate(f"{STATE}.microphone") == "open"
        picture = await tab.evaluate(SEEN[mode])
        await tab.until(f"{SEEN[mode]} !== {picture!r}", timeout=5)
        await tab.hide()
        await tab.until(f"{STATE}.activity === 'idle'")
        assert not session.conversation.busy, "the page is not behind"
        session.conversation.say(SENTENCES[1])
        await tab.until(f"{STATE}.activity === 'speaking'")
        await tab.until(f"{STATE}.activity === 'idle'")
        await tab.show()
        said = await tab.evaluate("[...document.querySelectorAll('#log .message .said')].map(said => said.textContent)")
        assert said == [" ".join(SENTENCES), SENTENCES[1]]
        if mode == "websocket":
            sound = await tab.evaluate(f"{STATE}.sound")
            assert sound["lost"] == 0
            assert sound["buffered_ms"] < 200


async def test_h3_a_mood_that_ended_meanwhile_is_not_seen_to_go(server: Server) -> None:
    async with tab_of(address(server, "websocket")) as tab:
        await start(tab, "websocket")
        session = server.sessions.find(str(await tab.evaluate(f"{STATE}.sessionid")))
        session.conversation.say(f"[happy] {SENTENCES[0]} {SENTENCES[1]}")
        await tab.until(f"{STATE}.mood === 'happy'")
        await tab.hide()
        await tab.until(f"{STATE}.activity === 'idle'")
        await asyncio.sleep(2)
        assert await tab.evaluate(f"{STATE}.mood") == "happy", "nothing is drawn while nobody looks"
        await tab.show()
        assert await tab.evaluate(NEXT_PICTURE) == "neutral"


async def test_b7_timers_that_run_once_a_minute_do_not_make_a_line_dead() -> None:
    """As of a hidden page, and after a computer slept."""
    async with (
        PageServer().serving() as server,
        browser.launched() as chromium,
        browser.page_of(chromium, "about:blank") as page,
    ):
        await page.clock.install()
        await page.goto(server.link)
        await until(page, "window.eman?.state.socket === true")
        for _ in range(3):
            await page.clock.fast_forward(60_000)
            await asyncio.sleep(0.3)
            assert await page.evaluate("window.eman.state.socket")
        assert len(server.logins()) == 1
        # one that does not answer is
        server.answers = False
        for _ in range(2):
            await page.clock.fast_forward(60_000)
            await asyncio.sleep(0.3)
        await page.clock.run_for(10_000)
        async with asyncio.timeout(10):
            while len(server.logins()) < 2:
                await asyncio.sleep(0.05)
