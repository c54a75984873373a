"""What a page without WebRTC plays, recorded in its audio thread; and networks that block WebRTC."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from playwright.async_api import Page

RATE = 24_000

NO_WEBRTC = "delete window.RTCPeerConnection;"
"""A browser without it."""

BLOCKED = """
    window.blocked = true;
    const withoutCandidates = sdp => sdp.replace(/^a=candidate:.*\\r\\n/gm, '');
    const Real = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Real {
        get localDescription() {
            const told = super.localDescription;
            return window.blocked && told ? {type: told.type, sdp: withoutCandidates(told.sdp)} : told;
        }
        setRemoteDescription(answer) {
            const sdp = window.blocked ? withoutCandidates(answer.sdp) : answer.sdp;
            return super.setRemoteDescription({type: answer.type, sdp});
        }
    };
"""
"""A network that lets no candidate through, until the page sets `blocked` to false."""

MUTE_UNTIL_CLICKED = """
    const Sounding = window.AudioContext;
    let clicked = false;
    window.addEventListener('pointerdown', () => { clicked = true; }, true);
    window.AudioContext = class extends Sounding {
        constructor(options) {
            super(options);
            if (!clicked) super.suspend();
        }
        resume() {
            return clicked ? super.resume() : new Promise(() => {});
        }
    };
"""
"""A browser that forbids sound before a gesture, as Safari does after a reload."""

_RECORDER = """
    const BLOCKS = 16;
    class Recorder extends AudioWorkletProcessor {
        #parts = [];
        process([[samples]]) {
            this.#parts.push(samples ? samples.slice() : new Float32Array(128));
            if (this.#parts.length === BLOCKS) {
                const whole = new Float32Array(BLOCKS * 128);
                this.#parts.forEach((part, index) => whole.set(part, index * 128));
                this.port.postMessage({at: currentFrame + 128 - whole.length, samples: whole});
                this.#parts = [];
            }
            return true;
        }
    }
    registerProcessor('recorder', Recorder);
"""
RECORDED = f"""
    window.recorded = [];
    const Node = window.AudioWorkletNode;
    window.AudioWorkletNode = class extends Node {{
        constructor(context, name, options) {{
            super(context, name, options);
            if (name !== 'eman-player') return;
            window.voice = context;
            const code = URL.createObjectURL(new Blob([{json.dumps(_RECORDER)}], {{type: 'text/javascript'}}));
            context.audioWorklet.addModule(code).then(() => {{
                const recorder = new Node(context, 'recorder', {{numberOfOutputs: 0}});
                recorder.port.onmessage = ({{data}}) => window.recorded.push(data);
                this.connect(recorder);
            }});
        }}
    }};
"""
"""A script to run first: the player is recorded. The page's own policy forbids that, so its context must bypass it."""


@dataclass(frozen=True)
class Heard:
    """`samples`: float32, -1 to 1, at `RATE`; `start`: of the first one, seconds of the page's audio clock."""

    samples: NDArray[np.float32]
    start: float
    holes: int
    """Blocks that the recording lacks; must be 0."""

    def between(self, begin: float, end: float) -> NDArray[np.float32]:
        """The sound of an interval of the page's audio clock."""
        first = max(0, round((begin - self.start) * RATE))
        return self.samples[first : max(0, round((end - self.start) * RATE))]

    def sounding(self, threshold: float = 0.01, window: int = 120) -> NDArray[np.float64]:
        """When windows (5 ms) begin that are louder than `threshold`, seconds."""
        whole = self.samples[: len(self.samples) // window * window].reshape(-1, window)
        return np.flatnonzero(np.abs(whole).max(axis=1) > threshold) * window / RATE + self.start


async def audio_now(page: Page) -> float:
    """The page's audio clock."""
    return float(await page.evaluate("window.voice.currentTime"))


async def heard(page: Page) -> Heard:
    """Everything since the page's player was made."""
    await asyncio.sleep(0.15)
    parts = await page.evaluate(
        """() => window.recorded.map(({at, samples}) => {
            let text = '';
            for (const byte of new Uint8Array(samples.buffer)) text += String.fromCharCode(byte);
            return [at, btoa(text)];
        })"""
    )
    blocks = [(at, np.frombuffer(base64.b64decode(data), np.float32)) for at, data in parts]
    holes = sum(one + len(samples) != other for (one, samples), (other, _) in itertools.pairwise(blocks))
    return Heard(np.concatenate([samples for _, samples in blocks]), blocks[0][0] / RATE, holes)
