"""What breaks the custom FunASR protocol is refused, by the strict simulated servers and by ours (rows C2, C4)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from asr.funasr.refusal import CODES
from asr.funasr.upload import Limits
from tests.funasr_custom_line import Counting, Line, b64, chunk, end, line, serving, start, wav
from tests.simulators.funasr_custom import ChunkServer, FayServer, InlineServer

Frames = list[Any]

BROKEN: dict[str, tuple[Frames, str, str]] = {
    # what the client does: its frames, what the simulator calls it, the error code of our server
    "chunk before start": ([chunk(0)], "no such upload", "no_session"),
    "end before start": ([end()], "no such upload", "no_session"),
    "started twice": ([start(total_chunks=2), start(total_chunks=2)], "started twice", "session_exists"),
    "id with a blank": ([start("r 1", total_chunks=2)], "bad request_id", "bad_request"),
    "id too long": ([start("x" * 65, total_chunks=2)], "bad request_id", "bad_request"),
    "id that is a number": ([start(5, total_chunks=2)], "bad request_id", "bad_request"),  # type: ignore[arg-type]
    "no chunks": ([start(total_chunks=0)], "bad total_chunks", "bad_request"),
    "too many chunks": ([start(total_chunks=4097)], "bad total_chunks", "bad_request"),
    "number of chunks as text": ([start(total_chunks="2")], "bad total_chunks", "bad_request"),
    "number of chunks as truth": ([start(total_chunks=True)], "bad total_chunks", "bad_request"),
    "unknown format": ([start(total_chunks=2, audio_format="tape")], "bad audio_format", "unsupported_format"),
    "negative index": ([start(total_chunks=2), chunk(-1)], "bad chunk_index", "bad_request"),
    "index beyond the end": ([start(total_chunks=2), chunk(3)], "bad chunk_index", "bad_request"),
    "index as text": ([start(total_chunks=2), chunk("0")], "bad chunk_index", "bad_request"),  # type: ignore[arg-type]
    "no index": ([start(total_chunks=2), {"type": "audio_chunk", "request_id": "r1", "data": "AAA="}],
                 "bad chunk_index", "bad_request"),
    "no base64": ([start(total_chunks=2), chunk(0) | {"data": "$$$$"}], "data is no base64", "bad_base64"),
    "base64 cut off": ([start(total_chunks=2), chunk(0) | {"data": "AAAAA"}], "data is no base64", "bad_base64"),
    "base64 of another alphabet": ([start(total_chunks=2), chunk(0) | {"data": "数据"}],
                                   "data is no base64", "bad_base64"),
    "data that is a number": ([start(total_chunks=2), chunk(0) | {"data": 7}], "data is no base64", "bad_request"),
    "chunk too large": ([start(total_chunks=2), chunk(0, bytes(70_000))], "bad size of chunk", "chunk_too_large"),
    "size of a chunk": ([start(total_chunks=2), chunk(0, size=3)], "size is wrong", "size_mismatch"),
    "other bytes": ([start(total_chunks=2), chunk(0), chunk(0, b"\2\0")],
                    "chunk came before with other bytes", "chunk_conflict"),
    "incomplete": ([start(total_chunks=2), chunk(0), end()], "incomplete", "incomplete"),
    "total size": ([start(total_chunks=1, total_size=3), chunk(0), end()], "total_size is wrong", "size_mismatch"),
    "checksum": ([start(total_chunks=1, sha256="0" * 64), chunk(0), end()], "sha256 is wrong", "checksum_mismatch"),
    "unknown type": ([{"type": "audio_stop", "request_id": "r1"}], "unknown type", "bad_request"),
}  # fmt: skip

OURS: dict[str, tuple[Frames, str]] = {
    "checksum that is none": ([start(sha256="abc")], "bad_request"),
    "another number of chunks at the end": ([start(total_chunks=2), end(total_chunks=3)], "bad_request"),
    "acknowledgement of none": ([start(ack=0)], "bad_request"),
    "result as a picture": ([start(result_format="png")], "bad_request"),
    "live without truth": ([start(live="yes")], "bad_request"),
    "sample rate": ([start(sample_rate=10)], "bad_request"),
    "upload too large": ([start(total_size=200_001)], "too_large"),
    "hot words that fill a book": ([start(hotwords="x" * 65_537)], "bad_request"),
    "resume without a name": ([{"type": "audio_resume"}], "bad_request"),
    "resume of nothing": ([{"type": "audio_resume", "request_id": "r9"}], "no_session"),
    "end without a chunk": ([start(), end()], "incomplete"),
    "which of two": ([start("a"), start("b"), chunk(0, request_id=None)], "bad_request"),
    "no audio of that format": ([start(audio_format="flac"), chunk(0, bytes(100)), end()], "unsupported_format"),
    "text as WAV": ([start(audio_format="wav"), chunk(0, b"hello, this is no sound"), end()], "unsupported_format"),
    "both first and last index": ([start(total_chunks=2), chunk(0), chunk(1), chunk(2), end()], "bad_request"),
}
LIMITS = Limits(message=90_000, upload=200_000)


@pytest.mark.parametrize("name", BROKEN)
async def test_the_simulated_server_refuses(name: str) -> None:
    frames, violation, _ = BROKEN[name]
    async with ChunkServer(str, max_chunk=65_536) as server, connect(server.url, proxy=None) as socket:
        talk = Line(socket)
        for frame in frames:
            await talk.say(frame)
        with pytest.raises(ConnectionClosed) as caught:
            await read_all(talk)
        assert server.violations == [violation]
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1002
        assert server.requests == 0


async def read_all(talk: Line) -> None:
    """Until the connection ends."""
    while True:
        await talk.hear()


@pytest.mark.parametrize("name", [*BROKEN, *OURS])
async def test_c4_our_server_refuses_with_a_code_and_goes_on(name: str) -> None:
    frames, code = (BROKEN[name][0], BROKEN[name][2]) if name in BROKEN else OURS[name]
    recognizer = Counting()
    async with serving(recognizer, limits=LIMITS) as server, line(server) as talk:
        for frame in frames:
            await talk.say(frame)
        while (refused := await talk.hear())["status"] != "error":
            assert refused["status"] in ("ready", "chunk_received")
        assert refused["code"] == code
        assert refused["retryable"] is CODES[code]
        assert refused["message"]
        assert await talk.silent(), "an error is the last frame of a request"
        assert recognizer.finished == []
        await talk.ask(start("good"))
        await talk.ask(chunk(0, request_id="good"))
        await talk.say(end("good"))
        assert await talk.final() == "1 samples"


@pytest.mark.parametrize(
    ("frame", "violation"),
    [
        ("{", "no JSON"),
        ("[]", "no object"),
        (b"\0\0", "binary frame"),
        ({"audio_data": 5}, "no audio_data"),
        ({}, "no audio_data"),
        ({"audio_data": "$"}, "audio_data is no base64"),
        ({"audio_data": ""}, "no audio"),
        ({"audio_data": b64(bytes(100))}, "no WAV"),
        ({"audio_data": b64(wav(2000)), "type": "audio"}, "type"),
        ({"url": "/x.wav"}, "no audio_data"),
    ],
)
async def test_the_simulated_inline_server_refuses(frame: Any, violation: str) -> None:
    async with InlineServer(str) as server, connect(server.url, proxy=None) as socket:
        await Line(socket).say(frame)
        with pytest.raises(ConnectionClosed):
            await read_all(Line(socket))
        assert (server.violations, server.requests) == ([violation], 0)


async def test_the_simulated_servers_close_with_1009_above_one_mebibyte() -> None:
    for kind in (InlineServer, ChunkServer, FayServer):
        async with kind(str) as server, connect(server.url, proxy=None) as socket:
            await socket.send("x" * (2**20 + 1))
            await asyncio.wait_for(socket.wait_closed(), 5)
            assert socket.close_code == 1009


@pytest.mark.parametrize(
    ("frame", "violation"),
    [
        ("{", "no JSON"),
        ("7", "no object"),
        ({"audio_data": "AAAA"}, "neither url nor state"),
        ({"type": "audio_start"}, "neither url nor state"),
        ({"url": 5}, "url with something else"),
        ({"url": "/x.wav", "status": True}, "url with something else"),
        ({"url": "x.wav"}, "relative path"),
        ({"url": "/nowhere/x.wav"}, "no such file"),
    ],
)
async def test_the_simulated_fay_server_refuses(frame: Any, violation: str, tmp_path: Path) -> None:
    async with FayServer(str) as server, connect(server.url, proxy=None) as socket:
        await Line(socket).say(frame)
        with pytest.raises(ConnectionClosed):
            await read_all(Line(socket))
        assert (server.violations, server.requests) == ([violation], 0)
