"""Speech over the avatar: what holds it, what interrupts it, what lets it go on."""

from __future__ import annotations

import pytest

from core.turn_events import BargeIn, EndOfTurn, PossibleBargeIn, SpeechDiscarded, TurnSettings
from tests.turn_scene import HOP, Scene

HELD = ["SpeechStarted", "PossibleBargeIn"]
QUIET = -90.0
"""Of an avatar that the microphone does not hear."""


class TestDuration:
    @pytest.mark.parametrize(
        ("speech", "expected"),
        [
            (0.10, ["SpeechStarted", "SpeechDiscarded"]),
            (0.20, ["SpeechStarted", "SpeechDiscarded"]),
            (0.26, [*HELD, "EndOfTurn"]),
            (2.00, [*HELD, "BargeIn", "EndOfTurn"]),
        ],
    )
    def test_a_quarter_second_of_speech_holds_a_second_interrupts(self, speech: float, expected: list[str]) -> None:
        assert Scene().silence(1).avatar(QUIET).silence(0.5).speech(speech).silence(1).kinds() == expected

    def test_the_avatar_is_held_after_a_quarter_second(self) -> None:
        scene = Scene().avatar(QUIET).silence(0.96).speech(1)
        (held,) = scene.only(PossibleBargeIn)
        assert held.time - 0.96 == pytest.approx(0.25, abs=HOP)

    def test_never_while_the_avatar_is_silent(self) -> None:
        assert Scene().speech(3).silence(1).kinds() == ["SpeechStarted", "EndOfTurn"]

    def test_hesitant_voice_does_not_hold(self) -> None:
        scene = Scene().avatar(QUIET).silence(0.5).speech(0.1).play(1, 0.45).silence(1)
        assert "PossibleBargeIn" not in scene.kinds()

    def test_too_little_to_interrupt_is_no_turn_either(self) -> None:
        (discarded,) = Scene().avatar(QUIET).silence(0.5).speech(0.2).silence(1).only(SpeechDiscarded)
        assert isinstance(discarded, SpeechDiscarded)
        assert discarded.reason == "under_avatar"

    def test_when_the_avatar_begins_while_the_user_speaks(self) -> None:
        scene = Scene().speech(1)
        assert scene.kinds() == ["SpeechStarted"]
        scene.avatar(QUIET).speech(0.2)
        assert scene.kinds() == ["SpeechStarted"]
        assert scene.speech(0.1).kinds() == HELD

    def test_what_was_said_before_the_avatar_began_interrupts_it(self) -> None:
        scene = Scene().speech(1).words("and another thing").avatar(QUIET).speech(0.3)
        assert scene.kinds() == [*HELD, "BargeIn"]

    def test_the_rest_of_a_turn_counts_once_the_avatar_is_silent(self) -> None:
        scene = Scene().avatar(QUIET).silence(1).speech(0.1).avatar(None).speech(0.6).silence(1)
        assert scene.kinds() == ["SpeechStarted", "EndOfTurn"]

    def test_soft_sounds_within_a_word_do_not_stop_the_count(self) -> None:
        scene = Scene().avatar(-20).silence(0.96)
        scene.speech(0.064).speech(0.16, level_db=-45)
        assert "PossibleBargeIn" not in scene.kinds()
        assert scene.speech(0.064).kinds() == HELD

    def test_once_clearly_above_the_echo_a_voice_only_has_to_stay_above_it(self) -> None:
        above, below = (Scene().avatar(-20).silence(0.96).speech(0.064) for _ in range(2))
        assert above.speech(0.2, level_db=-36).kinds() == HELD
        assert below.speech(0.2, level_db=-42).kinds() == ["SpeechStarted"]
        assert Scene().avatar(-20).silence(0.96).speech(1, level_db=-36).events == []  # alone it is the echo

    def test_a_soft_beginning_counts_as_far_as_it_left_a_trace_above_the_echo(self) -> None:
        loud, soft, drowned = (Scene().avatar(-20).silence(0.96) for _ in range(3))
        times = [
            scene.speech(1).only(PossibleBargeIn)[0].time - 0.96
            for scene in (loud, soft.speech(0.096, level_db=-36), drowned.speech(0.096, level_db=-39))
        ]
        assert times == pytest.approx([0.25, 0.25, 0.35], abs=HOP)

    def test_what_sounded_long_before_is_no_beginning(self) -> None:
        scene = Scene().avatar(-20).silence(0.96).speech(1, level_db=-36)
        assert scene.speech(0.096).kinds() == ["SpeechStarted"]
        assert scene.speech(0.032).kinds() == HELD  # 0.15 s of the murmur count


class TestEnergy:
    def test_speech_below_the_level_does_not_hold(self) -> None:
        config = TurnSettings(barge_in_level_db=-25)
        assert "PossibleBargeIn" not in Scene(config).avatar(-60).speech(2, level_db=-30).silence(1).kinds()
        assert "PossibleBargeIn" in Scene(config).avatar(-60).speech(2, level_db=-24).kinds()


class TestWords:
    def test_a_word_interrupts_at_once(self) -> None:
        scene = Scene().avatar(-20).silence(1).speech(0.3)
        assert scene.kinds() == HELD
        assert scene.words("stop").kinds() == [*HELD, "BargeIn"]
        assert scene.words("stop it").speech(2).silence(1).kinds() == [*HELD, "BargeIn", "EndOfTurn"]

    def test_words_that_came_before_the_quarter_second_count(self) -> None:
        scene = Scene().avatar(-20).silence(1).speech(0.15).words("stop")
        assert scene.kinds() == ["SpeechStarted"]
        assert scene.speech(0.1).kinds() == [*HELD, "BargeIn"]

    @pytest.mark.parametrize("text", ["mm-hm", "uh-huh", "yeah", "Right.", "嗯", "对", "好的", "对对对"])
    def test_back_channel_words_do_not_interrupt(self, text: str) -> None:
        scene = Scene().avatar(-20).silence(1).speech(0.4).words(text).silence(1)
        assert scene.kinds() == [*HELD, "EndOfTurn"]
        (end,) = scene.only(EndOfTurn)
        assert isinstance(end, EndOfTurn)
        assert end.undecided
        assert end.time - end.end < 0.35  # the avatar does not wait longer than needed

    def test_back_channel_words_that_go_on_as_a_sentence_interrupt(self) -> None:
        scene = Scene().avatar(-20).silence(1).speech(0.4).words("yeah").speech(0.3).words("yeah but")
        assert scene.kinds() == [*HELD, "BargeIn"]

    def test_a_long_yeah_is_no_interruption_yet_endless_speech_is(self) -> None:
        scene = Scene().avatar(-20).silence(1).speech(1.5).words("yeah")
        assert scene.kinds() == [*HELD, "BargeIn"]  # a second without words
        scene = Scene().avatar(-20).silence(1).speech(0.5).words("yeah").speech(1)
        assert scene.kinds() == HELD
        assert scene.speech(0.7).kinds() == [*HELD, "BargeIn"]

    def test_the_number_of_words_is_configurable(self) -> None:
        config = TurnSettings(barge_in_words=3)
        scene = Scene(config).avatar(-20).silence(1).speech(0.4).words("could you")
        assert scene.kinds() == HELD
        assert scene.words("could you please").kinds() == [*HELD, "BargeIn"]

    def test_without_words_the_final_transcript_decides(self) -> None:
        (end,) = Scene().avatar(-20).silence(1).speech(0.5).silence(1).only(EndOfTurn)
        assert isinstance(end, EndOfTurn)
        assert end.undecided

    def test_a_turn_that_interrupted_is_decided(self) -> None:
        scene = Scene().avatar(-20).silence(1).speech(0.5).words("stop").avatar(None).silence(1)
        (end,) = scene.only(EndOfTurn)
        assert isinstance(end, EndOfTurn)
        assert not end.undecided

    def test_an_avatar_that_was_stopped_otherwise_needs_no_decision(self) -> None:
        (end,) = Scene().avatar(-20).silence(1).speech(0.5).avatar(None).silence(1).only(EndOfTurn)
        assert isinstance(end, EndOfTurn)
        assert not end.undecided

    def test_holding_tells_whether_the_avatar_waits(self) -> None:
        scene = Scene().avatar(-20).silence(1).speech(0.3)
        assert scene.detector.holding
        assert not scene.words("stop").detector.holding
        assert not scene.silence(1).detector.holding

    def test_the_talk_key_interrupts_what_is_held(self) -> None:
        scene = Scene().avatar(-20).silence(1).speech(0.3)
        scene.events += scene.detector.force_start(scene.time)
        assert scene.kinds() == [*HELD, "BargeIn"]


class TestHalfDuplex:
    config = TurnSettings(duplex="half")  # type: ignore[arg-type]  # as the settings give it

    def test_the_ears_are_deaf_while_the_avatar_sounds_and_a_little_longer(self) -> None:
        scene = Scene(self.config).avatar(-20).speech(5, level_db=-10).avatar(None).speech(0.28, level_db=-10)
        assert scene.events == []
        assert scene.speech(0.1).kinds() == ["SpeechStarted"]

    def test_no_pre_roll_reaches_into_the_avatars_voice(self) -> None:
        scene = Scene(self.config).avatar(-20).speech(2).avatar(None).speech(1)
        (started,) = scene.events
        assert started.preroll_start >= 1.984 + 0.3 - HOP  # type: ignore[union-attr]

    def test_a_turn_ends_when_the_avatar_begins(self) -> None:
        scene = Scene(self.config).speech(1).avatar(-20).speech(HOP)
        assert scene.kinds() == ["SpeechStarted", "EndOfTurn"]

    def test_the_talk_key_still_interrupts(self) -> None:
        scene = Scene(self.config).avatar(-20).speech(1)
        scene.events += scene.detector.force_start(scene.time)
        scene.speech(1)
        assert scene.kinds() == ["SpeechStarted", "BargeIn"]
        scene.events += scene.detector.force_end(scene.time)
        assert scene.kinds()[-1] == "EndOfTurn"


class TestEchoGuard:
    def test_the_avatars_own_voice_does_not_interrupt(self) -> None:
        scene = Scene().avatar(-20).speech(5, level_db=-40).avatar(None).speech(0.25, level_db=-40).silence(1)
        assert scene.events == []

    def test_the_tail_ends(self) -> None:
        scene = Scene().avatar(-20).speech(1, level_db=-40).avatar(None).speech(0.28, level_db=-40)
        assert scene.events == []
        assert scene.speech(0.2, level_db=-40).kinds() == ["SpeechStarted"]

    def test_a_louder_user_interrupts(self) -> None:
        assert "PossibleBargeIn" in Scene().avatar(-20).silence(1).speech(1, level_db=-30).kinds()

    def test_a_soft_user_interrupts_once_the_echo_is_known_to_be_cancelled(self) -> None:
        scene = Scene().avatar(-20).speech(1, level_db=-42)
        assert scene.events == []
        assert "PossibleBargeIn" in scene.silence(4, level_db=-65).speech(1, level_db=-42).kinds()

    def test_a_late_echo_is_not_taken_for_none(self) -> None:
        scene = Scene()
        for _ in range(20):
            scene.avatar(-20).silence(0.6, level_db=-65).speech(2, level_db=-40).avatar(None).silence(0.6)
        assert scene.events == []

    def test_an_echo_that_grows_is_followed(self) -> None:
        scene = Scene().avatar(-20).silence(6, level_db=-62)
        for level_db in range(-61, -41):
            scene.speech(3, level_db=level_db)
        assert "PossibleBargeIn" not in scene.kinds()

    def test_a_loud_room_does_not_raise_the_expectation(self) -> None:
        scene = Scene().avatar(-20).silence(4, level_db=-20)
        assert "PossibleBargeIn" in scene.speech(1, level_db=-30).kinds()

    def test_pauses_of_the_avatar_teach_nothing(self) -> None:
        scene = Scene().avatar(-90).silence(10, level_db=-80)
        scene.avatar_db = -20
        assert scene.speech(2, level_db=-40).events == []

    def test_the_margin_is_configurable(self) -> None:
        config = TurnSettings(echo_coupling_db=-10, echo_margin_db=3)
        assert Scene(config).avatar(-20).speech(1, level_db=-28).events == []
        assert "PossibleBargeIn" in Scene(config).avatar(-20).speech(1, level_db=-26).kinds()


def test_barge_in_comes_at_most_once_over_one_utterance() -> None:
    scene = Scene().avatar(-20).silence(1).speech(3).words("stop").speech(3)
    assert len(scene.only(BargeIn)) == 1
