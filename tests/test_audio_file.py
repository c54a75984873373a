"""Uploaded files as speech: level, pitch and length are kept, pieces are bounded, damage ends them quietly."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.audio_file import FIRST_PIECE, PIECE, AudioFile
from core.errors import BadRequest, PayloadTooLarge
from core.frames import MEDIA_RATE
from tests.test_uploads import encoded, silent_film, wav


@pytest.fixture
async def pool() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


async def pieces(data: bytes, pool: ThreadPoolExecutor, max_seconds: float = 60) -> list[NDArray[np.int16]]:
    audio = AudioFile(io.BytesIO(data), pool, max_seconds)
    await audio.open()
    return [chunk.pcm.samples async for chunk in audio.chunks()]


def frequency(samples: NDArray[np.int16]) -> float:
    spectrum = np.abs(np.fft.rfft(samples.astype(float) * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * MEDIA_RATE / len(samples))


@pytest.mark.parametrize(
    ("rate", "channels"), [(8_000, 1), (16_000, 2), (22_050, 1), (44_100, 2), (48_000, 1), (96_000, 2)]
)
async def test_length_pitch_and_level_are_kept(pool: ThreadPoolExecutor, rate: int, channels: int) -> None:
    parts = await pieces(wav(2.0, rate, channels), pool)
    sound = np.concatenate(parts)
    assert abs(len(sound) / MEDIA_RATE - 2.0) < 0.01
    assert abs(frequency(sound[4800:-4800]) - 300) < 2
    assert 8000 < np.abs(sound[4800:-4800]).max() < 10_000
    assert all(part.dtype == np.int16 and part.ndim == 1 for part in parts)


async def test_pieces_begin_small_and_stay_bounded(pool: ThreadPoolExecutor) -> None:
    sizes = [len(part) for part in await pieces(wav(5.0, 48_000), pool)]
    assert FIRST_PIECE <= sizes[0] < FIRST_PIECE + 8192
    assert all(PIECE <= size < PIECE + 8192 for size in sizes[1:-1])


async def test_compressed_files_are_read(pool: ThreadPoolExecutor) -> None:
    for container, codec, rate in (("mp3", "libmp3lame", 44_100), ("ogg", "libopus", 48_000), ("mp4", "aac", 44_100)):
        sound = np.concatenate(await pieces(encoded(container, codec, 2.0, rate), pool))
        assert abs(len(sound) / MEDIA_RATE - 2.0) < 0.1, container
        assert abs(frequency(sound[9600:-9600]) - 300) < 2, container


async def test_a_file_that_declares_too_much_is_refused_and_one_that_hides_it_is_cut(pool: ThreadPoolExecutor) -> None:
    with pytest.raises(PayloadTooLarge, match=r"longer than 0\.05 minutes"):
        await pieces(wav(4.0), pool, max_seconds=3)
    parts = await pieces(encoded("webm", "libopus", 10.0, 48_000, live="1"), pool, max_seconds=3)
    assert 2.4 * MEDIA_RATE < sum(map(len, parts)) <= 3 * MEDIA_RATE


@pytest.mark.parametrize("data", [b"", b"text" * 999, wav(1)[:30], wav(0), silent_film()], ids=len)
async def test_what_is_no_audio_raises_and_closes_the_file(pool: ThreadPoolExecutor, data: bytes) -> None:
    file = io.BytesIO(data)
    with pytest.raises(BadRequest) as caught:
        await AudioFile(file, pool, 60).open()
    assert caught.value.code == "bad_audio"
    assert file.closed


async def test_the_file_is_closed_at_the_end_and_when_reading_stops(pool: ThreadPoolExecutor) -> None:
    whole, stopped = io.BytesIO(wav(1)), io.BytesIO(wav(5))
    audio = AudioFile(whole, pool, 60)
    await audio.open()
    assert not whole.closed
    async for _ in audio.chunks():
        pass
    assert whole.closed
    audio = AudioFile(stopped, pool, 60)
    await audio.open()
    chunks = audio.chunks()
    await anext(chunks)
    await chunks.aclose()  # what an interrupted reply does
    assert stopped.closed
    audio.close()


async def test_damage_in_the_middle_is_passed_over_or_ends_it(pool: ThreadPoolExecutor) -> None:
    good = bytearray(encoded("mp3", "libmp3lame", 3.0))
    good[len(good) // 2 : len(good) // 2 + 3000] = b"\0" * 3000
    sound = np.concatenate(await pieces(bytes(good), pool))
    assert len(sound) > MEDIA_RATE
