"""Two sessions side by side: neither ever hears, reads or is answered what belongs to the other.

Each user speaks with a tone of its own mixed in. The recogniser tells which tones it heard, the dialogue repeats its
words, the voice says them as a tone again: whatever is shared on the way shows up as the other's word or sound.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.frames import LISTEN_RATE, Pcm, Samples, SpeechChunk, Transcript, Utterance
from tests.avatar_client import AvatarClient, WavMicrophone
from tests.conftest import Serve
from tests.speech import flite

MARKERS = {"alpha": 3000, "omega": 5000}
"""What a user's microphone carries, Hz."""
VOICES = {"alpha": 400, "omega": 1300}
"""What the avatar answers with, Hz."""
RATE = 24_000


def share(samples: NDArray[Any], rate: int, frequency: int) -> float:
    """The share of the energy within 60 Hz of a frequency."""
    wide = samples.astype(np.float64)
    power = np.abs(np.fft.rfft(wide * np.hanning(len(wide)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(wide), 1 / rate) - frequency) < 60
    return float(power[near].sum() / max(power.sum(), 1e-9))


class _Adapter:
    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""


class MarkerRecognizer(_Adapter):
    """Tells whose tones it heard."""

    name = "marker"
    languages = ("*",)

    def open(self, on_partial: Callable[[Transcript], None]) -> MarkerStream:
        return MarkerStream(on_partial)


class MarkerStream:
    def __init__(self, on_partial: Callable[[Transcript], None]) -> None:
        self._on_partial = on_partial
        self._heard: list[Samples] = []

    def push(self, samples: Samples) -> None:
        self._heard.append(samples.copy())
        self._on_partial(Transcript(self._words(), final=False))

    async def finish(self) -> Transcript:
        return Transcript(self._words())

    async def cancel(self) -> None:
        self._heard.clear()

    def _words(self) -> str:
        heard = np.concatenate(self._heard)
        return " ".join(word for word, tone in MARKERS.items() if share(heard, LISTEN_RATE, tone) > 0.01) or "nobody"


class RepeatingDialogue(_Adapter):
    """Says what it was told, and how often this session has spoken."""

    name = "repeating"

    async def reply(self, history: Sequence[Utterance], text: str) -> AsyncIterator[str]:
        said = {word for utterance in history for word in utterance.text.split()} & set(MARKERS)
        for word in (*text.split(), *sorted(said - set(text.split()))):
            yield word + " "
            await asyncio.sleep(0)


class ToneVoice(_Adapter):
    """Half a second of a word's own tone."""

    name = "tones"

    async def synthesize(self, text: str, *, voice: str | None = None) -> AsyncIterator[SpeechChunk]:
        for word in text.split():
            tone = VOICES.get(word.strip("."), 7000)
            wave = 8000 * np.sin(2 * np.pi * tone * np.arange(RATE // 2) / RATE)
            yield SpeechChunk(Pcm(wave.astype(np.int16), RATE))
            await asyncio.sleep(0)


def spoken(word: str) -> NDArray[np.int16]:
    """Speech with the user's tone in it, and then silence."""
    speech = flite("good morning to you my dear friend").astype(np.float64)
    tone = 0.25 * np.abs(speech).max() * np.sin(2 * np.pi * MARKERS[word] * np.arange(len(speech)) / 48_000)
    return np.concatenate([(0.6 * (speech + tone)).astype(np.int16), np.zeros(48_000, np.int16)])


def strange(client: AvatarClient, other: AvatarClient, word: str) -> list[dict[str, Any]]:
    """Messages that a client should never have got: of the other's id, name or words."""
    return [
        message
        for message in client.messages
        if other.session in str(message) or word in str(message) or "nobody" in str(message)
    ]


async def test_two_sessions_never_share_sound_words_or_messages(serving: Serve) -> None:
    adapters = {
        "asr__engine": "tests.test_isolation:MarkerRecognizer",
        "dialogue__engine": "tests.test_isolation:RepeatingDialogue",
        "tts__engine": "tests.test_isolation:ToneVoice",
    }
    async with serving(**adapters) as server:
        microphones = {word: WavMicrophone() for word in MARKERS}
        async with (
            AvatarClient(server.url, microphone=microphones["alpha"], video=False) as alpha,
            AvatarClient(server.url, microphone=microphones["omega"], video=False) as omega,
        ):
            clients = {"alpha": alpha, "omega": omega}
            await asyncio.gather(*(client.connect() for client in clients.values()))
            await asyncio.gather(*(client.login() for client in clients.values()))
            for turn in range(2):
                for word, microphone in microphones.items():
                    microphone.say(spoken(word))
                await asyncio.gather(*(answered(client, turn + 1) for client in clients.values()))
            for word, client in clients.items():
                other = "omega" if word == "alpha" else "alpha"
                assert strange(client, clients[other], other) == []
                finals = [m["text"] for m in client.messages if m["type"] == "asr_result" and m["is_final"]]
                assert finals == [word] * 2
                heard = client.heard()
                assert share(heard, 48_000, VOICES[word]) > 0.5
                assert share(heard, 48_000, VOICES[other]) < 0.01


async def answered(client: AvatarClient, times: int) -> None:
    async with asyncio.timeout(20):
        while sum(m["type"] == "reply" and m["state"] == "end" for m in client.messages) < times:
            await asyncio.sleep(0.02)
