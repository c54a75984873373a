"""A stage without a track: read ahead while speech is queued, exact when it is cut, and quiet while nothing sounds."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.speech import Speech
from core.frames import AUDIO_FRAME, MEDIA_RATE, VISEME_RATE, Samples
from tests.taps import Scene, Sink
from tests.test_stage import speech

FRAME_S = AUDIO_FRAME / MEDIA_RATE


def ramp(
    seconds: float, reply: str = "r1", utterance: int = 0, first: bool = True, last: bool = True, at: int = 0
) -> Speech:
    """Speech in which every sample tells its place: 1, 2, 3 …"""
    samples = (np.arange(at, at + int(seconds * MEDIA_RATE)) % 30_000 + 1).astype(np.int16)
    visemes = np.zeros((int(np.ceil(seconds * VISEME_RATE)), 15), np.float32)
    visemes[:, 10] = 1
    return Speech(reply, utterance, f"u{utterance}", samples, visemes, first, last)


def follows(line: Samples, start: int = 0) -> bool:
    """Whether a line is a ramp without a hole."""
    return bool(np.array_equal(line, (np.arange(start, start + len(line)) % 30_000 + 1).astype(np.int16)))


def whole(line: Samples, seconds: float) -> bool:
    """Whether a line is all of a ramp of that length."""
    return follows(line) and len(line) == int(seconds * MEDIA_RATE)


def saying(seconds: float, *, until: float) -> Scene:
    """A scene in which so long a ramp is spoken, and the first `until` seconds have passed."""
    scene = Scene()
    scene.stage.open("r1")
    scene.stage.put(ramp(seconds))
    scene.run(until)
    return scene


def test_h2_what_is_queued_is_handed_over_at_once_half_a_second_ahead_and_no_further() -> None:
    scene = Scene(ahead_s=0.5)
    scene.run(3.0)
    scene.stage.open("r1")
    scene.stage.put(ramp(2.0))
    scene.run()
    assert [piece.at for _, piece in scene.sink.pieces][:2] == [0.0, 0.1]
    assert 0.5 <= len(scene.sink.line()) / MEDIA_RATE <= 0.52
    scene.run(0.7)
    assert 1.1 <= len(scene.sink.line()) / MEDIA_RATE <= 1.22
    scene.run(1.5)
    line = scene.sink.line()
    assert follows(line[: 2 * MEDIA_RATE])
    assert len(line) == 2 * MEDIA_RATE
    assert all(len(piece.samples) % AUDIO_FRAME == 0 for _, piece in scene.sink.pieces)


def test_h2_pieces_that_come_just_in_time_go_out_as_they_come_without_a_gap() -> None:
    """Packets of 60 ms whose resampler gives odd lengths: the last part of a packet waits for the rest of it."""
    scene = Scene()
    scene.run(1.0)
    scene.stage.open("r1")
    at = 0
    for number, count in enumerate([6000, 2880, 3100, 2880, 2880, 2999, 2881]):
        scene.stage.put(ramp(count / MEDIA_RATE, first=number == 0, last=False, at=at))
        at += count
        scene.run(0.001)
        handed = len(scene.sink.line())
        assert at - AUDIO_FRAME < handed <= at
        scene.run(0.059)
    scene.run(0.2)
    assert follows(scene.sink.line()[:at])
    assert scene.stage.underruns == 0


def test_events_come_when_the_sound_is_due_not_when_it_is_handed_over() -> None:
    scene = Scene()
    scene.run(1.0)
    began = scene.now
    scene.stage.open("r1")
    scene.stage.put(ramp(0.3))
    scene.stage.put(ramp(0.25, utterance=1))
    told: list[tuple[float, tuple[object, ...]]] = []
    while scene.now < began + 0.7:
        scene.run(0.001)
        told += [(scene.now - began, line) for line in scene.log.lines[len(told) :]]
    assert [(line[0], line[2]) for _, line in told] == [("start", 0), ("end", 0), ("start", 1), ("end", 1)]
    for (at, _), due in zip(told, [0.0, 0.3, 0.3, 0.55], strict=True):
        assert due - FRAME_S - 0.002 <= at <= due + FRAME_S + 0.002
    assert told[2][1][4] == 0.3


async def test_drained_when_the_last_sound_is_due() -> None:
    scene = saying(0.31, until=0.28)
    assert len(scene.sink.line()) / MEDIA_RATE >= 0.3
    assert scene.stage.speaking
    assert not scene.stage._drained.is_set()
    scene.run(0.05)
    assert not scene.stage.speaking
    await scene.stage.drained()


def test_h2_an_interruption_is_exact_in_spite_of_the_read_ahead() -> None:
    scene = Scene()
    scene.run(2.0)
    scene.stage.open("r1")
    scene.stage.put(ramp(2.0))
    scene.run(0.805)
    handed = len(scene.sink.line())
    assert handed / MEDIA_RATE > 1.2
    heard = scene.stage.clear()
    assert heard.utterances == 0
    assert abs(heard.fraction - 0.41) < 0.011  # the packet that sounds counts
    at, reply, since = scene.sink.clears[0]
    assert (at, reply) == (scene.now, "r1")
    assert abs(since - 0.82) < 1e-6
    count = len(scene.sink.pieces)
    scene.run(3.0)
    assert len(scene.sink.pieces) == count, "sound of an interrupted reply"
    assert follows(scene.sink.line())
    assert len(scene.sink.line()) == round(0.82 * MEDIA_RATE)
    assert scene.viewer.clears == [("r1", pytest.approx(0.82))]


def test_the_next_reply_begins_at_once_after_an_interruption_with_its_first_sample_at_0() -> None:
    scene = saying(2.0, until=0.5)
    scene.stage.clear()
    scene.stage.open("r2")
    scene.stage.put(ramp(1.0, reply="r2"))
    scene.run()
    _, piece = next(item for item in scene.sink.pieces if item[1].reply_id == "r2")
    assert piece.at == 0.0
    assert follows(piece.samples)
    scene.run(2.0)
    assert follows(scene.sink.line("r2")[:MEDIA_RATE])


def test_a_hold_takes_back_what_was_not_due_and_the_rest_follows_after() -> None:
    scene = saying(2.0, until=0.6)
    assert scene.stage.hold()
    _, _, held_at = scene.sink.clears[0]
    assert abs(held_at - 0.62) < 0.021
    count = len(scene.sink.pieces)
    scene.run(1.0)
    assert len(scene.sink.pieces) == count
    assert scene.stage.resume()
    scene.run()
    again = scene.sink.pieces[count][1]
    assert abs(again.at - held_at - 1.0) < 0.03, "the stage's time went on"
    scene.run(3.0)
    line = scene.sink.line()
    begun = round(again.at * MEDIA_RATE)
    first = int(line[begun + MEDIA_RATE // 100]) - 1 - MEDIA_RATE // 100
    assert 0.1 <= (held_at * MEDIA_RATE - first) / MEDIA_RATE <= 0.36, "it goes on a little before"
    after = MEDIA_RATE // 100
    assert follows(line[begun + after : begun + 2 * MEDIA_RATE - first], first + after)
    assert len(scene.sink.clears) == 1


def test_a_hold_before_anything_was_heard_begins_anew_at_0() -> None:
    scene = Scene()
    scene.stage.use_pacer(None)  # nothing is due yet
    scene.stage.open("r1")
    scene.stage.put(ramp(1.0))
    assert scene.stage.hold()
    scene.stage.resume()
    scene.stage.use_pacer(scene.pump)
    scene.pump.wake()
    scene.run(2.0)
    assert scene.sink.pieces[0][1].at == 0.0
    assert scene.viewer.pieces[0].at == 0.0


def test_lips_and_sound_have_one_timeline_also_after_a_hold() -> None:
    scene = Scene()
    scene.run(1.0)
    scene.stage.open("r1")
    scene.stage.put(ramp(0.5, last=False))
    scene.stage.put(ramp(0.5, first=False, at=MEDIA_RATE // 2))
    scene.run(0.7)
    scene.stage.hold()
    scene.run(0.5)
    scene.stage.resume()
    count, told = len(scene.sink.pieces), len(scene.viewer.pieces)
    scene.run(1.0)
    assert [piece.at for piece in scene.viewer.pieces[:2]] == [0.0, 0.5]
    assert scene.sink.pieces[count][1].at == scene.viewer.pieces[told].at


def test_the_echo_guard_sees_what_is_due_now() -> None:
    scene = Scene()
    scene.run(1.0)
    scene.stage.open("r1")
    scene.stage.put(ramp(2.0))
    scene.run(0.41)
    sound = scene.stage.played(0.02, 0.0)
    assert abs(int(sound[0]) / MEDIA_RATE - 0.40) < 0.02
    scene.stage.clear()
    scene.run(0.1)
    assert not scene.stage.played(0.05, 0.0).any()
    assert scene.stage.played(0.05, 0.15).any()


def test_the_echo_guard_sees_silence_when_the_pump_rests() -> None:
    scene = Scene()
    scene.stage.open("r1")
    scene.stage.put(speech(0.3))
    scene.run(0.5)
    assert scene.timers == 0
    assert scene.stage.played(0.1, 0.25).any()
    scene.run(10.0)
    assert not scene.stage.played(0.4, 0.0).any()


def test_silence_costs_nothing() -> None:
    scene = Scene()
    scene.run(0.1)
    before = scene.ticks
    scene.run(3600.0)
    assert scene.ticks == before
    assert scene.timers == 0
    assert not scene.sink.pieces
    scene.stage.open("r1")
    scene.stage.put(ramp(1.0))
    scene.run(5.0)
    assert scene.timers == 0
    assert scene.ticks - before < 30, "a second of speech, pulled in pieces"


def test_a_held_stage_rests_too() -> None:
    scene = saying(1.0, until=0.3)
    scene.stage.hold()
    scene.run(0.1)
    before = scene.ticks
    scene.run(60.0)
    assert scene.ticks == before
    assert scene.timers == 0


def test_two_sinks_get_the_same_and_one_that_comes_late_gets_what_is_not_yet_due() -> None:
    scene = saying(2.0, until=0.4)
    late = Sink(lambda: scene.now)
    scene.stage.tap(late)
    assert late.pieces[0][1].at == pytest.approx(0.4, abs=0.021)
    scene.run(2.0)
    begun = round(late.pieces[0][1].at * MEDIA_RATE)
    assert np.array_equal(late.line()[begun:], scene.sink.line()[begun:])
    assert follows(scene.sink.line())


def test_a_sink_that_raises_is_dropped_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    dropped: list[str] = []
    bad = Sink()
    scene.stage.tap(bad, lambda: dropped.append("bad"))
    scene.stage.open("r1")
    scene.stage.put(ramp(2.0))
    scene.run(0.3)
    bad.fails = True
    scene.run(0.5)
    assert dropped == ["bad"]
    assert sum("it gets no more" in record.message for record in caplog.records) == 1
    scene.run(2.0)
    assert whole(scene.sink.line(), 2.0)


def test_a_sink_that_raises_when_it_comes_is_dropped() -> None:
    scene = saying(2.0, until=0.3)
    dropped: list[str] = []
    bad = Sink()
    bad.fails = True
    scene.stage.tap(bad, lambda: dropped.append("bad"))
    scene.run(0.2)
    assert dropped == ["bad"]


def test_a_sink_that_ended_gets_no_more() -> None:
    scene = saying(2.0, until=0.3)
    scene.untap()
    scene.untap()
    count = len(scene.sink.pieces)
    scene.run(2.0)
    assert len(scene.sink.pieces) == count


def test_a_track_takes_over_at_what_is_due_and_the_tap_hears_everything_once() -> None:
    scene = saying(2.0, until=0.5)
    scene.pump.stop()
    assert scene.timers == 0
    position = scene.stage.position
    assert abs(position / MEDIA_RATE - 0.52) < 0.021
    track = []
    while position < 2 * MEDIA_RATE:
        track.append(scene.stage.read(position))
        position += AUDIO_FRAME
    assert follows(np.concatenate(track), 2 * MEDIA_RATE - len(np.concatenate(track)))
    assert whole(scene.sink.line(), 2.0)


def test_a_pump_goes_on_where_a_track_was_lost() -> None:
    scene = Scene(running=False)
    scene.stage.open("r1")
    scene.stage.put(ramp(2.0))
    for number in range(50):
        scene.stage.read(number * AUDIO_FRAME)
    assert len(scene.sink.line()) == MEDIA_RATE
    scene.run(7.0)  # nobody pulls
    scene.pump.start(0.5)
    scene.run(2.0)
    assert whole(scene.sink.line(), 2.0)


def test_a_loop_that_stood_still_delays_the_reply_and_loses_nothing_of_it() -> None:
    scene = saying(2.0, until=0.3)
    scene.now += 5.0  # a suspended machine: no timer went off
    scene.run(0.1)
    assert scene.pump.resyncs == 1
    assert scene.stage.speaking
    scene.run(3.0)
    assert whole(scene.sink.line(), 2.0)


def test_a_stall_that_the_listeners_bridge_moves_nothing() -> None:
    scene = Scene(ahead_s=0.5)
    scene.stage.open("r1")
    scene.stage.put(ramp(3.0))
    scene.run(0.3)
    scene.now += 0.6
    scene.run(0.01)
    assert scene.pump.resyncs == 0
    assert len(scene.sink.line()) / MEDIA_RATE > 1.35
    scene.run(3.0)
    assert follows(scene.sink.line())


def test_with_less_ahead_less_is_handed_over_early() -> None:
    scene = Scene(ahead_s=0.0)
    scene.stage.open("r1")
    scene.stage.put(ramp(1.0))
    for _ in range(50):
        scene.run(0.02)
        assert len(scene.sink.line()) <= scene.stage.position
    scene.pump.start(0.3)
    assert follows(scene.sink.line())


class Humming:
    """A clip's sound: 7 in every sample while it is on."""

    def __init__(self) -> None:
        self.active = False
        self.asked: list[tuple[int, bool]] = []

    def sound(self, position: int, free: bool) -> Samples | None:
        self.asked.append((position, free))
        return np.full(AUDIO_FRAME, 7, np.int16) if self.active and free else None


def test_a_clip_sounds_in_real_time_and_gives_way_to_speech() -> None:
    scene = Scene()
    clip = Humming()
    scene.stage.use_backing(clip)
    clip.active = True
    scene.pump.wake()
    scene.run(1.0)
    line = scene.sink.line("")
    assert 0.9 <= np.count_nonzero(line == 7) / MEDIA_RATE <= 1.02, "in real time, not ahead"
    scene.stage.open("r1")
    scene.stage.put(ramp(0.5))
    scene.run(0.7)
    assert follows(scene.sink.line("r1")[: MEDIA_RATE // 2])
    clip.active = False
    scene.run(0.1)
    assert scene.timers == 0
    positions = [position for position, _ in clip.asked]
    assert positions == sorted(set(positions)), "asked once for each packet"
