"""A device's conversation as a state machine: what it says, what happens in the session, what is to be done."""

from __future__ import annotations

from typing import Any

import pytest

from core.devices import messages
from core.devices.effects import (
    Ask,
    EndReply,
    GoOn,
    Greet,
    Hello,
    Hush,
    Interrupt,
    Key,
    Leave,
    Open,
    Pong,
    Rest,
    Say,
    Subtitle,
)
from core.devices.talk import Talk
from core.devices.wake_words import WakeWords
from core.dialogue.xiaozhi.messages import (
    Abort,
    ClientHello,
    Goodbye,
    Iot,
    ListenDetect,
    ListenStart,
    ListenStop,
    Malformed,
    Mcp,
    Mode,
    Ping,
    Unknown,
)
from core.events import Failed, Heard, Replying, ReplyState, Typed
from core.frames import Expression, Transcript
from core.turn_events import ListenMode

START, STOP = Say(messages.tts_start()), Say(messages.tts_stop())
OPEN, PUSH = Open(ListenMode.OPEN), Open(ListenMode.PUSH_TO_TALK)


@pytest.fixture
def talk() -> Talk:
    return Talk(WakeWords(["hi esp", "你好小智"]))


def sentence(reply: str, text: str, mood: Expression | None = None) -> Replying:
    return Replying(reply, ReplyState.SENTENCE, text, mood=mood)


def over(reply: str, state: ReplyState = ReplyState.END) -> Replying:
    return Replying(reply, state)


def test_h1_nothing_is_heard_before_the_device_listens(talk: Talk) -> None:
    assert not talk.takes_sound  # the wake word's sound may come before `detect`
    assert talk.take(ListenDetect("Hi, ESP!")) == [Greet()]
    assert not talk.takes_sound
    assert talk.take(ListenStart(Mode.AUTO)) == [OPEN]
    assert talk.takes_sound


def test_h1_in_auto_mode_the_device_is_deaf_while_we_speak(talk: Talk) -> None:
    talk.take(ListenStart(Mode.AUTO))
    assert talk.on_sound("r1") == [Rest(), START]
    assert not talk.takes_sound
    assert talk.on_event(over("r1")) == [EndReply()]
    assert not talk.takes_sound  # it still plays
    talk.stopped()
    assert talk.takes_sound  # of a client that goes on without a new start
    assert talk.take(ListenStart(Mode.AUTO)) == [OPEN]
    assert talk.takes_sound


def test_h1_in_realtime_mode_the_microphone_stays_open(talk: Talk) -> None:
    talk.take(ListenStart(Mode.REALTIME))
    assert talk.on_sound("r1") == [START]
    assert talk.takes_sound
    assert talk.on_event(over("r1", ReplyState.INTERRUPTED)) == [Hush(), STOP]
    assert talk.takes_sound


def test_h1_in_manual_mode_the_device_ends_the_turn(talk: Talk) -> None:
    assert talk.take(ListenStart(Mode.MANUAL)) == [Interrupt(), PUSH, Key(True)]
    assert talk.takes_sound
    assert talk.take(ListenStop()) == [Key(False)]
    assert not talk.takes_sound
    assert talk.take(ListenStop()) == []


def test_h1_a_stop_ends_a_turn_in_every_mode(talk: Talk) -> None:
    talk.take(ListenStart(Mode.AUTO))
    assert talk.take(ListenStop()) == [Key(False)]
    assert not talk.takes_sound


def test_h1_other_text_than_a_wake_word_is_a_question(talk: Talk) -> None:
    assert talk.take(ListenDetect("你好，小智！")) == [Greet()]
    assert talk.take(ListenDetect("What time is it?")) == [Ask("What time is it?")]
    assert talk.take(ListenDetect("  ")) == []


def test_h1_words_are_told_before_sound(talk: Talk) -> None:
    talk.take(ListenStart())
    assert talk.on_event(Heard(Transcript("hel", final=False))) == []
    assert talk.on_event(Heard(Transcript("", final=True))) == []
    assert talk.on_event(Heard(Transcript("hello", final=True))) == [Say(messages.stt("hello"))]
    assert talk.on_event(Typed("hi")) == [Say(messages.stt("hi"))]
    assert talk.on_event(Replying("r1", ReplyState.START)) == []
    assert talk.on_event(sentence("r1", "One.")) == [Rest(), START, Subtitle(messages.sentence_start("One."))]
    assert talk.on_sound("r1") == []
    assert talk.on_event(sentence("r1", "Two.")) == [Subtitle(messages.sentence_start("Two."))]


def test_h1_moods_are_told_when_they_change(talk: Talk) -> None:
    def told(event: Replying) -> list[Any]:
        found = [effect.message for effect in talk.on_event(event) if isinstance(effect, Subtitle)]
        return [message["emotion"] for message in found if message["type"] == "llm"]

    assert told(sentence("r1", "One.")) == []
    assert told(sentence("r1", "Two.", Expression.HAPPY)) == ["happy"]
    assert told(sentence("r1", "Three.")) == []  # it lasts
    assert told(sentence("r1", "Four.", Expression.APOLOGETIC)) == ["embarrassed"]
    assert told(sentence("r2", "One.")) == ["neutral"]  # not over the reply
    assert told(sentence("r2", "Two.")) == []


def test_h1_an_abort_is_answered_at_once_and_nothing_follows(talk: Talk) -> None:
    talk.take(ListenStart(Mode.AUTO))
    talk.on_sound("r1")
    assert talk.take(Abort()) == [Hush(), STOP, Interrupt()]
    assert talk.on_event(over("r1", ReplyState.INTERRUPTED)) == []
    assert talk.on_sound("r1") is None
    assert talk.on_event(sentence("r1", "Late.")) == []
    assert talk.on_sound("r2") == [Rest(), START]


def test_h1_an_abort_of_nothing_is_answered_too(talk: Talk) -> None:
    assert talk.take(Abort("wake_word_detected")) == [Hush(), STOP, Interrupt()]
    assert talk.on_sound("r1") == [START]


def test_h1_an_abort_between_end_and_stop(talk: Talk) -> None:
    talk.on_sound("r1")
    assert talk.on_event(over("r1")) == [EndReply()]
    assert talk.take(Abort()) == [Hush(), STOP, Interrupt()]
    assert not talk.speaking


def test_h1_a_reply_that_never_sounded_starts_and_stops_nothing(talk: Talk) -> None:
    for state in (ReplyState.START, ReplyState.INTERRUPTED, ReplyState.ERROR, ReplyState.END):
        assert talk.on_event(Replying("r1", state)) == []


def test_h1_replies_in_a_row_are_one_to_the_device(talk: Talk) -> None:
    assert talk.on_sound("r1") == [START]
    assert talk.on_event(over("r1")) == [EndReply()]
    assert talk.on_sound("r2") == [GoOn()]
    assert talk.on_event(over("r1")) == []
    assert talk.on_event(over("r2")) == [EndReply()]


def test_h1_a_reply_that_is_cleared_before_it_sounds_leaves_the_end_of_the_one_before(talk: Talk) -> None:
    talk.on_sound("r1")
    assert talk.on_cleared("r1") == [Hush()]  # held, or interrupted
    assert talk.on_event(over("r1")) == [EndReply()]
    assert talk.on_cleared("r2") == []  # else the device would speak for ever
    assert talk.on_event(over("r2", ReplyState.INTERRUPTED)) == []
    assert talk.on_cleared("") == []


def test_h1_an_error_is_shown_and_ends_the_reply(talk: Talk) -> None:
    talk.on_sound("r1")
    failed = Failed("tts", "espeak", "tts_failed", "the voice is away")
    assert talk.on_event(failed) == [Say(messages.alert("the voice is away"))]
    assert talk.on_event(over("r1", ReplyState.ERROR)) == [Hush(), STOP]


def test_h1_sound_of_nobodys_reply_is_not_for_devices(talk: Talk) -> None:
    assert talk.on_sound("") is None


@pytest.mark.parametrize("message", [Mcp({}), Iot({}), Unknown("x"), Malformed("no JSON")])
def test_h1_what_is_of_no_use_changes_nothing(talk: Talk, message: Any) -> None:
    assert talk.take(message) == []


def test_h1_small_questions(talk: Talk) -> None:
    assert talk.take(Ping()) == [Pong()]
    assert talk.take(Goodbye()) == [Leave()]
    assert talk.take(ClientHello()) == [Hello()]
