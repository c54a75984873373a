"""A server of the custom protocol as a recogniser: a turn is uploaded while it is spoken, or when it is over."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from asr.funasr.answers import Status
from asr.funasr.client import FunASRClient, Recognition, recognition, tls_context
from asr.funasr.exchange import NAME, Exchange
from asr.funasr.outgoing import Outgoing
from asr.loss import loss_of
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript

BYTES_PER_S = LISTEN_RATE * 2
MODES = ("live", "upload", "path")


class FunASRCustomStream:
    """One turn. Times of its transcript are seconds since the first sample pushed."""

    def __init__(self, owner: FunASRCustomRecognizer, on_partial: Callable[[Transcript], None]) -> None:
        self._owner = owner
        self._on_partial = on_partial
        self._outgoing = Outgoing(owner.packet_bytes)
        self._room = int(owner.max_turn_s * LISTEN_RATE) * 2
        self._bytes = 0
        self._closed = False
        self._task: asyncio.Task[Recognition] | None = None
        self.truncated = False
        """Whether audio was ignored because the turn was longer than `max_turn_s`."""
        if owner.mode == "live":
            self._run()

    @property
    def failure(self) -> RecognizerError | None:
        """Why the turn is lost, as soon as that is known; None while it goes on."""
        return loss_of(self._task)

    def push(self, samples: Samples) -> None:
        """Add int16 audio at `LISTEN_RATE`, shape (n,), any n. Never blocks; ignored beyond `max_turn_s`."""
        if self._closed:
            return
        data = np.ascontiguousarray(samples, dtype="<i2").tobytes()
        self.truncated = self.truncated or len(data) > self._room
        data = data[: self._room]
        self._room -= len(data)
        self._bytes += len(data)
        self._outgoing.push(data)

    async def finish(self) -> Transcript:
        """The final transcript. Raises `RecognizerError`."""
        self._closed = True
        if not self._bytes:
            await self.cancel()
            return Transcript("", engine=NAME)
        self._outgoing.finish()
        task = self._task or self._run()
        try:
            said = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # and not who waits for it
                raise RecognizerError("the turn was cancelled", adapter=NAME, code="cancelled") from None
            raise
        length = self._bytes / BYTES_PER_S
        end = min(said.end_s or length, length)
        start = min(said.start_s or 0.0, end)
        return Transcript(said.text, start=start, end=end, engine=NAME) if said.text else Transcript("", engine=NAME)

    async def cancel(self) -> None:
        """Drop the turn. Idempotent, also after `finish`."""
        self._closed = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    def _run(self) -> asyncio.Task[Recognition]:
        self._task = asyncio.create_task(self._owner.ask(self._outgoing, self._take), name=f"{NAME} turn")
        self._task.add_done_callback(_read)
        return self._task

    def _take(self, status: Status) -> None:
        text = status.text("text").strip()
        if status.kind == "partial" and text and not self._closed:
            self._on_partial(Transcript(text, final=False, engine=NAME))


def _read(task: asyncio.Task[Recognition]) -> None:
    """A turn that nobody finishes must not be reported as an unread failure."""
    if not task.cancelled():
        task.exception()


class FunASRCustomRecognizer:
    """Turns go to a server of the custom protocol, each on a connection of its own.

    `mode`: "live" uploads while the user speaks, and brings partials from servers that give them; "upload" sends the
    turn when it is over, in one message if it fits, which the oldest servers need; "path" writes a WAV to `folder`,
    which the server must be able to read, and names it (Fay's own server). `packet_ms`: of live audio.
    `verify_tls` false accepts a certificate that the server made itself.
    """

    name = NAME
    languages: tuple[str, ...] = ("*",)

    def __init__(
        self,
        *,
        url: str = "ws://127.0.0.1:10197",
        mode: Literal["live", "upload", "path"] = "live",
        language: str = "",
        hotwords: str = "",
        folder: str = "",
        max_turn_s: float = 60.0,
        packet_ms: int = 200,
        connect_timeout_s: float = 5.0,
        answer_timeout_s: float = 30.0,
        retries: int = 3,
        verify_tls: bool = True,
    ) -> None:
        self.mode = mode
        self.max_turn_s = max_turn_s
        self.packet_bytes = packet_ms * BYTES_PER_S // 1000 // 2 * 2
        self._folder = folder or None
        self._fields: dict[str, Any] = {
            key: value for key, value in (("language", language), ("hotwords", hotwords)) if value
        }
        self._client = FunASRClient(
            url, connect_timeout_s=connect_timeout_s, receive_timeout_s=answer_timeout_s, retries=retries,
            tls=tls_context(verify=verify_tls) if url.startswith("wss:") else None,
        )  # fmt: skip

    async def start(self) -> None:
        """Check the settings; the server may come later. Raises `RecognizerError`."""
        if not self._client.link.url.startswith(("ws://", "wss://")):
            raise RecognizerError("funasr_custom: url must be ws://host:port or wss://host:port", adapter=NAME)
        if self.mode not in MODES:
            raise RecognizerError(f"funasr_custom: mode must be one of {', '.join(MODES)}", adapter=NAME)
        if self._folder is not None and not os.access(self._folder, os.W_OK):
            raise RecognizerError("funasr_custom: nothing can be written to folder", adapter=NAME)

    async def close(self) -> None:
        """Nothing is held between turns."""

    def open(self, on_partial: Callable[[Transcript], None]) -> FunASRCustomStream:
        """Begin a turn; the connection is made meanwhile."""
        return FunASRCustomStream(self, on_partial)

    async def ask(self, outgoing: Outgoing, on_status: Callable[[Status], None]) -> Recognition:
        """Recognise a turn, which may still be going on in mode "live". Raises `RecognizerError`."""
        if self.mode == "live":
            return await self._live(outgoing, on_status)
        pcm = b"".join(bytes(outgoing.chunk(index)) for index in range(len(outgoing)))
        if self.mode == "upload":
            return await self._client.recognize(_wav(pcm), audio_format="wav", **self._fields)
        path = await asyncio.to_thread(self._write, pcm)
        try:
            return await self._client.recognize_path(str(path))
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _live(self, outgoing: Outgoing, on_status: Callable[[Status], None]) -> Recognition:
        start = {"audio_format": "pcm", "sample_rate": LISTEN_RATE, "channels": 1, "sample_width": 2, "live": True}
        exchange = Exchange(
            self._client.link, outgoing, {**start, "result_format": "json", **self._fields},
            length_s=lambda: outgoing.size / BYTES_PER_S, on_status=on_status,
        )  # fmt: skip
        return recognition(await exchange.run(), exchange.progress, "live")

    def _write(self, pcm: bytes) -> Path:
        handle, name = tempfile.mkstemp(".wav", "turn-", self._folder)
        with os.fdopen(handle, "wb") as file:
            file.write(_wav(pcm))
        return Path(name).resolve()


def _wav(pcm: bytes) -> bytes:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(LISTEN_RATE)
        file.writeframes(pcm)
    return data.getvalue()
