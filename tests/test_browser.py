"""A real Chromium talks to the embedded avatar: microphone in, picture and voice out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Page
from pocketsphinx import Decoder

from tests import browser
from tests.conftest import Serve
from tests.speech import flite, resample

pytestmark = [pytest.mark.browser, pytest.mark.alone]

EMBEDDED = {
    "asr__engine": "pocketsphinx",
    "dialogue__engine": "demo",
    "tts__engine": "espeak",
    "face__engine": "vector",
}
QUESTION = "what is seven times six"
TIMES = 4


async def bubble(page: Page, role: str, state: str, number: int = 0, timeout: float = 25.0) -> str:
    """Text of the chat bubble of that role and state with that number, once there is one."""
    found = page.locator(f'#log .message[data-role="{role}"][data-state="{state}"]').nth(number)
    await found.wait_for(timeout=timeout * 1000)
    return str(await found.inner_text())


GRAMMAR = """#JSGF V1.0;
grammar sums;
public <sum> = <digit> times <digit> is <number>;
<digit> = one | two | three | four | five | six | seven | eight | nine;
<ten> = twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety;
<number> = <digit> | <ten> [<digit>];
"""
"""Any product of two digits: the answer must be told from eighty others, not from all of English."""


def recognized_sum(sound: np.ndarray) -> str:
    """Which sum is spoken in 48 kHz sound, by pocketsphinx."""
    decoder = Decoder(lm=None, loglevel="FATAL")
    decoder.add_jsgf_string("sums", GRAMMAR)
    decoder.activate_search("sums")
    loud = np.flatnonzero(np.abs(sound) > 500)
    spoken = sound[max(0, loud[0] - 9_600) : loud[-1] + 9_600]
    decoder.start_utt()
    decoder.process_raw(resample(spoken, 48_000, 16_000).tobytes(), full_utt=True)
    decoder.end_utt()
    return decoder.hyp().hypstr if decoder.hyp() else ""


async def ask_by_voice(serving: Serve, tmp_path: Path, **overrides: str) -> tuple[browser.Recording, str, str]:
    """Chromium's microphone asks the question, and asks again when it was misheard, as people do.

    Returns the recorded last answer and both chat bubbles.
    """
    microphone = tmp_path / "microphone.wav"
    browser.write_microphone(microphone, flite(QUESTION, "rms"), lead_s=4.0, tail_s=7.0, times=TIMES)
    async with (
        serving(**EMBEDDED, **overrides) as server,
        browser.browser_page(server.url.replace("127.0.0.1", "localhost"), microphone) as page,
    ):
        await browser.connect(page)
        for number in range(TIMES):
            question = await bubble(page, "user", "final", number)
            await browser.start_recording(page)
            answer = await bubble(page, "avatar", "done", number)
            await asyncio.sleep(0.4)
            recording = await browser.stop_recording(page)
            if "forty two" in answer.lower():
                break
        await browser.screenshot(page, f"talking-{overrides.get('lipsync__engine', 'embedded').split(':')[-1]}")
        return recording, question, answer


async def test_a_spoken_question_is_shown_answered_aloud_and_lip_synced(serving: Serve, tmp_path: Path) -> None:
    recording, question, answer = await ask_by_voice(serving, tmp_path)
    assert "seven times six" in question.lower()
    assert "forty two" in answer.lower()
    assert recognized_sum(recording.sound).endswith("six is forty two")
    correlation, lag = browser.best_correlation(recording)
    assert correlation >= 0.5, f"mouth against sound: r={correlation:.2f} at {lag * 1000:.0f} ms"


async def test_that_measurement_fails_when_the_lips_are_frozen(serving: Serve, tmp_path: Path) -> None:
    recording, _, answer = await ask_by_voice(serving, tmp_path, lipsync__engine="tests.fakes:FrozenLips")
    assert "forty two" in answer.lower()
    correlation, _ = browser.best_correlation(recording)
    assert correlation < 0.5


async def test_typing_subtitles_and_interrupting(serving: Serve) -> None:
    async with (
        serving(**EMBEDDED) as server,
        browser.browser_page(server.url.replace("127.0.0.1", "localhost")) as page,
    ):
        await browser.connect(page)
        await page.fill("#text", "say one two three four five six seven eight nine ten eleven twelve thirteen fourteen")
        await page.keyboard.press("Enter")
        await bubble(page, "avatar", "speaking")
        await browser.until(page, "document.querySelector('#subtitle').innerText.length > 3")
        await asyncio.sleep(1.0)
        await page.click("#interrupt")
        heard = await bubble(page, "avatar", "interrupted")
        assert "one" in heard
        assert "fourteen" not in heard
        await browser.until(page, "!document.querySelector('#subtitle').innerText.includes('fourteen')")
        session = server.sessions.all()[0]
        assert not session.conversation.busy
        await page.click("#hangup")
        await browser.until(page, "document.querySelector('#start').offsetParent !== null")
        async with asyncio.timeout(5):
            while len(server.sessions):
                await asyncio.sleep(0.05)
