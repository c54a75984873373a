"""What the page without WebRTC shows of the avatar's speech comes when it is heard, run in a real Chromium."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Page

from server import Server
from tests import browser
from tests.browser import until
from tests.chat_page import chat_page
from tests.conftest import serve
from tests.heard_page import NO_WEBRTC, RATE, RECORDED, audio_now, heard

pytestmark = [pytest.mark.browser, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]

EMBEDDED = {
    "dialogue__engine": "demo", "tts__engine": "espeak", "face__engine": "vector", "lipsync__engine": "phonemes",
}  # fmt: skip
FIRST, SECOND = "One two three four five six seven.", "Eight nine ten eleven twelve."
LONG = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen. And more."
SEEN = """
    window.seen = [];
    const note = what => window.voice && window.seen.push([what, window.voice.currentTime]);
    document.addEventListener('DOMContentLoaded', () => {
        const box = document.querySelector('#subtitle'), words = box.querySelector('span');
        new MutationObserver(() => box.dataset.shown === 'true' && note(words.textContent))
            .observe(box, {attributes: true, childList: true, subtree: true, characterData: true});
        new MutationObserver(() => note('is ' + document.body.dataset.activity))
            .observe(document.body, {attributes: true, attributeFilter: ['data-activity']});
        new MutationObserver(() => document.querySelector('#log .message[data-state="done"]') && note('done'))
            .observe(document.querySelector('#log'), {attributes: true, childList: true, subtree: true});
    });
"""
"""Notes on the audio clock when which words and activities are shown."""

_PRELUDE = """async (given) => {
    const {Moments} = await import('/js/sound/moments.js');
    const {InStep} = await import('/js/in_step.js');
    /* A voice whose moments are `now` ms after the first sound of `reply`; others are over. */
    const voice = {reply: 'r1', now: 0};
    const moments = new Moments((reply, at) => reply === voice.reply ? Math.max(0, at - voice.now) : 0);
    const told = [], step = new InStep(moments, () => voice.reply);
    const note = one => told.push(one.state ?? one.status ?? one.type);
    const tell = (...messages) => messages.forEach(one => step.take(one, () => note(one)));
    const heard = (now, reply = 'r1') => {
        Object.assign(voice, {now, reply});
        moments.look();
        return told.splice(0);
    };
    const reply = (state, at_ms = 0, reply_id = 'r1') => ({type: 'reply', state, reply_id, at_ms});
    const status = status => ({type: 'status_update', status});
    const line = sender => ({type: 'chat_message', sender, content: 'x'});
"""


async def run(page: Page, code: str) -> Any:
    return await page.evaluate(_PRELUDE + code + "}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page() -> AsyncIterator[Page]:
    async with chat_page() as opened:
        yield opened


async def test_h3_each_word_waits_for_its_moment_in_order(page: Page) -> None:
    code = """
        voice.now = -300;
        tell(status('speaking'), reply('start'), reply('sentence', 0), reply('sentence', 900),
             reply('end', 1500), line('Mira'), status('idle'));
        return [told.splice(0), heard(-1), heard(0), heard(899), heard(900), heard(1499), heard(1500)];
    """
    assert await run(page, code) == [
        ["start"], [], ["speaking", "sentence"], [], ["sentence"], [], ["end", "chat_message", "idle"],
    ]  # fmt: skip


async def test_h3_what_fails_holds_up_nothing_that_follows(page: Page) -> None:
    code = """
        voice.now = 0;
        let failed = false;
        const run = () => { throw new Error('not shown'); };
        try { moments.at({reply: '', at: 0, kind: '', run}); } catch { failed = true; }
        tell(reply('sentence', 0), reply('end', 0));
        return [failed, told];
    """
    assert await run(page, code) == [True, ["sentence", "end"]]


async def test_h3_what_is_not_heard_any_more_does_not_wait(page: Page) -> None:
    code = """
        tell(reply('sentence', 500));
        const held = told.splice(0), next = heard(0, 'r2');
        tell(reply('end', 900));
        return [held, next, told];
    """
    assert await run(page, code) == [[], ["sentence"], ["end"]]


async def test_e1_an_interruption_waits_for_nothing(page: Page) -> None:
    code = """
        voice.now = -300;
        tell(status('speaking'), reply('sentence'));
        const held = told.splice(0);
        tell(reply('interrupted'), status('interrupted'));
        const found = told.splice(0);
        return [held, found, heard(5000)];
    """
    assert await run(page, code) == [[], ["speaking", "sentence", "interrupted", "interrupted"], []]


@pytest.mark.parametrize("later", ["idle", "thinking"])
async def test_h3_the_newest_status_counts(page: Page, later: str) -> None:
    code = f"""
        tell(reply('end', 300), status('{later}'));
        const held = told.splice(0);
        tell(status('listening'));
        return [held, told.splice(0), heard(300)];
    """
    assert await run(page, code) == [[], ["listening"], ["end"]]


@pytest.mark.parametrize("said", ["{type: 'asr_result', text: 'wait'}", "line('user')", "line('回音')"])
async def test_h3_what_the_user_says_comes_after_what_was_told_before(page: Page, said: str) -> None:
    before, after = await run(page, f"tell(reply('sentence', 300), {said}); return told;")
    assert before == "sentence"
    assert after in ("asr_result", "chat_message")


async def test_e1_an_answer_that_is_held_tells_nothing_until_it_goes_on(page: Page) -> None:
    code = """
        tell(reply('sentence', 300));
        moments.pause('r1');
        const held = heard(2000);
        moments.resume('r1');
        const resumed = heard(2000);
        moments.pause('r1');
        tell(reply('end', 2000)); // its sound was lost on the way
        return [held, resumed, heard(2000)];
    """
    assert await run(page, code) == [[], ["sentence"], ["end"]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    async with serve(**EMBEDDED) as running:
        yield running


async def start(page: Page) -> None:
    await page.uncheck("#use-microphone", force=True)
    await page.click("#start")
    await until(page, "window.eman.state.media === 'websocket' && window.eman.state.socket", timeout=30)


def address(server: Server) -> str:
    return server.url.replace("127.0.0.1", "localhost") + "/webrtcapichat.html"


async def test_h3_subtitles_and_the_end_come_when_they_are_heard(server: Server) -> None:
    async with (
        browser.launched() as chromium,
        browser.page_of(chromium, address(server), NO_WEBRTC + RECORDED + SEEN, bypass_csp=True) as page,
    ):
        await start(page)
        session = server.sessions.find(str(await page.evaluate("window.eman.state.sessionid")))
        session.conversation.say(f"{FIRST} {SECOND}")
        await until(page, "window.seen.some(([what]) => what === 'is idle')", timeout=40)
        loudspeaker = float(await page.evaluate("window.voice.outputLatency || 0.02"))
        sounding = (await heard(page)).sounding() + loudspeaker
        seen: dict[str, float] = {}
        for what, at in await page.evaluate("window.seen"):
            seen.setdefault(what, at)
        pauses = np.flatnonzero(np.diff(sounding) > 0.15)
        second = float(sounding[pauses[-1] + 1])
        # before, they came by what the page is late: 0.16 s and more; a sentence's sound begins with some silence
        assert -0.12 < seen[FIRST] - sounding[0] < 0.7
        assert -0.12 < seen["is speaking"] - sounding[0] < 0.7
        assert -0.12 < seen[SECOND] - second < 0.7
        for what in ("is idle", "done"):
            assert -0.03 < seen[what] - sounding[-1] < 1, what


async def test_e1_the_button_clears_at_once(server: Server) -> None:
    async with (
        browser.launched() as chromium,
        browser.page_of(chromium, address(server), NO_WEBRTC + RECORDED + SEEN, bypass_csp=True) as page,
    ):
        await start(page)
        session = server.sessions.find(str(await page.evaluate("window.eman.state.sessionid")))
        session.conversation.say(LONG)
        await until(page, "window.eman.state.sound.played_ms > 1000", timeout=30)
        await until(page, "document.querySelector('#subtitle').dataset.shown === 'true'")
        await page.evaluate("document.querySelector('#interrupt').click()")
        assert await page.evaluate("document.querySelector('#subtitle').dataset.shown") == "false"
        clicked = await audio_now(page)
        await until(page, """document.querySelector('#log .message[data-state="interrupted"]') !== null""")
        await until(page, "document.body.dataset.activity === 'idle'")
        recording = await heard(page)
        assert recording.sounding()[-1] < clicked + 0.15
        assert len(recording.samples) > RATE
        shown = [what for what, at in await page.evaluate("window.seen") if at > clicked and not what.startswith("is ")]
        assert shown == [], "no words after it"
