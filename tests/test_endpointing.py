"""How long the avatar waits after the user's last word: by the words, by the voice, by a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.endpointing import UNKNOWN, Waits, completion, count_words, is_back_channel, judged
from core.frames import LISTEN_RATE, Samples
from core.prosody import hesitates
from core.turn_events import EndOfTurn, TurnSettings
from tests.speech import flite
from tests.turn_scene import HOP, Scene

OPEN = [
    "I would like a coffee and", "because", "what is the", "send it to my", "I think that I", "um", "well I uh",
    "I want a pizza,", "I was thinking...", "it is — ", "and then", "I want the.", "for example", "the thing is",
    "因为", "我想去北京然后", "嗯", "嗯……", "我要一个", "虽然今天很冷，但是", "那个", "我觉得", "请帮我",
]  # fmt: skip
LEANING = ["I am looking for", "she said that", "he is", "we meet at", "我们现在去", "他说"]
FINISHED = [
    "what is seven times six", "what time is it", "Where are you from?", "where are you from", "tell me a joke",
    "thank you very much", "yes", "stop", "hello", "read the news to me please", "That is all.", "good morning",
    "so what is your name", "今天天气怎么样", "你会说中文吗", "谢谢", "好的", "你好！", "现在几点",
]  # fmt: skip


class TestWords:
    @pytest.mark.parametrize("text", OPEN)
    def test_more_must_come(self, text: str) -> None:
        assert Waits().after(completion(text)) >= 1300

    @pytest.mark.parametrize("text", LEANING)
    def test_more_usually_comes(self, text: str) -> None:
        assert 700 <= Waits().after(completion(text)) <= 1200

    @pytest.mark.parametrize("text", FINISHED)
    def test_nothing_is_missing(self, text: str) -> None:
        assert Waits().after(completion(text)) <= 400

    @pytest.mark.parametrize("text", ["", "   ", "Peter", "ich möchte ein", "?!", "…"[:0], "苹果", "42"])
    def test_what_tells_nothing_waits_the_fixed_time(self, text: str) -> None:
        assert Waits().after(completion(text)) in (500, 300)

    def test_a_statement_waits_a_little_less_than_the_fixed_time(self) -> None:
        assert 400 < Waits().after(completion("I live in a small town")) < 500

    def test_one_more_word_changes_the_reading(self) -> None:
        assert completion("tell me a story") > UNKNOWN > completion("tell me a story about")

    @given(st.text(max_size=60))
    def test_any_text_gives_a_probability(self, text: str) -> None:
        assert 0 <= completion(text) <= 1
        assert count_words(text) >= 0
        assert is_back_channel(text) in (True, False)

    def test_long_text_is_read_quickly(self) -> None:
        completion("嗯" * 100_000)
        completion("uh huh " * 20_000)
        assert not is_back_channel("嗯" * 100_000)


class TestBackChannel:
    @pytest.mark.parametrize("text", ["mm-hm", "Mm-hmm.", "uh-huh", "yeah", "yeah, right", "okay okay", "I see"])
    def test_shows_that_somebody_listens_in_english(self, text: str) -> None:
        assert is_back_channel(text)

    @pytest.mark.parametrize("text", ["嗯", "嗯嗯", "对对对", "好的，明白了", "是吗？"])
    def test_shows_that_somebody_listens(self, text: str) -> None:
        assert is_back_channel(text)

    @pytest.mark.parametrize(
        "text", ["", "stop", "no", "yeah but", "wait", "right now", "不对", "停", "好的但是", "hm what"]
    )
    def test_takes_the_turn(self, text: str) -> None:
        assert not is_back_channel(text)

    def test_words_are_counted_in_both_languages(self) -> None:
        assert count_words("don't stop, please") == 3
        assert count_words("停一下") == 3
        assert count_words("…") == 0


class TestWaits:
    def test_bounds_and_the_middle(self) -> None:
        waits = Waits(200, 600, 2000)
        assert [waits.after(value) for value in (0.0, 0.5, 1.0)] == [2000, 600, 200]

    @given(st.floats(0, 1), st.floats(0, 1))
    def test_what_sounds_more_finished_never_waits_longer(self, one: float, other: float) -> None:
        waits = Waits()
        assert (waits.after(one) >= waits.after(other)) or one > other
        assert 300 <= waits.after(one) <= 1500

    def test_the_model_outvotes_words_that_are_not_plainly_open(self) -> None:
        assert judged(0.9, 0.1, hesitating=False) == 0.1
        assert judged(None, 0.97, hesitating=False) == 0.97
        assert judged(0.0, 0.97, hesitating=False) == 0.0

    def test_a_hesitating_voice_waits_whatever_the_words(self) -> None:
        assert Waits().after(judged(0.9, None, hesitating=True)) > 1000


class TestDetector:
    def wait(self, scene: Scene) -> float:
        (end,) = scene.silence(3).only(EndOfTurn)
        assert isinstance(end, EndOfTurn)
        return (end.time - end.end) * 1000

    def test_without_words_the_wait_is_the_fixed_one(self) -> None:
        assert self.wait(Scene().speech(1)) == pytest.approx(500, abs=HOP * 1000)

    @pytest.mark.parametrize(
        ("text", "wait"), [("what time is it", 320), ("I want a coffee and", 1500), ("因为", 1500)]
    )
    def test_the_newest_words_decide(self, text: str, wait: float) -> None:
        assert self.wait(Scene().speech(1).words("something else").words(text)) == pytest.approx(wait, abs=50)

    def test_words_that_arrive_in_the_pause_count(self) -> None:
        assert self.wait(Scene().speech(1).words("I want a").silence(0.3).words("I want a coffee please")) < 400

    def test_words_long_before_the_end_say_nothing_about_it(self) -> None:
        assert self.wait(Scene().speech(1).words("what time is it").speech(1)) == pytest.approx(500, abs=HOP * 1000)

    def test_a_longer_pause_after_an_open_word_does_not_end_the_turn(self) -> None:
        scene = Scene().speech(1).words("I want a coffee and").silence(1.2).speech(1)
        assert scene.kinds() == ["SpeechStarted"]

    def test_the_bounds_are_configurable_and_all_alike_mean_a_fixed_wait(self) -> None:
        fixed = TurnSettings(endpoint_shortest_ms=500, endpoint_longest_ms=500)
        for text in ("what time is it", "I want a coffee and"):
            assert self.wait(Scene(fixed).speech(1).words(text)) == pytest.approx(500, abs=HOP * 1000)

    def test_how_the_voice_broke_off_counts_for_that_pause_only(self) -> None:
        scene = Scene().speech(1).silence(0.2)
        paused = scene.detector.paused_at
        assert paused == pytest.approx(0.992)
        assert paused is not None
        scene.detector.on_pause(paused, hesitating=True)
        assert scene.detector.wait_ms > 1000
        assert scene.speech(0.5).detector.wait_ms == 500
        scene.detector.on_pause(paused, hesitating=True)  # too late: the pause is over
        assert scene.detector.wait_ms == 500

    def test_the_models_opinion_counts(self) -> None:
        for probability, wait in ((0.0, 1500), (1.0, 300)):
            scene = Scene().speech(1).silence(0.2)
            assert scene.detector.paused_at is not None
            scene.detector.on_pause(scene.detector.paused_at, model=probability)
            assert self.wait(scene) == pytest.approx(wait, abs=HOP * 1000)

    def test_there_is_no_pause_before_and_after_a_turn_nor_while_the_key_is_down(self) -> None:
        scene = Scene().silence(1)
        assert scene.detector.paused_at is None
        assert scene.speech(1).detector.paused_at is None
        scene.detector.force_start(scene.time)
        assert scene.silence(1).detector.paused_at is None


def hum(start_hz: float, end_hz: float, seconds: float = 0.5) -> Samples:
    """A held vowel whose pitch goes from one to the other."""
    pitch = np.linspace(start_hz, end_hz, int(seconds * LISTEN_RATE))
    phase = 2 * np.pi * np.cumsum(pitch) / LISTEN_RATE
    return (6000 * sum(np.sin(n * phase) / n for n in range(1, 6))).astype(np.int16)


class TestVoice:
    @pytest.mark.parametrize(("start", "end"), [(120, 120), (210, 215), (120, 132)])
    def test_a_held_or_rising_sound_hesitates(self, start: float, end: float) -> None:
        assert hesitates(hum(start, end))

    @pytest.mark.parametrize(("start", "end", "seconds"), [(120, 90, 0.5), (220, 180, 0.5), (120, 120, 0.2)])
    def test_a_falling_or_short_one_does_not(self, start: float, end: float, seconds: float) -> None:
        assert not hesitates(hum(start, end, seconds))

    @pytest.mark.parametrize(
        "text", ["what time is it", "my name is Bob", "hello", "I want to go to the", "see the sea"]
    )
    def test_words_do_not(self, text: str) -> None:
        for voice in ("slt", "rms"):
            samples = flite(text, voice, LISTEN_RATE)
            assert not hesitates(samples[: np.flatnonzero(np.abs(samples.astype(int)) > 300)[-1]])

    def test_a_hum_that_ended_before_the_pause_does_not(self) -> None:
        assert not hesitates(np.concatenate([hum(120, 120), np.zeros(LISTEN_RATE // 4, np.int16)]))

    @pytest.mark.parametrize("count", [0, 1, 639, 640, 16_000])
    def test_silence_and_scraps_do_not(self, count: int) -> None:
        assert not hesitates(np.zeros(count, np.int16))
        assert not hesitates(np.random.default_rng(1).normal(0, 3000, count).astype(np.int16))
