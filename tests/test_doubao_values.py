"""Rows D1 to D4: the parts of the Doubao client that decide and do no I/O."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.doubao import RecognitionConfig
from asr.doubao.backlog import BYTES_PER_MS, LARGEST_PACKET_BYTES, Backlog
from asr.doubao.endpoint import Endpoint
from asr.doubao.options import Options
from asr.doubao.protocol import ProtocolError
from asr.doubao.response import Response, Utterance, error_text
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
        ({"host": "wss://name:port"}, "host"),
        ({"host": "[::1"}, "host"),
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
