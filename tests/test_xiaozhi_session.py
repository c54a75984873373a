"""The session's state machine, message by message, races included."""

from __future__ import annotations

import numpy as np

from core.dialogue.xiaozhi.events import (
    Emotion,
    Event,
    ReplyAudio,
    ReplyText,
    SpeakingStarted,
    SpeakingStopped,
    UserText,
)
from core.dialogue.xiaozhi.messages import Llm, Mode, ServerHello, Stt, TtsSentence, TtsStart, TtsStop
from core.dialogue.xiaozhi.session import ANSWER_S, Session, State
from core.frames import Pcm

START, STOP, HI = TtsStart(), TtsStop(), TtsSentence("Hi.")


def take(session: Session, *messages: object) -> list[Event]:
    return [event for message in messages for event in session.take(message)]  # type: ignore[arg-type]


def speaking(mode: Mode = Mode.MANUAL) -> Session:
    session = Session(4)
    session.listen(mode)
    session.stop()
    take(session, Stt("x"), START)
    return session


def test_h1_a_turn() -> None:
    session = Session(4)
    assert session.state is State.READY
    assert not session.takes_audio
    session.listen(Mode.MANUAL)
    assert session.state is State.LISTENING
    assert session.takes_audio
    session.stop()
    assert session.state is State.PROCESSING
    assert not session.takes_audio
    told = take(session, Stt("x"), START, START, Llm("happy"), HI, TtsSentence("Hi.", ends=True), TtsSentence(""))
    assert told == [UserText("x"), SpeakingStarted(5), Emotion("happy"), ReplyText(5, "Hi.")]
    pcm = Pcm(np.zeros(3, np.int16), 24000)
    assert session.sound(pcm) == [ReplyAudio(5, pcm)]
    assert session.sound(Pcm(np.zeros(0, np.int16), 24000)) == []
    assert take(session, STOP, STOP) == [SpeakingStopped(5, complete=True)]
    assert session.state is State.READY


def test_h1_where_a_reply_leads_to() -> None:
    for mode, state in ((Mode.AUTO, State.READY), (Mode.MANUAL, State.READY), (Mode.REALTIME, State.LISTENING)):
        session = speaking(mode)
        assert session.takes_audio is (mode is Mode.REALTIME)
        take(session, STOP)
        assert session.state is state


def test_h1_after_an_abort_nothing_until_the_next_reply() -> None:
    session = speaking()
    assert session.abort(0.0) == [SpeakingStopped(5, complete=False)]
    assert not session.gives_audio
    assert take(session, HI, Llm("sad"), STOP, STOP) == []
    assert take(session, START, HI) == [SpeakingStarted(6), ReplyText(6, "Hi.")]


def test_h1_an_abort_that_is_answered_by_no_stop() -> None:
    session = speaking()
    session.abort(0.0)
    assert take(session, HI, START, HI) == [SpeakingStarted(6), ReplyText(6, "Hi.")]


def test_h1_an_abort_that_crosses_the_beginning_of_the_reply() -> None:
    session = Session(0)
    session.listen(Mode.AUTO)
    session.stop()
    assert session.abort(0.0) == []
    assert session.state is State.READY
    assert take(session, START, HI) == []
    assert not session.gives_audio
    assert take(session, STOP, START) == [SpeakingStarted(1)]


def test_h1_of_questions_in_quick_succession_only_the_last_one_is_answered() -> None:
    for old in ([START, STOP, START, HI, STOP], [STOP, START, HI, STOP], [START, STOP, STOP], [STOP, STOP]):
        session = Session(0)
        for _ in range(2):
            session.detect()
            assert session.abort(0.0) == []
        session.detect()
        assert take(session, *old) == []
        assert take(session, Stt("x"), START, HI) == [UserText("x"), SpeakingStarted(1), ReplyText(1, "Hi.")]


def test_h1_a_reply_and_the_question_after_it_are_both_aborted() -> None:
    session = speaking()
    session.abort(0.0)
    session.detect()
    session.abort(0.1)
    session.detect()
    assert take(session, STOP, START, HI, STOP) == []
    assert take(session, START) == [SpeakingStarted(6)]


def test_h1_an_abort_that_was_not_answered_for_long_is_forgotten() -> None:
    session = Session(0)
    session.detect()
    session.abort(0.0)
    session.detect()
    session.abort(ANSWER_S + 0.1)
    assert take(session, STOP, START) == [SpeakingStarted(1)]


def test_h1_aborts_that_nobody_answers_do_not_silence_it_for_ever() -> None:
    session = Session(0)
    session.abort(0.0)
    session.abort(0.0)
    assert take(session, START, START) == [SpeakingStarted(1)]


def test_h1_the_end_of_the_connection_ends_the_reply() -> None:
    assert speaking().end() == [SpeakingStopped(5, complete=False)]
    assert Session(0).end() == []


def test_h1_text_without_a_reply_is_not_told() -> None:
    assert take(Session(0), HI, STOP, ServerHello()) == []


def test_h1_typed_text_waits_for_the_reply() -> None:
    session = Session(0)
    session.detect()
    assert session.state is State.PROCESSING
    session = speaking()
    session.detect()
    assert session.state is State.SPEAKING
