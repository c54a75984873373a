"""Row E3 on the page: a file is chosen or dropped, asked with or spoken; failures in the user's words."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Page

from server import Server
from tests import browser
from tests.conftest import Serve
from tests.speech import flite
from tests.test_uploads import wav, wav_of

pytestmark = pytest.mark.browser

EMBEDDED = {
    "asr__engine": "pocketsphinx",
    "dialogue__engine": "demo",
    "tts__engine": "espeak",
    "face__engine": "vector",
}
ANSWER = "Seven times six is forty two."


@pytest.fixture
def question(tmp_path: Path) -> Path:
    path = tmp_path / "question.wav"
    path.write_bytes(wav_of(flite("what is seven times six", "rms", 16_000)))
    return path


@contextlib.asynccontextmanager
async def talking(serving: Serve, **overrides: str) -> AsyncIterator[tuple[Server, Page]]:
    locale = overrides.pop("locale", "en-US")
    async with (
        serving(**overrides) as server,
        browser.browser_page(server.url.replace("127.0.0.1", "localhost"), locale=locale) as page,
    ):
        await page.locator("#use-microphone").uncheck(force=True)  # Chromium's own microphone beeps
        await browser.connect(page)
        yield server, page


async def choose(page: Page, *files: Path) -> None:
    async with page.expect_file_chooser() as chooser:
        await page.click("#upload")
    await (await chooser.value).set_files([str(file) for file in files])


async def drop(page: Page, name: str, data: bytes) -> None:
    """As a file manager does it."""
    transfer = await page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "audio/wav"}));
            return transfer;
        }""",
        [name, list(data)],
    )
    await page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    assert await page.is_visible("#drop")
    await browser.screenshot(page, "upload-drop")
    await page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    assert not await page.is_visible("#drop")


async def test_e3_a_file_is_asked_with_shown_as_the_users_words_and_answered(serving: Serve, question: Path) -> None:
    async with talking(serving, **EMBEDDED) as (_, page):
        await choose(page, question)
        await page.wait_for_selector("#upload-choice[open]")
        assert "question.wav" in await page.inner_text("#upload-choice")
        await browser.screenshot(page, "upload-choice")
        await page.click("#upload-ask")
        await browser.until_said(page, "You asked with question.wav", "what is seven times six", ANSWER, timeout=25)
        roles = "[...document.querySelectorAll('#log .message')].map(message => message.dataset.role)"
        assert await page.evaluate(roles) == ["system", "user", "avatar"]
        await browser.screenshot(page, "upload-asked")


async def test_e3_enter_repeats_the_last_choice_and_escape_sends_nothing(serving: Serve, question: Path) -> None:
    async with talking(serving) as (server, page):
        await choose(page, question)
        await page.wait_for_selector("#upload-choice[open]")
        assert await page.evaluate("document.activeElement.value") == "ask"
        await page.keyboard.press("Escape")
        await browser.until(page, "!document.querySelector('#upload-choice').open")
        await drop(page, "dropped.wav", wav(8))
        await page.wait_for_selector("#upload-choice[open]")
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await browser.until_said(page, "Eman speaks dropped.wav")
        await choose(page, question)
        await page.wait_for_selector("#upload-choice[open]")
        assert await page.evaluate("document.activeElement.value") == "speak"
        assert server.sessions.all()[0].conversation.activity.value == "speaking"


async def test_e3_failures_are_told_in_the_users_words(serving: Serve, tmp_path: Path) -> None:
    files = {"notes.wav": b"this is no sound" * 99, "quiet.wav": wav_of(np.zeros(16_000, np.int16)), "nothing.wav": b""}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    async with talking(serving, locale="zh-CN", limits__max_upload_mb="1", limits__max_upload_minutes="0.1") as (
        _,
        page,
    ):
        (tmp_path / "long.wav").write_bytes(wav(8))
        (tmp_path / "large.wav").write_bytes(bytes(2 << 20))
        await choose(
            page, *(tmp_path / name for name in ("nothing.wav", "large.wav", "notes.wav", "quiet.wav", "long.wav"))
        )
        await page.wait_for_selector("#upload-choice[open]")
        await browser.screenshot(page, "upload-choice-zh")
        await page.keyboard.press("Enter")
        await browser.until_said(
            page,
            "nothing.wav 是空文件。",
            "large.wav 超过了 1 MB 的上限。",
            "notes.wav 无法使用。无法把这个文件当作音频读取。请换用 WAV、MP3、FLAC 或 OGG 文件。",
            "quiet.wav 无法使用。文件里没有听到说话声。请确认选对了录音，并且音量足够。",
            "long.wav 无法使用。时长超过了 0.1 分钟的上限。",
        )
        await browser.screenshot(page, "upload-failures-zh")


async def test_e3_interrupt_stops_the_listening(serving: Serve, tmp_path: Path) -> None:
    speech = flite("this is a long story about nothing at all", "rms", 16_000)
    (tmp_path / "story.wav").write_bytes(wav_of(np.tile(speech, 12)))
    async with talking(serving) as (_, page):
        await choose(page, tmp_path / "story.wav")
        await page.click("#upload-ask")
        await page.wait_for_selector('#log .message[data-role="user"][data-state="partial"]')
        await browser.until_said(page, "Eman is listening to story.wav", "hearing")
        await browser.screenshot(page, "upload-listening")
        await page.click("#interrupt")
        await browser.until_said(page, "story.wav was stopped.")
        await browser.until(page, "eman.state.activity === 'idle'")


async def test_e3_the_choice_fits_a_phone(serving: Serve, question: Path) -> None:
    async with talking(serving) as (_, page):
        await page.set_viewport_size({"width": 360, "height": 640})
        await choose(page, question)
        await page.wait_for_selector("#upload-choice[open]")
        box = await page.locator("#upload-choice").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["height"] <= 640
        await browser.screenshot(page, "upload-choice-phone")
