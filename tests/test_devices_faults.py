"""A device that aborts, errs, says odd things or no hello, at a running server."""

from __future__ import annotations

import asyncio
import json
import logging

import aiohttp
import pytest

from core.devices.line import DeviceLine
from tests.conftest import Serve
from tests.device_served import LONG, nothing_left, serve_fast, spoken, url_of
from tests.simulators.xiaozhi_device import CLIENT, DEVICE, XiaozhiDevice


@pytest.fixture
def serving() -> Serve:
    """Servers with a voice that speaks fast."""
    return serve_fast


async def test_h1_abort_stops_at_once(serving: Serve) -> None:
    async with serving() as server, XiaozhiDevice(url_of(server)) as device:
        server.engines.dialogue.answer = LONG
        await device.listen("auto")
        device.keeps_listening = False
        await device.detect("hello")
        await device.message("tts", state="sentence_start")
        await asyncio.sleep(0.5)
        aborted = await device.abort(reason="wake_word_detected")
        stopped = await device.when("tts", state="stop", since=aborted)
        assert stopped - aborted < 0.5 + 3 * device.rules.slack_s
        heard = len(device.heard)
        assert heard * 0.06 < 3.6  # of 5 s
        await asyncio.sleep(0.5)
        assert len(device.heard) == heard  # and the device refuses sound after a stop
        again = await device.abort()  # of nothing
        await device.message("tts", state="stop", since=again)
        await device.detect("hello")
        await device.message("tts", state="start", since=again)


async def test_h1_odd_messages_change_nothing(serving: Serve, caplog: pytest.LogCaptureFixture) -> None:
    odd: list[str | bytes] = [
        "hello", "[]", "{}", '{"type":5}', '{"type":"speak"}', "[" * 50_000, b"", b"\xff",
        '{"type":"listen","state":"start","mode":"loud"}', '{"type":"listen","state":"detect"}',
        '{"type":"listen","state":"detect","text":"\\ud800"}', '{"type":"iot","update":true,"descriptors":[]}',
        '{"type":"mcp","payload":5}', '{"type":"mcp","payload":{"jsonrpc":"2.0","id":1,"result":{}}}',
    ]  # fmt: skip
    with caplog.at_level(logging.INFO):
        async with serving() as server, XiaozhiDevice(url_of(server)) as device:
            assert device.socket is not None
            for message in odd:
                await device.socket.send(message)
            await device.listen("auto")
            for packet in (b"\xff" * 40, b"", b"\x03"):
                await device.socket.send(packet)
            await device.ping()
            await device.message("pong")
            device.say(spoken())
            await device.message("tts", state="stop", since=await device.when("stt"))
    assert not [record for record in caplog.records if record.levelno > logging.INFO and record.name.startswith("core")]


async def test_h1_an_error_is_shown_and_the_next_turn_works(serving: Serve) -> None:
    async with serving() as server, XiaozhiDevice(url_of(server)) as device:
        server.engines.dialogue.fail = True
        await device.detect("hello")
        alert = await device.message("alert")
        assert "away" in alert["message"]
        server.engines.dialogue.fail = False
        await device.detect("hello")
        await device.message("tts", state="stop")


async def test_h1_a_text_that_is_too_long(serving: Serve) -> None:
    async with serving(limits__max_text_chars="20") as server, XiaozhiDevice(url_of(server)) as device:
        await device.detect("x" * 21)
        assert "20" in (await device.message("alert"))["message"]
        await device.detect("hello")
        await device.message("tts", state="stop")


async def test_h1_a_message_without_end_closes_the_socket(serving: Serve) -> None:
    async with serving() as server:
        async with XiaozhiDevice(url_of(server)) as device:
            assert device.socket is not None
            await device.socket.send("x" * (300 << 10))
            assert await device.closed() == 1009
        await nothing_left(server)


async def test_h1_a_second_hello_is_answered_again(serving: Serve) -> None:
    async with serving() as server, aiohttp.ClientSession() as http:
        headers = {"Device-Id": DEVICE, "Client-Id": CLIENT}
        async with http.ws_connect(url_of(server), headers=headers) as socket:
            await socket.send_json({"type": "listen", "state": "start"})  # too early: not looked at
            await socket.send_bytes(b"sound")
            await socket.send_json({"type": "hello"})
            first = await socket.receive_json(timeout=5)
            await socket.send_json({"type": "hello", "version": 3})
            assert await socket.receive_json(timeout=5) == first
            assert first["session_id"]
        assert len(server.sessions) == 1


async def test_h1_who_says_no_hello_is_closed(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.devices.endpoint.HELLO_TIMEOUT_S", 0.2)
    async with serving() as server, aiohttp.ClientSession() as http:
        async with http.ws_connect(url_of(server), headers={"Device-Id": DEVICE}) as socket:
            message = await socket.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
        await nothing_left(server)
        assert len(server.sessions) == 0


async def test_h1_another_codec_is_no_hello(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.devices.endpoint.HELLO_TIMEOUT_S", 0.2)
    async with (
        serving() as server,
        aiohttp.ClientSession() as http,
        http.ws_connect(url_of(server), headers={"Device-Id": DEVICE}) as socket,
    ):
        await socket.send_json({"type": "hello", "audio_params": {"format": "pcm"}})
        assert (await socket.receive(timeout=5)).data == 1008


async def test_h1_a_device_that_reads_nothing_is_dropped(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.devices.line.SEND_TIMEOUT_S", 0.3)

    async def stuck(self: DeviceLine, item: object) -> None:
        await asyncio.Event().wait()

    async with serving() as server:
        device = XiaozhiDevice(url_of(server))
        await device.open()
        monkeypatch.setattr(DeviceLine, "_send", stuck)
        await device.send(type="ping")
        await nothing_left(server)
        await device.close()
    assert json.dumps(device.messages[0][1])
