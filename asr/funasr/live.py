"""A turn that the custom protocol's server recognises while it is spoken, telling what it understands so far."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np

from asr.funasr.transcriber import Transcriber
from core.frames import LISTEN_RATE, Transcript
from core.stages import RecognizerStream


class LiveTurn:
    """Chunks of raw PCM (int16 at `LISTEN_RATE`) to the recogniser as they come in order.

    `tell(partial)` is awaited with the newest hypothesis; those that it is too slow for are skipped.
    """

    def __init__(self, owner: Transcriber, tell: Callable[[Transcript], Awaitable[None]]) -> None:
        self._owner = owner
        self._tell = tell
        self._newest: Transcript | None = None
        self._heard = asyncio.Event()
        self._stream: RecognizerStream | None = owner.open_live(self._on_partial)
        self._teller = asyncio.create_task(self._tell_all(), name="funasr partials") if self._stream else None
        self._room = int(owner.piece_s * LISTEN_RATE) * 2
        self._half = b""
        self._bytes = 0
        self.fed = 0
        """Chunks that the recogniser has; the next one to feed is the one of this index."""

    @property
    def going(self) -> bool:
        """Whether the turn is being followed."""
        return self._stream is not None

    @property
    def seconds(self) -> float:
        """Length of what was fed."""
        return self._bytes / 2 / LISTEN_RATE

    def feed(self, chunk: bytes) -> bool:
        """Take the next chunk; False when the turn is too long to be followed."""
        if self._stream is None or self._bytes + len(chunk) > self._room:
            return False
        pcm = self._half + chunk
        whole = len(pcm) // 2 * 2
        self._half = pcm[whole:]
        self._stream.push(np.frombuffer(pcm[:whole], "<i2").astype(np.int16))
        self._bytes += len(chunk)
        self.fed += 1
        return True

    async def finish(self) -> Transcript:
        """The final transcript. Raises `RecognizerError`."""
        assert self._stream is not None
        return await self._owner.finished(self._stream, self.seconds)

    async def close(self) -> None:
        """Free what it uses. Idempotent."""
        stream, self._stream = self._stream, None
        if stream is not None and self._teller is not None:
            self._owner.closed_live()
            self._teller.cancel()
            await stream.cancel()

    def _on_partial(self, transcript: Transcript) -> None:
        self._newest = transcript
        self._heard.set()

    async def _tell_all(self) -> None:
        while True:
            await self._heard.wait()
            self._heard.clear()
            if self._newest is not None:
                await self._tell(self._newest)
