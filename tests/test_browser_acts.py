"""Moods and gestures on the page that draws the presenter itself, run in a real Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from server import Server
from tests import browser
from tests.browser import until
from tests.chat_page import chat_page
from tests.conftest import serve
from tests.heard_page import NO_WEBRTC

pytestmark = [pytest.mark.browser, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]

EMBEDDED = {
    "dialogue__engine": "demo", "tts__engine": "espeak", "face__engine": "vector", "lipsync__engine": "phonemes",
    "media__width": "256", "media__height": "256",
}  # fmt: skip
TEN = "one two three four five six seven eight nine ten"
MOOD = "window.eman.state.mood"
LOADED = f"""
    window.moods = new Set();
    setInterval(() => window.eman && window.moods.add({MOOD}), 20);
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page() -> AsyncIterator[Page]:
    async with chat_page() as opened:
        yield opened


async def run(page: Page, code: str) -> Any:
    prelude = """async () => {
        const {Gestures, isGesture} = await import('/js/puppet/gestures.js');
        const {Moods} = await import('/js/puppet/moods.js');
    """
    return await page.evaluate(prelude + code + "}")


async def test_h3_gestures_are_strokes_that_end_where_they_began(page: Page) -> None:
    found = await run(
        page,
        """
        return Object.fromEntries(['nod', 'shake', 'tilt'].map(name => {
            const gestures = new Gestures(), poses = [];
            gestures.begin(name, 5);
            for (let time = 5; time < 8; time += 0.01) poses.push(gestures.at(time));
            const axis = {nod: 'pitch', shake: 'yaw', tilt: 'roll'}[name];
            const places = poses.map(pose => pose[axis] ?? 0);
            const steps = places.slice(1).map((place, index) => Math.abs(place - places[index]));
            const [most, end] = [Math.max(...places.map(Math.abs)), Math.abs(places.at(-1))];
            const step = Math.max(...steps);
            return [name, {most, end, step, moves: gestures.moves(5.5), rests: gestures.moves(7.9)}];
        }));
        """,
    )
    for name, most in (("nod", 0.0195), ("shake", 0.0186), ("tilt", 0.0918)):
        assert found[name]["most"] == pytest.approx(most, rel=0.02)
        assert found[name]["end"] < 0.01 * most
        assert found[name]["step"] < 0.12 * most, "it never jumps"
        assert (found[name]["moves"], found[name]["rests"]) == (True, False)


async def test_h3_a_gesture_in_the_middle_of_another_does_not_jump(page: Page) -> None:
    step = await run(
        page,
        """
        const gestures = new Gestures();
        gestures.begin('nod', 0);
        const before = gestures.at(0.42).pitch;
        gestures.begin('shake', 0.42);
        return Math.abs(gestures.at(0.43).pitch - before) / before;
        """,
    )
    assert step < 0.15


async def test_h3_a_mood_that_there_is_not_leaves_the_face_neutral(page: Page) -> None:
    found = await run(
        page,
        """
        const tiles = [{from: [0, 0], at: [0]}];
        const atlas = name => ({name, nearest: () => 0, mouth: {tiles}});
        const moods = new Moods('api/presenters/nobody/mouths.json', atlas('neutral'), () => false);
        const seen = [];
        moods.wear('sad');
        for (let n = 0; n < 3; n++) { moods.follow(null, [], 0.1); seen.push(moods.layers.length); }
        moods.close();
        return [seen, moods.shown, moods.layers[0].share];
        """,
    )
    assert found == [[1, 1, 1], "neutral", 1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    async with serve(**EMBEDDED) as running:
        yield running


async def test_h3_tags_act_on_the_face_that_the_page_draws(server: Server) -> None:
    address = server.url.replace("127.0.0.1", "localhost") + "/webrtcapichat.html"
    async with browser.launched() as chromium, browser.page_of(chromium, address, NO_WEBRTC + LOADED) as page:
        await page.uncheck("#use-microphone", force=True)
        await page.click("#start")
        await until(page, "document.querySelector('.screen').dataset.puppet === 'true'", timeout=60)
        session = server.sessions.find(str(await page.evaluate("window.eman.state.sessionid")))
        session.conversation.say(f"{TEN}. [sad] {TEN}. [nod] {TEN}.")
        await until(page, "window.eman.state.activity === 'speaking'", timeout=30)
        assert await page.evaluate(MOOD) == "neutral", "not before its place"
        await until(page, f"{MOOD} === 'sad'", timeout=60)
        await until(page, f"{MOOD} === 'neutral'", timeout=60)
        assert await page.evaluate("window.eman.state.activity") == "idle", "it lasts until the end"
        # an interruption ends it
        session.conversation.say(f"[happy] {TEN}. {TEN}. {TEN}.")
        await until(page, f"{MOOD} === 'happy'", timeout=60)
        await browser.screenshot(page, "websocket-happy")
        await page.evaluate("document.querySelector('#interrupt').click()")
        await until(page, f"{MOOD} === 'neutral'", timeout=5)
        await asyncio.sleep(1)
        assert await page.evaluate("[...window.moods].sort()") == ["happy", "neutral", "sad"]
