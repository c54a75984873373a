"""A client that plays later than sound is due: what was heard, where a hold goes on, when an echo may come."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.lateness import Lateness
from core.frames import MEDIA_RATE
from tests.taps import Scene
from tests.test_pump import follows, ramp

FRAME_S = 0.02


def late(seconds: float) -> Scene:
    """Clients hear it so late."""
    scene = Scene()
    scene.stage.heard_later(lambda: seconds)
    scene.run(1.0)
    return scene


def test_h3_an_interrupted_reply_was_heard_less_by_what_the_client_keeps() -> None:
    scene = late(0.3)
    scene.stage.open("r1")
    scene.stage.put(ramp(2.0))
    scene.run(0.805)
    heard = scene.stage.clear()
    assert heard.utterances == 0
    assert abs(heard.fraction * 2.0 - 0.505) <= FRAME_S
    assert scene.sink.clears[0][2] == pytest.approx(0.82, abs=FRAME_S), "the server's place stays"


def test_h3_a_sentence_that_is_over_here_may_still_sound_there() -> None:
    scene = late(0.3)
    scene.stage.open("r1")
    scene.stage.put(ramp(0.5))
    scene.stage.put(ramp(1.0, utterance=1))
    scene.run(0.605)
    assert ("end", "r1", 0, "u0") in scene.log.lines
    heard = scene.stage.clear()
    assert heard.utterances == 0
    assert abs(heard.fraction * 0.5 - 0.305) <= FRAME_S


def test_h3_nothing_was_heard_of_what_has_only_arrived() -> None:
    scene = late(0.3)
    scene.stage.open("r1")
    scene.stage.put(ramp(2.0))
    scene.run(0.2)
    heard = scene.stage.clear()
    assert (heard.utterances, heard.fraction) == (0, 0.0)


def test_h3_the_reply_before_counts_for_itself() -> None:
    scene = late(0.3)
    scene.stage.open("r1")
    scene.stage.put(ramp(1.0))
    scene.run(1.01)
    scene.stage.finish("r1")
    scene.stage.open("r2")
    scene.stage.put(ramp(1.0, reply="r2"))
    scene.run(0.6)
    heard = scene.stage.clear()
    assert heard.utterances == 0
    assert abs(heard.fraction - 0.3) <= 2 * FRAME_S


def test_h3_the_time_that_live_sound_waits_here_is_part_of_what_it_waits_there() -> None:
    scene = late(0.3)
    scene.stage.open("r1", lead_s=0.1)
    scene.stage.put(ramp(2.0))
    scene.run(0.8)
    heard = scene.stage.clear()
    assert abs(heard.fraction * 2.0 - 0.5) <= 2 * FRAME_S, "0.3 s after it arrived"


def test_e1_what_was_held_goes_on_before_the_place_that_was_heard() -> None:
    scene = late(0.5)
    scene.stage.open("r1")
    scene.stage.put(ramp(2.0))
    scene.run(1.2)
    assert scene.stage.hold()
    scene.run(1.0)
    assert scene.stage.resume()
    count = len(scene.sink.pieces)
    scene.run()
    again = scene.sink.pieces[count][1]
    first = int(again.samples[MEDIA_RATE // 100]) - 1 - MEDIA_RATE // 100
    assert 0.1 <= 0.7 - first / MEDIA_RATE <= 0.36 + FRAME_S, "not before the place that was due"
    scene.run(3.0)
    line = scene.sink.line()[round(again.at * MEDIA_RATE) + MEDIA_RATE // 100 :]
    assert follows(line[: 2 * MEDIA_RATE - first - MEDIA_RATE // 100], first + MEDIA_RATE // 100)


def test_e1_a_hold_that_reaches_back_into_a_finished_sentence_tells_of_it_once() -> None:
    scene = late(0.5)
    scene.stage.open("r1")
    scene.stage.put(ramp(0.8))
    scene.stage.put(ramp(1.0, utterance=1))
    scene.run(1.0)
    scene.stage.hold()
    scene.run(0.2)
    scene.stage.resume()
    scene.run(3.0)
    assert [line[:3] for line in scene.log.lines] == [
        ("start", "r1", 0), ("end", "r1", 0), ("start", "r1", 1), ("end", "r1", 1),
    ]  # fmt: skip


def test_e1_what_is_interrupted_while_it_is_held_was_heard_up_to_the_hold() -> None:
    scene = late(0.5)
    scene.stage.open("r1")
    scene.stage.put(ramp(2.0))
    scene.run(1.2)
    scene.stage.hold()
    scene.run(2.0)
    heard = scene.stage.clear()
    assert 0.3 <= heard.fraction * 2.0 <= 0.7 + FRAME_S


def test_e1_the_echo_guard_sees_what_is_heard_now_and_nothing_that_was_cut_off() -> None:
    scene = late(0.3)
    scene.stage.open("r1")
    scene.stage.put(ramp(2.0))
    scene.run(0.8)
    sound = scene.stage.played(FRAME_S, 0.0)
    assert abs(int(sound[-1]) / MEDIA_RATE - 0.5) <= 2 * FRAME_S
    scene.stage.clear()
    scene.run(0.2)
    assert not scene.stage.played(0.1, 0.0).any()
    assert scene.stage.played(0.1, 0.2).any()


def test_e1_the_echo_guard_expects_the_end_of_a_reply_until_it_was_heard() -> None:
    scene = late(1.0)
    scene.stage.open("r1")
    scene.stage.put(ramp(0.5))
    scene.run(0.7)
    assert not scene.stage.speaking
    scene.run(0.5)
    assert scene.stage.played(0.1, 0.0).any()
    scene.run(0.5)
    assert not scene.stage.played(0.1, 0.0).any()


def test_bounds() -> None:
    assert Lateness(lambda: 7.0).samples(0) == 2 * MEDIA_RATE
    assert Lateness(lambda: 0.05).samples(MEDIA_RATE) == 0
    lateness = Lateness(lambda: 0.5)
    lateness.cut(MEDIA_RATE)
    assert lateness.heard(MEDIA_RATE, 0) == MEDIA_RATE
    assert lateness.heard(round(1.2 * MEDIA_RATE), 0) == MEDIA_RATE
    assert lateness.heard(2 * MEDIA_RATE, 0) == 1.5 * MEDIA_RATE
    assert np.isclose(Lateness().heard(123, 0), 123)
