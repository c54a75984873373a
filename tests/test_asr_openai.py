"""C/E: speech recognition by an OpenAI-compatible server (protocol sheet 8.3), and the simulator's own strictness."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.openai import OpenAIRecognizer, wav
from asr.openai_answer import transcript
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from core.provider import Failure
from tests.simulators.openai_asr import JSON_ONLY, KEY, MODEL, Answer, TranscriptionServer

TONE = (8000 * np.sin(np.arange(LISTEN_RATE) / 5)).astype(np.int16)
SECRET_WORDS = "my pin is nine nine one"


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def pair(*answers: Answer, **options: Any) -> AsyncIterator[tuple[OpenAIRecognizer, TranscriptionServer]]:
    """A started recogniser and its server."""
    server = TranscriptionServer(lambda _: "hello there", *answers)
    async with server.running():
        defaults = {"api_key": KEY, "model": MODEL, "sleep": at_once, "jitter": lambda: 0.0}
        recognizer = OpenAIRecognizer(base_url=server.base_url, **{**defaults, **options})
        await recognizer.start()
        try:
            yield recognizer, server
        finally:
            await recognizer.close()


async def heard(recognizer: OpenAIRecognizer, audio: Samples = TONE) -> Transcript:
    stream = recognizer.open(lambda _: None)
    stream.push(audio)
    try:
        return await stream.finish()
    finally:
        await stream.cancel()


async def test_the_whole_turn_is_one_request() -> None:
    async with pair(language="zh-CN", prompt="Eman, Mira", temperature=0.2) as (recognizer, server):
        found = await heard(recognizer)
    assert found == Transcript("hello there", start=0.0, end=1.0, engine="openai")
    assert server.forms == [
        {"model": MODEL, "response_format": "json", "language": "zh", "prompt": "Eman, Mira", "temperature": "0.2"}
    ]
    assert server.seconds == [1.0]
    assert not server.refused


async def test_a_server_without_key_gets_no_authorization_header() -> None:
    server = TranscriptionServer(lambda _: "hello", key=None)
    async with server.running():
        recognizer = OpenAIRecognizer(base_url=server.base_url + "/", model=MODEL)
        await recognizer.start()
        assert (await heard(recognizer)).text == "hello"
        await recognizer.close()
    assert not server.refused


async def test_timestamps_give_spans_and_confidence() -> None:
    async with pair(timestamps=True) as (recognizer, server):
        found = await heard(recognizer)
    assert (found.start, found.end) == (0.2, 1.0)
    assert found.confidence == pytest.approx(0.7788, abs=1e-3)
    assert server.forms[0]["response_format"] == "verbose_json"


async def test_what_a_model_makes_up_from_noise_is_dropped() -> None:
    made_up = {"start": 0, "end": 1, "text": " Thank you.", "no_speech_prob": 0.9, "avg_logprob": -1.4}
    said = {"start": 0.3, "end": 0.8, "text": " hello", "no_speech_prob": 0.7, "avg_logprob": -0.2}
    for segments, text in (([made_up], ""), ([said, made_up], "hello")):
        body = json.dumps({"text": "Thank you. hello", "segments": segments}).encode()
        async with pair(Answer(body=body), timestamps=True) as (recognizer, _):
            assert (await heard(recognizer)).text == text


async def test_silence_costs_no_request() -> None:
    async with pair() as (recognizer, server):
        assert (await heard(recognizer, np.zeros(LISTEN_RATE, np.int16))).text == ""
        assert (await heard(recognizer, TONE[:800])).text == ""
        assert server.attempts == 0


async def test_a_turn_is_bounded() -> None:
    async with pair(max_turn_s=2.0) as (recognizer, server):
        stream = recognizer.open(lambda _: None)
        for _ in range(5):
            stream.push(TONE)
        await stream.finish()
    assert stream.truncated
    assert server.seconds == [2.0]


async def test_partials_on_request() -> None:
    partials: list[Transcript] = []
    async with pair(partial_interval_s=0.5) as (recognizer, server):
        stream = recognizer.open(partials.append)
        stream.push(TONE)
        while not partials:
            await asyncio.sleep(0)
        stream.push(TONE)
        final = await stream.finish()
    assert partials[0].text == "hello there"
    assert not partials[0].final
    assert final.final
    assert server.seconds[-1] == 2.0


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_what_passes_is_tried_again(status: int) -> None:
    async with pair(Answer(status=status), Answer(status=status), Answer()) as (recognizer, server):
        assert (await heard(recognizer)).text == "hello there"
        assert server.attempts == 3


async def test_three_attempts_are_all() -> None:
    async with pair(Answer(status=503, body=b'{"error":{"message":"loading"}}')) as (recognizer, server):
        with pytest.raises(RecognizerError, match=r"answered 503 \(loading\)") as caught:
            await heard(recognizer)
        assert server.attempts == 3
    assert caught.value.retryable
    assert caught.value.adapter == "openai"


async def test_a_broken_connection_is_tried_again() -> None:
    async with pair(Answer(drop=True), Answer()) as (recognizer, server):
        assert (await heard(recognizer)).text == "hello there"
        assert server.attempts == 2


async def test_a_server_that_breaks_off_each_time() -> None:
    async with pair(Answer(drop=True)) as (recognizer, server):
        with pytest.raises(RecognizerError, match="broke off") as caught:
            await heard(recognizer)
        assert server.attempts == 3
    assert caught.value.retryable


@pytest.mark.parametrize(("after", "waited"), [("1.5", 1.5), ("-3", 0.25), ("soon", 0.25)])
async def test_retry_after_is_obeyed(after: str, waited: float) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    busy = Answer(status=429, headers={"Retry-After": after})
    async with pair(busy, Answer(), sleep=sleep) as (recognizer, _):
        await heard(recognizer)
    assert waits == [waited]


async def test_a_wait_longer_than_a_turn_may_take_is_an_error_at_once() -> None:
    async with pair(Answer(status=429, headers={"Retry-After": "60"})) as (recognizer, server):
        with pytest.raises(RecognizerError, match="too many requests") as caught:
            await heard(recognizer)
        assert server.attempts == 1
    assert caught.value.retryable


async def test_a_used_up_quota_is_not_tried_again() -> None:
    body = json.dumps({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}).encode()
    async with pair(Answer(status=429, body=body)) as (recognizer, server):
        with pytest.raises(RecognizerError, match="quota"):
            await heard(recognizer)
        assert server.attempts == 1


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"api_key": "sk-wrong"}, "asr.openai.api_key"),
        ({"model": "nobody"}, "asr.openai.base_url .* and model"),
        ({"model": JSON_ONLY, "timestamps": True}, "language and timestamps"),
        ({"temperature": 7}, "temperature out of range"),
    ],
)
async def test_a_refusal_says_what_to_set(options: dict[str, Any], advice: str) -> None:
    async with pair(**options) as (recognizer, server):
        with pytest.raises(RecognizerError, match=advice) as caught:
            await heard(recognizer)
        assert server.attempts == 1
    assert not caught.value.retryable
    assert "sk-wrong" not in str(caught.value)


async def test_a_silent_server_is_a_timeout_and_the_connection_is_closed() -> None:
    async with pair(Answer(stall=True), timeout_s=0.2) as (recognizer, server):
        with pytest.raises(RecognizerError, match=r"did not answer within 0\.2 s") as caught:
            await heard(recognizer)
        await asyncio.wait_for(server.gone.wait(), 5)
    assert (caught.value.code, caught.value.retryable) == ("asr_timeout", True)


async def test_cancel_closes_the_request() -> None:
    async with pair(Answer(stall=True)) as (recognizer, server):
        stream = recognizer.open(lambda _: None)
        stream.push(TONE)
        waiting = asyncio.create_task(stream.finish())
        await server.arrived.wait()
        await stream.cancel()
        await asyncio.wait_for(server.gone.wait(), 5)
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_server_that_is_down() -> None:
    recognizer = OpenAIRecognizer(base_url="http://127.0.0.1:9/v1", sleep=at_once)
    await recognizer.start()
    with pytest.raises(RecognizerError, match="can not be reached") as caught:
        await heard(recognizer)
    assert caught.value.retryable
    await recognizer.close()


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"[]", b"{}", b'{"text": 3}', b'{"text": null}', b"\xff\xfe", b"[" * 100_000, b"x" * 2_000_000],
)
async def test_nonsense_is_an_error_and_no_hang(body: bytes) -> None:
    async with pair(Answer(body=body)) as (recognizer, server):
        with pytest.raises(RecognizerError, match="transcription"):
            await heard(recognizer)
        assert server.attempts == 1


WORDS = st.sampled_from(["text", "error", "segments", "start", "end", "no_speech_prob", "avg_logprob", "message"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.binary() | st.dictionaries(WORDS, VALUES).map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_a_transcript_or_the_typed_error(body: bytes) -> None:
    try:
        found = transcript(body, "the server", KEY)
    except Failure:
        return
    assert isinstance(found.text, str)
    assert found.confidence is None or 0 <= found.confidence <= 1


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({}, "EMAN_ASR__OPENAI__API_KEY"),
        ({"base_url": "ftp://example.org"}, "http://"),
        ({"base_url": "http://"}, "http://"),
        ({"api_key": "sk-ключ"}, "copy it again"),
        ({"api_key": "sk-1", "language": "English, please"}, "code such as en"),
    ],
)
async def test_start_checks_the_settings(options: dict[str, Any], advice: str) -> None:
    with pytest.raises(RecognizerError, match=advice) as caught:
        await OpenAIRecognizer(**options).start()
    assert not caught.value.retryable


async def test_no_words_and_no_key_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = TranscriptionServer(lambda _: SECRET_WORDS)
    async with server.running():
        recognizer = OpenAIRecognizer(base_url=server.base_url, api_key=KEY, model=MODEL, partial_interval_s=0.5)
        await recognizer.start()
        assert (await heard(recognizer)).text == SECRET_WORDS
        server.answers = [Answer(status=400, body=json.dumps({"error": {"message": f"{KEY} bad"}}).encode())]
        with pytest.raises(RecognizerError) as caught:
            await heard(recognizer)
        await recognizer.close()
    assert KEY not in str(caught.value)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("asr")]
    assert not any(SECRET_WORDS in message or KEY in message for message in ours)


# -- the simulator refuses what the interface forbids


def form(sound: bytes = wav(TONE), name: str | None = "a.wav", kind: str = "audio/wav", **fields: str) -> Any:
    data = aiohttp.FormData(default_to_multipart=True)
    if name is not None:
        data.add_field("file", sound, filename=name, content_type=kind)
    for key, value in {"model": MODEL, **fields}.items():
        if value:
            data.add_field(key.replace("granularities", "granularities[]"), value)
    return data


def twice() -> Any:
    data = form()
    data.add_field("model", MODEL)
    return data


STEREO = wav(TONE)[:22] + b"\x02" + wav(TONE)[23:]
VIOLATIONS: dict[str, tuple[dict[str, Any], int, str]] = {
    "path": ({"path": "/v1/transcriptions"}, 404, "Invalid URL"),
    "method": ({"method": "PUT"}, 405, "method PUT"),
    "no key": ({"key": ""}, 401, "Incorrect API key"),
    "wrong key": ({"key": "Bearer sk-other"}, 401, "Incorrect API key"),
    "JSON": ({"json": {"model": MODEL}}, 415, "content type"),
    "no file": ({"data": lambda: form(name=None)}, 400, "file is missing"),
    "file of no known type": ({"data": lambda: form(name="a.exe")}, 400, "Invalid file format"),
    "content type of the file": ({"data": lambda: form(kind="text/plain")}, 400, "does not say"),
    "no WAV inside": ({"data": lambda: form(b"hello" * 1000)}, 400, "corrupted"),
    "stereo": ({"data": lambda: form(STEREO)}, 400, "not 16-bit mono"),
    "truncated": ({"data": lambda: form(wav(TONE)[:-100])}, 400, "sizes"),
    "too short": ({"data": lambda: form(wav(TONE[:1599]))}, 400, "too short"),
    "no model": ({"data": lambda: form(model="")}, 400, "model parameter"),
    "unknown model": ({"data": lambda: form(model="x")}, 404, "does not exist"),
    "model twice": ({"data": twice}, 400, "given twice"),
    "unknown field": ({"data": lambda: form(speed="2")}, 400, "unknown field speed"),
    "language by name": ({"data": lambda: form(language="english-us")}, 400, "ISO-639-1"),
    "format": ({"data": lambda: form(response_format="xml")}, 400, "not compatible"),
    "segments of a model without": (
        {"data": lambda: form(model=JSON_ONLY, response_format="verbose_json")},
        400,
        "not compatible",
    ),
    "granularities without segments": ({"data": lambda: form(timestamp_granularities="word")}, 400, "verbose_json"),
    "temperature": ({"data": lambda: form(temperature="3")}, 400, "out of range"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_the_simulator_refuses(name: str) -> None:
    request, status, message = VIOLATIONS[name]
    server = TranscriptionServer(lambda _: "")
    async with server.running(), aiohttp.ClientSession() as session:
        url = server.base_url.removesuffix("/v1") + request.get("path", "/v1/audio/transcriptions")
        key = request.get("key", f"Bearer {KEY}")
        body: Any = {"json": request["json"]} if "json" in request else {"data": request.get("data", form)()}
        headers = {"Authorization": key} if key else {}
        async with session.request(request.get("method", "POST"), url, headers=headers, **body) as response:
            assert response.status == status
            assert message in (await response.json())["error"]["message"]
    assert not server.forms
