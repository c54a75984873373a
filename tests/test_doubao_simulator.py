"""The simulated Doubao is as strict as the real one: a client that breaks a rule is told so in the same words."""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.simulators.doubao import ACCESS_KEY, API_KEY, APP_KEY, LOG_ID, RESOURCE, DoubaoServer, Sentences

HEADERS = {"X-Api-Key": API_KEY, "X-Api-Resource-Id": RESOURCE, "X-Api-Connect-Id": "c1"}
LOUD = np.full(3200, 5000, "<i2").tobytes()
MISMATCH = "decode ws request failed: unable to decode V1 protocol message: autoAssignedSequence (%d) mismatch "
MISMATCH += "sequence in request (%d)"


def request(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "audio": {"format": "pcm"},
        "request": {"model_name": "bigmodel", **changes.pop("request", {})},
    }
    body["audio"] |= changes.pop("audio", {})
    return body | changes


def message(
    kind: int,
    flags: int,
    number: int | None,
    payload: bytes,
    *,
    third: int = 0x10,
    first: int = 0x11,
    size: int | None = None,
) -> bytes:
    sequence = b"" if number is None else struct.pack(">i", number)
    return bytes((first, kind << 4 | flags, third, 0)) + sequence + struct.pack(
        ">I", len(payload) if size is None else size
    ) + payload  # fmt: skip


def full(number: int | None = 1, body: Any = None, **how: Any) -> bytes:
    payload = json.dumps(request() if body is None else body).encode()
    return message(1, 0 if number is None else 1, number, payload, **how)


def audio(number: int | None, payload: bytes = LOUD, *, last: bool = False, **how: Any) -> bytes:
    return message(2, (0 if number is None else 1) | 2 * last, number, payload, **{"third": 0, **how})


def bad_body(**changes: Any) -> list[bytes | str]:
    return [full(body=request(**changes))]


VIOLATIONS: dict[str, tuple[list[bytes | str], int, str]] = {
    "audio before the full request": ([audio(1)], 45000001, "first message"),
    "a second full request": ([full(), full(2)], 45000001, "duplicate"),
    "a stale number on a new connection": ([full(2)], 45000000, MISMATCH % (1, 2)),
    "a number before it is due": ([full(), audio(3)], 45000000, MISMATCH % (2, 3)),
    "audio that begins at 1": ([full(), audio(1)], 45000000, MISMATCH % (2, 1)),
    "a number twice": ([full(), audio(2), audio(2)], 45000000, MISMATCH % (3, 2)),
    "a last packet with a positive number": ([full(), audio(2), audio(3, last=True)], 45000000, MISMATCH % (-3, 3)),
    "a last packet with the number before": ([full(), audio(2), audio(-2, last=True)], 45000000, MISMATCH % (-3, -2)),
    "a negative number before the end": ([full(), audio(-2)], 45000000, MISMATCH % (2, -2)),
    "a late number that is wrong": ([full(None), audio(None), audio(-2, last=True)], 45000000, MISMATCH % (-3, -2)),
    "a number that is flagged but missing": ([full(), message(2, 1, None, b"")], 45000000, ""),
    "a number that is not flagged": ([full(), audio(2)[:1] + b"\x20" + audio(2)[2:]], 45000000, "expected="),
    "a number on a bare last packet": ([full(), message(2, 2, -2, b"")], 45000000, "expected=4294967294"),
    "a size larger than the body": ([full(), audio(2, size=len(LOUD) + 1)], 45000000, "declared body size"),
    "a size smaller than the body": ([full(), audio(2, size=len(LOUD) - 1)], 45000000, "declared body size"),
    "half a header": ([b"\x11\x11"], 45000000, "unable to decode"),
    "another version": ([full(first=0x21)], 45000000, "version 2"),
    "a header of no size": ([full(first=0x10)], 45000000, "header size 0"),
    "a type that only servers send": ([full(), message(9, 1, 2, b"{}")], 45000000, "message type"),
    "an unknown type": ([full(), message(5, 1, 2, b"{}")], 45000000, "message type"),
    "unknown flags": ([full(), message(2, 9, 2, LOUD)], 45000000, "flags"),
    "an unknown serialization": ([full(third=0x30)], 45000000, "serialization"),
    "an unknown compression": ([full(), audio(2, third=0x02)], 45000000, "compression"),
    "gzip that is none": ([full(), audio(2, third=0x01)], 45000000, "gunzip"),
    "gzip of no bytes": ([full(), audio(-2, b"", last=True, third=0x01)], 45000000, "gunzip"),
    "a text message": ([full(), "hello"], 45000000, "text message"),
    "a full request that is the last": ([message(1, 3, -1, json.dumps(request()).encode())], 45000001, "last"),
    "a full request that is no JSON": ([message(1, 1, 1, b"x")], 45000001, "invalid request"),
    "no audio object": ([full(body={"request": {"model_name": "bigmodel"}})], 45000001, "audio"),
    "no audio format": ([full(body={"audio": {}, "request": {"model_name": "bigmodel"}})], 45000001, "format"),
    "an unknown model": (bad_body(request={"model_name": "small"}), 45000001, "small"),
    "an unknown format": (bad_body(audio={"format": "opus"}), 45000151, "opus"),
    "another rate": (bad_body(audio={"rate": 8000}), 45000151, "rate"),
    "an impatient end of sentence": (bad_body(request={"end_window_size": 100}), 45000001, "end_window_size"),
    "a context that is no string": (bad_body(request={"corpus": {"context": {}}}), 45000001, "context"),
}  # fmt: skip


async def failure(socket: ClientConnection) -> tuple[int, str]:
    """Code and text of the error frame; answers before it are skipped."""
    while True:
        frame = await asyncio.wait_for(socket.recv(), 5)
        assert isinstance(frame, bytes)
        if frame[1] == 0xF0:
            code, size = struct.unpack_from(">II", frame, 4)
            assert len(frame) == 12 + size
            return code, json.loads(frame[12:])["error"]


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_d2_refuses(name: str) -> None:
    messages, code, text = VIOLATIONS[name]
    async with DoubaoServer(lambda _: "") as server, connect(server.host, additional_headers=HEADERS) as socket:
        for item in messages:
            await socket.send(item)
        got, why = await failure(socket)
        assert got == code
        assert text in why
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)
        assert server.visits[0].refusal is not None


async def test_d2_refuses_audio_after_the_last_packet() -> None:
    async with DoubaoServer(lambda _: "") as server, connect(server.host, additional_headers=HEADERS) as socket:
        for item in (full(), audio(-2, b"", last=True), audio(3)):
            await socket.send(item)
        assert len(await rest(socket)) == 2
        assert server.visits[0].numbers == [1, -2]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Api-Resource-Id": ""}, 400),
        ({"X-Api-Connect-Id": ""}, 400),
        ({"X-Api-Key": "wrong"}, 401),
        ({"X-Api-Resource-Id": "volc.other"}, 403),
    ],
)
async def test_d4_refuses_the_handshake(headers: dict[str, str], status: int) -> None:
    async with DoubaoServer(lambda _: "") as server:
        with pytest.raises(InvalidStatus) as caught:
            await connect(server.host, additional_headers=HEADERS | headers)
        assert caught.value.response.status_code == status
        assert caught.value.response.headers["X-Tt-Logid"] == LOG_ID


async def test_d4_takes_the_keys_of_both_consoles() -> None:
    old = {"X-Api-App-Key": APP_KEY, "X-Api-Access-Key": ACCESS_KEY}
    async with DoubaoServer(lambda _: "") as server:
        for keys in ({"X-Api-Key": API_KEY}, old):
            headers = {"X-Api-Resource-Id": RESOURCE, "X-Api-Connect-Id": "c1"} | keys
            async with connect(server.host, additional_headers=headers) as socket:
                assert socket.response is not None
                assert socket.response.headers["X-Tt-Logid"] == LOG_ID


async def test_d2_waits_only_so_long_for_a_packet() -> None:
    server = DoubaoServer(lambda _: "", idle_timeout_s=0.05)
    async with server, connect(server.host, additional_headers=HEADERS) as socket:
        await socket.send(full())
        assert await failure(socket) == (45000081, "Timeout waiting next packet: 0.050000 seconds")


async def rest(socket: ClientConnection) -> list[bytes]:
    found: list[bytes] = []
    try:
        while True:
            frame = await asyncio.wait_for(socket.recv(), 5)
            assert isinstance(frame, bytes)
            found.append(frame)
    except ConnectionClosed:
        return found


async def answers(server: DoubaoServer, messages: list[bytes]) -> list[bytes]:
    async with server, connect(server.host, additional_headers=HEADERS) as socket:
        for item in messages:
            await socket.send(item)
        return await rest(socket)


TALK = [full(), audio(2), audio(3), audio(4, bytes(6400)), audio(-5, b"", last=True)]


async def test_d1_answers_every_packet_or_every_change() -> None:
    assert [frame[1] for frame in await answers(DoubaoServer(lambda _: "hi"), TALK)] == [0x91] * 4 + [0x93]
    changing = DoubaoServer(lambda _: "hi", every_packet=False, bare=True)
    assert [frame[1] for frame in await answers(changing, TALK)] == [0x90, 0x90, 0x93]


async def test_d1_answers_in_both_shapes() -> None:
    listed, zipped = DoubaoServer(lambda _: "hi", listed=True), DoubaoServer(lambda _: "hi", zipped=True)
    assert json.loads((await answers(listed, TALK))[-1][12:])["result"][0]["text"] == "hi"
    final = (await answers(zipped, TALK))[-1]
    assert final[2] == 0x11
    assert json.loads(gzip.decompress(final[12:]))["result"]["text"] == "hi"


async def test_d2_numbers_may_be_left_out_and_count_all_the_same() -> None:
    messages = [full(None), *(audio(None) for _ in range(10)), audio(-12, b"", last=True)]
    assert (await answers(DoubaoServer(lambda _: "hi"), messages))[-1][1] == 0x93


def test_d2_sentences_are_cut_at_silences() -> None:
    sentences = Sentences(lambda pcm: f"{len(pcm) // 32}ms")
    for part in (bytes(3200), LOUD, LOUD, bytes(12800), LOUD, bytes(25600), LOUD):
        sentences.add(part, last=False)
    cut = [(u["text"], u["start_time"], u["end_time"], u["definite"]) for u in sentences.utterances()]
    assert cut == [("1000ms", 100, 1100, True), ("200ms", 1900, 2100, False)]
