"""The xiaozhi client in good times: hello, turns in all modes, order, abort, tools."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import numpy as np
import pytest

from core.dialogue.xiaozhi.client import XiaozhiClient
from core.dialogue.xiaozhi.downlink import Downlink
from core.dialogue.xiaozhi.endpoint import Endpoint, Options
from core.dialogue.xiaozhi.events import (
    Connected,
    Disconnected,
    Emotion,
    Failed,
    Notice,
    ReplyAudio,
    ReplyText,
    SpeakingStarted,
    SpeakingStopped,
    UserText,
)
from core.dialogue.xiaozhi.framing import Frame
from core.dialogue.xiaozhi.session import State
from core.dialogue.xiaozhi.tools import Tool, Tools
from core.errors import BadRequest, DialogueError
from tests.simulators.xiaozhi import CLIENT, DEVICE, TOKEN, Say, Sentence, Trouble, XiaozhiServer, tone_packets
from tests.xiaozhi_talk import Talk, pitch_of, poll, spoken, talking, tone

LONG = (Sentence("Long.", 440.0, (60,) * 400),)


async def spoke(talk: Talk, reply: int = 1) -> None:
    await talk.until(lambda: any(e.reply == reply for e in talk.all(SpeakingStopped)))


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("frame_ms", [20, 40, 60])
async def test_h1_a_turn_by_push_to_talk(version: int, frame_ms: int) -> None:
    async with XiaozhiServer() as server, talking(server, Options(frame_ms=frame_ms), version=version) as talk:
        connected = await talk.told(Connected)
        visit = server.visits[0]
        assert connected.session_id == talk.client.session_id == visit.session_id
        assert talk.client.state is State.READY
        assert all(await talk.turn(spoken(4, frame_ms)))
        await spoke(talk)
        assert visit.states() == ["hello", "start", "stop"]
        assert visit.turns == [4]
        assert pitch_of(visit.heard(), 48000) == pytest.approx(300, abs=10)
        assert talk.client.state is State.READY
    assert not visit.refusal


async def test_h2_a_reply_is_told_in_order() -> None:
    reply = (Sentence("One.", 440.0, (20, 60, 40, 20, 60)), Sentence("Two.", 880.0, (60, 60, 20, 40)))
    async with XiaozhiServer(reply=reply) as server, talking(server) as talk:
        await talk.told(Connected)
        await talk.turn(spoken(2))
        await spoke(talk)
    told = [event for event in talk.events if not isinstance(event, ReplyAudio)]
    assert told[1:-1] == [
        UserText("hello there"), SpeakingStarted(1), Emotion("happy", "🙂"), ReplyText(1, "One."), ReplyText(1, "Two."),
        SpeakingStopped(1, complete=True),
    ]  # fmt: skip
    lengths = [len(event.pcm.samples) // 24 for event in talk.all(ReplyAudio)]
    assert lengths == [20, 60, 40, 20, 60, 60, 60, 20, 40]
    second = talk.events.index(ReplyText(1, "Two."))
    before = [event for event in talk.events[:second] if isinstance(event, ReplyAudio)]
    assert len(before) == 5
    sound = talk.sound(1)
    assert pitch_of(sound[: 200 * 24]) == pytest.approx(440, abs=15)
    assert pitch_of(sound[220 * 24 :]) == pytest.approx(880, abs=15)


async def test_h2_the_rate_is_that_of_the_hello_and_its_length_is_not_believed() -> None:
    told = {"audio_params": {"format": "opus", "sample_rate": 48000, "channels": 1, "frame_duration": 20}}
    async with XiaozhiServer(announced=told) as server, talking(server) as talk:
        await talk.told(Connected)
        await talk.turn(spoken(2))
        await spoke(talk)
    assert {(len(e.pcm.samples), e.pcm.rate) for e in talk.all(ReplyAudio)} == {(2880, 48000)}


async def test_h2_broken_packets_are_concealed_and_sound_outside_of_a_reply_is_not_told() -> None:
    noise = Say((b"\xff\xff\xff\xff", "not JSON", '{"type":"weather"}', "[]", '{"type":"tts","state":"pause"}'))
    server = XiaozhiServer(troubles={0: Trouble("reply", noise, packet=3)})
    async with server, talking(server) as talk:
        await talk.told(Connected)
        await talk.turn(spoken(2))
        await spoke(talk)
        assert len(talk.all(ReplyAudio)) == 11
        assert len(talk.sound(1)) == 11 * 1440
    early = XiaozhiServer(troubles={0: Trouble("listen", Say((spoken(1)[0],)))})
    async with early, talking(early) as talk:
        await talk.told(Connected)
        await talk.turn(spoken(2))
        await spoke(talk)
        assert len(talk.all(ReplyAudio)) == 10


def test_h2_every_tenth_packet_is_told_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    downlink = Downlink(24000)
    with caplog.at_level(logging.DEBUG, "core.dialogue.xiaozhi.downlink"):
        for packet in [*tone_packets(Sentence("", 440.0, (60,) * 24)), b"\xff" * 40]:
            downlink.sound(Frame(packet))
    assert [record.getMessage() for record in caplog.records if "packets" in record.getMessage()] == [
        "xiaozhi: 10 packets, 0 concealed", "xiaozhi: 20 packets, 0 concealed",
    ]  # fmt: skip


async def test_h1_auto_mode_sends_nothing_while_the_server_speaks() -> None:
    async with XiaozhiServer(reply=LONG, pace=0.01) as server, talking(server) as talk:
        await talk.told(Connected)
        assert all(await talk.turn(spoken(5), "auto"))
        await talk.told(SpeakingStarted)
        assert talk.client.state is State.SPEAKING
        assert not await talk.client.send_audio(spoken(1)[0])
        assert not await talk.client.send_pcm(tone(0.1))
        assert await talk.client.send_abort()
        assert all(await talk.turn(spoken(5), "auto"))
        await talk.told(SpeakingStarted, 2)
        assert server.visits[0].turns == [5, 5]
    assert not server.visits[0].refusal


async def test_h1_realtime_mode_goes_on_sending() -> None:
    async with XiaozhiServer(pace=0.02) as server, talking(server, Options(aec=True)) as talk:
        await talk.told(Connected)
        await talk.turn(spoken(5), "realtime")
        await talk.told(SpeakingStarted)
        assert await talk.client.send_audio(spoken(1)[0])
        await spoke(talk)
        assert talk.client.state is State.LISTENING
        assert await talk.client.send_audio(spoken(1)[0])
        assert await talk.client.send_stop_listening()
    assert server.visits[0].messages[0]["features"] == {"mcp": True, "aec": True}
    assert not server.visits[0].refusal


async def test_h1_pcm_is_encoded_and_its_rest_sent_with_the_stop() -> None:
    async with XiaozhiServer() as server, talking(server) as talk:
        await talk.told(Connected)
        assert not await talk.client.send_pcm(tone(0.1)), "no recording"
        await talk.client.send_start_listening("manual")
        for _ in range(10):
            assert await talk.client.send_pcm(tone(0.025))
        assert await talk.client.send_stop_listening()
        await spoke(talk)
        assert server.visits[0].turns == [5]
        assert len(server.visits[0].heard()) == 5 * 2880


async def test_h1_typed_text_is_a_turn() -> None:
    async with XiaozhiServer() as server, talking(server) as talk:
        await talk.told(Connected)
        assert await talk.client.send_detect("how are you?")
        await spoke(talk)
        assert server.visits[0].messages[-1]["text"] == "how are you?"


async def test_h1_nothing_of_an_aborted_reply_is_told() -> None:
    async with XiaozhiServer(reply=LONG) as server, talking(server, listens=False) as talk:
        client = talk.client
        events = client.events()
        assert isinstance(await anext(events), Connected)
        await talk.turn(spoken(2))
        await poll(lambda: client.waiting_s > 3.0)  # it waits for the listener
        assert await client.send_abort("wake_word_detected")
        await poll(lambda: server.visits[0].states()[-1] == "abort")
        assert await client.send_detect("more")
        told: list[object] = []
        async for event in events:
            told.append(event)
            if isinstance(event, ReplyAudio):
                break
        assert isinstance(event, ReplyAudio)
        assert event.reply == 2
        assert [e for e in told if isinstance(e, SpeakingStarted | SpeakingStopped)] == [
            SpeakingStarted(1), SpeakingStopped(1, complete=False), SpeakingStarted(2),
        ]  # fmt: skip
        assert [e for e in told if isinstance(e, ReplyText)] == [ReplyText(2, "Long.")]
    assert not server.visits[0].refusal


async def test_h1_a_new_recording_aborts_the_reply() -> None:
    async with XiaozhiServer(reply=LONG, pace=0.01) as server, talking(server) as talk:
        await talk.told(Connected)
        await talk.turn(spoken(2))
        await talk.told(ReplyAudio)
        assert all(await talk.turn(spoken(3)))
        await talk.told(SpeakingStarted, 2)
        assert server.visits[0].states() == ["hello", "start", "stop", "abort", "start", "stop"]
    assert not server.visits[0].refusal


async def test_h1_a_slow_listener_makes_the_server_wait() -> None:
    async with XiaozhiServer(reply=LONG) as server, talking(server, Options(queued_s=3.0), listens=False) as talk:
        await poll(lambda: talk.client.session_id)
        await talk.turn(spoken(2))
        await poll(lambda: talk.client.waiting_s >= 3.0)
        await asyncio.sleep(0.2)
        assert talk.client.waiting_s < 3.2
        told = 0
        async for event in talk.client.events():
            told += isinstance(event, ReplyAudio)
            if isinstance(event, SpeakingStopped):
                break
        assert told == 400


async def test_h1_what_the_server_wants_shown() -> None:
    alert = json.dumps({"type": "alert", "status": "Battery", "message": "low", "emotion": "sad"})
    async with XiaozhiServer(troubles={0: Trouble("hello", Say((alert,)))}) as server, talking(server) as talk:
        assert await talk.told(Notice) == Notice("Battery", "low", "sad")


async def test_h1_messages_as_they_are() -> None:
    async with XiaozhiServer() as server, talking(server) as talk:
        await talk.told(Connected)
        assert await talk.client.send_message({"type": "ping", "session_id": talk.client.session_id})
        assert not await talk.client.send_message({"type": object()})
        await poll(lambda: server.visits[0].states() == ["hello", "ping"])
        assert await talk.client.send_message({"type": "goodbye", "session_id": talk.client.session_id})
        assert (await talk.told(Disconnected)).normal


async def test_h1_never_connected_every_send_says_no() -> None:
    client = XiaozhiClient(Endpoint("ws://127.0.0.1:9", DEVICE, CLIENT, TOKEN))
    sends = [
        client.send_start_listening(), client.send_audio(spoken(1)[0]), client.send_stop_listening(),
        client.send_audio(b""), client.send_detect("x"), client.send_abort(), client.send_message({"type": "ping"}),
        client.send_start_listening("loud"), client.send_pcm(tone(1.0)),
    ]  # fmt: skip
    assert [await send for send in sends] == [False] * len(sends)
    await client.close()
    assert [event async for event in client.events()] == []


async def test_h1_garbage_is_not_sent() -> None:
    async with XiaozhiServer() as server, talking(server) as talk:
        await talk.told(Connected)
        await talk.client.send_start_listening("manual")
        assert not await talk.client.send_audio(b"")
        assert not await talk.client.send_audio(b"\x03")
        assert await talk.client.send_audio(spoken(1)[0])
        assert await talk.client.send_stop_listening()
        await spoke(talk)
        assert server.visits[0].turns == [1]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"url": "http://x"}, "url"),
        ({"url": "ws://"}, "url"),
        ({"device_id": "AA:BB:CC:DD:EE:FF"}, "device_id"),
        ({"client_id": ""}, "client_id"),
        ({"token": "a\nb"}, "token"),
        ({"version": 4}, "version"),
    ],
)
async def test_h1_wrong_settings(wrong: dict[str, Any], why: str) -> None:
    right: dict[str, Any] = {"url": "ws://127.0.0.1", "device_id": DEVICE, "client_id": CLIENT}
    with pytest.raises(DialogueError, match=why):
        await XiaozhiClient(Endpoint(**right | wrong)).connect()


def test_h1_headers_like_the_firmware() -> None:
    right = {"url": "ws://127.0.0.1", "device_id": DEVICE, "client_id": CLIENT}
    assert "Authorization" not in Endpoint(**right).headers()
    assert Endpoint(**right, token="abc").headers()["Authorization"] == "Bearer abc"
    assert Endpoint(**right, token="Basic abc").headers()["Authorization"] == "Basic abc"


async def test_h1_a_refused_token_is_told_and_not_tried_again() -> None:
    async with XiaozhiServer() as server, talking(server, token="wrong") as talk:
        failed = await talk.told(Failed)
        await poll(lambda: talk.client.state is State.ERROR)
        assert failed.error.code == "xiaozhi_refused"
        assert not failed.error.retryable
        assert "token" in str(failed.error)
        await talk.client.connect()
        assert (await talk.told(Failed, 2)).error.code == "xiaozhi_refused"
        assert server.visits == []


# -- tools


async def add(arguments: dict[str, Any]) -> str:
    if not isinstance(arguments.get("a"), int):
        raise BadRequest("a must be a number")
    return str(arguments["a"] + arguments["b"])


async def forever(_: dict[str, Any]) -> str:
    await asyncio.Event().wait()
    return ""


def offered() -> Tools:
    tools = Tools(timeout_s=0.05)
    for number in range(20):
        tools.register(Tool(f"tool {number}", "one of many", add))
    tools.register(Tool("add", "adds", add, {"type": "object", "required": ["a", "b"]}))
    tools.register(Tool("forever", "takes long", forever))
    tools.register(Tool("secret", "for the user's programs", add, user_only=True))
    return tools


def asked(method: str, number: int | str = 7, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


async def result(request: dict[str, Any]) -> Any:
    answer = await offered().answer(request)
    assert answer is not None
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", request["id"])
    return answer.get("result", answer.get("error"))


async def test_h1_tools_are_listed_page_by_page() -> None:
    for with_user, count in ((False, 22), (True, 23)):
        first = await result(asked("tools/list", cursor="", withUserTools=with_user))
        assert [tool["name"] for tool in first["tools"]] == [f"tool {n}" for n in range(16)]
        second = await result(asked("tools/list", cursor=first["nextCursor"], withUserTools=with_user))
        assert len(first["tools"]) + len(second["tools"]) == count
        assert "nextCursor" not in second
    assert second["tools"][4] == {
        "name": "add", "description": "adds", "inputSchema": {"type": "object", "required": ["a", "b"]},
    }  # fmt: skip


def text(words: str, failed: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}], "isError": failed}


async def test_h1_tools_are_called() -> None:
    def call(name: Any, arguments: Any) -> dict[str, Any]:
        return asked("tools/call", name=name, arguments=arguments)

    assert await result(call("add", {"a": 1, "b": 2})) == text("3")
    assert await result(call("add", {})) == text("a must be a number", failed=True)
    assert await result(call("add", {"a": 1})) == text("the tool failed", failed=True)
    assert await result(call("forever", {})) == text("the tool takes too long", failed=True)
    assert (await result(call("none", {})))["code"] == -32602
    assert (await result(call(["x"], {})))["code"] == -32602
    assert (await result(call("add", [])))["code"] == -32602
    assert (await result(asked("resources/list")))["code"] == -32601
    assert (await result(asked("initialize") | {"jsonrpc": "1.0"}))["code"] == -32600
    assert (await result(asked("initialize") | {"params": []}))["code"] == -32600
    assert await offered().answer({"jsonrpc": "2.0", "method": "notifications/initialized"}) is None
    assert await offered().answer({"jsonrpc": "2.0", "id": 1, "result": {}}) is None


async def test_h1_the_server_uses_our_tools() -> None:
    requests = [asked("initialize", 1), asked("tools/call", 2, name="add", arguments={"a": 2, "b": 3})]
    said = Say(tuple(json.dumps({"type": "mcp", "payload": request}) for request in requests))
    server = XiaozhiServer(troubles={0: Trouble("hello", said)})
    async with server, talking(server, tools=offered()):
        await poll(lambda: server.visits and len(server.visits[0].messages) == 3)
    answers = sorted((m["payload"] for m in server.visits[0].messages[1:]), key=lambda a: a["id"])
    assert answers[0]["result"]["serverInfo"]["name"] == "eman"
    assert answers[0]["result"]["protocolVersion"] == "2024-11-05"
    assert answers[1]["result"] == text("5")
    assert not server.visits[0].refusal


def test_the_helper_measures_pitch() -> None:
    assert pitch_of(np.asarray(tone(1.0, 440.0, 24000))) == pytest.approx(440, abs=2)
