"""Synthesised speech on its way to the stage: rates, lips that stay with their sound, order, stale pieces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.pump import Pump
from avatar.speaker import Speaker
from avatar.stage import SpeechStage
from core.acts import Deed
from core.errors import SynthesizerError
from core.frames import AUDIO_FRAME, LISTEN_RATE, MEDIA_RATE, VISEME_RATE, Pcm, SoundPiece, SpeechChunk, VisemeFrames
from core.stages import LipStream
from core.visemes import LipPiece


class LevelLips:
    """Lips that open (viseme 10, "aa") wherever the sound is loud; `delay` frames are held back until more came."""

    name = "level"

    def __init__(self, delay: int = 0) -> None:
        self.delay = delay

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    def open(self, text: str = "") -> LipStream:
        return _LevelStream(self.delay)


class _LevelStream:
    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._samples = np.zeros(0, np.int16)

    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        assert chunk.pcm.rate == LISTEN_RATE
        self._samples = np.concatenate([self._samples, chunk.pcm.samples])
        return self._take(max(0, len(self._samples) // STEP - self._delay))

    def finish(self) -> VisemeFrames:
        return self._take(-(-len(self._samples) // STEP))

    def _take(self, count: int) -> VisemeFrames:
        rows = np.zeros((count, 15), np.float32)
        for row, samples in zip(
            rows, np.array_split(self._samples, range(STEP, len(self._samples), STEP)), strict=False
        ):
            row[10 if len(samples) and np.abs(samples).max() > 1000 else 0] = 1
        self._samples = self._samples[count * STEP :]
        return rows


STEP = LISTEN_RATE // VISEME_RATE


class Listener:
    """Collects what the stage announces."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int, str]] = []

    def utterance_started(self, reply_id: str, index: int, text: str, at: float) -> None:
        self.told.append(("start", reply_id, index, text))

    def utterance_ended(self, reply_id: str, index: int, text: str) -> None:
        self.told.append(("end", reply_id, index, text))


@pytest.fixture
async def pool() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def beep(rate: int, silence: float, sound: float) -> NDArray[np.int16]:
    """Silence, then a tone, then as much silence again."""
    quiet = np.zeros(int(silence * rate), np.int16)
    tone = (9000 * np.sin(2 * np.pi * 440 * np.arange(int(sound * rate)) / rate)).astype(np.int16)
    return np.concatenate([quiet, tone, quiet])


def play(stage: SpeechStage) -> tuple[NDArray[np.int16], list[float]]:
    """Everything that is queued, and the jaw in the middle of every 10 ms of it."""
    sound, jaw, position = [], [], 0
    while stage.speaking:
        sound.append(stage.read(position))
        position += AUDIO_FRAME
    for middle in np.arange(0.005, position / MEDIA_RATE, 0.01):
        jaw.append(stage.cue(float(middle)).mouth.jaw_open)
    return np.concatenate(sound), jaw


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 48_000])
@pytest.mark.parametrize("delay", [0, 4])
async def test_lips_stay_with_their_sound_at_every_rate(pool: ThreadPoolExecutor, rate: int, delay: int) -> None:
    stage = SpeechStage(Listener())
    writer = Speaker(stage, LevelLips(delay), pool).writer("r1")
    await writer.begin("beep")
    speech = beep(rate, 0.3, 0.2)
    for piece in np.array_split(speech, 7):  # pieces that fit no frame
        await writer.write(SpeechChunk(Pcm(piece, rate)))
    await writer.end()
    assert abs(stage.queued_seconds - 0.8) < 0.005
    sound, jaw = play(stage)
    loud = np.abs(sound.astype(int)) > 1000
    assert abs(int(np.argmax(loud)) / MEDIA_RATE - 0.3) < 0.005
    open_mouth = np.flatnonzero(np.array(jaw) > 0.1) / 100
    assert abs(open_mouth[0] - 0.3) <= 0.03
    assert abs(open_mouth[-1] - 0.5) <= 0.03


class Viewer:
    """Collects the lips as they are told: rows by their time."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, NDArray[np.float32]]] = []

    def lips(self, piece: LipPiece) -> None:
        self.rows += [(round(piece.at * VISEME_RATE) + number, row) for number, row in enumerate(piece.frames)]

    def lips_cleared(self, reply_id: str, at: float) -> None:
        """Nothing is."""

    def acted(self, reply_id: str, at: float, deed: Deed) -> None:
        """Nothing is."""


class Recorder:
    """A `SoundSink`."""

    def __init__(self) -> None:
        self.ms = 0.0

    def sound(self, piece: SoundPiece) -> None:
        self.ms = 1000 * (piece.at + len(piece.samples) / MEDIA_RATE)

    def cleared(self, reply_id: str, at: float) -> None:
        """Nothing is."""


@pytest.mark.parametrize("packet_ms", [20, 40, 60])
async def test_h3_each_packet_of_live_sound_goes_out_at_once_and_its_lips_follow(
    pool: ThreadPoolExecutor, packet_ms: int
) -> None:
    stage, viewer, recorder = SpeechStage(Listener()), Viewer(), Recorder()
    took: list[float] = []
    stage.watch_lips(viewer)
    pump = Pump(stage, now=lambda: 0.0, later=lambda delay, call: asyncio.get_running_loop().call_soon(call))
    stage.tap(recorder)
    pump.start(2.0)
    writer = Speaker(stage, LevelLips(12), pool, took.append).writer("r1", lead_s=0.1)
    speech = beep(24_000, 0.3, 0.24)
    size = 24 * packet_ms
    await writer.begin("beep")
    for number in range(len(speech) // size):
        await writer.write(SpeechChunk(Pcm(speech[number * size :][:size], 24_000), arrived=time.monotonic()))
        await asyncio.sleep(0)
        if number * packet_ms > 200:
            assert round(recorder.ms) >= (number + 1) * packet_ms, "no frame of the packet waits for the next one"
            assert len(took) == number + 1
    pump.stop()
    await writer.end()
    assert 0 < max(took) < 60
    sound, jaw = play(stage)
    assert len(viewer.rows) == len({number for number, _ in viewer.rows}) == 84
    began = int(np.argmax(np.abs(sound.astype(int)) > 1000)) / MEDIA_RATE
    opened = np.flatnonzero(np.array(jaw) > 0.1) / 100
    assert abs(opened[0] - began) <= 0.03
    assert abs(opened[-1] - began - 0.24) <= 0.03


async def test_h3_lips_that_come_while_the_sound_is_held_are_there_when_it_goes_on(pool: ThreadPoolExecutor) -> None:
    stage = SpeechStage(Listener())
    writer = Speaker(stage, LevelLips(12), pool).writer("r1", lead_s=0.1)
    speech = beep(24_000, 0.3, 0.24)
    await writer.begin("beep")
    for number in range(5):
        await writer.write(SpeechChunk(Pcm(speech[number * 1440 :][:1440], 24_000)))
    position = 0
    for _ in range(12):
        stage.read(position)
        position += AUDIO_FRAME
    assert stage.hold()
    for number in range(5, 14):
        await writer.write(SpeechChunk(Pcm(speech[number * 1440 :][:1440], 24_000)))
    await writer.end()
    assert stage.resume()
    sound = []
    while stage.speaking:
        sound.append(stage.read(position))
        position += AUDIO_FRAME
    played = np.concatenate(sound)
    first = position - len(played)
    began = (first + int(np.argmax(np.abs(played.astype(int)) > 1000))) / MEDIA_RATE
    times = np.arange(first / MEDIA_RATE + 0.005, position / MEDIA_RATE, 0.01)
    opened = times[np.array([stage.cue(float(time)).mouth.jaw_open for time in times]) > 0.1]
    assert abs(opened[0] - began) <= 0.03
    assert abs(opened[-1] - began - 0.24) <= 0.03


async def test_utterances_are_announced_in_order(pool: ThreadPoolExecutor) -> None:
    listener = Listener()
    stage = SpeechStage(listener)
    writer = Speaker(stage, LevelLips(), pool).writer("r1")
    for text in ("one", "two"):
        await writer.begin(text)
        await writer.write(SpeechChunk(Pcm(beep(24_000, 0.05, 0.1), 24_000)))
        await writer.end()
    waiting = asyncio.create_task(writer.played())
    await asyncio.sleep(0)
    assert not waiting.done()
    play(stage)
    await asyncio.wait_for(waiting, 1)
    assert listener.told == [
        ("start", "r1", 0, "one"),
        ("end", "r1", 0, "one"),
        ("start", "r1", 1, "two"),
        ("end", "r1", 1, "two"),
    ]


async def test_a_changed_rate_within_an_utterance_is_the_synthesizers_error(pool: ThreadPoolExecutor) -> None:
    writer = Speaker(SpeechStage(Listener()), LevelLips(), pool).writer("r1")
    await writer.begin("odd")
    await writer.write(SpeechChunk(Pcm(np.zeros(160, np.int16), 16_000)))
    with pytest.raises(SynthesizerError, match="16000 to 24000"):
        await writer.write(SpeechChunk(Pcm(np.zeros(160, np.int16), 24_000)))


@pytest.mark.parametrize(
    ("samples", "rate", "words"),
    [
        (np.zeros((3, 4, 5), np.int16), 24_000, "shape"),
        (np.full(160, 900.0), 24_000, "-1 to 1"),
        (np.zeros(160, np.int16), 0, "0 Hz"),
        (np.zeros(160, np.int16), 2_000_000, "2000000 Hz"),
    ],
)
async def test_f2_sound_that_cant_be_played_is_the_synthesizers_error(
    pool: ThreadPoolExecutor, samples: NDArray[np.int16], rate: int, words: str
) -> None:
    writer = Speaker(SpeechStage(Listener()), LevelLips(), pool).writer("r1")
    await writer.begin("odd")
    with pytest.raises(SynthesizerError, match=words):
        await writer.write(SpeechChunk(Pcm(samples, rate)))


async def test_f2_a_voice_may_use_its_buffer_again(pool: ThreadPoolExecutor) -> None:
    stage = SpeechStage(Listener())
    writer = Speaker(stage, LevelLips(), pool).writer("r1")
    buffer = np.full((MEDIA_RATE // 10, 2), 0.25, np.float32)
    await writer.begin("floats in stereo")
    await writer.write(SpeechChunk(Pcm(buffer, MEDIA_RATE)))  # type: ignore[arg-type]
    buffer[:] = -1
    await writer.end()
    sound, _ = play(stage)
    assert set(sound.tolist()) == {8191}


async def test_an_utterance_without_sound_ends_and_holds_nothing_up(pool: ThreadPoolExecutor) -> None:
    stage = SpeechStage(Listener())
    writer = Speaker(stage, LevelLips(), pool).writer("r1")
    await writer.begin("nothing")
    await writer.end()
    await writer.begin("empty")
    await writer.write(SpeechChunk(Pcm(np.zeros(0, np.int16), 24_000)))
    await writer.end()
    assert not stage.speaking


async def test_pieces_of_a_cleared_reply_are_refused(pool: ThreadPoolExecutor) -> None:
    stage = SpeechStage(Listener())
    speaker = Speaker(stage, LevelLips(), pool)
    stale = speaker.writer("r1")
    await stale.begin("stale")
    await stale.write(SpeechChunk(Pcm(beep(24_000, 0.1, 0.1), 24_000)))
    speaker.clear()
    fresh = speaker.writer("r2")
    await stale.write(SpeechChunk(Pcm(beep(24_000, 0.1, 0.1), 24_000)))
    await stale.end()
    assert not stage.speaking
    await fresh.begin("fresh")
    await fresh.write(SpeechChunk(Pcm(beep(24_000, 0.1, 0.1), 24_000)))
    assert stage.speaking


async def test_a_writer_waits_while_the_stage_is_full(pool: ThreadPoolExecutor) -> None:
    stage = SpeechStage(Listener())
    speaker = Speaker(stage, LevelLips(), pool)
    writer = speaker.writer("r1")
    await writer.begin("long")
    second = SpeechChunk(Pcm(np.zeros(48_000, np.int16), 48_000))
    for _ in range(21):  # the last fraction of a second waits in the resampler
        await asyncio.wait_for(writer.write(second), 5)
    waiting = asyncio.create_task(writer.write(second))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    speaker.clear()
    await asyncio.wait_for(waiting, 5)


class BrokenLips(LevelLips):
    """Lips that fail: at once, in the middle, at the end, or by nonsense."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self.when = when

    def open(self, text: str = "") -> LipStream:
        if self.when == "open":
            raise RuntimeError("no lips today")
        return _BrokenStream(self.when)


class _BrokenStream(_LevelStream):
    def __init__(self, when: str) -> None:
        super().__init__(3)
        self._when = when
        self._fed = 0

    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        self._fed += 1
        if self._when == "shape":
            return np.zeros((4, 3), np.float32)
        if self._when == "feed" and self._fed == 4:
            raise ValueError("lost")
        return super().feed(chunk)

    def finish(self) -> VisemeFrames:
        if self._when == "finish":
            raise MemoryError
        return super().finish()


@pytest.mark.parametrize("when", ["open", "feed", "finish", "shape"])
async def test_f2_broken_lips_never_silence_the_voice(pool: ThreadPoolExecutor, when: str) -> None:
    stage = SpeechStage(Listener())
    writer = Speaker(stage, BrokenLips(when), pool).writer("r1")
    sound = beep(MEDIA_RATE, 0.3, 0.6)
    await writer.begin("Hello.")
    for start in range(0, len(sound), 4800):
        await writer.write(SpeechChunk(Pcm(sound[start : start + 4800], MEDIA_RATE)))
    await writer.end()
    played, jaw = play(stage)
    assert np.array_equal(played[: len(sound)], sound)
    assert jaw[-5] == 0, "the mouth rests"
    if when == "feed":
        assert max(jaw) > 0, "what was decided before is shown"


async def test_h2_every_piece_of_live_sound_is_prepared_at_once(pool: ThreadPoolExecutor) -> None:
    queued = {}
    for lead in (None, 0.1):
        stage = SpeechStage(Listener())
        writer = Speaker(stage, LevelLips(), pool).writer("r1", lead_s=lead)
        await writer.begin("hm")
        for _ in range(3):
            await writer.write(SpeechChunk(Pcm(beep(24_000, 0.0, 0.06), 24_000)))
        queued[lead] = stage.queued_seconds
    assert queued[0.1] == pytest.approx(queued[None] + 0.12 + 0.1, abs=0.02)
