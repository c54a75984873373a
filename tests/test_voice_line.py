"""A conversation that a voice service leads: who has the service, what is spoken, how each odd case ends."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from core.errors import DialogueError, Refused
from core.events import Timed
from core.frames import LISTEN_RATE, Expression
from core.voice_events import (
    Announcement,
    LineDown,
    LineFailed,
    LineUp,
    ReplyBegan,
    ReplyEnded,
    ReplyMood,
    ReplySentence,
    UserSaid,
)
from core.voice_reply import QUEUED
from tests.test_listener import SOUND
from tests.voice_fakes import Scene, reply, scene, sound

LOST = DialogueError("broke off", adapter="fake", code="fake_lost", retryable=True)
REFUSED = DialogueError("check the token", adapter="fake", code="fake_refused", retryable=False)


async def usable(it: Scene, number: int = 90) -> None:
    """The next recording is understood and answered, and all is quiet afterwards."""
    it.stage.speaking = False
    it.stage.released.set()
    await it.settled()
    await it.say()
    await it.answer(number, "next one", "As always.")
    assert it.finals[-1] == "next one"
    assert it.endings[-1] == ("end", "As always.")
    assert it.doing[-1] == "idle"
    assert not it.line.busy


async def test_h1_a_plain_turn() -> None:
    async with scene() as it:
        await it.hear(1, loud=True)
        assert it.call.told == ["listen"]
        assert it.call.samples >= LISTEN_RATE * 0.9
        await it.hear(1, loud=False)
        assert it.call.told == ["listen", "finish"]
        await it.answer(1, "hello there", "Good day.", "Anything else?")
        assert it.doing == ["listening", "recognizing", "thinking", "speaking", "idle"]
        assert it.finals == ["hello there"]
        assert it.endings == [("end", "Good day. Anything else?")]
        timed = next(event for event in it.events if isinstance(event, Timed))
        assert (timed.source, timed.engine) == ("speech", "fake")
        assert timed.transcript_ms is not None
        assert timed.first_audio_ms is not None
        await usable(it)
        assert it.call.told == ["listen", "finish"] * 2


async def test_h1_typed_text_is_asked_and_its_echo_not_shown_twice() -> None:
    async with scene() as it:
        it.conversation.chat("what time is it")
        await it.settled()
        assert it.call.told == ["ask what time is it"]
        await it.answer(1, "what time is it", "Noon.")
        assert it.finals == []
        assert it.endings == [("end", "Noon.")]
        await usable(it)


async def test_h1_texts_to_be_read_out_are_not_asked() -> None:
    async with scene() as it:
        it.conversation.say("one two")
        await it.settled()
        assert it.call.told == []
        assert it.endings == [("end", "one two")]


async def test_h1_words_of_an_uploaded_file_are_asked() -> None:
    async with scene() as it:
        it.conversation.chat("from a file", typed=False)
        await it.settled()
        assert it.call.told == ["ask from a file"]


async def test_h1_a_greeting_is_spoken_though_nobody_asked() -> None:
    async with scene() as it:
        await it.tell(*reply(1, "Welcome."))
        assert it.endings == [("end", "Welcome.")]
        assert next(event for event in it.events if isinstance(event, Timed)).source == "push"
        await usable(it)


async def test_h1_two_replies_in_a_row_are_both_spoken() -> None:
    async with scene() as it:
        await it.say()
        await it.tell(UserSaid("hello"), *reply(1, "One."), *reply(2, "Two."))
        assert it.endings == [("end", "One."), ("end", "Two.")]
        await usable(it)


async def test_h1_sentences_without_sound_are_said_with_the_next_one() -> None:
    async with scene() as it:
        await it.tell(ReplyBegan(1), ReplySentence(1, "So."), ReplySentence(1, "Well."), sound(1),
                      ReplySentence(1, "Bye."), ReplyEnded(1, True))  # fmt: skip
        assert it.endings == [("end", "So. Well. Bye.")]


async def test_h1_sound_without_sentences_is_played() -> None:
    async with scene() as it:
        await it.tell(ReplyBegan(1), ReplyMood(Expression.SAD), sound(1), sound(1), ReplyEnded(1, True))
        assert it.endings == [("end", "")]
        assert it.stage.acts == [(0, Expression.SAD)]
        assert "speaking" in it.doing


async def test_e1_moods_begin_with_their_sentence() -> None:
    async with scene() as it:
        await it.tell(ReplyMood(Expression.HAPPY), ReplyBegan(1), ReplySentence(1, "Ha."), sound(1),
                      ReplyMood(Expression.SAD), sound(1), ReplySentence(1, "Oh."), sound(1),
                      ReplyMood(Expression.NEUTRAL), ReplyEnded(1, True))  # fmt: skip
        assert it.stage.acts == [(0, Expression.HAPPY), (1, Expression.SAD), (1, Expression.NEUTRAL)]
        assert it.endings == [("end", "Ha. Oh.")]


# -- odd services


async def test_h1_a_service_that_heard_nothing_ends_the_turn_with_a_message() -> None:
    async with scene(timeout_s=0.2) as it:
        await it.say()
        await it.until(lambda: it.doing[-1] == "idle")
        assert it.doing == ["listening", "recognizing", "error", "idle"]
        assert it.failures == ["voice_no_answer"]
        assert it.call.told == ["listen", "finish", "abort"]
        await it.tell(UserSaid("much too late"))
        assert it.finals == [""], "what was given up stays so"
        await usable(it)


async def test_h1_a_service_that_understood_no_words_ends_the_turn() -> None:
    async with scene() as it:
        await it.say()
        await it.tell(UserSaid(" "))
        assert it.doing == ["listening", "recognizing", "idle"]
        assert not it.line.busy
        await usable(it)


async def test_h1_a_reply_before_the_words() -> None:
    async with scene() as it:
        await it.say()
        await it.tell(ReplyBegan(1), UserSaid("hello"), ReplySentence(1, "Hi."), sound(1), ReplyEnded(1, True))
        assert it.finals == ["hello"]
        assert it.endings == [("end", "Hi.")]
        await usable(it)


async def test_h1_a_reply_without_words_is_spoken() -> None:
    async with scene() as it:
        await it.say()
        await it.tell(*reply(1, "Hi."))
        await it.until(lambda: it.endings)
        assert it.endings == [("end", "Hi.")]
        assert it.failures == []
        await usable(it)


async def test_h1_words_that_come_long_after_the_reply_began_are_shown() -> None:
    async with scene() as it:
        await it.say()
        await it.tell(ReplyBegan(1), ReplySentence(1, "Hi."), sound(1))
        await it.until(lambda: "speaking" in it.doing)
        await it.tell(UserSaid("hello"), ReplyEnded(1, True))
        assert it.finals == ["", "hello"]
        assert it.endings == [("end", "Hi.")]
        await usable(it)


async def test_h1_words_and_then_no_reply() -> None:
    async with scene(silent_s=0.2) as it:
        await it.say()
        await it.tell(UserSaid("hello"))
        assert it.doing[-1] == "thinking"
        await it.until(lambda: it.doing[-1] == "idle")
        assert it.failures == ["voice_silent"]
        assert it.call.told[-1] == "abort"
        await usable(it)


async def test_h1_a_reply_that_stops_coming() -> None:
    async with scene(silent_s=0.2) as it:
        await it.say()
        await it.tell(UserSaid("hello"), ReplyBegan(1), ReplySentence(1, "I"), sound(1))
        await it.until(lambda: it.endings)
        assert it.failures == ["voice_silent"]
        assert it.call.told[-1] == "abort"
        await usable(it)


async def test_h1_more_unasked_replies_than_can_wait_are_left_out() -> None:
    async with scene() as it:
        it.stage.released.clear()
        for number in range(1, 9):
            await it.tell(*reply(number, f"Number {number}."))
        it.stage.released.set()
        await it.until(lambda: it.doing[-1] == "idle")
        assert [text for _, text in it.endings] == [f"Number {number}." for number in range(1, 6)]
        await usable(it)


async def test_h1_a_long_reply_makes_the_service_wait_and_an_abort_frees_it() -> None:
    async with scene() as it:
        it.conversation.say("one two")  # the stage is taken
        it.stage.released.clear()
        await it.settled()
        await it.tell(ReplyBegan(1), *(sound(1, 10.0) for _ in range(8)))
        assert it.call._events.qsize() == 5, "30 s are taken, the rest waits"
        it.conversation.interrupt()
        await it.settled()
        assert it.call._events.qsize() == 0
        assert it.call.told == ["abort"]
        await usable(it)


async def test_h1_sentences_without_end_make_the_service_wait() -> None:
    async with scene() as it:
        it.conversation.say("one two")  # the stage is taken
        it.stage.released.clear()
        await it.settled()
        await it.tell(ReplyBegan(1), *(ReplySentence(1, "And so on.") for _ in range(QUEUED + 3)))
        assert it.call._events.qsize() == 3
        it.conversation.interrupt()
        await it.settled()
        assert it.call._events.qsize() == 0
        await usable(it)


async def test_h1_what_the_service_wants_shown_is_told() -> None:
    async with scene() as it:
        await it.tell(Announcement("Battery: low"))
        assert it.lines == ["up", "notice"]


# -- over a reply


async def test_h1_who_cuts_in_while_the_service_still_sends_aborts_it_first() -> None:
    async with scene() as it:
        await it.speak_on()
        await it.hear(0.4, loud=True)
        assert it.stage.held
        assert it.call.told == [], "it is not known yet whether the user means it"
        await it.hear(0.8, loud=True)
        assert it.call.told == ["abort", "listen"]
        assert it.call.samples >= LISTEN_RATE * 1.1, "what was said until then is not lost"
        assert it.endings == [("interrupted", "A")]
        await it.tell(ReplySentence(1, "More."), sound(1), ReplyEnded(1, False))
        await it.hear(1.0, loud=False)
        assert it.call.told == ["abort", "listen", "finish"]
        assert len(it.endings) == 1, "nothing of an aborted reply is spoken"
        await it.answer(2, "something else", "Fine.")
        assert it.endings[1:] == [("end", "Fine.")]
        await usable(it)


async def test_h1_a_noise_over_a_reply_that_still_comes_loses_nothing() -> None:
    async with scene() as it:
        await it.speak_on()
        await it.hear(0.2, loud=True)
        await it.hear(0.6, loud=False)
        assert it.call.told == []
        await it.tell(ReplySentence(1, "The end."), sound(1), ReplyEnded(1, True))
        it.stage.released.set()
        await it.settled()
        assert it.endings == [("end", "A long story. The end.")]


@pytest.mark.parametrize("late", [False, True], ids=["all of it is here", "the service still sends it"])
async def test_h1_a_back_channel_lets_the_held_reply_go_on_and_is_not_answered(late: bool) -> None:
    async with scene() as it:
        await it.speak_on()
        if not late:
            await it.tell(ReplyEnded(1, True))
        await it.hear(0.4, loud=True)
        await it.hear(1.0, loud=False)
        assert it.stage.held
        assert it.call.told == (["abort", "listen", "finish"] if late else ["listen", "finish"])
        await it.tell(UserSaid("mm-hm"), ReplyBegan(2), ReplySentence(2, "What?"), sound(2))
        assert it.call.told[-1] == "abort"
        assert not it.stage.held
        assert it.doing[-1] == "speaking"
        await it.tell(sound(2), ReplyEnded(2, False))
        it.stage.released.set()
        await it.settled()
        assert it.endings == [("end", "A long story.")]
        assert it.finals == [""]
        await usable(it)


async def test_h1_a_short_word_over_the_reply_takes_the_turn() -> None:
    async with scene() as it:
        await it.speak_on()
        await it.hear(0.4, loud=True)
        await it.hear(1.0, loud=False)
        await it.answer(2, "stop", "All right.")
        assert it.endings[0][0] == "interrupted"
        assert it.finals == ["stop"]
        await usable(it)


async def test_h1_the_avatar_is_not_held_for_long_by_what_the_service_does_not_understand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.voice_line.HELD_TIMEOUT_S", 0.2)
    async with scene() as it:
        await it.speak_on()
        await it.tell(ReplyEnded(1, True))
        await it.hear(0.4, loud=True)
        await it.hear(1.0, loud=False)
        assert it.stage.held
        await it.until(lambda: not it.stage.held)
        assert "error" not in it.doing
        assert it.failures == []
        await usable(it)


async def test_h1_an_interrupt_from_the_page_aborts_once() -> None:
    async with scene() as it:
        await it.speak_on()
        it.conversation.interrupt()
        await it.settled()
        assert it.call.told == ["abort"]
        it.conversation.interrupt()
        await it.settled()
        assert it.call.told == ["abort"]
        await usable(it)


async def test_h1_an_interrupt_of_what_the_service_has_sent_to_the_end_aborts_nothing() -> None:
    async with scene() as it:
        await it.speak_on()
        await it.tell(ReplyEnded(1, True))
        it.conversation.interrupt()
        await it.settled()
        assert it.call.told == []
        await usable(it)


async def test_h1_an_interrupt_while_it_thinks() -> None:
    async with scene() as it:
        await it.say()
        await it.tell(UserSaid("hello"))
        it.conversation.interrupt()
        await it.settled()
        assert it.call.told[-1] == "abort"
        assert it.endings == [("interrupted", "")]
        await usable(it)


async def test_h1_the_user_goes_on_while_the_service_thinks() -> None:
    async with scene() as it:
        await it.say()
        await it.tell(UserSaid("what is the weather"))
        await it.hear(0.8, loud=True)
        assert it.call.told == ["listen", "finish"]
        await it.hear(1.0, loud=False)
        assert it.call.told == ["listen", "finish", "abort", "listen", "finish"]
        await it.answer(2, "in Berlin", "Rain.")
        assert it.finals == ["what is the weather", "in Berlin"]
        assert it.endings[-1] == ("end", "Rain.")
        await usable(it)


async def test_h1_typing_while_the_user_speaks_keeps_both() -> None:
    async with scene() as it:
        await it.hear(0.8, loud=True)
        it.conversation.chat("typed", interrupt=True)
        await it.settled()
        assert it.call.told == ["listen", "abort", "ask typed"]
        await it.answer(1, "typed", "Yes.")
        assert it.call.told[-1] == "listen", "the turn goes on where it was"
        await it.hear(1.0, loud=False)
        assert it.call.samples >= LISTEN_RATE * 1.2
        await it.answer(2, "spoken", "No.")
        assert it.endings == [("end", "Yes."), ("end", "No.")]


async def test_h1_a_push_while_the_user_speaks_loses_no_word() -> None:
    async with scene() as it:
        await it.hear(0.8, loud=True)
        await it.tell(ReplyBegan(1), ReplySentence(1, "News."), sound(1))
        await it.hear(0.4, loud=True)
        await it.tell(ReplyEnded(1, True))
        assert it.call.told == ["listen", "listen"]
        assert it.call.samples >= LISTEN_RATE * 1.1


async def test_h1_a_microphone_that_goes_away_drops_the_turn() -> None:
    async with scene() as it:
        await it.hear(0.8, loud=True)
        it.ears.rest()
        await it.settled()
        assert it.call.told == ["listen", "abort"]
        await usable(it)


# -- the connection


async def test_h1_lost_before_the_words_the_turn_is_understood_after_reconnecting() -> None:
    async with scene() as it:
        await it.say()
        await it.tell(LineDown(LOST), LineUp())
        await it.answer(1, "hello", "Hi.")
        assert it.lines == ["up", "lost", "up"]
        assert it.finals == ["hello"]
        assert it.endings == [("end", "Hi.")]
        assert it.failures == ["fake_lost"]


async def test_h1_lost_while_the_user_speaks() -> None:
    async with scene() as it:
        await it.hear(0.6, loud=True)
        await it.tell(LineDown())
        await it.hear(0.4, loud=True)
        await it.tell(LineUp())
        await it.hear(1.0, loud=False)
        await it.answer(1, "hello", "Hi.")
        assert it.endings == [("end", "Hi.")]
        assert it.call.told == ["listen", "finish"], "the client keeps a recording over a reconnection"


async def test_h1_lost_in_mid_reply_what_came_is_played_and_then_the_error() -> None:
    async with scene() as it:
        await it.speak_on()
        await it.tell(ReplyEnded(1, False), LineDown(LOST))
        assert it.lines == ["up", "lost"], "told at once"
        assert it.endings == []
        it.stage.released.set()
        await it.settled()
        assert it.endings[0][0] == "error"
        assert it.failures == ["fake_lost", "voice_lost"]
        await it.tell(LineUp())
        await usable(it)


async def test_h1_lost_in_mid_reply_without_a_word_about_the_reply() -> None:
    async with scene() as it:
        await it.speak_on()
        await it.tell(LineDown(LOST))
        it.stage.released.set()
        await it.settled()
        assert [state for state, _ in it.endings] == ["error"]
        assert it.failures == ["fake_lost", "voice_lost"]
        await it.tell(LineUp())
        await usable(it)


async def test_h1_lost_in_mid_reply_and_interrupted() -> None:
    async with scene() as it:
        await it.speak_on()
        await it.tell(ReplyEnded(1, False), LineDown(LOST))
        it.conversation.interrupt()
        await it.tell(LineUp())
        assert [state for state, _ in it.endings] == ["interrupted"]
        assert it.call.told == []
        await usable(it)


@pytest.mark.parametrize(("said", "ends"), [("mm-hm", "error"), ("stop", "interrupted")])
async def test_h1_lost_while_the_avatar_is_held(said: str, ends: str) -> None:
    async with scene() as it:
        await it.speak_on()
        await it.hear(0.4, loud=True)
        await it.tell(ReplyEnded(1, False), LineDown(LOST))
        assert it.stage.held
        await it.hear(1.0, loud=False)
        await it.tell(LineUp(), UserSaid(said), *reply(2, "Hi."))
        assert not it.stage.held
        it.stage.released.set()
        await it.settled()
        assert it.endings[0][0] == ends
        assert (("end", "Hi.") in it.endings) is (said == "stop")
        await usable(it)


async def test_h1_lost_after_the_words_before_the_reply() -> None:
    async with scene() as it:
        await it.say()
        await it.tell(UserSaid("hello"), LineDown(), LineUp())
        assert it.endings[0][0] == "error"
        assert it.failures == ["voice_lost"]
        await usable(it)


async def test_h1_lost_while_a_typed_question_waits() -> None:
    async with scene() as it:
        it.conversation.chat("hello")
        await it.settled()
        await it.tell(LineDown(), LineUp())
        assert it.endings[0][0] == "error"
        await usable(it)


async def test_h1_typed_before_the_line_is_up() -> None:
    async with scene() as it:
        await it.tell(LineDown())
        it.conversation.chat("hello")
        await it.settled()
        assert it.call.told == []
        await it.tell(LineUp())
        assert it.call.told == ["ask hello"]
        await it.answer(1, "hello", "Hi.")
        assert it.endings == [("end", "Hi.")]


async def test_h1_typed_and_interrupted_before_the_line_is_up() -> None:
    async with scene() as it:
        await it.tell(LineDown())
        it.conversation.chat("hello")
        await it.settled()
        it.conversation.interrupt()
        await it.tell(LineUp())
        assert it.call.told == []
        assert it.endings == [("interrupted", "")]
        await usable(it)


async def test_h1_a_line_that_never_comes_up() -> None:
    async with scene(timeout_s=0.2) as it:
        await it.tell(LineDown(LOST))
        it.conversation.chat("hello")
        await it.until(lambda: it.endings)
        await it.say()
        await it.until(lambda: it.doing[-1] == "idle" and "error" in it.doing)
        assert it.failures == ["fake_lost", "voice_down", "voice_down"]
        assert it.call.told[-1] == "abort", "what is said now is not to be answered in a minute"
        await it.tell(LineUp())
        await usable(it)


async def test_h1_a_service_that_refuses_us_is_told_once_and_turns_fail_at_once() -> None:
    async with scene(timeout_s=60.0) as it:
        await it.say()
        await it.tell(LineFailed(REFUSED), LineFailed(REFUSED))
        assert it.lines == ["up", "failed"]
        assert it.doing[-2:] == ["error", "idle"]
        it.conversation.chat("hello")
        await it.settled()
        assert it.endings[0] == ("error", "check the token")
        await it.tell(LineUp())
        assert it.lines == ["up", "failed", "up"]
        await usable(it)


async def test_h1_a_service_that_can_not_be_reached_is_told_and_the_session_lives() -> None:
    async with scene() as it:
        unreachable = DialogueError("can't be reached", code="fake_unreachable", retryable=True)
        await it.tell(LineFailed(unreachable), LineFailed(unreachable))
        assert it.lines == ["up", "failed"]
        it.conversation.say("one two")
        await it.settled()
        assert it.endings == [("end", "one two")]


async def test_h1_a_broken_adapter_does_not_break_the_session() -> None:
    async with scene() as it:
        await it.tell("nonsense", LineFailed("no error"))  # type: ignore[arg-type]
        assert it.lines == ["up", "failed"]
        assert it.failures == ["voice_broken"]
        it.conversation.say("one two")
        await it.settled()
        assert it.endings == [("end", "one two")]
        await it.say()
        assert it.doing[-2:] == ["error", "idle"]


async def test_h1_closing_in_the_middle_of_everything() -> None:
    async with scene() as it:
        await it.speak_on()
        it.conversation.chat("hello")
        await it.hear(0.6, loud=True)
    assert it.call.closed


async def test_h1_a_question_too_many_is_refused_and_not_asked() -> None:
    async with scene() as it:
        it.stage.released.clear()
        for number in range(5):
            it.conversation.chat(f"question {number}")
            await it.settled()
        with pytest.raises(Refused):
            it.conversation.chat("one too many")
        assert it.call.told == ["ask question 0"]
        it.conversation.interrupt()
        await asyncio.sleep(0)
        await usable(it)


async def test_h1_turns_that_follow_each_other_quickly_are_each_sent_whole() -> None:
    async with scene() as it:
        await it.say()
        await it.hear(0.6, loud=True)
        await it.hear(1.0, loud=False)  # it waits for the first one's words
        it.call.tell(UserSaid(""))
        for _ in range(4):
            it.ears.hear(SOUND)  # a third one begins in the same moment
            await asyncio.sleep(0)
        await it.hear(0.8, loud=True)
        await it.settled()
        second = it.call.samples
        assert it.call.told[-1] == "finish"
        assert second >= LISTEN_RATE * 1.0
        await it.answer(1, "the second", "Yes.")
        await it.hear(1.0, loud=False)
        await it.answer(2, "the third", "No.")
        assert it.finals == ["", "the second", "the third"]
        assert it.endings[-1] == ("end", "No.")


async def test_h1_a_turn_that_is_not_sent_yet_when_the_next_one_begins_is_sent_whole() -> None:
    async with scene() as it:
        first, second = np.zeros(800, np.int16), np.zeros(1600, np.int16)
        turns = [it.line.open(lambda transcript: None)]
        turns[0].push(first)
        asked = [asyncio.create_task(turns[0].finish())]
        await it.settled()
        turns.append(it.line.open(lambda transcript: None))
        turns[1].push(second)
        await it.tell(UserSaid(""))
        assert it.call.told == ["listen", "finish", "listen"], "the second one is heard as it comes"
        turns.append(it.line.open(lambda transcript: None))
        turns[2].push(SOUND)
        asked.append(asyncio.create_task(turns[1].finish()))
        await it.settled()
        assert it.call.told[-2:] == ["listen", "finish"]
        assert it.call.samples == len(second)
        await it.tell(UserSaid("the second"))
        assert [(await one).text for one in asked] == ["", "the second"]
        await turns[1].cancel()
        await turns[2].cancel()
        await usable(it)


async def test_h1_words_are_answered_by_the_reply_to_them_and_by_no_other() -> None:
    async with scene() as it:
        turn = it.line.open(lambda transcript: None)
        turn.push(SOUND)
        asked = asyncio.create_task(turn.finish())
        await it.settled()
        await it.tell(UserSaid("hello"))
        await asked
        it.conversation.chat("words of a file", typed=False)
        await it.settled()
        assert it.call.told[-1] == "ask words of a file"
        await it.tell(*reply(1, "Of a file."))
        assert it.endings == [("end", "Of a file.")]
        await usable(it)


async def test_h1_words_that_come_as_the_turn_is_given_up_leave_nothing_waiting() -> None:
    async with scene() as it:
        turn = it.line.open(lambda transcript: None)
        turn.push(SOUND)
        asked = asyncio.create_task(turn.finish())
        await it.settled()
        it.line._heard("hello")  # in the same step of the loop
        asked.cancel()
        await asyncio.wait([asked])
        await turn.cancel()
        assert it.call.told[-1] == "abort"
        await it.tell(ReplyBegan(1), *(sound(1, 10.0) for _ in range(5)), ReplyEnded(1, True))
        assert it.call._events.empty()
        await it.until(lambda: not it.conversation.busy)
        await usable(it)


async def test_h1_words_that_were_dropped_are_asked_when_they_come_again() -> None:
    async with scene() as it:
        turn = it.line.open(lambda transcript: None)
        turn.push(np.zeros(1600, np.int16))
        finishing = asyncio.create_task(turn.finish())
        await it.settled()
        await it.tell(UserSaid("hello"))
        assert (await finishing).text == "hello"
        await turn.cancel()
        it.conversation.chat("hello", typed=False)  # of an uploaded file
        await it.settled()
        assert it.call.told == ["listen", "finish", "abort", "ask hello"]
        await it.tell(*reply(1, "Good day."))
        assert it.endings == [("end", "Good day.")]
