"""The stage: what is queued is played gaplessly, lips and sound share one clock, clearing silences at once."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from avatar.speech import FADE, STEP, Speech
from avatar.stage import MAX_QUEUED_S, SpeechStage
from core.frames import AUDIO_FRAME, MEDIA_RATE, VISEME_RATE, VISEMES, Activity, Samples

AA = VISEMES.index("aa")


class Log:
    """A StageListener that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []

    def utterance_started(self, reply_id: str, index: int, text: str, at: float) -> None:
        self.lines.append(("start", reply_id, index, text, round(at, 3)))

    def utterance_ended(self, reply_id: str, index: int, text: str) -> None:
        self.lines.append(("end", reply_id, index, text))


def speech(
    seconds: float, value: int = 1000, reply: str = "r1", utterance: int = 0, first: bool = True, last: bool = True
) -> Speech:
    samples = np.full(int(seconds * MEDIA_RATE), value, np.int16)
    visemes = np.zeros((int(np.ceil(seconds * VISEME_RATE)), 15), np.float32)
    visemes[:, AA] = 1
    return Speech(reply, utterance, f"u{utterance}", samples, visemes, first, last)


def play(stage: SpeechStage, frames: int, start: int = 0) -> Samples:
    return np.concatenate([stage.read((start + n) * AUDIO_FRAME) for n in range(frames)])


def test_silence_when_nothing_is_queued() -> None:
    stage = SpeechStage(Log())
    assert not play(stage, 10).any()
    assert not stage.speaking
    assert stage.cue(0.1).mouth.jaw_open == 0


def test_pieces_play_gaplessly_from_the_next_packet_on() -> None:
    stage = SpeechStage(Log())
    play(stage, 5)
    stage.open("r1")
    stage.put(speech(0.033, 100, last=False))
    stage.put(speech(0.067, 200, first=False))
    sound = play(stage, 10, start=5)
    assert np.count_nonzero(sound == 100) == int(0.033 * MEDIA_RATE)
    assert np.count_nonzero(sound == 200) == int(0.067 * MEDIA_RATE)
    edges = np.flatnonzero(np.diff(sound))
    assert len(edges) == 2  # 100 → 200 → silence: no gap between the pieces
    assert sound[0] == 100


def test_mouth_and_sound_share_the_clock() -> None:
    stage = SpeechStage(Log())
    play(stage, 10)
    stage.open("r1")
    stage.put(speech(0.2))
    sound = play(stage, 20, start=10)
    began = 10 * AUDIO_FRAME / MEDIA_RATE + np.flatnonzero(sound)[0] / MEDIA_RATE
    openings = {n / 100: stage.cue(n / 100).mouth.jaw_open for n in range(0, 60)}
    opened = min(t for t, jaw in openings.items() if jaw > 0.3)
    shut = max(t for t, jaw in openings.items() if jaw > 0.3)
    assert abs(opened - began) <= 0.02
    assert abs(shut - (began + 0.2)) <= 0.02


def test_the_listener_is_told_what_is_really_heard() -> None:
    log = Log()
    stage = SpeechStage(log)
    stage.open("r1")
    stage.put(speech(0.1, utterance=0))
    stage.put(speech(0.1, utterance=1))
    assert log.lines == []
    play(stage, 1)
    assert log.lines == [("start", "r1", 0, "u0", 0.0)]
    play(stage, 5, start=1)
    assert log.lines[1:] == [("end", "r1", 0, "u0"), ("start", "r1", 1, "u1", 0.1)]
    play(stage, 5, start=6)
    assert log.lines[3:] == [("end", "r1", 1, "u1")]


def test_replies_that_follow_at_once_are_not_counted_into_each_other() -> None:
    """What the first one played stays on the timeline for a second."""
    log = Log()
    stage = SpeechStage(log)
    stage.open("r1")
    stage.put(speech(0.1, utterance=0))
    stage.put(speech(0.1, utterance=1))
    play(stage, 12)
    log.lines.clear()
    stage.open("r2")
    stage.put(speech(0.2, reply="r2"))
    play(stage, 5, start=12)
    assert log.lines == [("start", "r2", 0, "u0", 0.0)]
    heard = stage.clear()
    assert heard.utterances == 0
    assert abs(heard.fraction - 0.5) < 0.01
    stage.open("r3")
    stage.put(speech(0.2, reply="r3"))
    play(stage, 15, start=17)
    assert log.lines[1:] == [("start", "r3", 0, "u0", 0.0), ("end", "r3", 0, "u0")]


def test_clear_silences_within_a_packet_without_a_click() -> None:
    stage = SpeechStage(Log())
    stage.open("r1")
    stage.put(speech(1.0, 10_000))
    play(stage, 10)
    heard = stage.clear()
    after = play(stage, 3, start=10)
    assert not after[FADE:].any()
    assert np.abs(np.diff(after[:FADE].astype(int))).max() < 100
    assert heard.utterances == 0
    assert abs(heard.fraction - 0.2) < 0.01
    assert stage.cue(0.3).mouth.jaw_open < 0.3


def test_pieces_of_a_cleared_reply_are_refused() -> None:
    stage = SpeechStage(Log())
    stage.open("r1")
    assert stage.put(speech(0.1))
    stage.clear()
    assert not stage.put(speech(0.1))
    stage.open("r2")
    assert not stage.put(speech(0.1, reply="r1"))
    assert stage.put(speech(0.1, reply="r2"))


async def test_a_writer_waits_while_enough_is_queued_and_is_woken_by_playback() -> None:
    stage = SpeechStage(Log())
    stage.open("r1")
    stage.put(speech(MAX_QUEUED_S + 0.1))
    waiting = asyncio.create_task(stage.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    play(stage, 20)
    await asyncio.wait_for(waiting, 1)


async def test_drained_means_played_to_the_last_sample() -> None:
    stage = SpeechStage(Log())
    stage.open("r1")
    stage.put(speech(0.1))
    waiting = asyncio.create_task(stage.drained())
    play(stage, 4)
    await asyncio.sleep(0)
    assert not waiting.done()
    play(stage, 1, start=4)
    await asyncio.wait_for(waiting, 1)


def test_an_underrun_inside_an_utterance_is_counted_and_leaves_a_gap_not_a_jump() -> None:
    stage = SpeechStage(Log())
    stage.open("r1")
    stage.put(speech(0.02, last=False))
    play(stage, 5)
    stage.put(speech(0.02, first=False))
    assert stage.underruns == 1
    assert play(stage, 1, start=5).all()


def test_played_speech_is_forgotten() -> None:
    stage = SpeechStage(Log())
    stage.open("r1")
    for number in range(50):
        stage.put(speech(0.1, utterance=number))
    play(stage, 50 * 5 + 100)
    assert len(stage._timeline) <= 1


def test_activity_and_loudness_reach_the_face() -> None:
    stage = SpeechStage(Log())
    stage.show(Activity.THINKING)
    assert stage.cue(0.0).activity is Activity.THINKING
    stage.open("r1")
    stage.put(speech(0.2, 16384))
    play(stage, 10)
    cue = stage.cue(0.1)
    assert cue.activity is Activity.SPEAKING
    assert abs(cue.loudness - 0.5) < 0.01


def test_what_was_played_can_be_asked_for_also_while_held() -> None:
    stage = SpeechStage(Log())
    stage.open("r1")
    stage.put(speech(0.1, 1000))
    stage.put(speech(0.4, 2000))
    play(stage, 10)
    assert list(np.unique(stage.played(0.02, 0.0))) == [2000]
    assert list(np.unique(stage.played(0.02, 0.12))) == [1000]
    assert len(stage.played(0.032, 0.004)) == 1536
    assert stage.hold()
    assert list(np.unique(stage.played(0.1, 0.1))) == [1000]
    assert not stage.played(0.1, 0.2).any()  # before it began


def test_h3_live_sound_begins_late_and_again_when_it_ran_dry() -> None:
    stage = SpeechStage(Log())
    play(stage, 2)
    stage.open("r1", lead_s=0.1)
    stage.put(speech(0.06, 100, last=False))
    assert not play(stage, 4, start=2).any()  # 80 of the 100 ms
    stage.put(speech(0.06, 200, first=False, last=False))
    sound = play(stage, 9, start=6)
    assert np.flatnonzero(sound)[0] == AUDIO_FRAME + STEP  # see `test_h3_each_packet…` in test_speaker.py
    assert np.count_nonzero(sound) == int(0.12 * MEDIA_RATE)  # one behind the other, late as the second one was
    assert len(np.flatnonzero(np.diff(sound))) == 3
    assert stage.underruns == 0
    stage.put(speech(0.06, 300, first=False))
    sound = play(stage, 10, start=15)
    assert np.flatnonzero(sound)[0] == 0.1 * MEDIA_RATE
    assert stage.underruns == 1


def test_h3_what_the_face_does_needs_no_lead() -> None:
    stage = SpeechStage(Log())
    stage.open("r1", lead_s=0.1)
    stage.put(speech(0.0))
    stage.put(speech(0.02))
    assert np.flatnonzero(play(stage, 10))[0] == 0.1 * MEDIA_RATE + STEP


def test_h3_live_sound_that_is_read_ahead_did_not_run_dry() -> None:
    stage = SpeechStage(Log())
    stage.open("r1", lead_s=0.1)
    stage.put(speech(0.06, last=False))
    stage.pull(AUDIO_FRAME, MEDIA_RATE // 2)
    stage.put(speech(0.06, first=False))
    assert stage.queued_seconds == pytest.approx(0.1 + 0.01 + 0.12 - 0.02)
