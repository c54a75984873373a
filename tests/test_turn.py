"""Turn-taking, driven frame by frame."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.turn import TurnDetector
from core.turn_events import (
    BargeIn,
    EndOfTurn,
    ListenMode,
    SpeechDiscarded,
    SpeechStarted,
    TurnEvent,
    TurnSettings,
    TurnTooLong,
)
from tests.turn_scene import HOP, Scene


def test_a_plain_turn() -> None:
    scene = Scene().silence(1).speech(1).silence(1)
    started, ended = scene.events
    assert isinstance(started, SpeechStarted)
    assert started.time == pytest.approx(0.992 + HOP, abs=1e-6)
    assert started.preroll_start == pytest.approx(0.992 - 0.3, abs=1e-6)
    assert isinstance(ended, EndOfTurn)
    assert ended.start == pytest.approx(0.992, abs=1e-6)
    assert ended.end == pytest.approx(0.992 + 0.992, abs=1e-6)
    assert 0.5 <= ended.time - ended.end < 0.5 + HOP + 1e-6


def test_preroll_does_not_reach_before_the_first_sample() -> None:
    started = Scene().speech(0.2).events[0]
    assert isinstance(started, SpeechStarted)
    assert started.preroll_start == 0.0


def test_preroll_does_not_reach_into_the_turn_before() -> None:
    scene = Scene(TurnSettings(preroll_ms=2000)).silence(3).speech(1).silence(0.7).speech(1).silence(1)
    first_end = scene.only(EndOfTurn)[0]
    second = scene.only(SpeechStarted)[1]
    assert isinstance(second, SpeechStarted)
    assert second.preroll_start == first_end.time


@pytest.mark.parametrize(
    ("speech", "pause", "expected"),
    [
        (0.06, 1.0, ["SpeechStarted", "SpeechDiscarded"]),
        (0.10, 1.0, ["SpeechStarted", "SpeechDiscarded"]),
        (0.16, 1.0, ["SpeechStarted", "EndOfTurn"]),
        (0.16, 0.4, ["SpeechStarted"]),
        (1.0, 0.45, ["SpeechStarted"]),
        (1.0, 0.6, ["SpeechStarted", "EndOfTurn"]),
    ],
)
def test_how_long_speech_and_silence_must_be(speech: float, pause: float, expected: list[str]) -> None:
    assert Scene().silence(0.5).speech(speech).silence(pause).kinds() == expected


def test_a_pause_within_a_sentence_does_not_end_it() -> None:
    scene = Scene().speech(0.6).silence(0.4).speech(0.6).silence(0.4).speech(0.3).silence(1)
    assert scene.kinds() == ["SpeechStarted", "EndOfTurn"]


def test_hysteresis() -> None:
    assert Scene().play(3, 0.45).events == []
    assert Scene().speech(0.2).play(3, 0.45).kinds() == ["SpeechStarted"]
    assert Scene().speech(0.2).play(3, 0.3).kinds() == ["SpeechStarted", "EndOfTurn"]


def test_a_gap_in_the_audio_counts_as_silence() -> None:
    scene = Scene().speech(0.5)
    scene.time += 5
    assert scene.silence(HOP).kinds() == ["SpeechStarted", "EndOfTurn"]
    end = scene.events[-1]
    assert isinstance(end, EndOfTurn)
    assert end.end == pytest.approx(0.5, abs=HOP)


def test_a_turn_is_cut_when_too_long_and_goes_on_as_a_new_one() -> None:
    scene = Scene(TurnSettings(max_turn_s=2)).speech(3).silence(1)
    assert scene.kinds() == ["SpeechStarted", "TurnTooLong", "EndOfTurn", "SpeechStarted", "EndOfTurn"]
    cut, second = scene.only(EndOfTurn)[0], scene.only(SpeechStarted)[1]
    assert isinstance(second, SpeechStarted)
    assert cut.time == pytest.approx(2, abs=HOP)
    assert second.preroll_start == cut.time


class TestPushToTalk:
    def test_voice_alone_starts_nothing(self) -> None:
        assert Scene(mode=ListenMode.PUSH_TO_TALK).speech(3).silence(1).events == []

    def test_the_button_decides_even_over_long_pauses(self) -> None:
        scene = Scene(mode=ListenMode.PUSH_TO_TALK).silence(1)
        scene.events += scene.detector.force_start(scene.time)
        scene.speech(0.5).silence(3).speech(0.5)
        scene.events += scene.detector.force_end(scene.time)
        assert scene.kinds() == ["SpeechStarted", "EndOfTurn"]
        end = scene.events[-1]
        assert isinstance(end, EndOfTurn)
        assert end.start == pytest.approx(1, abs=HOP)
        assert end.end == scene.time

    def test_a_tap_is_no_turn(self) -> None:
        detector = TurnDetector(mode=ListenMode.PUSH_TO_TALK)
        events = detector.force_start(5.0) + detector.force_end(5.05)
        assert [type(event) for event in events] == [SpeechStarted, SpeechDiscarded]

    def test_pressing_interrupts_the_avatar_once(self) -> None:
        detector = TurnDetector(mode=ListenMode.PUSH_TO_TALK)
        detector.avatar_speaking(True, 1.0)
        events = detector.force_start(2.0) + detector.force_start(2.1)
        assert [type(event) for event in events] == [SpeechStarted, BargeIn]

    def test_a_stuck_button_is_cut(self) -> None:
        scene = Scene(TurnSettings(max_turn_s=2), ListenMode.PUSH_TO_TALK)
        scene.events += scene.detector.force_start(0.0)
        assert scene.speech(3).kinds() == ["SpeechStarted", "TurnTooLong", "EndOfTurn"]
        assert scene.detector.force_end(scene.time) == []

    def test_off_hears_nothing(self) -> None:
        scene = Scene(mode=ListenMode.OFF).speech(2)
        assert scene.events + scene.detector.force_start(scene.time) == []

    def test_pressing_during_an_open_turn_holds_it(self) -> None:
        scene = Scene().speech(1)
        scene.events += scene.detector.force_start(scene.time)
        assert scene.silence(3).kinds() == ["SpeechStarted"]


def test_switching_the_mode_drops_the_turn() -> None:
    scene = Scene().speech(1)
    assert scene.detector.set_mode(ListenMode.OPEN, scene.time) == []
    (event,) = scene.detector.set_mode(ListenMode.OFF, scene.time)
    assert isinstance(event, SpeechDiscarded)
    assert event.reason == "mode"
    assert not scene.detector.in_turn
    assert scene.detector.mode is ListenMode.OFF


def test_the_microphone_goes_away_in_mid_turn() -> None:
    scene = Scene().speech(1)
    (event,) = scene.detector.force_end(scene.time + 0.1)
    assert isinstance(event, EndOfTurn)
    assert event.end == pytest.approx(scene.time)
    assert scene.detector.force_end(scene.time) == []


any_float = st.floats(allow_nan=True, allow_infinity=True)
probabilities = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, math.nan]))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.one_of(st.just(HOP), any_float), probabilities, any_float),
        st.tuples(st.just("speech"), st.integers(1, 60)),
        st.tuples(st.just("silence"), st.integers(1, 60)),
        st.tuples(st.just("avatar"), st.booleans()),
        st.tuples(st.just("level"), any_float),
        st.tuples(st.just("press")),
        st.tuples(st.just("release")),
        st.tuples(st.just("mode"), st.sampled_from(list(ListenMode))),
    ),
    max_size=60,
)


def drive(detector: TurnDetector, script: Iterable[tuple[object, ...]]) -> list[TurnEvent]:
    """Play any script; the time that is told may be nonsense, the script's own goes on."""
    events: list[TurnEvent] = []
    now = 0.0
    for name, *arguments in script:
        match name, arguments:
            case "frame", (float(step), float(probability), float(level)):
                now += HOP
                events += detector.on_frame(now if step == HOP else step, probability, level)
            case (("speech" | "silence"), (int(count),)):
                for _ in range(count):
                    now += HOP
                    events += detector.on_frame(now, 0.9 if name == "speech" else 0.01, -30.0)
            case "avatar", (bool(speaking),):
                detector.avatar_speaking(speaking, now)
            case "level", (float(level),):
                detector.on_avatar_level(now, level)
            case "press", _:
                events += detector.force_start(now)
            case "release", _:
                events += detector.force_end(now)
            case "mode", (ListenMode() as mode,):
                events += detector.set_mode(mode, now)
    return events


@settings(max_examples=150, deadline=None)
@given(steps)
def test_any_input_gives_well_formed_turns(script: list[tuple[object, ...]]) -> None:
    config = TurnSettings(max_turn_s=3)
    events = drive(TurnDetector(config), script)
    open_turn: SpeechStarted | None = None
    last = 0.0
    for event in events:
        assert math.isfinite(event.time)
        assert event.time >= last
        last = event.time
        if isinstance(event, SpeechStarted):
            assert open_turn is None
            assert 0 <= event.preroll_start <= event.time
            open_turn = event
            continue
        assert open_turn is not None
        if isinstance(event, EndOfTurn):
            assert open_turn.preroll_start <= event.start <= event.end <= event.time
        if isinstance(event, EndOfTurn | SpeechDiscarded):
            open_turn = None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 40)), min_size=1, max_size=20))
def test_turns_are_exactly_the_stretches_between_long_silences(stretches: list[tuple[int, int]]) -> None:
    config = TurnSettings(min_speech_ms=HOP * 1000, discard_silence_ms=500, max_turn_s=1000)
    script = [step for speech, silence in stretches for step in (("speech", speech), ("silence", silence))]
    events = drive(TurnDetector(config), [*script, ("silence", 40)])
    needed = math.ceil(0.5 / HOP - 1e-6)
    turns = 1 + sum(silence >= needed for _, silence in stretches[:-1])
    assert [type(event) for event in events] == [SpeechStarted, EndOfTurn] * turns


def test_too_long_is_always_followed_by_the_end() -> None:
    events = drive(TurnDetector(TurnSettings(max_turn_s=1)), [("speech", 500)])
    for event, following in itertools.pairwise(events):
        if isinstance(event, TurnTooLong):
            assert isinstance(following, EndOfTurn)
