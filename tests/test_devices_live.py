"""Devices at a running server, over real sockets: the strict device judges everything that it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from config.wiring import device_door, device_options
from core.devices.endpoint import DeviceEndpoint
from core.devices.line import DeviceLine
from core.dialogue.xiaozhi.client import XiaozhiClient
from core.dialogue.xiaozhi.events import ReplyAudio, ReplyText, SpeakingStopped, UserText
from core.dialogue.xiaozhi.ota import discover
from core.errors import SettingsError
from core.frames import LinkState, Utterance
from server import Server
from tests.avatar_client import AvatarClient, loudness
from tests.conftest import Serve, serve
from tests.simulators.xiaozhi_device import CLIENT, DEVICE, XiaozhiDevice, tone_packets
from tests.speech import flite

SPEECH = 16_000
LONG = "one two three four five six seven eight nine ten. " * 5
AUTH = {"auth__enabled": "true"}


@pytest.fixture
def serving() -> Serve:
    """Servers with a voice that speaks fast."""
    return lambda **settings: serve(**{"tts__options": '{"seconds_per_word": 0.1}', **settings})


def url_of(server: Server, path: str = "/xiaozhi/v1/") -> str:
    return server.url.replace("http", "ws") + path


def mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


async def eventually(check: Any, timeout: float = 10.0) -> None:
    async with asyncio.timeout(timeout):
        while not check():
            await asyncio.sleep(0.01)


async def nothing_left(server: Server) -> None:
    """No line, no writer, no place in a session."""
    await eventually(lambda: not server.devices.lines)
    await eventually(lambda: not [t for t in asyncio.all_tasks() if t.get_name().startswith("device ")])
    assert all(not session.listened and not session.device for session in server.sessions.all())


def spoken() -> np.ndarray[Any, np.dtype[np.int16]]:
    return flite("what time is it", rate=SPEECH)


# -- a turn


async def test_h1_a_turn_in_auto_mode(serving: Serve) -> None:
    async with serving() as server:
        async with XiaozhiDevice(url_of(server)) as device:
            await device.listen("auto")
            device.say(spoken())
            stopped = await device.when("tts", state="stop")
            order = [message.get("state") or message["type"] for _, message in device.messages]
            assert order == ["hello", "stt", "start", "sentence_start", "sentence_start", "stop"]
            assert [m["text"] for _, m in device.said("tts", state="sentence_start")] == [
                "One two three.", "Four five six.",
            ]  # fmt: skip
            arrivals = [at for at, _ in device.heard]
            assert 10 <= len(arrivals) < 20  # 0.6 s, and a pause where a busy machine starves the voice
            assert stopped >= device.rules.played_until
            assert sum(device.rules.underruns) <= 0.1 + device.rules.slack_s
            assert loudness(np.concatenate([sound for _, sound in device.heard])) > 0.1
            # then the device listens again by itself, and is heard
            device.say(spoken())
            await device.message("stt", since=stopped)
            await device.message("tts", state="stop", since=stopped + 0.1)
        await nothing_left(server)


@pytest.mark.parametrize(("version", "frame_ms"), [(2, 20), (3, 40)])
async def test_h1_other_versions_and_packets(serving: Serve, version: int, frame_ms: int) -> None:
    async with (
        serving() as server,
        XiaozhiDevice(url_of(server), version=version, frame_ms=frame_ms, empty_ids=True) as device,
    ):
        await device.listen("auto")
        device.say(spoken())
        await device.message("tts", state="stop")
        seconds = float(device.said("stt")[0][1]["text"].split()[0])
        assert abs(seconds - len(spoken()) / SPEECH) < 1.2


async def test_h1_the_version_of_the_hello_counts_without_a_header(serving: Serve) -> None:
    async with serving() as server:
        headers = {"Device-Id": DEVICE}
        async with XiaozhiDevice(url_of(server), version=3, headers=headers) as device:
            await device.detect("hello")
            await device.message("tts", state="stop")
            assert device.heard


async def test_h1_a_browser_says_everything_in_the_query(serving: Serve) -> None:
    async with serving() as server:
        hello = dict.fromkeys(("version", "transport", "audio_params")) | {
            "device_id": "web", "device_name": "n", "device_mac": "m", "token": "t", "features": {"mcp": True},
        }  # fmt: skip
        url = url_of(server) + "?device-id=web&client-id=web_client&authorization=Bearer%20x&protocol-version=2"
        async with XiaozhiDevice(url, version=2, headers={}, hello=hello) as device:
            await device.detect("嘿，你好呀")  # the web client's wake word
            await device.listen("auto")
            await device.detect("hello")
            await device.message("tts", state="stop")
            assert [m["text"] for _, m in device.said("stt")] == ["hello"]


async def test_h1_manual_mode_never_ends_the_turn_itself(serving: Serve) -> None:
    async with serving() as server, XiaozhiDevice(url_of(server)) as device:
        await device.listen("manual")
        device.say(spoken())
        await eventually(lambda: device.spoken_at > 0)
        await asyncio.sleep(1.2)  # longer than any wait of the turn-taking
        assert not device.said("stt")
        await device.stop()
        await device.message("stt", timeout=3)
        await device.message("tts", state="stop")
        sent = device.sent
        await asyncio.sleep(0.3)
        assert device.sent == sent  # idle


async def test_h1_a_new_recording_silences_the_reply_in_manual_mode(serving: Serve) -> None:
    async with serving() as server, XiaozhiDevice(url_of(server)) as device:
        server.engines.dialogue.answer = LONG
        await device.detect("tell me something long")
        await device.message("tts", state="sentence_start")
        began = time.monotonic()
        await device.listen("manual")
        assert await device.when("tts", state="stop") - began < 1.0 + 3 * device.rules.slack_s
        assert len(device.heard) * 0.06 < 3.6  # of 5 s


async def test_e1_barge_in_in_realtime_mode(serving: Serve) -> None:
    async with serving() as server, XiaozhiDevice(url_of(server)) as device:
        server.engines.dialogue.answer = LONG
        await device.listen("realtime")
        device.say(spoken())
        await device.message("tts", state="sentence_start")
        await asyncio.sleep(0.5)
        interrupted = time.monotonic()
        device.say(flite("stop it please, what day is it today", rate=SPEECH))
        stopped = await device.when("tts", state="stop", since=interrupted)
        assert len(device.heard) * 0.06 < 3.6  # of 5 s
        await device.message("stt", since=stopped - 0.01)  # what was said over it
        await device.message("tts", state="start", since=stopped)


async def test_e1_in_auto_mode_the_loudspeaker_is_not_heard(serving: Serve) -> None:
    async with serving() as server, XiaozhiDevice(url_of(server)) as device:
        await device.listen("auto")
        await device.detect("hello")
        await device.message("tts", state="start")
        device._listening = True  # a client that goes on sending
        device.say(spoken())
        await device.message("tts", state="stop")
        assert len(device.said("stt")) == 1
        assert len(device.said("tts", state="start")) == 1


async def test_h1_the_wake_words_sound_is_not_heard(serving: Serve) -> None:
    async with serving(xiaozhi__greeting="Yes?") as server, XiaozhiDevice(url_of(server)) as device:
        for packet in tone_packets(SPEECH, 60, 20):
            await device.send_packet(packet)
        await device.detect("Hi, ESP")
        await device.message("tts", state="stop")
        assert [m["text"] for _, m in device.said("tts", state="sentence_start")] == ["Yes?"]
        assert not device.said("stt")


async def test_h1_moods_of_the_reply_are_told(serving: Serve) -> None:
    async with serving() as server, XiaozhiDevice(url_of(server)) as device:
        server.engines.dialogue.answer = "[happy] One two three. [sad] Four five six."
        await device.detect("hello")
        await device.message("tts", state="stop")
        assert [m["emotion"] for _, m in device.said("llm")] == ["happy", "sad"]


async def test_h1_our_own_client_talks_to_our_own_server(serving: Serve) -> None:
    async with serving() as server:
        found = await discover(server.url + "/xiaozhi/ota/", DEVICE, CLIENT)
        client = XiaozhiClient(found.endpoint)
        try:
            await client.connect()
            await client.send_start_listening("manual")  # perhaps before the hello: then all comes at once after it
            await client.send_pcm(spoken())
            await client.send_stop_listening()
            events: list[object] = []
            async with asyncio.timeout(20):
                async for event in client.events():
                    events.append(event)
                    if isinstance(event, SpeakingStopped):
                        break
        finally:
            await client.close()
        said = next(event.text for event in events if isinstance(event, UserText))
        assert abs(float(said.split()[0]) - len(spoken()) / SPEECH) < 0.5
        assert [event.text for event in events if isinstance(event, ReplyText)] == ["One two three.", "Four five six."]
        assert sum(event.pcm.seconds for event in events if isinstance(event, ReplyAudio)) > 0.5
        await nothing_left(server)


async def test_h1_too_many_messages_are_not_looked_at(serving: Serve) -> None:
    async with serving(limits__messages_per_second="5") as server, XiaozhiDevice(url_of(server)) as device:
        for _ in range(40):
            await device.ping()
        await asyncio.sleep(0.5)
        assert 5 <= len(device.said("pong")) < 20


# -- abort, errors, odd messages


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


# -- hello


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


# -- coming and going


async def test_h1_a_device_that_comes_back_goes_on_with_its_conversation(serving: Serve) -> None:
    async with serving() as server:
        async with XiaozhiDevice(url_of(server)) as device:
            await device.detect("first")
            await device.message("tts", state="stop")
            first = device.rules.session_id
        await nothing_left(server)
        async with XiaozhiDevice(url_of(server)) as device:
            assert device.rules.session_id == first
            await device.detect("second")
            await device.message("tts", state="stop")
        assert [u.text for u in server.engines.dialogue.calls[-1][0]] == ["first", "One two three. Four five six."]
        async with XiaozhiDevice(url_of(server), client_id="somebody else") as device:
            assert device.rules.session_id != first


async def test_h1_a_device_that_comes_back_late_is_remembered(serving: Serve, tmp_path: Any) -> None:
    kept = {"history__enabled": "true", "history__path": str(tmp_path / "history.db")}
    quick = {"lifecycle__vanish_s": "0.1", "lifecycle__resume_s": "0.2"}
    async with serving(**kept, **quick) as server:
        async with XiaozhiDevice(url_of(server)) as device:
            await device.detect("first")
            await device.message("tts", state="stop")
            first = device.rules.session_id
        await eventually(lambda: len(server.sessions) == 0)
        async with XiaozhiDevice(url_of(server)) as device:
            assert device.rules.session_id == first
            await device.detect("second")
            await device.message("tts", state="stop")
        assert [u.text for u in server.engines.dialogue.calls[-1][0]] == ["first", "One two three. Four five six."]


async def test_h1_a_page_that_watches_hears_on_when_the_device_goes(serving: Serve) -> None:
    async with serving() as server:
        server.engines.dialogue.answer = LONG
        device = XiaozhiDevice(url_of(server))
        await device.open()
        await device.detect("hello")
        await device.message("tts", state="sentence_start")
        ticket = {"sessionid": device.rules.session_id}
        async with AvatarClient(server.url, extra=ticket) as page:
            await page.connect()
            device.vanish()
            await nothing_left(server)
            gone = time.monotonic()
            await page.audible(gone + 0.5)  # what the device had is not taken from the page
            async with XiaozhiDevice(url_of(server)) as again:
                assert again.rules.session_id == ticket["sessionid"]
                await again.message("tts", state="start")  # the reply goes on there, too
                await again.abort()
                await again.message("tts", state="stop")
                assert server.sessions.all()[0].media.link() is LinkState.CONNECTED  # the page stays


async def test_h1_a_device_that_vanishes_in_mid_reply(serving: Serve) -> None:
    async with serving(lifecycle__vanish_s="0.3", lifecycle__resume_s="1") as server:
        server.engines.dialogue.answer = LONG
        device = XiaozhiDevice(url_of(server))
        await device.open()
        await device.detect("hello")
        await device.message("tts", state="sentence_start")
        device.vanish()
        await nothing_left(server)
        session = server.sessions.all()[0]
        await eventually(lambda: not session.conversation.busy)  # nobody hears it
        await eventually(lambda: len(server.sessions) == 0)  # and nobody took it up again


async def test_h1_a_connection_that_hangs_gives_way_to_the_devices_next(serving: Serve) -> None:
    async with serving() as server:
        server.engines.dialogue.answer = LONG
        hanging = XiaozhiDevice(url_of(server))
        await hanging.open()
        await hanging.detect("hello")
        await hanging.message("tts", state="sentence_start")
        hanging.freeze()
        async with XiaozhiDevice(url_of(server)) as device:
            assert device.rules.session_id == hanging.rules.session_id
            await device.detect("again")
            await device.message("tts", state="sentence_start")
            await eventually(lambda: len(server.devices.lines) == 1)
            await device.abort()
            await device.message("tts", state="stop")
        hanging.vanish()
        await nothing_left(server)
        assert len(server.sessions) == 1


async def test_h1_a_silent_device_is_asked_and_let_go(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.devices.line.PING_S", 0.2)
    monkeypatch.setattr("core.devices.line.SILENT_S", 0.6)
    async with serving() as server:
        async with XiaozhiDevice(url_of(server)) as device:
            await asyncio.sleep(1.5)  # it answers pings
            await device.detect("hello")
            await device.message("tts", state="start")
        dead = XiaozhiDevice(url_of(server), device_id=mac(9))
        await dead.open()
        dead.freeze()
        await nothing_left(server)
        dead.vanish()


async def test_h1_without_voice_the_server_says_goodbye(serving: Serve) -> None:
    async with serving(xiaozhi__idle_s="0.8") as server, XiaozhiDevice(url_of(server)) as device:
        await device.listen("realtime")  # the microphone sends all the time
        began = time.monotonic()
        assert await device.when("goodbye") - began > 0.7
        assert await device.closed() == 1000


async def test_h1_a_goodbye_of_the_device(serving: Serve) -> None:
    async with serving() as server:
        async with XiaozhiDevice(url_of(server)) as device:
            await device.send(type="goodbye")
            assert await device.closed() == 1000
        await nothing_left(server)


async def test_h1_when_the_server_stops(serving: Serve) -> None:
    async with serving() as server:
        devices = [XiaozhiDevice(url_of(server), device_id=mac(number)) for number in range(3)]
        for device in devices:
            await device.open()
        await devices[0].detect("hello")
        await devices[0].message("tts", state="start")
        stopping = asyncio.create_task(server.stop())
        assert [await device.closed() for device in devices] == [1001] * 3
        await stopping
        assert not server.devices.lines


async def test_h1_a_full_server_says_so(serving: Serve) -> None:
    async with serving(limits__max_sessions="1") as server:
        async with XiaozhiDevice(url_of(server)):
            second = XiaozhiDevice(url_of(server), device_id=mac(2))
            await second.plug()
            second.rules.session_id = ""
            assert second.socket is not None
            await second.send(**second.hello)
            assert await second.closed() == 1013
            await second.close()
            assert "before hello" in str(second.refusal)  # the alert comes in place of a hello
        assert len(server.sessions) == 1


async def test_k1_sessions_that_devices_begin_count_as_offers(serving: Serve) -> None:
    async with serving(limits__offers_per_minute="2") as server:
        for number in (1, 2, 1, 2):  # who comes back begins none
            async with XiaozhiDevice(url_of(server), device_id=mac(number)):
                pass
        third = XiaozhiDevice(url_of(server), device_id=mac(3))
        await third.plug()
        await third.send(**third.hello)
        assert await third.closed() == 1013
        await third.close()
        assert len(server.sessions) == 2
        async with aiohttp.ClientSession() as http:
            answer = await http.post(f"{server.url}/offer", json={"type": "websocket"})
            assert answer.status == 429


async def test_h1_an_operator_ends_the_session(serving: Serve) -> None:
    async with serving() as server, XiaozhiDevice(url_of(server)) as device, aiohttp.ClientSession() as http:
        await http.post(server.url + "/api/admin/stop", json={"sessionid": device.rules.session_id})
        await device.message("goodbye")
        assert await device.closed() == 1000
        assert len(server.sessions) == 0


async def test_h1_ten_devices_at_once(serving: Serve) -> None:
    async def turn(server: Server, number: int) -> str:
        async with XiaozhiDevice(url_of(server), device_id=mac(number), version=1 + number % 3) as device:
            await device.detect(f"number {number}")
            await device.message("tts", state="stop", timeout=40)
            assert device.said("stt")[0][1]["text"] == f"number {number}"
            assert 10 <= len(device.heard) < 30  # a starved voice makes pauses
            return device.rules.session_id

    async with serving(limits__max_sessions="10") as server:
        assert len(set(await asyncio.gather(*(turn(server, number) for number in range(10))))) == 10
        await nothing_left(server)


async def test_h1_a_device_that_takes_long_to_come_in_holds_up_no_other(serving: Serve) -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    async def recall(session_id: str) -> tuple[Utterance, ...]:
        asked.set()
        await gate.wait()
        return ()

    async with serving() as server:
        door, options = device_door(server.settings, server.access), device_options(server.settings)
        application = web.Application()
        application.add_routes(DeviceEndpoint(server.sessions, server.cast, door, options, recall).routes())
        async with TestServer(application) as served:
            url = str(served.make_url("/xiaozhi/v1/")).replace("http", "ws")
            async with XiaozhiDevice(url) as device:
                await server.sessions.close(server.sessions.find(device.rules.session_id))
            late = [XiaozhiDevice(url) for _ in range(2)]
            opening = [asyncio.create_task(device.open()) for device in late]
            await asked.wait()
            async with asyncio.timeout(20), XiaozhiDevice(url, device_id=mac(2)):
                assert not any(task.done() for task in opening)
            gate.set()
            await asyncio.gather(*opening)
            assert late[0].rules.session_id == late[1].rules.session_id, "of one device there is one session"
            for device in late:
                await device.close()


# -- who may


async def ota(server: Server, **headers: str) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            server.url + "/xiaozhi/ota/",
            json={"application": {"version": "1.2.3"}},
            headers={"Device-Id": DEVICE, "Client-Id": CLIENT, **headers},
        ) as response,
    ):
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
        return answer


async def refused(url: str, token: str = "") -> int | None:
    device = XiaozhiDevice(url, token=token)
    await device.plug()
    with contextlib.suppress(Exception):
        await device.send(**device.hello)
    code = await device.closed()
    await device.close()
    return code


async def test_h1_discovery_leads_to_the_socket(serving: Serve) -> None:
    async with serving() as server:
        answer = await ota(server)
        assert answer["firmware"]["version"] == "1.2.3"
        assert answer["websocket"] == {"url": url_of(server), "token": "", "version": 1}
        async with XiaozhiDevice(answer["websocket"]["url"]):
            pass


async def test_k1_with_auth_on_only_tokens_come_in(serving: Serve) -> None:
    async with serving(**AUTH) as server:
        token = (await ota(server))["websocket"]["token"]
        async with XiaozhiDevice(url_of(server), token=token) as device:
            await device.detect("hello")
            await device.message("tts", state="stop")
        assert await refused(url_of(server)) == 1008
        assert await refused(url_of(server), token[:-1]) == 1008
        other = await ota(server, **{"Device-Id": mac(5)})
        assert await refused(url_of(server), other["websocket"]["token"]) == 1008
        assert len(server.sessions) == 1
        await nothing_left(server)


async def test_k1_with_api_keys_only_known_devices_get_a_token(serving: Serve) -> None:
    key, shared = "a-key-of-a-program-000", "shared-by-all-devices-0"
    settings = {"auth__api_keys": f'["{key}"]', "xiaozhi__token": shared, "xiaozhi__devices": f'["{mac(1).upper()}"]'}
    async with serving(**AUTH, **settings) as server:
        assert (await ota(server))["websocket"]["token"] == ""
        assert (await ota(server, **{"Device-Id": mac(1)}))["websocket"]["token"]
        for secret in (key, shared):
            assert (await ota(server, Authorization=f"Bearer {secret}"))["websocket"]["token"]
            async with XiaozhiDevice(url_of(server), token=secret):
                pass
        assert await refused(url_of(server), "something-else-entirely") == 1008


async def test_k1_pages_of_other_sites_may_not_pose_as_devices(serving: Serve) -> None:
    async with serving() as server, aiohttp.ClientSession() as http:
        headers = {"Device-Id": DEVICE, "Origin": "https://evil.example"}
        async with http.get(
            url_of(server).replace("ws", "http"), headers={**headers, "Upgrade": "websocket"}
        ) as answer:
            assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await http.ws_connect(url_of(server), headers=headers)
        async with http.post(server.url + "/xiaozhi/ota/", json={}, headers=headers) as answer:
            assert answer.status == 403


async def test_h1_addresses(serving: Serve) -> None:
    paths = {"xiaozhi__paths": '["/talk", "/xiaozhi/v1/"]', "xiaozhi__ota_paths": '["/ota/", "/api/ota"]'}
    async with serving(**paths) as server, aiohttp.ClientSession() as http:
        for path in ("/talk", "/talk/", "/xiaozhi/v1", "/ota", "/ota/", "/api/ota/"):
            async with http.get(server.url + path) as answer:
                assert (answer.status, "/talk" in await answer.text()) == (200, True)
        async with http.post(server.url + "/ota", json={}) as answer:
            assert answer.status == 400
        async with XiaozhiDevice(url_of(server, "/talk/")):
            pass
    async with (
        serving(xiaozhi__enabled="false") as server,
        aiohttp.ClientSession() as http,
        http.get(server.url + "/xiaozhi/v1/") as answer,
    ):
        assert answer.status == 404
    async with serving(xiaozhi__url="wss://example.org/x/") as server:
        assert (await ota(server))["websocket"]["url"] == "wss://example.org/x/"


@pytest.mark.parametrize(
    ("setting", "paths", "own"),
    [
        ("xiaozhi__paths", '["/xiaozhi/v1/", "/ws"]', "/ws is the server's own address /ws"),
        ("xiaozhi__ota_paths", '["/offer/"]', "/offer/ is the server's own address /offer"),
        ("xiaozhi__paths", '["/api/presenters/mira/mouths.json"]', "address /api/presenters/{name}/mouths.json"),
        ("xiaozhi__paths", '["/"]', "/ is the server's own address /"),
        ("xiaozhi__ota_paths", '["/js/app.js"]', "address /js/app.js"),
        ("xiaozhi__ota_paths", '["/dashboard.html"]', "address /dashboard.html"),
        ("xiaozhi__ota_paths", '["/xiaozhi/v1"]', "/xiaozhi/v1 is in xiaozhi.paths, too"),
    ],
)
async def test_h1_an_address_that_would_hide_another_stops_the_start(
    serving: Serve, setting: str, paths: str, own: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        async with serving(**{setting: paths}):
            pass
    assert str(caught.value).startswith(setting.replace("__", ".") + ": ")
    assert own in str(caught.value)
    assert "choose another one" in str(caught.value)


# -- watching


async def test_h1_a_page_watches_and_the_device_goes_on(serving: Serve) -> None:
    async with serving() as server, XiaozhiDevice(url_of(server)) as device:
        await device.detect("hello")
        await device.message("tts", state="stop")
        session_id = device.rules.session_id
        async with AvatarClient(server.url) as operator:
            ticket = (await operator.post("/api/admin/watch", sessionid=session_id))["data"]
        async with AvatarClient(server.url, extra=ticket) as page:
            await page.connect()
            await page.login()
            assert page.session == session_id
            await device.listen("auto")
            await asyncio.sleep(0.3)
            await page.send(type="listen", mode="off")  # the device's microphone is not the page's to switch
            await asyncio.sleep(0.3)
            since = time.monotonic()
            device.say(spoken())
            stopped = await device.when("tts", state="stop", since=since)
            heard = [sound for at, sound in device.heard if at > since]
            assert len(heard) >= 10
            assert await page.audible(since) < stopped
            await page.message("reply", state="end")
            # the page goes: the conversation does not
            await page.post("/api/hangup", **ticket)
        await asyncio.sleep(0.3)
        since = time.monotonic()
        await device.detect("still there")
        await device.message("tts", state="stop", since=since)
        assert device.rules.session_id == session_id
        assert len(server.sessions) == 1


async def test_h1_only_devices_are_watched(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as page:
        await page.connect()
        answer = await page.post("/api/admin/watch", sessionid=page.session)
        assert answer["error"] == "no_device"


async def test_k2_nothing_that_was_said_is_logged(serving: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving(**AUTH) as server:
            token = (await ota(server))["websocket"]["token"]
            async with XiaozhiDevice(url_of(server), token=token) as device:
                await device.detect("the secret garden")
                await device.message("tts", state="stop")
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith(("core", "app", "avatar")))
    assert "garden" not in ours
    assert token not in ours


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


async def test_k2_what_was_lost_of_a_devices_sound_is_shown(serving: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def figures() -> dict[str, str]:
        lines = server.metrics.exposition().decode().splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if line.startswith("eman_device"))

    with caplog.at_level(logging.INFO):
        async with serving() as server:
            assert figures()["eman_devices"] == "0.0"
            async with XiaozhiDevice(url_of(server)) as device:
                await device.listen("realtime")
                for packet in (b"", b"\xff" * 7):
                    await device.send_packet(packet)
                await device.detect("one two")
                await device.message("tts", state="stop")
                assert figures() == {
                    "eman_devices": "1.0",
                    'eman_device_packets_lost_total{reason="unusable"}': "2.0",
                    'eman_device_packets_lost_total{reason="early"}': "0.0",
                    'eman_device_packets_lost_total{reason="unread"}': "0.0",
                }
            await nothing_left(server)
            assert figures()["eman_devices"] == "0.0"
            assert figures()['eman_device_packets_lost_total{reason="unusable"}'] == "2.0", "they stay counted"
    (line,) = [r.getMessage() for r in caplog.records if " left session " in r.getMessage()]
    assert line.endswith("packets lost: 2 unusable, 0 too early, 0 not read in time")
