"""What the user sounds like: room noise, real speech from another synthesizer, and files to upload."""

from __future__ import annotations

import asyncio
import io
import time
import wave
from fractions import Fraction

import numpy as np
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame
from numpy.typing import NDArray

from bench.rtp import level
from tests.speech import flite

RATE = 48_000
_BLOCK = RATE // 50
_ROOM = 26.0
"""Standard deviation of a quiet room's noise: about -62 dBFS."""
_QUIET = 0.01
"""Blocks of a synthesised question below this share of its loudest one are the file's padding, not speech."""


class Microphone(MediaStreamTrack):
    """A microphone in a quiet room, into which `say` speaks. 20 ms of mono 48 kHz per `recv`."""

    kind = "audio"

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        noise = np.random.default_rng(seed).normal(0, _ROOM, RATE + _BLOCK)
        self._noise: NDArray[np.int16] = noise.astype(np.int16)
        self._speech: NDArray[np.int16] = np.zeros(0, np.int16)
        self._count = 0
        self._origin: float | None = None
        self._said = asyncio.Event()
        self._ended = 0.0

    async def say(self, samples: NDArray[np.int16]) -> float:
        """Speak; returns the moment (monotonic) at which the last sample had been spoken."""
        self._said.clear()
        self._speech = samples
        await self._said.wait()
        return self._ended

    async def recv(self) -> AudioFrame:
        """The next 20 ms, once they have been spoken."""
        now = time.monotonic()
        if self._origin is None:
            self._origin = now
        due = self._origin + (self._count + 1) * _BLOCK / RATE
        if due > now:
            await asyncio.sleep(due - now)
        start = self._count * _BLOCK % RATE
        block = self._noise[start : start + _BLOCK].copy()
        if len(self._speech):
            spoken, self._speech = self._speech[:_BLOCK], self._speech[_BLOCK:]
            block[: len(spoken)] += spoken
            if not len(self._speech):
                self._ended = due - (_BLOCK - len(spoken)) / RATE
                self._said.set()
        frame = AudioFrame.from_ndarray(block[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._count * _BLOCK, Fraction(1, RATE)
        self._count += 1
        return frame


def spoken(text: str, voice: str = "slt") -> NDArray[np.int16]:
    """A sentence in a flite voice, without the silence that the file has around it."""
    return trimmed(flite(text, voice))


def trimmed(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """From the first to the last block of 20 ms that is not silence."""
    blocks = [level(samples[i : i + _BLOCK]) for i in range(0, len(samples), _BLOCK)]
    loud = np.flatnonzero(np.array(blocks) > _QUIET * max(blocks, default=0.0))
    return samples[loud[0] * _BLOCK : (loud[-1] + 1) * _BLOCK] if len(loud) else samples


def hum(seconds: float, rate: int = 44_100) -> bytes:
    """A WAV file of a voice-like sound that is never silent."""
    time_s = np.arange(int(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 8))
    tone = tone * (0.7 + 0.3 * np.sin(2 * np.pi * 4 * time_s))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((tone / np.abs(tone).max() * 16_000).astype("<i2").tobytes())
    return buffer.getvalue()


SENTENCES = (
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "My mother bought five apples and a basket of warm bread this morning.",
    "People who move to the sea often speak about the wind and the light.",
    "We open the window, we look at the moon, and we follow the path home.",
)


def long_text(seconds: float) -> str:
    """English text that takes at least this long to say, within the 4000 characters of one call."""
    count = int(seconds / 3.5) + 1
    return " ".join(SENTENCES[i % len(SENTENCES)] for i in range(count))[:3900]
