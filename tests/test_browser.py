"""A real Chromium talks to the embedded avatar: microphone in, picture and voice out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Page

from asr.pocketsphinx import PocketsphinxRecognizer
from tests import browser
from tests.conftest import Serve
from tests.speech import flite, resample

pytestmark = pytest.mark.browser

EMBEDDED = {
    "asr__engine": "pocketsphinx",
    "dialogue__engine": "demo",
    "tts__engine": "espeak",
    "face__engine": "vector",
}
QUESTION = "what is seven times six"


async def bubble(page: Page, role: str, state: str, timeout: float = 25.0) -> str:
    """Text of the newest chat bubble of that role, once it has reached the state."""
    selector = f'#log .message[data-role="{role}"][data-state="{state}"]'
    await page.locator(selector).last.wait_for(timeout=timeout * 1000)
    return str(await page.locator(selector).last.inner_text())


async def recognized(samples: np.ndarray) -> str:
    """What the embedded recogniser understands of 48 kHz sound."""
    recognizer = PocketsphinxRecognizer()
    await recognizer.start()
    try:
        stream = recognizer.open(lambda partial: None)
        stream.push(resample(samples, 48_000, 16_000))
        return (await stream.finish()).text
    finally:
        await recognizer.close()


async def ask_by_voice(serving: Serve, tmp_path: Path, **overrides: str) -> tuple[browser.Recording, str, str]:
    """Chromium's microphone asks the question; returns the recorded answer and both chat bubbles."""
    microphone = tmp_path / "microphone.wav"
    browser.write_microphone(microphone, flite(QUESTION, "rms"), lead_s=4.0, tail_s=30.0)
    async with (
        serving(**EMBEDDED, **overrides) as server,
        browser.browser_page(server.url.replace("127.0.0.1", "localhost"), microphone) as page,
    ):
        await browser.connect(page)
        await browser.start_recording(page)
        question = await bubble(page, "user", "final")
        await asyncio.sleep(1.5)
        await browser.screenshot(page, "talking")
        answer = await bubble(page, "avatar", "done")
        await asyncio.sleep(0.5)
        return await browser.stop_recording(page), question, answer


async def test_a_spoken_question_is_shown_answered_aloud_and_lip_synced(serving: Serve, tmp_path: Path) -> None:
    recording, question, answer = await ask_by_voice(serving, tmp_path)
    assert "seven times six" in question.lower()
    assert "forty two" in answer.lower()
    assert "forty two" in await recognized(recording.sound)
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
