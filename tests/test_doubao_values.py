"""Rows D1 to D4: the parts of the Doubao client that decide and do no I/O."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.doubao import RecognitionConfig, RecognitionResult, create_text_only_callback
from asr.doubao.backlog import BYTES_PER_MS, LARGEST_PACKET_BYTES, Backlog
from asr.doubao.endpoint import Endpoint
from asr.doubao.errors import (
    CIRCUIT_OPEN,
    LOST,
    MALFORMED,
    RULES,
    SILENT,
    UNREACHABLE,
    Action,
    Failure,
    rule_for,
    rule_for_status,
)  # fmt: skip
from asr.doubao.options import Options
from asr.doubao.protocol import ProtocolError
from asr.doubao.response import Response, Utterance, error_text
from asr.doubao.result_processor import DoubaoResultProcessor, RecognizedText
from asr.doubao.retry import PLANS, CircuitBreaker, RetryPolicy
from asr.doubao.transcript import Timeline, TurnText, joined
from core.errors import RecognizerError

SECOND = 1000 * BYTES_PER_MS

# -- settings and the full request


def test_d1_request_has_what_the_service_requires() -> None:
    payload = RecognitionConfig(hotwords=("Eman", "数字人"), end_window_ms=50).payload()
    assert payload["audio"] == {"format": "pcm", "codec": "raw", "rate": 16000, "bits": 16, "channel": 1}
    request = payload["request"]
    assert request["model_name"] == "bigmodel"
    assert request["show_utterances"] is True
    assert request["result_type"] == "full"
    assert request["end_window_size"] == 200
    assert request["force_to_speech_time"] == 1000
    assert "enable_nonstream" not in request
    assert json.loads(request["corpus"]["context"]) == {"hotwords": [{"word": "Eman"}, {"word": "数字人"}]}


@pytest.mark.parametrize(
    ("language", "sent"),
    [("", None), ("zh", None), ("zh-CN", None), ("ja", "ja-JP"), ("en", "en-US"), ("fr-CA", "fr-CA")],
)
def test_d1_language_is_sent_only_when_it_is_not_chinese(language: str, sent: str | None) -> None:
    assert RecognitionConfig(language=language).payload()["audio"].get("language") == sent


def test_d4_headers_of_both_consoles() -> None:
    old = Endpoint(app_key="app", access_key="token").headers()
    assert (old["X-Api-App-Key"], old["X-Api-Access-Key"]) == ("app", "token")
    assert old["X-Api-Connect-Id"] == old["X-Api-Request-Id"]
    new = Endpoint(api_key="key").headers()
    assert new["X-Api-Key"] == "key"
    assert "X-Api-Access-Key" not in new
    assert new["X-Api-Resource-Id"] == "volc.bigasr.sauc.duration"
    assert new["X-Api-Connect-Id"] != Endpoint(api_key="key").headers()["X-Api-Connect-Id"]


def test_d4_keys_are_in_no_repr_and_masked_in_what_a_server_repeats() -> None:
    endpoint = Endpoint(app_key="app-key-1", access_key="token-1", api_key="key-1")
    assert not any(key in repr(endpoint) + endpoint.url for key in ("app-key-1", "token-1", "key-1"))
    assert endpoint.masked("bad key-1 and token-1") == "bad *** and ***"


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"app_key": ""}, "api_key"),
        ({"access_key": ""}, "access_key"),
        ({"resource_id": ""}, "resource_id"),
        ({"host": "http://x"}, "host"),
        ({"host": "wss://"}, "host"),
        ({"access_key": "token\r\nX: y"}, "plain"),
        ({"app_key": "密钥"}, "plain"),
    ],
)
def test_d4_wrong_settings_are_told(wrong: dict[str, str], advice: str) -> None:
    good = Endpoint(app_key="app", access_key="token")
    good.check()
    with pytest.raises(RecognizerError, match=advice) as caught:
        replace(good, **wrong).check()
    assert not caught.value.retryable


@pytest.mark.parametrize("wrong", [{"sequence_mode": "automatic"}, {"max_speed": 0.5}])
def test_d2_wrong_options_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(RecognizerError, match=next(iter(wrong))):
        Options(**wrong).check()


# -- answers


def answer(text: str, *utterances: tuple[str, int, int, bool]) -> Response:
    return Response(text, tuple(Utterance(*utterance) for utterance in utterances))


def test_d1_result_is_an_object_or_the_first_of_a_list() -> None:
    result = {"text": "hi", "additions": {"log_id": "L1"},
              "utterances": [{"text": "hi", "start_time": 10, "end_time": 900, "definite": True}]}  # fmt: skip
    for body in ({"result": result}, {"result": [result, {}]}):
        response = Response.parse(json.dumps(body).encode())
        assert response == Response("hi", (Utterance("hi", 10, 900, True),), "L1")


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b'{"result":[]}', b'{"result":null}', b'{"result":"x"}', b'{"result":{}}', b'{"code":1013}',
     b'{"result":{"text":null,"utterances":{}}}', b'{"result":{"utterances":[1,null]}}'],
)  # fmt: skip
def test_d1_answers_without_words_are_no_error(payload: bytes) -> None:
    assert Response.parse(payload).text == ""


@pytest.mark.parametrize("payload", [b"x", b"[1]", b"\xff\xfe", b"[" * 100_000, b"NaN"])
def test_d1_an_answer_that_is_no_json_object(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        Response.parse(payload)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["result", "text", "utterances", "start_time", "end_time", "definite", "additions", "log_id"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_d1_fuzz_answers(body: object) -> None:
    try:
        response = Response.parse(json.dumps({"result": body}).encode())
    except ProtocolError:
        return
    text = TurnText()
    text.take(response)
    assert isinstance(text.text, str)
    assert text.result(final=True).start <= text.result(final=True).end or not response.utterances


@pytest.mark.parametrize(
    ("payload", "text"),
    [(b'{"error":"too many"}', "too many"), (b"plain words", "plain words"), (b"[1]", "[1]"),
     (b'{"error":5}', '{"error":5}'), (b"\xff", "\ufffd"), (b"x" * 5000, "x" * 500)],
)  # fmt: skip
def test_d4_the_text_of_an_error_in_any_form(payload: bytes, text: str) -> None:
    assert error_text(payload) == text


# -- the text of a turn


def test_d3_newer_text_replaces_the_older_one() -> None:
    text = TurnText()
    text.take(answer("hello word"))
    text.take(answer("Hello, world."))
    assert text.text == "Hello, world."


def test_d2_a_sentence_is_reported_definite_once() -> None:
    text = TurnText()
    text.begin(sent(5))
    assert text.take(answer("one", ("one", 0, 900, False))) == ()
    assert [s.text for s in text.take(answer("one.", ("one.", 0, 900, True)))] == ["one."]
    assert text.take(answer("one. two", ("one.", 0, 900, True), ("two", 1800, 2000, False))) == ()
    assert [s.text for s in text.take(answer("", ("one.", 0, 900, True), ("two.", 1800, 2300, True)))] == ["two."]


def test_d2_after_a_break_the_finished_sentences_stay_and_the_rest_is_asked_again() -> None:
    text = TurnText()
    text.begin(sent(5))
    text.take(answer("one. two", ("one.", 200, 1000, True), ("two", 1800, 2000, False)))
    position = text.carry()
    assert position == SECOND
    assert text.text == "one."
    text.begin(sent(4, start=position))
    text.take(answer("two three", ("two three", 800, 2000, False)))
    assert text.text == "one. two three"
    result = text.result(final=True)
    assert (result.start, result.end) == (0.2, 3.0)


def test_d2_times_do_not_count_the_silence_that_keeps_a_session_alive() -> None:
    timeline = Timeline(start=2 * SECOND)
    timeline.sent(SECOND)
    timeline.silence(SECOND)
    timeline.silence(SECOND)
    timeline.sent(SECOND)
    seconds = [timeline.position(ms) / SECOND for ms in (0, 500, 1000, 1500, 2900, 3000, 3500, 4000, 9000)]
    assert seconds == [2, 2.5, 3, 3, 3, 3, 3.5, 4, 4]


@pytest.mark.parametrize(
    ("before", "after", "both"),
    [
        ("one.", "two", "one. two"),
        ("你好。", "今天", "你好。今天"),
        ("你好", "today", "你好today"),
        ("", "x", "x"),
        ("x ", "y", "x y"),
    ],
)
def test_d2_pieces_of_text_are_joined_as_their_script_does(before: str, after: str, both: str) -> None:
    assert joined(before, after) == both


def sent(seconds: int, start: int = 0) -> Timeline:
    timeline = Timeline(start)
    timeline.sent(seconds * SECOND)
    return timeline


# -- the audio of a turn


async def test_d2_backlog_sends_each_packet_once_and_again_after_a_break() -> None:
    backlog = Backlog(100 * SECOND)
    for number in range(5):
        backlog.add(bytes([number]) * 10)
    order = []
    for _ in range(3):
        order.append(backlog.next().data[0])  # type: ignore[union-attr]
        backlog.advance()
    assert backlog.rewind(10) == 10
    while (packet := backlog.next()) is not None:
        order.append(packet.data[0])
        backlog.advance()
    assert order == [0, 1, 2, 1, 2, 3, 4]


async def test_d2_a_replay_begins_in_the_middle_of_a_packet_on_a_whole_sample() -> None:
    backlog = Backlog(100 * SECOND)
    backlog.add(bytes(range(10)))
    backlog.advance()
    assert backlog.rewind(5) == 4
    assert backlog.next().data == bytes(range(4, 10))  # type: ignore[union-attr]


async def test_d2_backlog_is_bounded_on_both_sides() -> None:
    backlog = Backlog(100)
    assert backlog.add(bytes(60)) is not None
    assert backlog.add(bytes(60)) is None
    backlog.advance()
    assert backlog.add(bytes(60)) is not None
    backlog.advance()
    assert backlog.forgotten == 60
    assert backlog.rewind(0) == 60


async def test_d2_long_pieces_are_cut_into_packets() -> None:
    backlog = Backlog(100 * SECOND)
    backlog.add(bytes(LARGEST_PACKET_BYTES))
    backlog.add(bytes(LARGEST_PACKET_BYTES + 2), last=True)
    sizes, last = [], []
    while (packet := backlog.next()) is not None:
        sizes.append(len(packet.data))
        last.append(packet.last)
        backlog.advance()
    assert sizes == [32000, 6400, 6400, 6400, 6400, 6400, 2]
    assert last == [False] * 6 + [True]
    assert backlog.add(b"late") is None


async def test_d2_the_last_packet_survives_that_everything_is_settled() -> None:
    backlog = Backlog(100 * SECOND)
    backlog.add(bytes(10))
    backlog.add(b"", last=True)
    backlog.advance()
    backlog.advance()
    assert backlog.rewind(10) == 10
    assert backlog.next().last  # type: ignore[union-attr]


async def test_d2_whoever_waits_is_told_that_nothing_will_be_sent() -> None:
    backlog = Backlog(100)
    packet = backlog.add(bytes(10))
    backlog.abandon()
    assert packet is not None
    assert await asyncio.wait_for(packet.sent, 1) is False


# -- errors


ACTIONS = {
    20000000: (Action.NO_SPEECH, False), 20000003: (Action.NO_SPEECH, False), 45000000: (Action.RENUMBER, False),
    45000001: (Action.NEW_IDS, False), 45000002: (Action.NO_SPEECH, False), 45000010: (Action.OPERATOR, False),
    45000030: (Action.OPERATOR, False), 45000081: (Action.RECONNECT, True), 45000131: (Action.OPERATOR, False),
    45000132: (Action.OPERATOR, False), 45000151: (Action.OPERATOR, False), 45000292: (Action.BACK_OFF, True),
    55000031: (Action.BUSY, True), 55000000: (Action.INTERNAL, True), 55012345: (Action.INTERNAL, True),
    45999999: (Action.OPERATOR, False), 12345678: (Action.OPERATOR, False), 0: (Action.OPERATOR, False),
}  # fmt: skip


@pytest.mark.parametrize(("code", "expected"), ACTIONS.items())
def test_d4_every_code_has_its_action(code: int, expected: tuple[Action, bool]) -> None:
    rule = rule_for(code)
    assert (rule.action, rule.retryable) == expected
    error = Failure(rule, "what the server said").error()
    assert error.code == f"doubao_{code}"
    assert error.retryable is rule.retryable
    assert "what the server said" not in str(error)


def test_d4_every_row_is_tested_and_tells_operators_what_to_do() -> None:
    assert {int(code) for code in RULES} <= set(ACTIONS)
    for rule in RULES.values():
        assert rule.meaning
        assert rule.advice or rule.action is not Action.OPERATOR


@pytest.mark.parametrize(
    ("status", "action"),
    [(400, Action.OPERATOR), (401, Action.OPERATOR), (403, Action.OPERATOR), (404, Action.OPERATOR),
     (302, Action.OPERATOR), (429, Action.BACK_OFF), (500, Action.BUSY), (503, Action.BUSY)],
)  # fmt: skip
def test_d4_refused_handshakes(status: int, action: Action) -> None:
    assert rule_for_status(status).action is action


def pauses(failure: Failure, policy: RetryPolicy) -> list[float]:
    found = []
    while (pause := policy.pause(failure)) is not None:
        found.append(pause)
    return found


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(rule_for(45000000)), [0]),
        (Failure(rule_for(55000031)), [0.5, 1, 2, 4]),
        (Failure(rule_for(55000001)), [0.5, 1, 2]),
        (Failure(rule_for(45000292)), [2, 2, 4]),
        (Failure(rule_for(45000081)), [0, 0.3, 1]),
        (Failure(rule_for(45000010)), []),
        (Failure(rule_for(45000001), "missing parameter"), []),
        (Failure(rule_for(45000001), "Duplicate request id"), [0]),
        (Failure(LOST), [0, 0.3, 1]),
        (Failure(UNREACHABLE), [0, 0.3, 1]),
        (Failure(MALFORMED), [0, 0.3, 1]),
        (Failure(SILENT), [0]),
    ],
)
def test_d4_pauses_between_attempts(failure: Failure, expected: list[float]) -> None:
    assert pauses(failure, RetryPolicy(chance=lambda: 0.0)) == expected
    longest = pauses(failure, RetryPolicy(chance=lambda: 0.999))
    assert all(pause >= least for pause, least in zip(longest, expected, strict=True))


def test_d4_quota_pauses_are_two_seconds_at_least_and_jittered() -> None:
    assert min(PLANS[Action.BACK_OFF].pauses) >= 2
    assert PLANS[Action.BACK_OFF].jitter > 0


def test_d2_after_progress_failures_count_anew_but_a_mismatch_is_forgiven_once() -> None:
    policy = RetryPolicy(chance=lambda: 0.0)
    assert pauses(Failure(LOST), policy)
    assert pauses(Failure(rule_for(45000000)), policy)
    policy.progress()
    assert policy.pause(Failure(LOST)) == 0
    assert policy.pause(Failure(rule_for(45000000))) is None


def test_d4_three_quota_errors_in_a_row_open_the_circuit_for_a_while() -> None:
    now = 100.0
    breaker = CircuitBreaker(limit=3, rest_s=30, clock=lambda: now)
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    for expected in (False, False, True):
        breaker.failed()
        assert breaker.open is expected
    now += 31
    assert not breaker.open
    breaker.failed()
    assert breaker.open
    now += 31
    breaker.succeeded()
    breaker.failed()
    assert not breaker.open
    assert CIRCUIT_OPEN.retryable


# -- result processor


def raw(text: str) -> dict[str, Any]:
    return {"payload_msg": {"result": {"text": text}}}


def test_d3_only_the_text_newest_replacing_older_final_marked() -> None:
    heard: list[tuple[str, bool]] = []
    processor = DoubaoResultProcessor(lambda text: heard.append((text, text.is_final)))
    for text in ("he", "hello", "hello", "Hello."):
        processor.process(raw(text))
    processor.process({**raw("Hello."), "is_last_package": True})
    assert heard == [("he", False), ("hello", False), ("Hello.", False), ("Hello.", True)]
    assert processor.text == "Hello."
    assert processor.text.is_final


@pytest.mark.parametrize(
    "result",
    [RecognitionResult("hi"), raw("hi"), {"result": {"text": "hi"}}, {"result": [{"text": "hi"}]},
     {"payload_msg": {"result": [{"text": "hi"}]}}],
)  # fmt: skip
def test_d3_answers_of_every_form(result: object) -> None:
    heard: list[str] = []
    create_text_only_callback(user_callback=heard.append)(result)
    assert heard == ["hi"]
    assert type(heard[0]) is RecognizedText


@pytest.mark.parametrize("result", [{}, {"payload_msg": {}}, {"payload_msg": {"code": 1013}}, {"result": []}, None, 5])
def test_d3_what_has_no_text_calls_nobody(result: object) -> None:
    heard: list[str] = []
    create_text_only_callback(user_callback=heard.append)(result)
    assert heard == []


def test_d3_an_empty_final_is_handed_on_and_a_new_turn_begins() -> None:
    heard: list[str] = []
    callback = create_text_only_callback(heard.append)
    callback(RecognitionResult("hi", is_final=True))
    callback(RecognitionResult("hi"))
    callback(RecognitionResult("", is_final=True))
    assert heard == ["hi", "hi", ""]
    create_text_only_callback()(RecognitionResult("nobody listens"))


def test_d3_the_streaming_log_is_optional_and_tells_lengths_not_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    create_text_only_callback()(RecognitionResult("words"))
    assert not caplog.records
    create_text_only_callback(enable_streaming_log=True)(RecognitionResult("words", is_final=True))
    assert "final text of 5 characters" in caplog.text
    assert "words" not in caplog.text
