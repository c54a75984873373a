"""Rows D3 and D4: the table of errors, when to try again, and the text alone."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from asr.doubao import RecognitionResult, create_text_only_callback
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
from asr.doubao.result_processor import DoubaoResultProcessor, RecognizedText
from asr.doubao.retry import PLANS, CircuitBreaker, RetryPolicy

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
