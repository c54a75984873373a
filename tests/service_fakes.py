"""What the services of `/ws` talk to, in the simplest form: ears that note what they hear, a recogniser on strings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from core.errors import RecognizerError, SessionNotFound
from core.frames import Samples, Transcript
from core.microphones import Microphones


class NotingEars:
    """Implements `core.parts.Ears`; `calls` tells what came, `heard` the samples."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.heard: list[Samples] = []

    def hear(self, samples: Samples) -> None:
        self.heard.append(samples)

    def set_mode(self, mode: str) -> None:
        self.calls.append(mode)

    def talk_key(self, down: bool) -> None:
        self.calls.append(down)

    def rest(self) -> None:
        self.calls.append("rest")

    async def run(self) -> None:
        await asyncio.Event().wait()

    @property
    def samples(self) -> list[int]:
        return [int(sample) for piece in self.heard for sample in piece]


class FewSessions:
    """Finds sessions as `core.sessions.Sessions` does; `live` are those that there are."""

    def __init__(self) -> None:
        self.live: dict[str, NotingEars] = {}
        self._known: dict[str, SimpleNamespace] = {}

    def find(self, session_id: str) -> Any:
        if session_id not in self.live:
            raise SessionNotFound("session not found")
        ears = self.live[session_id]
        known = self._known.get(session_id)
        if known is None or known.ears is not ears:
            known = SimpleNamespace(id=session_id, ears=ears, microphones=Microphones(ears), device="")
            self._known[session_id] = known
        return known


class StringRecognizer:
    """Every sample is a letter: `push` of [104, 105] is heard as "hi". What it does wrong is set from outside."""

    name = "strings"
    languages = ("*",)

    def __init__(self) -> None:
        self.broken = False
        self.fails = False
        self.gate: asyncio.Event | None = None
        """Transcripts wait for it."""
        self.streams: list[StringStream] = []

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return

    def open(self, on_partial: Callable[[Transcript], None]) -> StringStream:
        if self.broken:
            raise RecognizerError("the recogniser is away", adapter=self.name)
        stream = StringStream(self, on_partial)
        self.streams.append(stream)
        return stream

    @property
    def open_streams(self) -> int:
        return sum(stream.state == "open" for stream in self.streams)


class StringStream:
    """One turn of a `StringRecognizer`. `state`: open, finished, cancelled."""

    def __init__(self, owner: StringRecognizer, on_partial: Callable[[Transcript], None]) -> None:
        self.state = "open"
        self.text = ""
        self.on_partial = on_partial
        self._owner = owner

    def push(self, samples: Samples) -> None:
        self.text += "".join(chr(int(sample) & 0xFFF) for sample in samples)
        self.on_partial(Transcript(self.text, final=False))

    async def finish(self) -> Transcript:
        if self._owner.gate is not None:
            await self._owner.gate.wait()
        self.state = "finished"
        if self._owner.fails:
            raise RecognizerError("the recogniser broke", adapter=self._owner.name)
        return Transcript(self.text)

    async def cancel(self) -> None:
        if self.state == "open":
            self.state = "cancelled"


def pcm(text: str) -> bytes:
    """What a `StringRecognizer` hears as `text`."""
    return np.array([ord(letter) for letter in text], "<i2").tobytes()
