"""Row E3: a recording is cut at pauses into segments of speech; nothing that was said is lost or said twice."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.vad import VoiceActivity
from core.frames import LISTEN_RATE, Samples
from core.segments import LEAD_S, MIN_SPEECH_S, Segment, Segmenter
from tests.speech import flite

FRAME = 512


@dataclass(frozen=True)
class Frame:
    time: float
    probability: float
    level_db: float


class LoudIsSpeech:
    """Voice activity that takes everything above -40 dBFS for speech."""

    def __init__(self) -> None:
        self._rest: Samples = np.zeros(0, np.int16)
        self._count = 0

    def push(self, samples: Samples, /) -> list[Frame]:
        self._rest = np.concatenate([self._rest, samples])
        frames = []
        while len(self._rest) >= FRAME:
            part, self._rest = self._rest[:FRAME].astype(float) / 32768, self._rest[FRAME:]
            self._count += 1
            level = 20 * np.log10(np.sqrt(np.mean(part * part)) + 1e-6)
            frames.append(Frame(self._count * FRAME / LISTEN_RATE, float(level > -40), float(level)))
        return frames


def sound(*parts: tuple[float, int]) -> Samples:
    """(seconds, amplitude) after each other; every sample tells where it is from by its sign pattern."""
    return np.concatenate([_noise(seconds, amplitude) for seconds, amplitude in parts])


def _noise(seconds: float, amplitude: int) -> Samples:
    count = int(seconds * LISTEN_RATE)
    return (np.random.default_rng(count).choice([-1, 1], count) * amplitude).astype(np.int16)


def segments(samples: Samples, max_s: float = 20.0, sizes: Iterable[int] = ()) -> list[Segment]:
    segmenter, found, start = Segmenter(LoudIsSpeech(), max_s), [], 0
    for size in [*sizes, len(samples)]:
        found += segmenter.push(samples[start : start + size])
        start += size
    return [*found, *segmenter.finish()]


def test_e3_sentences_are_cut_at_pauses_with_a_little_lead() -> None:
    found = segments(sound((1, 0), (2, 5000), (1.5, 0), (2, 5000), (2, 0)))
    assert len(found) == 2
    for segment, start in zip(found, (1.0, 4.5), strict=True):
        assert start - LEAD_S - 0.04 <= segment.start <= start
        assert 2.0 <= segment.end - start <= 2 + LEAD_S + 0.04


def test_e3_a_short_pause_within_a_short_question_does_not_cut_it() -> None:
    assert len(segments(sound((1, 5000), (0.6, 0), (1, 5000), (1, 0)))) == 1
    assert len(segments(sound((6, 5000), (0.6, 0), (1, 5000), (1, 0)))) == 2


def test_e3_silence_holds_no_segment_and_takes_no_memory() -> None:
    segmenter, piece = Segmenter(LoudIsSpeech(), 20), sound((1, 100))
    assert segmenter.push(np.zeros(0, np.int16)) == []
    tracemalloc.start()
    try:
        for _ in range(60):
            assert segmenter.push(piece) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 3 * piece.nbytes
    assert segmenter.finish() == []


def test_e3_a_click_is_no_segment() -> None:
    assert segments(sound((1, 0), (0.03, 20_000), (2, 0))) == []
    assert len(segments(sound((1, 0), (MIN_SPEECH_S + 0.1, 5000), (2, 0)))) == 1


def test_e3_speech_without_pause_is_cut_where_it_is_quietest_and_nothing_is_lost() -> None:
    speech = sound((3, 6000), (0.2, 1500), (9, 6000))
    found = segments(speech, max_s=5)
    assert abs(found[0].end - 3.1) < 0.15
    assert all(segment.end - segment.start <= 5 for segment in found)
    assert np.array_equal(
        np.concatenate([segment.samples for segment in found])[: len(speech) - FRAME], speech[:-FRAME]
    )


@given(
    st.lists(st.tuples(st.floats(0.05, 3), st.sampled_from([0, 3000, 8000])), max_size=8),
    st.lists(st.integers(0, 40_000), max_size=6),
    st.sampled_from([3.0, 20.0]),
)
@settings(max_examples=60, deadline=None)
def test_e3_segments_are_in_order_bounded_and_hold_all_speech(
    parts: list[tuple[float, int]], sizes: list[int], max_s: float
) -> None:
    samples = sound(*parts) if parts else np.zeros(0, np.int16)
    found = segments(samples, max_s, sizes)
    at = 0.0
    covered = np.zeros(len(samples), bool)
    for segment in found:
        start = round(segment.start * LISTEN_RATE)
        assert segment.start >= at - 1e-6
        assert segment.end - segment.start <= max_s
        assert np.array_equal(segment.samples, samples[start : start + len(segment.samples)])
        covered[start : start + len(segment.samples)] = True
        at = segment.end
    lost = np.flatnonzero(~covered & (np.abs(samples) >= 3000))
    # only clicks, and what is shorter than a frame of the voice activity, may be missing
    runs = np.split(lost, np.flatnonzero(np.diff(lost) > LISTEN_RATE // 2) + 1)
    assert all(len(run) <= (MIN_SPEECH_S + 0.07) * LISTEN_RATE for run in runs)
    assert found == [] or [s.start for s in found] == [s.start for s in segments(samples, max_s)]


def test_e3_real_speech_is_cut_between_sentences() -> None:
    pause = np.zeros(LISTEN_RATE * 2, np.int16)
    first, second = (flite(text, "slt", LISTEN_RATE) for text in ("what is seven times six", "and who are you"))
    segmenter = Segmenter(VoiceActivity(), 20)
    found = [*segmenter.push(np.concatenate([pause, first, pause, second, pause])), *segmenter.finish()]
    assert len(found) == 2
    assert abs(found[0].start - 1.8) < 0.5
    assert abs(found[0].end - found[0].start - len(first) / LISTEN_RATE) < 0.8
