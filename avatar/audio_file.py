"""Reads an uploaded audio file: as speech to be played, or as sound to be listened to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import Executor
from typing import BinaryIO

import av
import numpy as np

from avatar.resampler import mono_samples
from core.errors import BadRequest, PayloadTooLarge
from core.frames import MEDIA_RATE, Pcm, Samples, SpeechChunk
from core.readable import readable

FIRST_PIECE = MEDIA_RATE // 5
PIECE = MEDIA_RATE // 2
"""Samples per piece at `MEDIA_RATE`: a short first one so that sound begins soon, then enough to be efficient."""

FORMATS = "aac,aiff,amr,asf,au,caf,flac,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpegts,ogg,w64,wav,wv"
"""FFmpeg's demuxers that may be used; none is a playlist, which would open other files and addresses from here."""


class AudioFile:
    """Any file that FFmpeg reads, as mono pieces at `rate` (samples per second). Decoding runs in `executor`.

    `open` proves that the file holds audio; `pieces` or `chunks` then streams it once and closes it.
    """

    def __init__(self, file: BinaryIO, executor: Executor, max_seconds: float, *, rate: int = MEDIA_RATE) -> None:
        self._file = file
        self._executor = executor
        self._max_seconds = max_seconds
        self._rate = rate
        self.seconds: float | None = None
        """How long it says it is, once it is open; None when it does not say."""
        self._pieces: Iterator[Samples] = iter(())
        self._first: Samples | None = None

    async def open(self) -> None:
        """Decode the beginning. Raises `BadRequest` when it isn't audio, `PayloadTooLarge` when it is too long."""
        try:
            self._pieces = self._decode()
            self._first = await self._next()
        except BaseException:
            self.close()
            raise
        if self._first is None:
            self.close()
            raise BadRequest("the file holds no audio", code="bad_audio")

    async def chunks(self) -> AsyncIterator[SpeechChunk]:
        """The file's sound, in order."""
        async with contextlib.aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                yield SpeechChunk(Pcm(piece, self._rate), None)

    async def pieces(self) -> AsyncGenerator[Samples, None]:
        """The file's samples, in order: int16, shape (n,), at most about half a second each."""
        try:
            piece, self._first = self._first, None
            while piece is not None:
                yield piece
                piece = await self._next()
        finally:
            self.close()

    def close(self) -> None:
        """Free the file. Idempotent."""
        self._pieces = iter(())
        self._file.close()

    async def _next(self) -> Samples | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, next, self._pieces, None)

    def _decode(self) -> Iterator[Samples]:
        try:
            with av.open(self._file, mode="r", container_options={"format_whitelist": FORMATS}) as container:
                yield from self._resampled(container)
        except (av.FFmpegError, ValueError) as error:
            raise BadRequest("the file can't be read as audio", code="bad_audio") from error

    def _resampled(self, container: av.container.InputContainer) -> Iterator[Samples]:
        if not container.streams.audio:
            raise BadRequest("the file holds no audio", code="bad_audio")
        self.seconds = container.duration / av.time_base if container.duration else None
        if self.seconds is not None and self.seconds > self._max_seconds:
            raise PayloadTooLarge(f"the audio is longer than {self._max_seconds / 60:g} minutes")
        resampler = av.AudioResampler(format="s16", layout="mono", rate=self._rate)
        pending: list[Samples] = []
        share = self._rate / MEDIA_RATE
        wanted, total = int(FIRST_PIECE * share), 0
        for frame in readable(container.decode(audio=0), (av.FFmpegError,)):
            pending += mono_samples(resampler.resample(frame))
            if sum(map(len, pending)) >= wanted:
                piece = np.concatenate(pending)
                pending, wanted, total = [], int(PIECE * share), total + len(piece)
                if total > self._max_seconds * self._rate:
                    return  # a file that hid its length is cut, not refused: it is playing already
                yield piece
        pending += mono_samples(resampler.resample(None))
        if sum(map(len, pending)):
            yield np.concatenate(pending)
