"""The page without WebRTC in a real Chromium: sound over the WebSocket, the presenter drawn by the page."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from playwright.async_api import Browser, Page

from avatar.avatar import Avatar
from core.frames import SoundPiece
from core.session import Session
from server import Server
from tests import browser
from tests.browser import until
from tests.conftest import serve
from tests.heard_page import BLOCKED, MUTE_UNTIL_CLICKED, NO_WEBRTC, RATE, RECORDED, audio_now, heard
from tests.sound_client import SoundClient
from tests.speech import flite, resample

pytestmark = [pytest.mark.browser, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]

EMBEDDED = {
    "asr__engine": "pocketsphinx",
    "dialogue__engine": "demo",
    "tts__engine": "espeak",
    "face__engine": "vector",
    "lipsync__engine": "phonemes",
}
TIMES = 4
QUESTION = "what is seven times six"
PLAYING = "window.eman.state.connection === 'connected' && window.eman.state.media === 'websocket'"
SHOWN = "document.querySelector('.screen').dataset.puppet === 'true'"
GREETED = """[...document.querySelectorAll('#log .message[data-state="done"] .said')]
    .some(said => said.textContent === 'Good morning.')"""
COUNTED = """
    window.unheard = 0;
    new MutationObserver(() => { window.unheard += document.querySelectorAll('[data-code=unheard]').length; })
        .observe(document, {childList: true, subtree: true});
"""
"""Counts the notices that say that the microphone is not heard."""
LONG = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    async with serve(**EMBEDDED) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    microphone = tmp_path_factory.mktemp("sound") / "microphone.wav"
    browser.write_microphone(microphone, flite(QUESTION, "rms"), lead_s=3.0, tail_s=7.0, times=TIMES)
    async with browser.launched(microphone) as running:
        yield running


@contextlib.asynccontextmanager
async def page_on(
    chromium: Browser, server: Server, script: str = "", query: str = "?media=websocket", **context: object
) -> AsyncIterator[Page]:
    """The first screen."""
    url = server.url.replace("127.0.0.1", "localhost") + "/webrtcapichat.html" + query
    async with browser.page_of(chromium, url, script, **context) as page:
        yield page


async def start(page: Page, *, microphone: bool = False) -> None:
    if not microphone:
        await page.uncheck("#use-microphone", force=True)
    await page.click("#start")
    await until(page, f"{PLAYING} && {SHOWN}", timeout=30)


async def session_of(server: Server, page: Page) -> Session:
    return server.sessions.find(str(await page.evaluate("window.eman.state.sessionid")))


class Reference:
    """What the server handed over, as a client would play it: implements `core.stages.SoundSink`."""

    def __init__(self) -> None:
        self.pieces: dict[str, list[SoundPiece]] = {}

    def sound(self, piece: SoundPiece) -> None:
        self.pieces.setdefault(piece.reply_id, []).append(piece)

    def cleared(self, reply_id: str, at: float) -> None:
        pass

    def of(self, reply_id: str) -> NDArray[np.float32]:
        """The whole reply at `RATE`, -1 to 1."""
        pieces = self.pieces[reply_id]
        whole = np.zeros(round((pieces[-1].at + 10) * 48_000), np.int16)
        for piece in pieces:
            begin = round(piece.at * 48_000)
            whole[begin : begin + len(piece.samples)] = piece.samples
        return resample(whole, 48_000, RATE).astype(np.float32) / 32768


async def listen(server: Server, reference: Reference) -> Callable[[], None]:
    """Of the first session, as soon as it is there."""
    async with asyncio.timeout(30):
        while not len(server.sessions):
            await asyncio.sleep(0.02)
    return server.sessions.all()[-1].listen(reference, 0.5)


def likeness(sound: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Correlation of a recording with what it is to hold, of the stretch between two pauses where it is worst.

    In a pause sound may be moved; a gap anywhere else makes it fall.
    """
    loud = np.flatnonzero(np.abs(reference) > 0.01)
    ends = np.flatnonzero(np.diff(loud) > 0.02 * RATE)
    stretches = zip([loud[0], *loud[ends + 1]], [*loud[ends], loud[-1]], strict=True)
    return min(_likeness(sound, reference[begin:end]) for begin, end in stretches if end - begin > 0.1 * RATE)


def _likeness(sound: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    # without the highest tones, which tell half a sample between two ways of halving the rate
    sound, wanted = (np.convolve(one, np.ones(6, np.float32) / 6, "same") for one in (sound, wanted))
    size = 1 << (len(sound) + len(wanted)).bit_length()
    product = np.fft.irfft(np.fft.rfft(sound, size) * np.conj(np.fft.rfft(wanted, size)), size)
    place = int(np.argmax(product[: len(sound) - len(wanted) + 1]))
    part = sound[place : place + len(wanted)]
    return float(np.dot(part, wanted) / (np.linalg.norm(part) * np.linalg.norm(wanted)))


async def test_h3_talks_where_there_is_no_webrtc_and_loses_no_sound(chromium: Browser, server: Server) -> None:
    async with page_on(chromium, server, NO_WEBRTC + RECORDED, query="", bypass_csp=True) as page:
        reference = Reference()
        listening = asyncio.create_task(listen(server, reference))
        await start(page, microphone=True)
        end = await listening
        assert await page.locator('#notice .notice[data-code="fallen"]').count() == 1
        await browser.screenshot(page, "websocket-fallen")
        await until_answered_whole(page, reference)
        end()
        await browser.screenshot(page, "websocket-answered")


async def until_answered_whole(page: Page, reference: Reference) -> None:
    """The microphone asks again: where the machine stands still for half a second, nobody speaks fluently."""
    answered = page.locator('#log .message[data-role="avatar"][data-state="done"]')
    gaps = 0
    for number in range(TIMES):
        await answered.nth(number).wait_for(timeout=40_000)
        await until(page, "window.eman.state.sound.buffered_ms === 0 && window.eman.state.activity !== 'speaking'")
        sound = await page.evaluate("window.eman.state.sound")
        before, gaps = gaps, sound["gaps"]
        if gaps > before or sound["lost"]:
            continue
        recording = await heard(page)
        assert recording.holes == 0
        assert sound["played_ms"] > 800
        assert likeness(recording.samples, reference.of(list(reference.pieces)[number])) > 0.98
        assert len(await browser.said(page)) >= 2
        return
    raise AssertionError(f"never without a gap: {sound}")


_WATCH = """() => {
    const canvas = document.querySelector('#puppet'), lens = document.createElement('canvas');
    const analyser = window.voice.createAnalyser(), ring = new Float32Array(1024);
    analyser.fftSize = 1024;
    window.tapped(analyser);
    const brush = lens.getContext('2d', {willReadFrequently: true});
    window.seen = [];
    (function look() {
        const {width, height} = canvas, [x, y, w, h] = [0.42, 0.53, 0.16, 0.12];
        lens.width = w * width;
        lens.height = h * height;
        brush.drawImage(canvas, x * width, y * height, w * width, h * height, 0, 0, w * width, h * height);
        const points = brush.getImageData(0, 0, lens.width, lens.height).data;
        let dark = 0;
        for (let at = 0; at < points.length; at += 4) dark += points[at] + points[at + 1] + points[at + 2] < 200;
        analyser.getFloatTimeDomainData(ring);
        const loud = Math.sqrt(ring.reduce((sum, value) => sum + value * value, 0) / ring.length);
        window.seen.push([performance.now(), dark / (points.length / 4), loud, window.eman.state.mouth]);
        setTimeout(look, 15);
    })();
}"""
_TAPPABLE = """
    const Tapped = window.AudioWorkletNode;
    window.AudioWorkletNode = class extends Tapped {
        constructor(context, name, options) {
            super(context, name, options);
            if (name === 'eman-player') window.voice = context, window.tapped = node => this.connect(node);
        }
    };
"""


async def test_h3_the_mouth_moves_with_the_sound_and_closes_for_m(chromium: Browser, server: Server) -> None:
    async with page_on(chromium, server, _TAPPABLE) as page:
        await start(page)
        await until(page, "window.voice !== undefined")
        await page.evaluate(_WATCH)
        await asyncio.sleep(0.5)
        (await session_of(server, page)).conversation.say("Mama, papa. Mama, papa. Mama, papa. Mama, papa.")
        await until(page, "window.seen.some(([, dark]) => dark > 0.03)", timeout=40)
        await until(page, "window.seen.slice(-40).every(([, dark, loud]) => dark < 0.01 && loud < 0.002)", timeout=40)
        table = np.array(await page.evaluate("window.seen"))
        times, dark, loud, mouth = table.T
        speaking = np.flatnonzero(loud > 0.01)
        began, ended = times[speaking[0]], times[speaking[-1]]
        # (a page that stood still looks at an old picture once)
        assert np.quantile(dark[times < began - 150], 0.95) < 0.01, "the mouth moved before it spoke"
        assert np.quantile(dark[times > ended + 400], 0.9) < 0.01, "the mouth moved after it spoke"
        # each closure lies between two openings; a machine that looks only now and then sees some of the sixteen
        states = [value > 0.025 for value in dark[(times > began) & (times < ended)] if not 0.008 < value < 0.025]
        closures = sum(one and not other for one, other in itertools.pairwise(states))
        assert closures >= min(5, len(states) // 10), (closures, len(states))
        assert (mouth == 1).sum() > 0, "p, b and m have the mouth number 1"


async def test_h3_an_interruption_is_silence_at_once(chromium: Browser, server: Server) -> None:
    async with page_on(chromium, server, RECORDED, bypass_csp=True) as page:
        await start(page)
        session = await session_of(server, page)
        await page.evaluate("addEventListener('click', () => { window.clicked = window.voice.currentTime; }, true)")
        for by in ("page", "server"):
            session.conversation.say(LONG)
            await until(page, "window.eman.state.sound.played_ms > 0 && window.eman.state.sound.buffered_ms > 300")
            await asyncio.sleep(0.7)
            now = await audio_now(page)
            if by == "page":
                await page.click("#interrupt")
                now = await page.evaluate("window.clicked")
            else:
                session.interrupt()
            await asyncio.sleep(1.2)
            recording = await heard(page)
            assert recording.holes == 0
            sounding = recording.sounding()
            assert sounding[sounding < now][-1] > now - 0.4, "it spoke until then"
            assert sounding[-1] - now < (0.3 if by == "page" else 0.45), (by, sounding[-1] - now)
        # and what comes next is heard
        await until(page, "window.eman.state.activity !== 'speaking'")
        played = await page.evaluate("window.eman.state.sound.played_ms")
        session.conversation.say("Once more.")
        await until(page, f"window.eman.state.sound.played_ms > {played} + 400")


async def test_h3_where_ice_fails_it_goes_on_without_and_webrtc_can_be_tried_again(
    chromium: Browser, server: Server
) -> None:
    async with page_on(chromium, server, BLOCKED, query="") as page:
        await start(page)
        notice = page.locator('#notice .notice[data-code="fallen"]')
        await notice.wait_for()
        session = await session_of(server, page)
        await page.fill("#text", "what is two times three")
        await page.keyboard.press("Enter")
        await page.locator('#log .message[data-role="avatar"][data-state="done"]').wait_for(timeout=20_000)
        assert await page.evaluate("window.eman.state.sound.played_ms") > 300
        # in vain at first: nothing is lost by it
        await notice.locator(".notice-action").click()
        await until(page, "document.querySelector('#notice .notice[data-code=fallen]') !== null", timeout=20)
        assert await page.evaluate(PLAYING)
        await page.evaluate("window.blocked = false")
        await notice.locator(".notice-action").click()
        await until(page, "window.eman.state.media === 'webrtc'", timeout=20)
        await until(page, "document.querySelector('#video').videoWidth > 16", timeout=20)
        assert await page.evaluate(f"!({SHOWN})")
        assert await session_of(server, page) is session
        # and back, from the menu
        await page.click("#more")
        await page.locator("#without-webrtc").check(force=True)
        await until(page, f"{PLAYING} && {SHOWN}", timeout=20)
        assert await session_of(server, page) is session
        assert await page.locator("#notice .notice").count() == 0


async def test_h3_a_reload_goes_on_as_it_was(chromium: Browser, server: Server) -> None:
    async with page_on(chromium, server, MUTE_UNTIL_CLICKED, query="") as page:
        await page.click(".advanced summary")
        await page.select_option("#transport", "websocket")
        await start(page, microphone=True)
        await page.click("#ptt")
        session = await session_of(server, page)
        session.conversation.say("Good morning.")
        await until(page, GREETED, timeout=20)
        await page.reload()
        await until(page, f"{PLAYING} && {SHOWN}", timeout=20)
        assert await page.evaluate("window.eman.state.microphone") == "push_to_talk"
        assert await session_of(server, page) is session
        assert len([one for one in server.sessions.all() if one.id == session.id]) == 1
        await until(page, GREETED)
        assert await page.evaluate("window.eman.state.sound.state") == "suspended"
        await browser.screenshot(page, "websocket-unmute")
        session.conversation.say("What nobody hears now is not to be heard later, before all that is said then.")
        await until(page, "window.eman.state.activity === 'speaking'")
        await until(page, "window.eman.state.activity === 'idle'", timeout=30)
        await page.click("#unmute")
        await until(page, "window.eman.state.sound.state === 'running'")
        assert await page.locator("#unmute").is_hidden()
        await asyncio.sleep(0.5)
        assert await page.evaluate("window.eman.state.sound.played_ms") == 0
        session.conversation.say("Here I am again.")
        await until(page, "window.eman.state.sound.played_ms > 500")
        assert await page.evaluate("window.eman.state.sound.lost") == 0
        # held to talk: what is said reaches the server
        await page.locator("#talk").hover()
        await page.mouse.down()
        await until(page, "['listening', 'recognizing'].includes(window.eman.state.activity)")
        await page.mouse.up()
        await until(page, "!['listening', 'recognizing'].includes(window.eman.state.activity)", timeout=20)


async def test_h3_another_face_and_another_window(chromium: Browser, server: Server) -> None:
    async with page_on(chromium, server) as page:
        await start(page)
        session = await session_of(server, page)
        first = await page.evaluate("document.querySelector('#puppet').toDataURL()")
        await page.click("#more")
        await page.click("#look-open")
        await page.locator('#look-picker label:has(input[value="juno"])').click()
        await page.keyboard.press("Escape")
        await until(page, "document.querySelector('#still').src.includes('juno')")
        async with asyncio.timeout(20):
            while session.face.presenter != "juno":
                await asyncio.sleep(0.05)
        assert await page.evaluate("document.querySelector('#puppet').toDataURL()") != first
        assert await session_of(server, page) is session
        await browser.screenshot(page, "websocket-juno")
        await page.context.grant_permissions(["clipboard-read", "clipboard-write", "microphone"])
        await page.click("#share")
        link = str(await page.evaluate("navigator.clipboard.readText()"))
        other = await page.context.new_page()
        await other.goto(link.replace("#", "?media=websocket#"))
        await until(other, "window.eman?.state.socket === true")
        await other.click("#retry")
        await until(other, PLAYING, timeout=20)
        await until(page, "window.eman.state.connection === 'elsewhere'")
        assert await page.evaluate("window.eman.state.sound") is None
        session.conversation.say("Now I am here.")
        await until(other, "window.eman.state.sound.played_ms > 500", timeout=20)
        await browser.screenshot(other, "websocket-other-window")


async def test_e1_the_page_says_when_another_microphone_is_heard(chromium: Browser, server: Server) -> None:
    unheard = '#notice .notice[data-code="unheard"]'
    for query in ("?media=websocket", "?media=webrtc"):
        async with page_on(chromium, server, query=query) as page, SoundClient(server.url) as program:
            await page.click("#start")
            await until(page, "window.eman.state.connection === 'connected'", timeout=30)
            session = await session_of(server, page)
            async with asyncio.timeout(20):
                while session.microphones.heard is None:
                    await asyncio.sleep(0.02)
            program.answer = {"sessionid": session.id}
            await program.login()
            await program.open_audio("pcm")
            await page.wait_for_selector(unheard)
            await browser.screenshot(page, "microphone-unheard")
            await program.send(type="close_audio")
            await page.wait_for_selector(unheard, state="detached")
            await program.open_audio("pcm")
            await page.wait_for_selector(unheard)
            await page.click("#hangup")
            await page.wait_for_selector(unheard, state="detached")


async def test_e1_a_page_that_changes_over_is_not_told_of_its_own_microphone(chromium: Browser, server: Server) -> None:
    async with page_on(chromium, server, COUNTED) as page:
        await start(page, microphone=True)
        session = await session_of(server, page)
        for without, kind in ((False, "webrtc"), (True, "websocket")):
            await page.click("#more")
            await page.locator("#without-webrtc").set_checked(without, force=True)
            await page.keyboard.press("Escape")
            await until(page, f"window.eman.state.media === '{kind}'", timeout=20)
            async with asyncio.timeout(20):
                while session.microphones.heard is None or session.microphones.heard.kind != kind:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)
        assert await page.evaluate("window.unheard") == 0


async def test_h3_the_server_knows_how_late_the_page_plays(chromium: Browser, server: Server) -> None:
    async with page_on(chromium, server, NO_WEBRTC + RECORDED, bypass_csp=True) as page:
        await start(page)
        media = (await session_of(server, page)).media
        assert isinstance(media, Avatar)
        assert 0.16 <= media._late() <= 0.4, "the first buffer and the loudspeaker"
        reference = Reference()
        media.listen(reference)
        before = time.monotonic()
        clock = await audio_now(page)
        apart = (before + time.monotonic()) / 2 - clock
        media.stage._listener.say(LONG)  # type: ignore[attr-defined]
        await until(page, "window.eman.state.sound.played_ms > 1500", timeout=20)
        begun = media._pump._origin + (media.stage._reply.start or 0) / 48_000
        late = media._late()
        first = float((await heard(page)).sounding()[0]) + apart
        onset = float(np.flatnonzero(np.abs(reference.of("r1")) > 0.01)[0]) / RATE
        speaker = float(await page.evaluate("window.voice.outputLatency || 0.02"))
        assert abs(first + speaker - (begun + onset) - late) < 0.15, "the network and a slow page are beside it"
