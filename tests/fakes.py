"""Adapters that implement the public contracts in the simplest deterministic way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import ClassVar

import numpy as np

from core.errors import DialogueError, FaceError, Refused, SynthesizerError
from core.frames import (
    LISTEN_RATE,
    VISEME_RATE,
    FaceChoice,
    FaceCue,
    Pcm,
    Phoneme,
    Picture,
    PresenterInfo,
    Samples,
    SpeechChunk,
    Transcript,
    Utterance,
    VisemeFrames,
)
from core.recording import Recording

RATE = 24_000


class _Adapter:
    name = "fake"

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""


class ScriptedDialogue(_Adapter):
    """Answers with `answer`, word by word; `stall` never yields, `fail` raises."""

    name = "scripted"

    def __init__(self, answer: str = "One two three. Four five six.", stall: bool = False, fail: bool = False) -> None:
        self.answer, self.stall, self.fail = answer, stall, fail
        self.calls: list[tuple[tuple[Utterance, ...], str]] = []

    async def reply(self, history: Sequence[Utterance], text: str) -> AsyncIterator[str]:
        self.calls.append((tuple(history), text))
        if self.fail:
            raise DialogueError("the model is away")
        if self.stall:
            await asyncio.Event().wait()
        for word in self.answer.split(" "):
            yield word + " "
            await asyncio.sleep(0)


class ToneSynthesizer(_Adapter):
    """A 200 Hz tone, `seconds_per_word` long per word, said to be "aa"; "mute …" never sounds, "broken …" fails."""

    name = "tone"

    def __init__(self, seconds_per_word: float = 0.2) -> None:
        self.seconds_per_word = seconds_per_word
        self.spoken: list[str] = []
        self.voices: list[str | None] = []

    async def synthesize(self, text: str, *, voice: str | None = None) -> AsyncIterator[SpeechChunk]:
        self.spoken.append(text)
        self.voices.append(voice)
        if text.startswith("mute"):
            await asyncio.Event().wait()
        if text.startswith("broken"):
            raise SynthesizerError("the voice is away")
        for number, _ in enumerate(text.split()):
            count = int(self.seconds_per_word * RATE)
            t = (np.arange(count) + number * count) / RATE
            samples = (8000 * np.sin(2 * np.pi * 200 * t)).astype(np.int16)
            at = number * self.seconds_per_word
            yield SpeechChunk(Pcm(samples, RATE), (Phoneme("ˈɑ", at, at + self.seconds_per_word),))
            await asyncio.sleep(0)


class GreyFace(_Adapter):
    """A grey picture whose brightness is the jaw opening: what a test can read back from a received frame.

    "grey" has the chroma 128, "teal" 160; "transparent" is twice as wide, with a white matte.
    """

    CHROMA: ClassVar = {"grey": 128, "teal": 160}

    def presenters(self) -> tuple[PresenterInfo, ...]:
        return (
            PresenterInfo("grey", "Grey", "A plain picture."),
            PresenterInfo("teal", "Teal", "A plain picture.", {"tone": "deep", "espeak": "+m1"}),
        )

    def open(self, width: int, height: int, *, seed: int = 0, choice: FaceChoice = FaceChoice()) -> _GreyStream:  # noqa: B008 - frozen
        presenter = choice.presenter or "grey"
        if presenter not in self.CHROMA:
            raise FaceError(f"no presenter {presenter!r}", adapter=self.name, code="unknown_presenter")
        if choice.background not in ("", "studio", "transparent") and not choice.background.startswith("#"):
            raise FaceError(f"no background {choice.background!r}", adapter=self.name, code="unknown_background")
        return _GreyStream(width, height, self.CHROMA[presenter], choice.background == "transparent")


class _GreyStream:
    def __init__(self, width: int, height: int, chroma: int, matte: bool) -> None:
        self._shape = (height * 3 // 2, width * (2 if matte else 1))
        self._width, self._height, self._chroma, self._matte = width, height, chroma, matte

    def draw(self, cue: FaceCue) -> Picture:
        picture = np.full(self._shape, 128, np.uint8)
        picture[: self._height] = int(40 + 180 * min(1.0, cue.mouth.jaw_open))
        if self._matte:
            picture[: self._height, self._width :] = 235
        for plane in picture[self._height :].reshape(2, self._height // 2, -1):
            plane[:, : self._width // 2] = self._chroma
        return picture


class EchoRecognizer(_Adapter):
    """Tells how much it heard: "<seconds> seconds"."""

    name = "echo"
    languages = ("*",)

    def open(self, on_partial: Callable[[Transcript], None]) -> _EchoStream:
        return _EchoStream(on_partial)


class _EchoStream:
    def __init__(self, on_partial: Callable[[Transcript], None]) -> None:
        self._on_partial = on_partial
        self._count = 0

    def push(self, samples: Samples) -> None:
        self._count += len(samples)
        self._on_partial(Transcript("hearing", final=False))

    async def finish(self) -> Transcript:
        return Transcript(f"{self._count / 16000:.1f} seconds")

    async def cancel(self) -> None:
        self._count = 0


class DeafToFiles:
    """Refuses every file (`core.parts.FileEars`)."""

    def __init__(self) -> None:
        self.interrupts = 0

    async def ask(self, recording: Recording, /) -> str:
        recording.close()
        raise Refused("no files here")

    def interrupt(self) -> bool:
        self.interrupts += 1
        return False

    async def run(self) -> None:
        await asyncio.Event().wait()


class FrozenLips(_Adapter):
    """Lips that never move: shows that a test of lips can fail."""

    name = "frozen"

    def open(self, text: str = "") -> _FrozenStream:
        return _FrozenStream()


class _FrozenStream:
    def __init__(self) -> None:
        self._samples = 0
        self._rows = 0

    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        self._samples += len(chunk.pcm.samples)
        return self._until(self._samples * VISEME_RATE // LISTEN_RATE)

    def finish(self) -> VisemeFrames:
        return self._until(-(-self._samples * VISEME_RATE // LISTEN_RATE))

    def _until(self, rows: int) -> VisemeFrames:
        frames = np.zeros((rows - self._rows, 15), np.float32)
        frames[:, 0] = 1
        self._rows = rows
        return frames
