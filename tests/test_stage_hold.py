"""Holding the avatar's voice and going on: no sample lost, lips with their sound, the media clock untouched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.speech import FADE, Speech
from avatar.stage import MAX_QUEUED_S, SpeechStage
from avatar.timeline import REWIND_S
from core.frames import AUDIO_FRAME, MEDIA_RATE, VISEME_RATE, VISEMES, Activity, Samples
from tests.test_stage import Log, play, speech

AA = VISEMES.index("aa")
STEP = MEDIA_RATE // VISEME_RATE


def ramp(pieces: list[float], utterance: int = 0, start: int = 1) -> list[Speech]:
    """One utterance whose every sample has a value of its own (sample n is `start` + n), in pieces of these lengths."""
    found, position = [], start
    for number, seconds in enumerate(pieces):
        count = int(seconds * MEDIA_RATE)
        samples = np.arange(position, position + count).astype(np.int16)
        visemes = np.zeros((-(-count // STEP), 15), np.float32)
        visemes[:, AA] = 1
        last = number == len(pieces) - 1
        found.append(Speech("r1", utterance, f"u{utterance}", samples, visemes, number == 0, last))
        position += count
    return found


def staged(pieces: list[Speech], log: Log | None = None) -> SpeechStage:
    stage = SpeechStage(log or Log())
    stage.open("r1")
    for piece in pieces:
        stage.put(piece)
    return stage


def test_holding_silences_within_a_packet_without_a_click() -> None:
    stage = staged([speech(1.0, 10_000)])
    play(stage, 10)
    assert stage.hold()
    after = play(stage, 20, start=10)
    assert not after[FADE:].any()
    assert np.abs(np.diff(after[:FADE].astype(int))).max() < 100
    assert stage.held
    assert stage.speaking


def test_going_on_loses_no_sample_and_repeats_a_little() -> None:
    """The speech's own sample values tell where it goes on."""
    stage = staged(ramp([0.2, 0.2, 0.2]))
    before = play(stage, 17)
    assert before[-1] == 17 * AUDIO_FRAME
    stage.hold()
    play(stage, 50, start=17)
    assert stage.resume()
    after = play(stage, 40, start=67)
    begun = int(after[FADE])  # the first 5 ms fade in
    rewound = (before[-1] - (begun - FADE) + 1) / MEDIA_RATE
    assert REWIND_S[0] <= rewound <= REWIND_S[1] + 0.01
    rest = np.arange(begun, int(0.6 * MEDIA_RATE) + 1)
    assert np.array_equal(after[FADE : FADE + len(rest)], rest)
    assert not after[FADE + len(rest) :].any()


def test_it_goes_on_in_the_gap_before_the_word_that_was_cut() -> None:
    samples = np.full(MEDIA_RATE, 8000, np.int16)
    samples[int(0.40 * MEDIA_RATE) : int(0.43 * MEDIA_RATE)] = 5  # between two words
    visemes = np.zeros((VISEME_RATE, 15), np.float32)
    stage = staged([Speech("r1", 0, "u0", samples, visemes, True, True)])
    play(stage, 30)  # 0.6 s: 0.2 s into the second word
    stage.hold()
    play(stage, 5, start=30)
    stage.resume()
    after = play(stage, 60, start=35)
    loud = np.flatnonzero(np.abs(after.astype(int)) > 1000)
    quiet = loud[0] / MEDIA_RATE  # what is left of the gap
    assert 0 < quiet <= 0.03
    assert len(loud) == pytest.approx(0.57 * MEDIA_RATE, abs=FADE)


def test_lips_close_while_held_and_open_with_the_sound_again() -> None:
    stage = staged([speech(1.0)])
    play(stage, 10)
    stage.cue(0.19)
    stage.hold()
    play(stage, 50, start=10)
    shut = [stage.cue(0.2 + n / 25) for n in range(1, 20)]
    assert all(cue.mouth.jaw_open < 0.05 for cue in shut[4:])
    assert all(cue.loudness == 0 for cue in shut[2:])
    stage.show(Activity.LISTENING)
    assert stage.cue(1.0).activity is Activity.LISTENING
    stage.resume()
    play(stage, 10, start=60)
    assert stage.cue(1.25).mouth.jaw_open > 0.3
    assert stage.cue(1.25).activity is Activity.SPEAKING


def test_each_utterance_begins_and_ends_once_however_often_it_is_held() -> None:
    log = Log()
    stage = staged([*ramp([0.3, 0.3], 0), *ramp([0.3, 0.3], 1)], log)
    position = 0
    for _ in range(6):
        play(stage, 12, start=position)
        assert stage.hold()
        play(stage, 7, start=position + 12)
        assert stage.resume()
        position += 19
    play(stage, 100, start=position)
    assert [line[:3] for line in log.lines] == [
        ("start", "r1", 0), ("end", "r1", 0), ("start", "r1", 1), ("end", "r1", 1),
    ]  # fmt: skip
    assert not stage.speaking


def test_an_utterance_that_has_ended_is_not_said_again() -> None:
    stage = staged([*ramp([0.2], 0), *ramp([0.6], 1, start=20_000)])
    play(stage, 12)  # 0.04 s into the second
    stage.hold()
    play(stage, 5, start=12)
    stage.resume()
    assert play(stage, 1, start=17)[FADE:].min() >= 20_000


def test_what_arrives_while_held_comes_after_and_is_no_underrun() -> None:
    stage = staged(ramp([0.2, 0.2, 0.2])[:2])
    play(stage, 15)
    stage.hold()
    stage.put(ramp([0.2, 0.2, 0.2])[2])
    assert not play(stage, 50, start=15)[FADE:].any()
    assert stage.underruns == 0
    stage.resume()
    spoken = play(stage, 60, start=65)
    spoken = spoken[spoken > 0][FADE:]
    assert np.array_equal(spoken, np.arange(spoken[0], int(0.6 * MEDIA_RATE) + 1))
    assert stage.underruns == 0


def test_nothing_to_hold_nothing_to_resume() -> None:
    stage = SpeechStage(Log())
    assert not stage.hold()
    assert not stage.resume()
    stage = staged([speech(0.5)])
    assert stage.hold()
    assert not stage.hold()
    assert stage.resume()
    assert not stage.resume()


def test_clearing_what_is_held_ends_it_and_tells_what_was_heard() -> None:
    stage = staged([speech(0.4, utterance=0), speech(1.0, utterance=1)])
    play(stage, 50)  # 0.6 s into the second
    stage.hold()
    play(stage, 50, start=50)
    heard = stage.clear()
    assert heard.utterances == 1
    assert 0.6 - REWIND_S[1] <= heard.fraction <= 0.6
    assert not stage.held
    assert not stage.speaking
    assert not stage.resume()
    assert not play(stage, 20, start=100).any()


def test_how_much_was_heard_of_a_long_utterance() -> None:
    """Played pieces are forgotten after a second; how far it had come is still told rightly."""
    stage = SpeechStage(Log())
    stage.open("r1")
    for number in range(40):
        stage.put(speech(0.2, first=number == 0, last=number == 39))
    play(stage, 300)
    assert stage.clear().fraction == pytest.approx(6 / 8, abs=0.01)


async def test_who_waits_for_the_end_or_for_room_waits_through_a_hold() -> None:
    stage = staged([speech(MAX_QUEUED_S + 0.1)])
    waiting = [asyncio.create_task(stage.room()), asyncio.create_task(stage.drained())]
    play(stage, 3)
    stage.hold()
    play(stage, 2000, start=3)
    await asyncio.sleep(0)
    assert stage.queued_seconds > MAX_QUEUED_S
    assert not any(task.done() for task in waiting)
    stage.resume()
    play(stage, int(MAX_QUEUED_S * 50) + 60, start=2003)
    await asyncio.wait_for(asyncio.gather(*waiting), 1)


holds = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 20)), max_size=8)


@settings(max_examples=60, deadline=None)
@given(holds, st.lists(st.sampled_from([0.02, 0.033, 0.07, 0.13]), min_size=1, max_size=5))
def test_any_holding_plays_everything_in_order(script: list[tuple[int, int]], lengths: list[float]) -> None:
    """Every sample is heard, each hold repeats at most the longest rewind, and nothing is skipped."""
    pieces = ramp(lengths)
    total = sum(len(piece.samples) for piece in pieces)
    log = Log()
    stage = staged(pieces, log)
    position = 0
    said: list[Samples] = []

    def forward(count: int, keep: Callable[[Samples], None]) -> None:
        nonlocal position
        if count:
            keep(play(stage, count, position))
            position += count

    for before, during in script:
        forward(before, said.append)
        if stage.hold():
            forward(during, lambda silence: None if not silence[FADE:].any() else pytest.fail("not silent"))
            stage.resume()
    forward(100, said.append)
    heard = np.concatenate(said)
    values = heard[heard > 0].astype(int)
    faded = len(script) * FADE * 2
    assert len(set(range(1, total + 1)) - set(values.tolist())) <= faded
    assert not stage.speaking
    assert [line[0] for line in log.lines] == ["start", "end"]
