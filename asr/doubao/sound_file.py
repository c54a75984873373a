"""Any audio file as packets for the service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import av
from av.audio.resampler import AudioResampler

from asr.doubao.backlog import PACKET_BYTES
from asr.doubao.errors import NAME
from core.errors import RecognizerError
from core.frames import LISTEN_RATE


async def packets(path: Path) -> AsyncGenerator[bytes]:
    """16 kHz 16-bit mono PCM in packets of 200 ms, decoded in a worker thread as they are asked for.

    Raises `RecognizerError` for what PyAV can't read.
    """
    source = _packets(path)
    try:
        while (packet := await asyncio.to_thread(next, source, None)) is not None:
            yield packet
    except (av.FFmpegError, OSError) as error:
        message = f"the audio file can't be read ({type(error).__name__})"
        raise RecognizerError(message, adapter=NAME, code=f"{NAME}_file", retryable=False) from error
    finally:
        with contextlib.suppress(ValueError):  # still decoding in its thread: closed when that is done
            source.close()


def _packets(path: Path) -> Generator[bytes]:
    waiting = bytearray()
    for piece in _pcm(path):
        waiting += piece
        while len(waiting) >= PACKET_BYTES:
            yield bytes(waiting[:PACKET_BYTES])
            del waiting[:PACKET_BYTES]
    if waiting:
        yield bytes(waiting)


def _pcm(path: Path) -> Generator[bytes]:
    resampler = AudioResampler(format="s16", layout="mono", rate=LISTEN_RATE)
    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise RecognizerError("the file has no sound", adapter=NAME, code=f"{NAME}_file", retryable=False)
        for frame in container.decode(audio=0):
            for piece in resampler.resample(frame):
                yield piece.to_ndarray().tobytes()
        for piece in resampler.resample(None):
            yield piece.to_ndarray().tobytes()
