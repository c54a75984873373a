"""Client of the custom FunASR protocol against strict servers as they exist in the field (rows C2, C3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from asr.funasr.client import FunASRClient
from asr.funasr.exchange import PEER_LIMIT
from core.errors import RecognizerError
from tests.funasr_custom_line import wav
from tests.simulators.funasr_custom import ChunkServer, FayServer, InlineServer

QUICK = {"backoff_s": 0.0, "ready_timeout_s": 0.1, "receive_timeout_s": 2.0}


def count(pcm: bytes) -> str:
    """What the simulated servers hear: how much it was."""
    return f"{len(pcm)} bytes"


def client_of(server: Any, **options: Any) -> tuple[FunASRClient, list[str]]:
    """A client, and the results that its callback gets."""
    results: list[str] = []
    return FunASRClient(server.url, on_result=results.append, **{**QUICK, **options}), results


async def test_c2_small_audio_goes_inline() -> None:
    async with InlineServer(count) as server:
        client, results = client_of(server)
        said = await client.recognize(wav(100_000))
        assert (said.mode, said.text, results) == ("inline", "99956 bytes", ["99956 bytes"])
        assert server.violations == []


async def test_c2_the_largest_inline_message_fits_every_server() -> None:
    """At the limit and around it: neither side of it ends with 1009."""
    largest = (PEER_LIMIT - 1024) // 4 * 3
    async with InlineServer(count) as inline, ChunkServer(count) as chunked:
        for size in (largest - 200, largest - largest % 2):
            said = await client_of(inline)[0].recognize(wav(size), filename="x" * 255)
            assert (said.mode, said.progress.connections) == ("inline", 1)
        for size in (largest + 2, PEER_LIMIT, 2 * PEER_LIMIT):
            said = await client_of(chunked)[0].recognize(wav(size))
            assert (said.mode, said.progress.connections) == ("chunked", 1)
        assert inline.violations == chunked.violations == []


@pytest.mark.parametrize("size", [1_000_000, 3_000_000, 5_000_000])
async def test_c2_large_audio_goes_in_chunks(size: int) -> None:
    async with ChunkServer(count) as server:
        client, results = client_of(server)
        said = await client.recognize(wav(size))
        assert results == [said.text] == [f"{size - 44} bytes"]
        assert server.violations == []
        assert said.progress.bytes_sent == size


async def test_c2_a_message_that_is_too_big_for_an_unusual_server_is_sent_smaller() -> None:
    """A peer with a limit of 256 KiB closes with 1009: the client learns, and the audio arrives."""
    async with ChunkServer(count, limit=2**18) as server:
        for size in (400_000, 1_500_000):
            said = await client_of(server)[0].recognize(wav(size))
            assert said.text == f"{size - 44} bytes"
            assert said.progress.connections > 1


@pytest.mark.parametrize("cuts", [(1,), (2, 3), (1, 2, 3)])
async def test_c2_a_broken_upload_is_resumed(cuts: tuple[int, ...]) -> None:
    async with ChunkServer(count, cut_after=cuts) as server:
        said = await client_of(server, chunk_bytes=100_000, window=1)[0].recognize(wav(900_000))
        assert said.text == "899956 bytes"
        assert (server.resumed, said.progress.resumed) == (len(cuts), len(cuts))
        assert len(server.chunks) <= 9 + len(cuts), "what the server has is not sent again"
        assert server.violations == []


async def test_c2_a_server_that_can_not_resume_gets_all_of_it_again() -> None:
    async with ChunkServer(count, cut_after=(3,), resume=False) as server:
        said = await client_of(server, chunk_bytes=100_000)[0].recognize(wav(900_000))
        assert (said.text, said.progress.resumed) == ("899956 bytes", 0)
        assert server.violations == []


async def test_c2_a_server_that_was_restarted_gets_all_of_it_again() -> None:
    async with ChunkServer(count, cut_after=(3,), forgets=True) as server:
        said = await client_of(server, chunk_bytes=100_000)[0].recognize(wav(900_000))
        assert (said.text, said.progress.resumed) == ("899956 bytes", 0)
        assert server.violations == []


async def test_c2_a_refusal_in_mid_upload_is_what_the_caller_learns() -> None:
    """Not that the connection was closed after it; and it is not tried again."""
    async with ChunkServer(count, max_chunk=1000) as server:
        with pytest.raises(RecognizerError) as caught:
            await client_of(server, chunk_bytes=100_000)[0].recognize(wav(3_000_000))
        assert (caught.value.code, caught.value.retryable, server.connections) == ("bad_request", False, 1)


async def test_c2_long_hot_words_count_towards_the_limit() -> None:
    """Audio that would fit alone goes in chunks when the other fields fill the message."""
    async with ChunkServer(count) as server:
        said = await client_of(server)[0].recognize(wav(785_000), hotwords="热词 " * 10_000)
        assert (said.mode, said.progress.connections) == ("chunked", 1)


async def test_c2_a_frame_is_tried_again_three_times() -> None:
    """The server breaks off at the same chunk each time: four attempts, then an error that may be retried."""
    async with ChunkServer(count, cut_after=(1, 2, 3, 4, 5), resume=False) as server:
        with pytest.raises(RecognizerError) as caught:
            await client_of(server)[0].recognize(wav(1_200_000))
        assert caught.value.retryable
        assert server.connections == 4


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize(("ready", "acks"), [(False, False), (True, False), (False, True)])
async def test_c2_servers_that_say_less(ready: bool, acks: bool, bare: bool) -> None:
    """Old chunk servers neither say that they are ready nor confirm chunks: the client does not wait for ever."""
    async with ChunkServer(count, ready=ready, acks=acks, bare=bare) as server:
        client, results = client_of(server, chunk_bytes=50_000, window=4)
        await client.recognize(wav(1_000_000))
        assert results == ["999956 bytes"]
        assert server.violations == []


async def test_c2_no_more_than_a_window_is_under_way() -> None:
    """Back-pressure: a server that is slow to confirm never has more than the window unconfirmed."""
    async with ChunkServer(count, acks=False) as server:
        client, _ = client_of(server, chunk_bytes=50_000, window=4, ready_timeout_s=30.0)
        asking = asyncio.create_task(client.recognize(wav(1_000_000)))
        while len(server.chunks) < 4:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.1)
        assert len(server.chunks) == 4
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert server.cancelled == 1, "who gives up says so"


@pytest.mark.parametrize("code", ["busy", "timeout"])
async def test_c2_a_passing_refusal_is_overcome(code: str) -> None:
    async with ChunkServer(count, errors=(code,)) as server:
        client, results = client_of(server)
        await client.recognize(wav(1_000_000))
        assert results == ["999956 bytes"]
        assert server.resumed == (code == "busy")
        assert server.violations == []


async def test_c2_a_final_refusal_ends_the_request() -> None:
    async with ChunkServer(count, errors=("unsupported_format",)) as server:
        client, results = client_of(server)
        with pytest.raises(RecognizerError) as caught:
            await client.recognize(wav(1_000_000))
        assert (caught.value.code, caught.value.retryable) == ("unsupported_format", False)
        assert (results, server.connections) == ([], 1)


async def test_c2_a_server_that_is_down() -> None:
    with pytest.raises(RecognizerError) as caught:
        await FunASRClient("ws://127.0.0.1:1", **QUICK).recognize(wav(1000))
    assert caught.value.retryable


async def test_c2_fay_s_own_server_gets_a_path(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(wav(2_000_000))
    async with FayServer(count) as server:
        client, results = client_of(server)
        await client.recognize_file(path, mode="path")
        assert results == ["1999956 bytes"]
        assert server.violations == []


Say = Callable[[ServerConnection], Any]


class Scripted:
    """A server that answers the first text frame with fixed frames, then falls silent or closes."""

    def __init__(self, *frames: str, close: int | None = None) -> None:
        self._frames, self._close = frames, close

    async def __aenter__(self) -> Scripted:
        self._server = await serve(self._handle, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _handle(self, socket: ServerConnection) -> None:
        await socket.recv()
        for frame in self._frames:
            await socket.send(frame)
        if self._close is not None:
            await socket.close(self._close)
        await socket.wait_closed()


@pytest.fixture
def small() -> bytes:
    return wav(2000)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        ("123", "123"),
        ("3.5", "3.5"),
        ("true", "true"),
        ("null", "null"),
        ('"quoted"', '"quoted"'),
        ("[1, 2]", "[1, 2]"),
        ("ready", "ready"),
        ("an error is processing", "an error is processing"),
        ("你好，世界。", "你好，世界。"),
        ('{"text": "hello"}', "hello"),
        ('{"type": "result", "text": "hello", "is_final": true}', "hello"),
        ("{broken", "{broken"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
async def test_c3_a_result_is_words_also_when_they_look_like_something_else(
    frame: str, text: str, small: bytes
) -> None:
    async with Scripted(frame) as server:
        client, results = client_of(server)
        assert (await client.recognize(small)).text == text
        assert results == [text]


@pytest.mark.parametrize("frame", ["", "  \n", '{"text": ""}', '{"type": "result", "text": "", "is_final": true}'])
async def test_c3_an_empty_result_ends_the_request_without_a_callback(frame: str, small: bytes) -> None:
    async with Scripted(frame) as server:
        client, results = client_of(server)
        assert (await client.recognize(small)).text == ""
        assert results == []


async def test_c3_statuses_never_fire_the_callback(small: bytes) -> None:
    statuses = [f'{{"status": "{kind}", "message": "m", "text": "t"}}' for kind in ("ready", "processing", "partial")]
    statuses += ['{"type": "status", "status": "chunk_received", "chunk_index": 0}', '{"status": 7}', '{"other": 1}']
    async with Scripted(*statuses, "words") as server:
        client, results = client_of(server)
        await client.recognize(small)
        assert results == ["words"]


async def test_c3_an_error_status_fires_no_callback_and_raises(small: bytes) -> None:
    async with Scripted('{"status": "error", "message": "said by the user"}') as server:
        client, results = client_of(server)
        with pytest.raises(RecognizerError) as caught:
            await client.recognize(small)
        assert results == []
        assert "said by the user" not in caught.value.loggable


async def test_c3_the_result_of_another_request_is_ignored(small: bytes) -> None:
    async with Scripted('{"text": "not yours", "request_id": "other"}', "mine") as server:
        client, results = client_of(server)
        await client.recognize(small)
        assert results == ["mine"]


async def test_c3_a_second_final_frame_is_ignored(small: bytes) -> None:
    async with Scripted("first", "second") as server:
        client, results = client_of(server)
        await client.recognize(small)
        assert results == ["first"]


@pytest.mark.parametrize("code", [1000, 1001, 1011])
async def test_c2_a_server_that_closes_without_a_result(code: int, small: bytes) -> None:
    async with Scripted('{"status": "processing"}', close=code) as server:
        with pytest.raises(RecognizerError) as caught:
            await client_of(server)[0].recognize(small)
        assert caught.value.retryable


async def test_c2_a_server_that_says_nothing_is_given_up(small: bytes) -> None:
    async with Scripted() as server:
        with pytest.raises(RecognizerError) as caught:
            await client_of(server, receive_timeout_s=0.05, retries=1)[0].recognize(small)
        assert caught.value.retryable
