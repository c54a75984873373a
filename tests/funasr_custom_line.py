"""A raw connection to the custom protocol's server, and recognisers to put behind it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import wave
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from asr.funasr.server import FunASRServer
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript


class Counting:
    """Hears how many samples there were. `hold` makes it wait for `go`; `fail` makes it fail that often."""

    name = "counting"
    languages = ("*",)

    def __init__(self, *, hold: bool = False, fail: int = 0, bug: bool = False, answer: str | None = None) -> None:
        self.go = asyncio.Event()
        if not hold:
            self.go.set()
        self.fail = fail
        self.bug = bug
        self.answer = answer
        self.open_streams = 0
        self.most_at_work = 0
        self.at_work = 0
        self.finished: list[int] = []

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    def open(self, on_partial: Callable[[Transcript], None]) -> CountingStream:
        """Begin a turn."""
        self.open_streams += 1
        return CountingStream(self, on_partial)


class CountingStream:
    """One turn."""

    def __init__(self, owner: Counting, on_partial: Callable[[Transcript], None]) -> None:
        self._owner, self._on_partial, self._samples, self._open = owner, on_partial, 0, True

    def push(self, samples: Samples) -> None:
        """Count, and say how many so far."""
        self._samples += len(samples)
        self._on_partial(Transcript(f"so far {self._samples}", final=False))

    async def finish(self) -> Transcript:
        """How many there were."""
        owner = self._owner
        owner.at_work += 1
        owner.most_at_work = max(owner.most_at_work, owner.at_work)
        try:
            await owner.go.wait()
        finally:
            owner.at_work -= 1
        if owner.bug:
            raise ZeroDivisionError
        if owner.fail > 0:
            owner.fail -= 1
            raise RecognizerError("it failed", adapter="counting", retryable=True)
        owner.finished.append(self._samples)
        text = f"{self._samples} samples" if owner.answer is None else owner.answer
        return Transcript(text, start=0.0, end=self._samples / LISTEN_RATE, engine="counting")

    async def cancel(self) -> None:
        """Count it as closed."""
        if self._open:
            self._open = False
            self._owner.open_streams -= 1


class Line:
    """A client that says exactly what the test wants."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, message: Any) -> None:
        """Send JSON, or a frame as it is."""
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def hear(self) -> Any:
        """The next frame: a dict if it is a JSON object, else the text."""
        frame = await asyncio.wait_for(self.socket.recv(), 10)
        with contextlib.suppress(ValueError):
            if isinstance(value := json.loads(frame), dict):
                return value
        return frame

    async def ask(self, message: Any) -> Any:
        """Send, and the next frame."""
        await self.say(message)
        return await self.hear()

    async def final(self) -> Any:
        """The next frame that is no `processing` or `partial`."""
        while True:
            frame = await self.hear()
            if not isinstance(frame, dict) or frame.get("status") not in ("processing", "partial"):
                return frame

    async def silent(self) -> bool:
        """Whether the server has said nothing since: it answers something else first."""
        answer = await self.ask({"type": "audio_cancel", "request_id": "nobody"})
        return isinstance(answer, dict) and answer.get("code") == "no_session"


@contextlib.asynccontextmanager
async def serving(recognizer: Any = None, **options: Any) -> AsyncIterator[FunASRServer]:
    """A running server on a free port."""
    server = FunASRServer(recognizer or Counting(), port=0, **{"sweep_s": 0.02, **options})
    await server.start()
    try:
        yield server
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def line(server: FunASRServer, **options: Any) -> AsyncIterator[Line]:
    """A connection."""
    url = f"ws://127.0.0.1:{server.port}/any/path"
    async with connect(url, max_size=None, compression=None, ping_interval=None, proxy=None, **options) as socket:
        yield Line(socket)


def wav(size: int, seed: int = 1) -> bytes:
    """A WAV file of that many bytes in all, with noise in it."""
    pcm = np.random.default_rng(seed).integers(-9000, 9000, (size - 44) // 2).astype("<i2").tobytes()
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(pcm)
    return file.getvalue()


def b64(data: bytes) -> str:
    """As it travels."""
    return base64.b64encode(data).decode()


def start(request_id: str | None = "r1", **fields: Any) -> dict[str, Any]:
    """An `audio_start` for PCM."""
    message = {"type": "audio_start", "request_id": request_id, "audio_format": "pcm", **fields}
    return {key: value for key, value in message.items() if value is not None}


def chunk(index: int, data: bytes = b"\1\0", request_id: str | None = "r1", **fields: Any) -> dict[str, Any]:
    """An `audio_chunk`."""
    message = {"type": "audio_chunk", "request_id": request_id, "chunk_index": index, "data": b64(data), **fields}
    return {key: value for key, value in message.items() if value is not None}


def end(request_id: str | None = "r1", **fields: Any) -> dict[str, Any]:
    """An `audio_end`."""
    message = {"type": "audio_end", "request_id": request_id, **fields}
    return {key: value for key, value in message.items() if value is not None}
