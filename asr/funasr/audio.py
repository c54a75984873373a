"""Audio of any common format as what recognisers hear: mono, 16 bit, 16 kHz. Blocking: call it in a worker thread.

Plain WAV and raw PCM need the standard library only; PyAV is loaded for other formats and other sample rates. The
demuxer is always named: one that guesses might take an upload for a playlist, and read files or addresses in it.
"""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from asr.funasr.refusal import Refusal
from asr.funasr.schema import AudioFormat
from core.frames import LISTEN_RATE, Samples

if TYPE_CHECKING:
    from av.container import InputContainer

_DEMUXERS = {
    "mp3": "mp3", "flac": "flac", "ogg": "ogg", "opus": "ogg", "m4a": "mov", "webm": "matroska", "aac": "aac",
    "wav": "wav",
}  # fmt: skip
_BROKEN_WAV = (wave.Error, EOFError, struct.error, ValueError, RuntimeError, ZeroDivisionError, OverflowError)
"""What the standard library raises for a damaged header."""
_MAGIC = ((b"RIFF", "wav"), (b"fLaC", "flac"), (b"OggS", "ogg"), (b"ID3", "mp3"), (b"\x1aE\xdf\xa3", "webm"))


def sniffed(data: bytes) -> str | None:
    """The format that the first bytes show, None if they show none."""
    return next((name for magic, name in _MAGIC if data.startswith(magic)), None)


def decode(data: bytes, given: AudioFormat, max_s: float, *, default: str = "wav") -> Samples:
    """`data` as int16 mono at `LISTEN_RATE`, shape (n,). `default` is the format of data that neither the client
    nor its first bytes name. Raises `Refusal` (unsupported_format, too_large for more than `max_s` seconds).
    """
    name = sniffed(data) if given.name in (None, "wav") else given.name
    name = name or given.name or default
    if name == "pcm" and not data.startswith(b"RIFF"):
        return _at_listen_rate(_mono(data, given.sample_width, given.channels), given.sample_rate, max_s)
    if name == "wav" or data.startswith(b"RIFF"):
        try:
            return _wav(data, max_s)
        except _BROKEN_WAV:
            name = "wav"  # compressed, or floating point
    return _decoded(data, name, max_s)


def seconds_of(data: bytes, given: AudioFormat) -> float | None:
    """Length in seconds as far as the data shows it without being decoded: of WAV and PCM."""
    if data.startswith(b"RIFF"):
        try:
            with wave.open(io.BytesIO(data)) as file:
                frame = file.getsampwidth() * file.getnchannels()
                return float(min(file.getnframes(), len(data) // frame) / file.getframerate())
        except _BROKEN_WAV:
            return None
    if given.name == "pcm":
        return len(data) / (given.sample_width * given.channels * given.sample_rate)
    return None


def _wav(data: bytes, max_s: float) -> Samples:
    with wave.open(io.BytesIO(data)) as file:
        rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
        if not 1000 <= rate <= 384_000 or channels > 8 or width > 4:
            raise ValueError
        pcm = file.readframes(min(file.getnframes(), len(data)))
    return _at_listen_rate(_mono(pcm, width, channels), rate, max_s)


def _mono(pcm: bytes, width: int, channels: int) -> Samples:
    """Interleaved little-endian PCM (8 bit: unsigned) as mono 16 bit; an incomplete last frame is left out."""
    pcm = memoryview(pcm)[: len(pcm) // (width * channels) * width * channels].tobytes()
    if width == 1:
        samples = (np.frombuffer(pcm, np.uint8).astype(np.int16) - 128) << 8
    elif width == 3:
        triples = np.frombuffer(pcm, np.uint8).reshape(-1, 3)
        samples = np.ascontiguousarray(triples[:, 1:]).view("<i2").reshape(-1)
    else:
        samples = np.frombuffer(pcm, f"<i{width}")
        samples = (samples >> 16).astype(np.int16) if width == 4 else samples
    if channels > 1:
        samples = samples.reshape(-1, channels).mean(axis=1).astype(np.int16)
    return samples.astype(np.int16, copy=False)


def _at_listen_rate(samples: Samples, rate: int, max_s: float) -> Samples:
    if len(samples) > max_s * rate:
        raise _too_long(max_s)
    if rate == LISTEN_RATE or not len(samples):
        return samples
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=LISTEN_RATE)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None, :], format="s16", layout="mono")
    frame.sample_rate = rate
    parts = [part.to_ndarray().reshape(-1) for part in [*resampler.resample(frame), *resampler.resample(None)]]
    return np.concatenate([samples[:0], *parts]).astype(np.int16, copy=False)  # one sample may become none


def _decoded(data: bytes, name: str, max_s: float) -> Samples:
    import av

    room, parts = int(max_s * LISTEN_RATE), []
    try:
        with av.open(io.BytesIO(data), mode="r", format=_DEMUXERS[name]) as container:
            for samples in _resampled(container):
                parts.append(samples)
                room -= len(samples)
                if room < 0:
                    raise _too_long(max_s)
    except (av.FFmpegError, ValueError, EOFError, OSError, IndexError):
        raise _unreadable(name) from None
    if not parts:
        raise _unreadable(name)
    return np.concatenate(parts)


def _resampled(container: InputContainer) -> Iterator[Samples]:
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=LISTEN_RATE)
    for frame in container.decode(audio=0):
        yield from (part.to_ndarray().reshape(-1).astype(np.int16, copy=False) for part in resampler.resample(frame))
    yield from (part.to_ndarray().reshape(-1).astype(np.int16, copy=False) for part in resampler.resample(None))


def _too_long(max_s: float) -> Refusal:
    return Refusal("too_large", f"at most {max_s:g} seconds of audio are recognised")


def _unreadable(name: str) -> Refusal:
    return Refusal("unsupported_format", f"this is no {name} that can be read")
