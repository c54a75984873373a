"""Turn-taking, driven frame by frame."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.turn import (
    BargeIn,
    EndOfTurn,
    ListenMode,
    SpeechDiscarded,
    SpeechStarted,
    TurnDetector,
    TurnEvent,
    TurnSettings,
    TurnTooLong,
)

HOP = 0.032


class Scene:
    """Plays stretches of probability to a detector and keeps the events."""

    def __init__(self, config: TurnSettings | None = None, mode: ListenMode = ListenMode.OPEN) -> None:
        self.detector = TurnDetector(config, mode)
        self.time = 0.0
        self.events: list[TurnEvent] = []
        self.avatar_db: float | None = None

    def play(self, seconds: float, probability: float, level_db: float = -30.0) -> Scene:
        for _ in range(round(seconds / HOP)):
            self.time += HOP
            if self.avatar_db is not None:
                self.detector.on_avatar_level(self.time, self.avatar_db)
            self.events += self.detector.on_frame(self.time, probability, level_db)
        return self

    def speech(self, seconds: float, level_db: float = -30.0) -> Scene:
        return self.play(seconds, 0.95, level_db)

    def silence(self, seconds: float, level_db: float = -65.0) -> Scene:
        return self.play(seconds, 0.02, level_db)

    def avatar(self, level_db: float | None) -> Scene:
        self.avatar_db = level_db
        self.detector.avatar_speaking(level_db is not None, self.time)
        return self

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def only(self, kind: type[TurnEvent]) -> list[TurnEvent]:
        return [event for event in self.events if isinstance(event, kind)]


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


class TestBargeIn:
    @pytest.mark.parametrize(
        ("speech", "expected"),
        [
            (0.10, ["SpeechStarted", "SpeechDiscarded"]),
            (0.20, ["SpeechStarted", "SpeechDiscarded"]),
            (0.26, ["SpeechStarted", "BargeIn", "EndOfTurn"]),
            (2.00, ["SpeechStarted", "BargeIn", "EndOfTurn"]),
        ],
    )
    def test_needs_a_quarter_second_of_speech(self, speech: float, expected: list[str]) -> None:
        assert Scene().silence(1).avatar(-20).silence(0.5).speech(speech).silence(1).kinds() == expected

    def test_comes_after_a_quarter_second(self) -> None:
        scene = Scene().avatar(-20).silence(0.96).speech(1)
        (barge,) = scene.only(BargeIn)
        assert barge.time - 0.96 == pytest.approx(0.25, abs=HOP)

    def test_never_while_the_avatar_is_silent(self) -> None:
        assert "BargeIn" not in Scene().speech(3).silence(1).kinds()

    def test_hesitant_voice_does_not_interrupt(self) -> None:
        scene = Scene().avatar(-20).silence(0.5).speech(0.1).play(1, 0.45).silence(1)
        assert "BargeIn" not in scene.kinds()

    def test_too_little_to_interrupt_is_no_turn_either(self) -> None:
        (discarded,) = Scene().avatar(-20).silence(0.5).speech(0.2).silence(1).only(SpeechDiscarded)
        assert isinstance(discarded, SpeechDiscarded)
        assert discarded.reason == "under_avatar"

    def test_when_the_avatar_begins_while_the_user_speaks(self) -> None:
        scene = Scene().speech(1)
        assert scene.kinds() == ["SpeechStarted"]
        scene.avatar(-20).speech(0.2)
        assert scene.kinds() == ["SpeechStarted"]
        assert scene.speech(0.1).kinds() == ["SpeechStarted", "BargeIn"]

    def test_the_rest_of_a_turn_counts_once_the_avatar_is_silent(self) -> None:
        scene = Scene().avatar(-20).silence(1).speech(0.1).avatar(None).speech(0.6).silence(1)
        assert scene.kinds() == ["SpeechStarted", "EndOfTurn"]


class TestEchoGuard:
    def test_the_avatars_own_voice_does_not_interrupt(self) -> None:
        scene = Scene().avatar(-20).speech(5, level_db=-40).avatar(None).speech(0.25, level_db=-40).silence(1)
        assert scene.events == []

    def test_the_tail_ends(self) -> None:
        scene = Scene().avatar(-20).speech(1, level_db=-40).avatar(None).speech(0.28, level_db=-40)
        assert scene.events == []
        assert scene.speech(0.2, level_db=-40).kinds() == ["SpeechStarted"]

    def test_a_louder_user_interrupts(self) -> None:
        assert "BargeIn" in Scene().avatar(-20).silence(1).speech(1, level_db=-30).kinds()

    def test_a_soft_user_interrupts_once_the_echo_is_known_to_be_cancelled(self) -> None:
        scene = Scene().avatar(-20).speech(1, level_db=-42)
        assert scene.events == []
        assert "BargeIn" in scene.silence(4, level_db=-65).speech(1, level_db=-42).kinds()

    def test_a_late_echo_is_not_taken_for_none(self) -> None:
        scene = Scene()
        for _ in range(20):
            scene.avatar(-20).silence(0.6, level_db=-65).speech(2, level_db=-40).avatar(None).silence(0.6)
        assert scene.events == []

    def test_an_echo_that_grows_is_followed(self) -> None:
        scene = Scene().avatar(-20).silence(6, level_db=-62)
        for level_db in range(-61, -41):
            scene.speech(3, level_db=level_db)
        assert "BargeIn" not in scene.kinds()

    def test_a_loud_room_does_not_raise_the_expectation(self) -> None:
        scene = Scene().avatar(-20).silence(4, level_db=-20)
        assert "BargeIn" in scene.speech(1, level_db=-30).kinds()

    def test_pauses_of_the_avatar_teach_nothing(self) -> None:
        scene = Scene().avatar(-90).silence(10, level_db=-80)
        scene.avatar_db = -20
        assert scene.speech(2, level_db=-40).events == []

    def test_the_margin_is_configurable(self) -> None:
        config = TurnSettings(echo_coupling_db=-10, echo_margin_db=3)
        assert Scene(config).avatar(-20).speech(1, level_db=-28).events == []
        assert "BargeIn" in Scene(config).avatar(-20).speech(1, level_db=-26).kinds()


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
