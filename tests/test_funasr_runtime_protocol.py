"""C1: the official runtime protocol without a network: first message, combining, the end in every dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.funasr.runtime_protocol import (
    MAX_TEXT,
    Dialect,
    Mode,
    RuntimeConfig,
    RuntimeProtocolError,
    RuntimeSession,
    ServerFailure,
    patience_s,
)

END = object()
"""In a script: our end message."""


def on(text: str, **more: Any) -> dict[str, Any]:
    return {"mode": "2pass-online", "text": text, "wav_name": "w", **more}


def off(text: str, **more: Any) -> dict[str, Any]:
    return {"mode": "2pass-offline", "text": text, "wav_name": "w", **more}


def played(mode: Mode, *script: Any) -> RuntimeSession:
    """A session after the messages of `script`; it must not be done before the last."""
    session = RuntimeSession(mode)
    for number, message in enumerate(script):
        assert not session.done, f"done before message {number}"
        if message is END:
            session.end()
        else:
            session.receive(json.dumps(message))
    return session


# -- what we say


def test_c1_first_message() -> None:
    assert json.loads(RuntimeConfig(mode=Mode.OFFLINE, itn=False).first_message()) == {
        "mode": "offline", "wav_name": "microphone", "wav_format": "pcm", "audio_fs": 16000, "is_speaking": True,
        "chunk_size": [5, 10, 5], "chunk_interval": 10, "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1,
        "itn": False,
    }  # fmt: skip


def test_c1_hotwords_in_both_syntaxes() -> None:
    words = json.loads(RuntimeConfig(hotwords=["阿里巴巴", "Eman "]).first_message())["hotwords"]
    weights = json.loads(RuntimeConfig(hotwords={"阿里巴巴": 20}).first_message())["hotwords"]
    assert (words, weights) == ("阿里巴巴 Eman", '{"阿里巴巴": 20}')


def test_c1_sensevoice_options_only_when_wanted() -> None:
    message = json.loads(RuntimeConfig(svs_lang="zh", svs_itn=False).first_message())
    assert (message["svs_lang"], message["svs_itn"]) == ("zh", False)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [({"chunk_size": (5, 10)}, "chunk_size"), ({"chunk_size": (5, 0, 5)}, "chunk_size"),
     ({"chunk_size": (-1, 10, 5)}, "chunk_size"), ({"chunk_interval": 0}, "chunk_interval"),
     ({"chunk_interval": 7}, "chunk_interval"), ({"hotwords": ["/etc/words.TXT "]}, "hotwords"),
     ({"hotwords": [" "]}, "hotwords")],
)  # fmt: skip
def test_c1_settings_that_a_server_would_choke_on_are_refused_here(wrong: dict[str, Any], word: str) -> None:
    assert word in RuntimeConfig(**wrong).problem()
    assert RuntimeConfig().problem() == ""


@pytest.mark.parametrize(
    ("chunk_size", "interval", "size"), [((5, 10, 5), 10, 1920), ((5, 10, 5), 3, 6400), ((8, 8, 4), 10, 1536)]
)
def test_c1_frames_are_what_the_python_server_counts(chunk_size: tuple[int, ...], interval: int, size: int) -> None:
    config = RuntimeConfig(chunk_size=chunk_size, chunk_interval=interval)
    assert (config.problem(), config.frame_bytes) == ("", size)


@pytest.mark.parametrize(
    ("mode", "sent", "rest", "whole"),
    [(Mode.TWO_PASS, 1920, 2, 1920), (Mode.TWO_PASS, 1920, 0, 0), (Mode.ONLINE, 1920, 2, 19200 - 1920),
     (Mode.ONLINE, 19200, 0, 0), (Mode.ONLINE, 19200, 1918, 19200)],
)  # fmt: skip
def test_c1_the_last_frame_is_filled_up(mode: Mode, sent: int, rest: int, whole: int) -> None:
    audio = RuntimeConfig(mode=mode).last_audio(b"x" * rest, sent)
    assert (len(audio), audio.count(b"x")) == (whole, rest)


def test_c1_patience() -> None:
    assert [patience_s(seconds) for seconds in (0, 10, 60)] == [5, 5, 30]


# -- what they say


def test_c1_partials_are_appended_and_replaced_by_the_sentence() -> None:
    session, seen = RuntimeSession(Mode.TWO_PASS), []
    for message in (on("正"), on("是因"), off("正是因为，"), on("阳"), on("光"), off("阳光。")):
        session.receive(json.dumps(message))
        seen.append(session.text)
    assert seen == ["正", "正是因", "正是因为，", "正是因为，阳", "正是因为，阳光", "正是因为，阳光。"]


def test_c1_sentences_of_a_script_with_blanks_keep_them() -> None:
    session = played(Mode.TWO_PASS, on("hel"), on("lo"), off("Hello."), on("how"), on(" are"), off("How are you?"))
    assert session.text == "Hello. How are you?"


def test_c1_online_and_offline_modes() -> None:
    assert played(Mode.ONLINE, {"mode": "online", "text": "hel"}, {"mode": "online", "text": "lo"}).text == "hello"
    assert played(Mode.OFFLINE, END, {"mode": "offline", "text": "hello", "is_final": False}).text == "hello"


def test_c1_tags_of_sensevoice_are_no_words() -> None:
    session = played(Mode.TWO_PASS, off("<|zh|><|NEUTRAL|><|Speech|><|withitn|>你好<|"))
    assert session.text == "你好<|"


ENDS: dict[str, tuple[Mode, Dialect, list[Any]]] = {
    "old Python: false is the last, true was on its way": (
        Mode.TWO_PASS, Dialect.PYTHON_OLD,
        [on("one", is_final=True), END, on("two", is_final=True), off("one ", is_final=True),
         off("two", is_final=False)],
    ),
    "old Python, too short for a partial": (Mode.TWO_PASS, Dialect.UNKNOWN, [END, off("one two", is_final=False)]),
    "old Python, offline in sentences": (
        Mode.OFFLINE, Dialect.UNKNOWN,
        [END, {"mode": "offline", "text": "one ", "is_final": True},
         {"mode": "offline", "text": "two", "is_final": False}],
    ),
    "Python: always true, then the acknowledgement": (
        Mode.TWO_PASS, Dialect.PYTHON,
        [on("on", is_final=False), END, off("one", is_final=True, spk_name="unknown"),
         off("two", is_final=True, spk_name="unknown"), {"mode": "2pass", "is_final": True, "is_end": True}],
    ),
    "Python, online": (
        Mode.ONLINE, Dialect.PYTHON,
        [{"mode": "online", "text": "one ", "is_final": True}, END, {"mode": "online", "text": "two", "is_final": True},
         {"mode": "online", "wav_name": "w", "is_final": True, "is_end": True}],
    ),
    "C++ offline: the one result, false": (
        Mode.OFFLINE, Dialect.CPP,
        [END, {"mode": "offline", "text": "one two", "is_final": False, "timestamp": "[[0,10],[20,30]]"}],
    ),
    "C++ 2pass: false was on its way, true is the last": (
        Mode.TWO_PASS, Dialect.CPP,
        [on("one", is_final=False), END, off("one ", is_final=False), off("two", is_final=True)],
    ),
    "C++ 2pass: the last has neither text nor mode": (
        Mode.TWO_PASS, Dialect.CPP,
        [on("o", is_final=False), off("one two", is_final=False), END, {"text": "", "is_final": True, "wav_name": "w"}],
    ),
    "C++ 2pass, online: all are partials": (
        Mode.ONLINE, Dialect.CPP,
        [on("one ", is_final=False, slice_type=0, timestamp=17), END,
         on("two", is_final=True, slice_type=1, timestamp=17)],
    ),
    "LiveTalking, and us": (Mode.TWO_PASS, Dialect.UNKNOWN, [END, off("one two", is_final=True, timestamp=None)]),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
def test_c1_the_end_is_found_in_every_dialect_of_is_final(case: str) -> None:
    mode, dialect, script = ENDS[case]
    session = played(mode, *script)
    assert session.done or (session.settling and case.endswith("us"))
    assert session.text == "one two"
    assert session.dialect is dialect


@pytest.mark.parametrize("mode", ["2pass-online", "2pass-offline", "online", "offline"])
@pytest.mark.parametrize("final", [True, False, None, "true", 1])
def test_c1_nothing_is_the_end_before_ours(mode: str, final: Any) -> None:
    session = played(Mode.TWO_PASS, {"mode": mode, "text": "a", "is_final": final}, {"is_end": True, "is_final": True})
    assert not session.done
    assert not session.settling


def test_c1_where_only_time_tells_it_settles() -> None:
    assert played(Mode.TWO_PASS, END, off("a", is_final=True, spk_score=0.5)).settling
    assert played(Mode.OFFLINE, END, {"mode": "offline", "text": "a", "is_final": True}).settling


def test_c1_words_that_no_second_pass_confirmed_are_kept() -> None:
    session = played(Mode.TWO_PASS, on("one", is_final=False), END, {"text": "", "is_final": True})
    assert (session.done, session.text) == (True, "one")


def test_c1_a_nudge_is_answered_by_an_end_and_no_words() -> None:
    session = played(Mode.ONLINE, {"mode": "online", "text": "one"}, END, {"mode": "offline", "text": "two"})
    assert (session.done, session.text) == (True, "one")


def test_c1_nudges_are_for_servers_that_need_them() -> None:
    assert played(Mode.TWO_PASS, off("a", is_final=False)).nudge_s is None
    assert RuntimeSession(Mode.TWO_PASS, Dialect.CPP).nudge_s is not None
    assert RuntimeSession(Mode.TWO_PASS, Dialect.PYTHON_OLD).nudge_s == 0
    assert (RuntimeSession(Mode.TWO_PASS).nudge_s or 0) > 0
    assert RuntimeSession(Mode.OFFLINE).nudges(4) == [bytes(4)]


@pytest.mark.parametrize(
    ("more", "span"),
    [({"timestamp": "[[100,200],[200,500]]"}, (0.1, 0.5)),
     ({"timestamp": "[[100,200]][[100,200],[300,400]]"}, (0.1, 0.4)),
     ({"timestamp": 1_700_000_000_000, "start_time": 250, "end_time": 900}, (0.25, 0.9)),
     ({"timestamp": [[100, 200]]}, None), ({"timestamp": None}, None), ({"timestamp": "[[]]"}, None),
     ({"start_time": 5, "end_time": 5}, None), ({"start_time": "1", "end_time": 9}, None)],
)  # fmt: skip
def test_c1_spans(more: dict[str, Any], span: tuple[float, float] | None) -> None:
    assert played(Mode.TWO_PASS, off("a", **more)).span == span


def test_c1_the_span_of_sentences_is_from_the_first_to_the_last() -> None:
    session = played(Mode.TWO_PASS, off("a", timestamp="[[100,200]]"), off("b", timestamp="[[900,1200]]"))
    assert session.span == (0.1, 1.2)


# -- what they should not say


@pytest.mark.parametrize(
    "message",
    [b"\x00", "", "{", "5", "[]", "null", '"text"', "[" * 100_000, '{"text": 5}', '{"text": "a", "mode": 5}'],
)
def test_c1_garbage_is_named(message: str | bytes) -> None:
    with pytest.raises(RuntimeProtocolError):
        RuntimeSession(Mode.TWO_PASS).receive(message)


@pytest.mark.parametrize(
    "message",
    [{"error": "no model"}, {"is_end": True, "is_final": False, "error": "no model"},
     {"text": "ERROR. Real-time transcription service ONLY SUPPORT PCM stream.", "is_final": True}],
)  # fmt: skip
def test_c1_failures_of_the_server_are_failures(message: dict[str, Any]) -> None:
    with pytest.raises(ServerFailure):
        played(Mode.TWO_PASS, END, message)


def test_c1_an_error_beside_words_does_not_take_them_away() -> None:
    session = played(Mode.TWO_PASS, off("a"), END, {"is_end": True, "is_final": False, "error": "vad inference failed"})
    assert (session.done, session.text) == (True, "a")


def test_c1_text_is_bounded() -> None:
    session = RuntimeSession(Mode.ONLINE)
    for _ in range(5):
        session.receive(json.dumps({"mode": "online", "text": "a" * (MAX_TEXT // 3)}))
    assert len(session.text) == MAX_TEXT


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
RECORDS = st.dictionaries(
    st.sampled_from(
        ["mode", "text", "is_final", "is_end", "error", "timestamp", "start_time", "end_time", "stamp_sents"]
    ),
    VALUES | st.sampled_from(["2pass-online", "2pass-offline", "online", "offline", "[[1,2],[3,4]]", True, ""]),
)


@given(
    st.sampled_from(Mode), st.lists(RECORDS.map(json.dumps) | st.text() | st.binary(), max_size=8), st.integers(0, 8)
)
def test_c1_arbitrary_messages_raise_the_typed_errors_only(mode: Mode, messages: list[str | bytes], end: int) -> None:
    session = RuntimeSession(mode)
    for number, message in enumerate(messages):
        if number == end:
            session.end()
        try:
            session.receive(message)
        except (RuntimeProtocolError, ServerFailure):
            continue
        assert isinstance(session.text, str)
        assert session.span is None or session.span[0] <= session.span[1]
        assert session.ended or not (session.done or session.settling)
