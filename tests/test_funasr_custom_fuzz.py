"""Whatever a client sends, the custom FunASR server lives, forgets it, and logs no traceback (row C4)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from asr.funasr import schema
from asr.funasr.answers import Result, Status, classify
from asr.funasr.audio import decode, seconds_of
from asr.funasr.refusal import Refusal
from asr.funasr.schema import FORMATS, AudioFormat
from asr.funasr.upload import Limits
from tests.funasr_custom_line import Counting, b64, line, serving, wav

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
ids = st.sampled_from(["a", "b", None, 5, "bad id", "x" * 65])
counts = st.integers(-2, 5) | st.sampled_from([4096, 4097, 2**70, True, "3", 1.5, None])
data = st.binary(max_size=40).map(b64) | st.sampled_from(["", "A", "====", "é", "AAAAA", None, 7])
TYPES = ("audio_start", "audio_chunk", "audio_end", "audio_cancel", "audio_resume", "audio_", "hello")


def plausible(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Messages that are nearly right, or right."""
    optional = {
        "request_id": ids, "session_id": ids, "total_chunks": counts, "chunks": counts, "total_size": counts,
        "chunk_index": counts, "data": data, "audio_data": data, "url": st.text(max_size=9) | json_values,
        "size": counts, "audio_format": st.sampled_from([*FORMATS, "tape", 3]), "sample_rate": counts | st.just(8000),
        "channels": counts, "sample_width": counts, "ack": st.sampled_from(["each", "none", 2, -1, [], {}]),
        "sha256": st.sampled_from(["0" * 64, "x"]), "result_format": st.sampled_from(["text", "json", 1]),
        "live": st.booleans() | json_values, "status": st.booleans(), "vad_need": json_values,
        "state": st.sampled_from(["StartTranscription", "StopTranscription", "", 4]),
    }  # fmt: skip
    likely = {
        "audio_start": ("request_id", "audio_format", "live", "total_chunks"),
        "audio_chunk": ("request_id", "chunk_index", "data"),
        "audio_end": ("request_id",),
        "audio_cancel": ("request_id",),
        "audio_resume": ("request_id",),
    }.get(kind, ())
    required: dict[str, st.SearchStrategy[Any]] = {"type": st.just(kind)} | {key: optional[key] for key in likely}
    good = {"request_id": st.just("a"), "chunk_index": st.integers(0, 2), "data": st.binary(max_size=40).map(b64),
            "audio_format": st.just("pcm"), "total_chunks": st.just(2), "live": st.booleans()}  # fmt: skip
    right = st.fixed_dictionaries({key: good.get(key, value) for key, value in required.items()})
    return right | st.fixed_dictionaries(required, optional={k: v for k, v in optional.items() if k not in required})


frames = st.one_of(
    *[plausible(kind).map(json.dumps) for kind in TYPES],
    st.sampled_from([{"state": "StartTranscription"}, {"state": "StopTranscription"}]).map(json.dumps),
    data.map(lambda value: json.dumps({"audio_data": value})),
    json_values.map(json.dumps),
    st.text(max_size=30),
    st.binary(max_size=60),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(sessions=st.lists(st.lists(frames, max_size=14), min_size=1, max_size=3))
def test_c4_arbitrary_frames(sessions: list[list[str | bytes]], caplog: pytest.LogCaptureFixture) -> None:
    """Several clients at once, each with its own nonsense; in the end nothing is left of them."""
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    asyncio.run(ordeal(sessions))
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def ordeal(sessions: list[list[str | bytes]]) -> None:
    recognizer = Counting()
    limits = Limits(message=4000, upload=300, memory=500, uploads=4, per_connection=2, kept_s=0.0)
    async with serving(recognizer, limits=limits, waiting=2, sweep_s=0.005) as server:

        async def client(nonsense: list[str | bytes]) -> None:
            async with line(server) as talk:
                with contextlib.suppress(ConnectionClosed):
                    for frame in nonsense:
                        await talk.say(frame)
                    while not await talk.silent():
                        pass
                assert talk.socket.close_code in (None, 1003)

        async with asyncio.timeout(20):
            await asyncio.gather(*map(client, sessions))
            async with line(server) as talk:
                assert await talk.silent()
            while server.connections or len(server.service.uploads) or server.service.jobs or recognizer.open_streams:
                await asyncio.sleep(0.002)
        assert server.service.memory.used == 0


@settings(max_examples=300, deadline=None)
@given(message=st.one_of(*[plausible(kind) for kind in TYPES], st.dictionaries(st.text(), json_values)))
def test_c4_a_message_is_understood_or_refused(message: dict[str, Any]) -> None:
    for parse in (
        lambda: schema.chunked({"type": "audio_start", **message}, 1000),
        lambda: schema.inline_request({"audio_data": None, **message}, 1000),
        lambda: schema.file_request({"url": None, **message}),
    ):
        with contextlib.suppress(Refusal):
            parse()
    schema.control(message)
    schema.kind_of(message)


@settings(max_examples=300, deadline=None)
@given(frame=st.text() | json_values.map(json.dumps))
def test_c3_any_frame_of_a_server_is_understood(frame: str) -> None:
    said = classify(frame)
    assert said is None or isinstance(said, Status | Result)
    if isinstance(said, Status):
        said.number("chunk_index"), said.numbers("missing"), said.text("code"), said.request_id


SEEDS = [
    wav(400),
    b"fLaC\0\0\0\x22" + bytes(34),
    b"OggS\0\2" + bytes(40),
    b"ID3\4\0\0\0\0\0\0" + b"\xff\xfb\x90\0" * 30,
]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    damage=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=12),
    length=st.integers(0, 400),
    name=st.sampled_from([None, *FORMATS]),
)
def test_c4_damaged_audio_is_decoded_or_refused(
    seed: bytes, damage: list[tuple[int, int]], length: int, name: str | None
) -> None:
    """Headers that lie, also about huge sizes: no other error, and never more samples than may be."""
    audio = bytearray(seed)
    for place, value in damage:
        if place < len(audio):
            audio[place] = value
    given_format = AudioFormat(name)
    seconds_of(bytes(audio[:length]), given_format)
    with contextlib.suppress(Refusal):
        assert len(decode(bytes(audio[:length]), given_format, 10.0)) <= 160_000
