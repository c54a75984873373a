"""The simulated xiaozhi server refuses a client that breaks a rule, and answers one that doesn't."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.simulators.xiaozhi import (
    CLIENT,
    DEVICE,
    TOKEN,
    Close,
    Drop,
    Sentence,
    Trouble,
    XiaozhiServer,
    decoded,
    opus_decoder,
    tone_packets,
)

HEADERS = {"Authorization": f"Bearer {TOKEN}", "Protocol-Version": "1", "Device-Id": DEVICE, "Client-Id": CLIENT}
PARAMS = {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60}
HELLO: dict[str, Any] = {
    "type": "hello",
    "version": 1,
    "features": {"mcp": True},
    "transport": "websocket",
    "audio_params": PARAMS,
}
PACKET = tone_packets(Sentence("", 300.0, (60,)))[0]
SHORT = tone_packets(Sentence("", 300.0, (20,)))[0]


def listen(state: str, **more: Any) -> dict[str, Any]:
    return {"session_id": "?", "type": "listen", "state": state, **more}


AUTO, MANUAL, STOP = listen("start", mode="auto"), listen("start", mode="manual"), listen("stop")


def without(message: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != name}


def v2(payload: bytes, *, version: int = 2, kind: int = 0, reserved: int = 0, size: int | None = None) -> bytes:
    head = version.to_bytes(2, "big") + kind.to_bytes(2, "big") + reserved.to_bytes(4, "big") + bytes(4)
    return head + (len(payload) if size is None else size).to_bytes(4, "big") + payload


# What is sent (the right session id in place of "?"), and what the refusal says; the version where it isn't 1.
VIOLATIONS: dict[str, tuple[list[Any], str, int]] = {
    "sound before hello": ([PACKET], "sound before hello", 1),
    "listen before hello": ([AUTO], "listen before hello", 1),
    "a second hello": ([HELLO, HELLO], "second hello", 1),
    "a hello of another version": ([HELLO | {"version": 2}], "version", 1),
    "a hello of another transport": ([HELLO | {"transport": "udp"}], "transport", 1),
    "a hello without features": ([without(HELLO, "features")], "features is missing", 1),
    "a hello without tools": ([HELLO | {"features": {}}], "features", 1),
    "a hello with more than that": ([HELLO | {"token": "x"}], "token is unknown", 1),
    "a hello of raw sound": ([HELLO | {"audio_params": PARAMS | {"format": "pcm"}}], "audio_params", 1),
    "a hello of another rate": ([HELLO | {"audio_params": PARAMS | {"sample_rate": 24000}}], "audio_params", 1),
    "a hello of odd packets": ([HELLO | {"audio_params": PARAMS | {"frame_duration": 30}}], "frame_duration", 1),
    "no JSON": ([HELLO, "hello"], "no JSON", 1),
    "a list": ([HELLO, []], "no JSON object", 1),
    "an unknown type": ([HELLO, {"session_id": "?", "type": "speak"}], "'speak' is unknown", 1),
    "another session": ([HELLO, AUTO | {"session_id": "of yesterday"}], "session_id", 1),
    "no session": ([HELLO, without(AUTO, "session_id")], "session_id", 1),
    "no mode": ([HELLO, listen("start")], "mode is missing", 1),
    "an unknown mode": ([HELLO, listen("start", mode="loud")], "mode", 1),
    "an unknown state": ([HELLO, listen("pause")], "state 'pause'", 1),
    "a stop before a start": ([HELLO, STOP], "stop without start", 1),
    "a stop after a stop": ([HELLO, MANUAL, STOP, STOP], "stop without start", 1),
    "a wake word without the word": ([HELLO, listen("detect")], "text is missing", 1),
    "an empty wake word": ([HELLO, listen("detect", text="")], "text", 1),
    "an abort for no known reason": ([HELLO, {"session_id": "?", "type": "abort", "reason": "bored"}], "reason", 1),
    "tools in other words": ([HELLO, {"session_id": "?", "type": "mcp", "payload": {"id": 1}}], "JSON-RPC", 1),
    "sound before listen": ([HELLO, PACKET], "does not listen", 1),
    "sound after stop": ([HELLO, MANUAL, PACKET, STOP, PACKET], "does not listen", 1),
    "a start while it speaks": ([HELLO, MANUAL, PACKET, STOP, MANUAL], "without abort", 1),
    "packets of another length": ([HELLO, AUTO, SHORT], "20 ms, 60 were announced", 1),
    "no Opus": ([HELLO, AUTO, b"\xff\xff\xff"], "no Opus", 1),
    "an empty packet": ([HELLO, AUTO, b""], "empty", 1),
    "no header of version 2": ([HELLO, AUTO, PACKET[:9]], "16 bytes", 2),
    "a version inside version 2": ([HELLO, AUTO, v2(PACKET, version=3)], "wrong header", 2),
    "reserved bytes that are used": ([HELLO, AUTO, v2(PACKET, reserved=1)], "wrong header", 2),
    "a size too large": ([HELLO, AUTO, v2(PACKET, size=len(PACKET) + 1)], "wrong header", 2),
    "a bare packet in version 3": ([HELLO, AUTO, PACKET], "wrong header", 3),
    "a size too small in version 3": ([HELLO, AUTO, b"\0\0\0\1" + PACKET], "wrong header", 3),
}


async def say(socket: ClientConnection, server: XiaozhiServer, item: Any) -> None:
    if isinstance(item, dict):
        if item.get("session_id") == "?":
            item = item | {"session_id": server.visits[-1].session_id}
        item = json.dumps(item)
    elif isinstance(item, list):
        item = json.dumps(item)
    await socket.send(item)


async def rest(socket: ClientConnection) -> list[str | bytes]:
    found: list[str | bytes] = []
    try:
        while True:
            found.append(await asyncio.wait_for(socket.recv(), 20))
    except ConnectionClosed:
        return found


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_h1_refuses(name: str) -> None:
    messages, why, version = VIOLATIONS[name]
    headers = HEADERS | {"Protocol-Version": str(version)}
    async with XiaozhiServer(pace=0.05) as server, connect(server.url, additional_headers=headers) as socket:
        for item in messages:
            if isinstance(item, dict) and item.get("version") == 1:
                item = item | {"version": version}
            await say(socket, server, item)
        await rest(socket)
        assert socket.close_code == 1008
        assert why in server.visits[0].refusal


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Protocol-Version": "4"}, 400),
        ({"Device-Id": "02-00-00-12-34-56"}, 400),
        ({"Device-Id": "02:00:00:AB:CD:EF"}, 400),
        ({"Client-Id": "me"}, 400),
    ],
)
async def test_h1_refuses_the_handshake(headers: dict[str, str], status: int) -> None:
    async with XiaozhiServer() as server:
        with pytest.raises(InvalidStatus) as caught:
            await connect(server.url, additional_headers=HEADERS | headers)
        assert caught.value.response.status_code == status


async def test_h1_waits_only_so_long_for_a_hello() -> None:
    async with XiaozhiServer(hello_timeout_s=0.05) as server, connect(server.url, additional_headers=HEADERS) as socket:
        await rest(socket)
        assert server.visits[0].refusal == "no hello"


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_h2_answers_a_turn_in_order(version: int) -> None:
    server = XiaozhiServer(reply=(Sentence("One.", 440.0, (20, 60, 40)), Sentence("Two.", 880.0)))
    headers = HEADERS | {"Protocol-Version": str(version)}
    encoder_packet = {1: PACKET, 2: v2(PACKET), 3: b"\0\0" + len(PACKET).to_bytes(2, "big") + PACKET}[version]
    async with server, connect(server.url, additional_headers=headers) as socket:
        await say(socket, server, HELLO | {"version": version})
        for item in (MANUAL, encoder_packet, encoder_packet, STOP):
            await say(socket, server, item)
        got: list[str] = []
        lengths: list[int] = []
        decoder = opus_decoder()
        while got[-1:] != ["stop"]:
            message = await asyncio.wait_for(socket.recv(), 20)
            if isinstance(message, bytes):
                lengths.append(decoded(decoder, message[{1: 0, 2: 16, 3: 4}[version] :]) // 48)
            else:
                body = json.loads(message)
                got.append(body.get("state") or body["type"])
        assert got == ["hello", "stt", "start", "llm", "sentence_start", "sentence_start", "stop"]
        assert lengths == [20, 60, 40, 60, 60, 60, 60, 60]
    assert server.visits[0].turns == [2]
    assert len(server.visits[0].heard()) == 2 * 2880


async def test_h1_an_abort_ends_the_reply() -> None:
    server = XiaozhiServer(reply=(Sentence("Long.", 440.0, (60,) * 200),), pace=0.02)
    async with server, connect(server.url, additional_headers=HEADERS) as socket:
        for item in (HELLO, MANUAL, PACKET, STOP):
            await say(socket, server, item)
        while not isinstance(await socket.recv(), bytes):
            pass
        await say(socket, server, {"session_id": "?", "type": "abort"})
        await say(socket, server, {"session_id": "?", "type": "goodbye"})
        messages = await rest(socket)
        assert isinstance(messages[-1], str)
        assert json.loads(messages[-1])["state"] == "stop"
        assert len(messages) < 150


@pytest.mark.parametrize(
    ("moment", "fault", "code"),
    [("hello", Close(None), 1005), ("listen", Close(1011), 1011), ("reply", Drop(), 1006), ("packet", Drop(), 1006)],
)
async def test_h1_fails_when_told_to(moment: str, fault: Any, code: int) -> None:
    server = XiaozhiServer(troubles={0: Trouble(moment, fault, packet=2)})
    async with server, connect(server.url, additional_headers=HEADERS) as socket:
        with contextlib.suppress(ConnectionClosed):
            for item in (HELLO, MANUAL, PACKET, PACKET, STOP):
                await say(socket, server, item)
        await rest(socket)
        assert socket.close_code == code


def test_the_tones_are_as_long_as_they_say() -> None:
    decoder = opus_decoder()
    packets = tone_packets(Sentence("", 880.0, (60, 20, 40)))
    assert [decoded(decoder, packet) for packet in packets] == [2880, 960, 1920]
