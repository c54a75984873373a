"""What every synthesizer and every lip-sync adapter must do. Collected by test_tts.py and test_lipsync.py.

An adapter that needs a server or a key registers how to build it in `SYNTHESIZERS` / `LIP_SYNCS`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import avatar.lipsync
import avatar.tts
from core.errors import LipSyncError
from core.frames import LISTEN_RATE, VISEME_RATE, VISEMES, Pcm, Phoneme, Samples, SpeechChunk, VisemeFrames
from core.stages import LipSync, Synthesizer


def build(table: dict[str, str], name: str) -> Any:
    """The adapter `name` of `table`, with its defaults."""
    module, _, cls = table[name].partition(":")
    return getattr(importlib.import_module(module), cls)()


SYNTHESIZERS: dict[str, Callable[[], Any]] = {
    name: partial(build, avatar.tts.ADAPTERS, name) for name in avatar.tts.ADAPTERS
}
LIP_SYNCS: dict[str, Callable[[], Any]] = {
    name: partial(build, avatar.lipsync.ADAPTERS, name) for name in avatar.lipsync.ADAPTERS
}

every_synthesizer = pytest.mark.parametrize("name", list(avatar.tts.ADAPTERS))
every_lipsync = pytest.mark.parametrize("name", list(avatar.lipsync.ADAPTERS))


def at_listen_rate(samples: Samples, rate: int) -> Samples:
    """Band-limited resampling of a whole clip to 16 kHz."""
    if rate == LISTEN_RATE:
        return samples
    count = len(samples) * LISTEN_RATE // rate
    spectrum = np.fft.rfft(samples.astype(np.float64))
    kept = np.zeros(count // 2 + 1, np.complex128)
    bins = min(len(spectrum), len(kept))
    kept[:bins] = spectrum[:bins]
    return np.clip(np.fft.irfft(kept, count) * count / len(samples), -32768, 32767).astype(np.int16)


async def spoken(synthesizer: Synthesizer, text: str, voice: str | None = None) -> list[SpeechChunk]:
    """All chunks of `text`."""
    return [chunk async for chunk in synthesizer.synthesize(text, voice=voice)]


def pcm_of(chunks: list[SpeechChunk]) -> Samples:
    """Their audio in one piece."""
    return np.concatenate([chunk.pcm.samples for chunk in chunks])


def lips_of(lipsync: LipSync, chunks: list[SpeechChunk], text: str = "") -> VisemeFrames:
    """The frames for `chunks` (16 kHz), which say `text`, through a fresh stream."""
    stream = lipsync.open(text)
    return np.concatenate([*(stream.feed(chunk) for chunk in chunks), stream.finish()])


def listening_chunks(chunks: list[SpeechChunk], *, silent_about_phonemes: bool = False) -> list[SpeechChunk]:
    """`chunks` as the speaker hands them to the lips: at 16 kHz, cut at the same times."""
    rate = chunks[0].pcm.rate
    samples = at_listen_rate(pcm_of(chunks), rate)
    ends = np.cumsum([len(chunk.pcm.samples) for chunk in chunks]) * LISTEN_RATE // rate
    return [
        SpeechChunk(Pcm(part, LISTEN_RATE), None if silent_about_phonemes else chunk.phonemes)
        for part, chunk in zip(np.split(samples, ends[:-1]), chunks, strict=True)
    ]


@every_synthesizer
async def test_synthesizer_is_an_adapter(name: str) -> None:
    synthesizer = SYNTHESIZERS[name]()
    assert isinstance(synthesizer, Synthesizer)
    assert synthesizer.name == name
    await synthesizer.start()
    await synthesizer.close()
    await synthesizer.close()


@every_synthesizer
async def test_chunks_are_mono_int16_at_one_rate_in_order(name: str) -> None:
    synthesizer = SYNTHESIZERS[name]()
    await synthesizer.start()
    chunks = await spoken(synthesizer, "Good morning. It is nice to see you here, my friend.")
    await synthesizer.close()
    assert len(chunks) > 3, "speech must stream, not come in one block"
    assert len({chunk.pcm.rate for chunk in chunks}) == 1
    assert all(chunk.pcm.samples.dtype == np.int16 and chunk.pcm.samples.ndim == 1 for chunk in chunks)
    assert 1.5 < len(pcm_of(chunks)) / chunks[0].pcm.rate < 6


@every_synthesizer
async def test_phonemes_start_in_their_chunk_and_tile_the_utterance(name: str) -> None:
    synthesizer = SYNTHESIZERS[name]()
    await synthesizer.start()
    chunks = await spoken(synthesizer, "Papa bought a map, and then he went home.")
    await synthesizer.close()
    if chunks[0].phonemes is None:
        assert all(chunk.phonemes is None for chunk in chunks)
        return
    begin, previous_end = 0.0, 0.0
    for chunk in chunks:
        assert chunk.phonemes is not None
        end = begin + chunk.pcm.seconds
        for phoneme in chunk.phonemes:
            assert begin - 1e-6 <= phoneme.start < end + 1e-6
            assert phoneme.start == pytest.approx(previous_end, abs=1e-6)
            assert phoneme.end > phoneme.start
            previous_end = phoneme.end
        begin = end
    assert previous_end == pytest.approx(begin, abs=0.01)


@every_synthesizer
@pytest.mark.parametrize("text", ["", "   \n\t ", "\x00\x07\x1b", "..."])
async def test_nothing_to_say_yields_nothing(name: str, text: str) -> None:
    synthesizer = SYNTHESIZERS[name]()
    await synthesizer.start()
    assert await spoken(synthesizer, text) == []
    await synthesizer.close()


@every_synthesizer
async def test_closing_the_iterator_cancels_and_the_next_text_is_spoken(name: str) -> None:
    synthesizer = SYNTHESIZERS[name]()
    await synthesizer.start()
    stream = synthesizer.synthesize("This is a sentence. " * 500)
    assert len((await anext(stream)).pcm.samples) > 0
    await stream.aclose()
    assert await spoken(synthesizer, "And now something else.")
    await synthesizer.close()


def chunks_of(samples: Samples, size: int, phonemes: tuple[Phoneme, ...] | None = None) -> list[SpeechChunk]:
    """`samples` cut into pieces of `size`; each with its phonemes, or None."""
    return [
        SpeechChunk(
            Pcm(samples[i : i + size], LISTEN_RATE),
            None if phonemes is None else tuple(p for p in phonemes if i <= p.start * LISTEN_RATE < i + size),
        )
        for i in range(0, len(samples), size)
    ]


def hum(seconds: float) -> Samples:
    """A loud vowel-like sound."""
    t = np.arange(round(seconds * LISTEN_RATE)) / LISTEN_RATE
    wave = sum(np.sin(2 * np.pi * 150 * k * t) / (1 + ((150 * k - 700) / 300) ** 2) for k in range(1, 30))
    return np.asarray(np.int16(6000 * wave / np.max(np.abs(wave))))


TEXTS = ["", "Mama, 妈妈!", "สวัสดี"]
"""Unknown, mixed, and in a script that nobody can pronounce."""
SPOKEN = (Phoneme("m", 0.0, 0.1), Phoneme("ˈɑː", 0.1, 0.5), Phoneme("_", 0.5, 1.0))


@every_lipsync
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("phonemes", [None, SPOKEN], ids=["by sound", "with phonemes"])
@pytest.mark.parametrize("size", [137, 960, 5000])
@pytest.mark.parametrize("length", [1, 159, 160, 161, 4000, 16001])
def test_frames_cover_the_audio_and_sum_to_one(
    name: str, length: int, size: int, phonemes: tuple[Phoneme, ...] | None, text: str
) -> None:
    stream = LIP_SYNCS[name]().open(text)
    rows, heard = 0, 0
    for chunk in chunks_of(hum(1.1)[:length], size, phonemes):
        heard += len(chunk.pcm.samples)
        frames = stream.feed(chunk)
        rows += len(frames)
        assert frames.shape[1:] == (len(VISEMES),)
        assert frames.dtype == np.float32
        assert rows <= heard * VISEME_RATE / LISTEN_RATE, "a frame was decided before its sound came"
        assert np.allclose(frames.sum(axis=1), 1, atol=1e-4)
        assert np.all(frames >= 0)
    last = stream.finish()
    assert np.allclose(last.sum(axis=1), 1, atol=1e-4)
    assert rows + len(last) == math.ceil(length * VISEME_RATE / LISTEN_RATE)


@every_lipsync
@pytest.mark.parametrize("text", TEXTS)
def test_frames_do_not_depend_on_how_the_audio_is_cut(name: str, text: str) -> None:
    samples = np.concatenate((hum(0.3), np.zeros(2000, np.int16), hum(0.4)))
    whole = lips_of(LIP_SYNCS[name](), chunks_of(samples, len(samples)), text)
    pieces = lips_of(LIP_SYNCS[name](), chunks_of(samples, 333), text)
    assert np.allclose(whole, pieces, atol=1e-3)


@every_lipsync
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("phonemes", [None, ()], ids=["by sound", "no phoneme"])
def test_silence_keeps_the_mouth_closed(name: str, phonemes: tuple[Phoneme, ...] | None, text: str) -> None:
    frames = lips_of(LIP_SYNCS[name](), chunks_of(np.zeros(8000, np.int16), 960, phonemes), text)
    assert np.all(frames[:, VISEMES.index("sil")] > 0.95)


@every_lipsync
def test_another_rate_is_refused(name: str) -> None:
    with pytest.raises(LipSyncError, match="22050"):
        LIP_SYNCS[name]().open().feed(SpeechChunk(Pcm(np.zeros(960, np.int16), 22050)))


@every_lipsync
def test_streams_of_one_adapter_are_independent(name: str) -> None:
    lipsync = LIP_SYNCS[name]()
    alone = lips_of(lipsync, chunks_of(hum(0.5), 960), "Mama.")
    disturbed, disturber = lipsync.open("Mama."), lipsync.open("Papa.")
    parts = []
    for chunk in chunks_of(hum(0.5), 960):
        disturber.feed(SpeechChunk(Pcm(np.zeros(960, np.int16), LISTEN_RATE)))
        parts.append(disturbed.feed(chunk))
    assert np.array_equal(np.concatenate([*parts, disturbed.finish()]), alone)


@every_lipsync
async def test_lipsync_is_an_adapter(name: str) -> None:
    lipsync = LIP_SYNCS[name]()
    assert isinstance(lipsync, LipSync)
    assert lipsync.name == name
    await lipsync.start()
    await lipsync.close()
    await lipsync.close()
