"""A real Chromium with a WAV file as its microphone, and what can be measured in what it received."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import shutil
import wave
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from playwright.async_api import Browser, Page, async_playwright

ARGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-features=WebRtcHideLocalIpsWithMdns",
]  # fmt: skip
FAKE_MEDIA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
"""Every permission is granted, and there is a microphone."""
ARTIFACTS = Path(__file__).parent.parent / "artifacts"


def chromium() -> str:
    """The browser's path."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    assert found, "no Chromium found: run tests/install_tools.sh or set CHROMIUM"
    return found


def write_microphone(path: Path, speech: NDArray[np.int16], *, lead_s: float, tail_s: float, times: int = 1) -> None:
    """A 48 kHz WAV: room noise, then `times` over: `speech` and `tail_s` of room noise."""
    lead, tail = int(48_000 * lead_s), int(48_000 * tail_s)
    noise = np.random.default_rng(0).normal(0, 20, lead + times * (len(speech) + tail)).astype(np.int16)
    for number in range(times):
        noise[lead + number * (len(speech) + tail) :][: len(speech)] += speech
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(noise.tobytes())


@contextlib.asynccontextmanager
async def launched(microphone: Path | None = None, flags: Sequence[str] = FAKE_MEDIA) -> AsyncIterator[Browser]:
    """A Chromium."""
    args = [*ARGS, *flags]
    if microphone is not None:
        args.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=args)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def page_of(browser: Browser, url: str, script: str = "", **context: object) -> AsyncIterator[Page]:
    """A page in a context of its own; fails the test at its end when a script error was seen. `script` runs first."""
    errors: list[str] = []
    options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US", **context}
    opened = await browser.new_context(**options)  # type: ignore[arg-type]
    if script:
        await opened.add_init_script(script)
    page = await opened.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(url)
    try:
        yield page
    finally:
        await opened.close()
    assert not errors, errors


@contextlib.asynccontextmanager
async def browser_page(
    url: str, microphone: Path | None = None, flags: Sequence[str] = FAKE_MEDIA, **context: object
) -> AsyncIterator[Page]:
    """The chat page, before Start; fails the test at its end when a script error was seen."""
    async with launched(microphone, flags) as browser, page_of(browser, url, **context) as page:  # type: ignore[arg-type]
        yield page


async def screenshot(page: Page, name: str) -> None:
    """Kept under artifacts/ to be looked at."""
    ARTIFACTS.mkdir(exist_ok=True)
    await page.screenshot(path=ARTIFACTS / f"{name}.png")


async def start_recording(page: Page) -> None:
    """Record what the <video> element plays, sound and picture together, as the browser synchronised them."""
    await page.evaluate(
        """() => {
            const recorder = new MediaRecorder(document.querySelector('#video').srcObject,
                {mimeType: 'video/webm;codecs=vp8,opus', videoBitsPerSecond: 2500000});
            window.recording = {recorder, parts: []};
            recorder.ondataavailable = event => window.recording.parts.push(event.data);
            recorder.start();
        }"""
    )


async def stop_recording(page: Page) -> Recording:
    """The recording since `start_recording`."""
    encoded = await page.evaluate(
        """async () => {
            const {recorder, parts} = window.recording;
            await new Promise(resolve => { recorder.onstop = resolve; recorder.stop(); });
            const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
            let text = '';
            for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
            return btoa(text);
        }"""
    )
    return Recording.read(base64.b64decode(encoded))


@dataclass
class Recording:
    """Sound (mono 48 kHz from `sound_start` on) and luma pictures with their times, in seconds."""

    sound: NDArray[np.int16]
    sound_start: float
    pictures: list[tuple[float, NDArray[np.uint8]]]

    @classmethod
    def read(cls, webm: bytes) -> Recording:
        """Decode a WebM file."""
        sound, start, pictures = [], None, []
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        with av.open(io.BytesIO(webm)) as container:
            for frame in container.decode():
                if isinstance(frame, av.AudioFrame):
                    start = frame.time if start is None else start
                    sound += [part.to_ndarray().reshape(-1) for part in resampler.resample(frame)]
                elif isinstance(frame, av.VideoFrame):
                    plane = frame.planes[0]
                    luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
                    pictures.append((float(frame.time or 0.0), luma[:, : frame.width].copy()))
        return cls(np.concatenate(sound), float(start or 0.0), pictures)

    def envelope(self, times: NDArray[np.float64], window_s: float = 0.04) -> NDArray[np.float64]:
        """RMS of the sound around each time."""
        half = int(window_s * 24_000)
        centres = ((times - self.sound_start) * 48_000).astype(int)
        padded = np.pad(self.sound.astype(np.float64) / 32768, half)
        inside = (centres >= 0) & (centres < len(self.sound))
        return np.array([
            np.sqrt(np.mean(padded[c : c + 2 * half] ** 2)) if ok else 0.0
            for c, ok in zip(centres, inside, strict=True)
        ])  # fmt: skip

    def mouth(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(times, opening): how much of the mouth's region is as dark as only an open mouth is."""
        times = np.array([time for time, _ in self.pictures])
        return times, np.array([mouth_opening(luma) for _, luma in self.pictures])


def mouth_opening(luma: NDArray[np.uint8]) -> float:
    """Share of pixels in the mouth's region of a frontal face that are as dark as only an open mouth is, 0..1."""
    height, width = luma.shape
    region = luma[int(0.53 * height) : int(0.63 * height), int(0.42 * width) : int(0.58 * width)]
    return float(np.mean(region < 80))


def best_correlation(recording: Recording, max_lag_s: float = 0.2) -> tuple[float, float]:
    """(r, lag): Pearson r of mouth opening against the loudness of the sound at syllable scale, at the best lag.

    A positive lag means that the mouth comes after the sound. The browser's own play-out delays are in it.
    """
    times, opening = recording.mouth()
    results = []
    for lag in np.arange(-max_lag_s, max_lag_s + 1e-9, 0.02):
        envelope = recording.envelope(times - lag, window_s=0.12)
        if opening.std() > 0 and envelope.std() > 0:
            results.append((float(np.corrcoef(opening, envelope)[0, 1]), float(lag)))
    return max(results, default=(0.0, 0.0))


async def until(page: Page, expression: str, timeout: float = 15.0) -> None:
    """Wait until a JavaScript expression is true (Playwright's own wait needs eval, which our pages forbid)."""
    async with asyncio.timeout(timeout):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.05)


async def connect(page: Page) -> None:
    """Press Start and wait for the moving picture."""
    await page.click("#start")
    await until(page, "document.querySelector('#video').videoWidth > 0")


async def said(page: Page, box: str = "#log") -> list[str]:
    """The words of every bubble, in order."""
    words = await page.evaluate(
        "box => [...document.querySelectorAll(box + ' .message .said')].map(said => said.textContent.trim())", box
    )
    return [str(text) for text in words]


async def until_said(page: Page, *words: str, box: str = "#log", timeout: float = 10.0) -> None:
    """Wait until the log says exactly this, each once, and nothing of it is still being spoken."""
    speaking = f"""document.querySelector('{box} .message[data-state="speaking"]') !== null"""
    try:
        async with asyncio.timeout(timeout):
            while await said(page, box) != list(words) or await page.evaluate(speaking):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"the log says {await said(page, box)}, not {list(words)}") from None
