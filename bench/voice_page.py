"""Gaps that a listener hears on the page without WebRTC, with jitter on both ways: in a real Chromium's audio thread.

The service's voice never pauses, so whatever is silent in the middle of a reply is a gap. A probe of ours behind the
page's player counts these, and how often the audio thread itself stood still. Beside it stand the player's own
counters, and those of the avatar's stage.

Chromium has all cores. Its audio thread is a real-time one where that is allowed; on a single core it shuts out the
thread that its garbage collection waits for, until the kernel stops it after 0.95 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp
from playwright.async_api import Browser, Page

from bench.client import sessions_of
from bench.jitter_proxy import JitterProxy
from bench.processes import all_cores
from bench.remote_voice import RemoteVoice, led_server
from bench.result import Figure, Options, Result, pinnable
from bench.voice_service import BURST, Programme
from tests import browser

JITTER_MS = 80.0
SETTLED_S = 0.3
"""From the first sound on; a gap before that does not count."""
REPLIES_S = (5.0, 10.0, 30.0, 75.0)
"""Lengths of the replies, over and over."""
BETWEEN_S = 1.2
STILL_S = 0.2
"""Between two blocks of the audio thread: it stood still."""
_LEVEL = 0.005
_PROBE = f"""
    class Probe extends AudioWorkletProcessor {{
        #heard = 0; #quiet = 0; #behind = null;
        process([[samples]]) {{
            const behind = Date.now() / 1000 - currentTime;
            const still = behind - (this.#behind ?? behind);
            if (still > {STILL_S}) this.port.postMessage(still);
            this.#behind = behind;
            const loud = samples && samples.some(value => Math.abs(value) > {_LEVEL});
            if (!loud) {{ this.#quiet += 128; return true; }}
            if (this.#heard && this.#quiet)
                this.port.postMessage([(this.#heard + this.#quiet) / sampleRate, this.#quiet / sampleRate]);
            this.#heard += (this.#heard && this.#quiet) + 128;
            this.#quiet = 0;
            return true;
        }}
    }}
    registerProcessor('probe', Probe);
"""
_PROBED = f"""
    window.silences = []; window.stills = [];
    const Node = window.AudioWorkletNode;
    window.AudioWorkletNode = class extends Node {{
        constructor(context, name, options) {{
            super(context, name, options);
            if (name !== 'eman-player') return;
            const code = URL.createObjectURL(new Blob([{json.dumps(_PROBE)}], {{type: 'text/javascript'}}));
            context.audioWorklet.addModule(code).then(() => {{
                const probe = new Node(context, 'probe', {{numberOfOutputs: 0}});
                probe.port.onmessage = ({{data}}) => (data.length ? window.silences : window.stills).push(data);
                this.connect(probe);
                window.probed = true;
            }});
        }}
    }};
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply as it was heard."""

    seconds: float
    silences: list[tuple[float, float]]
    """Within it: seconds after the page's first sound at which each one ended, and how long it was."""
    gaps: int
    """That the page's player counted."""
    underruns: int
    """How often the avatar's stage ran dry."""
    stills: list[float]
    """Seconds for which Chromium's audio thread stood still."""
    late_ms: int
    """How late the service itself was with a packet, at most. Told, and no excuse: who held it up may be the page."""


@dataclass(slots=True)
class Listened:
    """What was heard."""

    replies: list[Reply] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """The player's."""
    complaints: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of speech."""
        return sum(reply.seconds for reply in self.replies)

    def gaps(self) -> list[tuple[float, float]]:
        """Silences within replies, after the first sound has settled."""
        silences = [silence for reply in self.replies for silence in reply.silences]
        return [(end, length) for end, length in silences if end - length >= SETTLED_S]

    def details(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "speech_s": round(self.seconds, 1),
            "replies": [asdict(reply) for reply in self.replies],
            "player": self.figures,
            "complaints": self.complaints,
        }


async def measure(options: Options) -> Result:
    """See the module."""
    seconds = options.duration(600, 8)
    async with RemoteVoice() as service:
        page = await listened(service, options, seconds)
    settings = {"jitter_ms": JITTER_MS, "speech_s": seconds, "burst_packets": BURST, "browser": "on every core"}
    return Result(
        "voice_page", "A remote voice service on the page without WebRTC", _figures(page), settings, page.details()
    )


def _figures(page: Listened) -> list[Figure]:
    dry = sum(reply.underruns for reply in page.replies)
    stills = sum(len(reply.stills) for reply in page.replies)
    heard = f"gaps heard on the page in {page.seconds / 60:.1f} minutes, ± {JITTER_MS:.0f} ms on both ways"
    return [
        Figure(heard, "gaps", [len(page.gaps())], goal=0, floor=0,
               floor_note="the page's buffer may hold 300 ms",
               note="silences within a reply, counted in blocks of Chromium's audio thread, after the first 300 ms"),
        Figure(f"… times that Chromium's audio thread stood still for {STILL_S} s", "", [stills], goal=0,
               note="no frames are counted then"),
        Figure("… that the player counted", "gaps", [sum(reply.gaps for reply in page.replies)], goal=0),
        Figure("… times that the avatar's stage ran dry meanwhile", "", [dry], goal=0),
    ]  # fmt: skip


async def listened(service: RemoteVoice, options: Options, seconds: float) -> Listened:
    """Replies of `seconds` in all."""
    found = Listened()
    async with led_server(service, pinned=pinnable(options)) as server, JitterProxy(server.url, JITTER_MS) as proxy:
        async with (
            _chromium() as chromium,
            browser.page_of(
                chromium, f"{proxy.url}/webrtcapichat.html?media=websocket", _PROBED, bypass_csp=True
            ) as page,
        ):
            await page.uncheck("#use-microphone", force=True)
            await page.click("#start")
            await browser.until(page, "window.eman.state.media === 'websocket' && window.probed", timeout=60)
            while seconds - found.seconds > 0.1:
                length = min(REPLIES_S[len(found.replies) % len(REPLIES_S)], seconds - found.seconds)
                late_ms = await _reply(service, server.url, page, len(found.replies), length)
                found.replies.append(await _heard(server.url, page, found.replies, length, late_ms))
            found.figures = await page.evaluate("window.eman.state.sound")
        found.complaints = server.complaints()
    return found


@contextlib.asynccontextmanager
async def _chromium() -> AsyncIterator[Browser]:
    async with contextlib.AsyncExitStack() as stack:
        with all_cores():
            chromium = await stack.enter_async_context(browser.launched())
        yield chromium


async def _heard(url: str, page: Page, earlier: list[Reply], length: float, late_ms: int) -> Reply:
    """The reply that is over."""
    silences = [(end, silent) for end, silent in await page.evaluate("window.silences.splice(0)")]
    gaps = int(await page.evaluate("window.eman.state.sound.gaps"))
    underruns = sum(int(session["underruns"]) for session in await sessions_of(url))
    return Reply(
        length,
        silences[1:] if earlier else silences,  # the first one is the pause before it
        gaps - sum(reply.gaps for reply in earlier),
        underruns - sum(reply.underruns for reply in earlier),
        await page.evaluate("window.stills.splice(0)"),
        late_ms,
    )


async def _reply(service: RemoteVoice, url: str, page: Page, number: int, length: float) -> int:
    """Have it said, and wait until it was heard, and a pause after it; how late the service was, milliseconds."""
    name, session = f"page {number}", await page.evaluate("window.eman.state.sessionid")
    text = Programme(name, length, jitter_ms=JITTER_MS).text()
    body = {"sessionid": session, "text": text, "type": "chat"}
    async with aiohttp.ClientSession() as http, http.post(url + "/human", json=body) as response:
        answer = await response.json(content_type=None)
    if answer.get("code") != 0:
        raise RuntimeError(f"/human was refused: {answer}")
    spoke = await service.told("spoke", name=name, timeout=length + 30)
    heard, quiet = "window.eman.state.sound.played_ms", "window.eman.state.sound.buffered_ms === 0"
    played, since = -1.0, time.monotonic()
    while time.monotonic() - since < BETWEEN_S:  # until nothing more is played for so long
        now = float(await page.evaluate(heard))
        if now != played or not await page.evaluate(quiet):
            played, since = now, time.monotonic()
        await asyncio.sleep(0.2)
    return int(spoke["late_ms"])
