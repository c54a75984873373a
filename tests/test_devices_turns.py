"""Turns of a device at a running server, over a real socket: the strict device judges everything that it is sent."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from core.dialogue.xiaozhi.client import XiaozhiClient
from core.dialogue.xiaozhi.events import ReplyAudio, ReplyText, SpeakingStopped, UserText
from core.dialogue.xiaozhi.ota import discover
from tests.avatar_client import loudness
from tests.conftest import Serve
from tests.device_served import LONG, SPEECH, eventually, nothing_left, serve_fast, spoken, url_of
from tests.simulators.xiaozhi_device import CLIENT, DEVICE, XiaozhiDevice, tone_packets
from tests.speech import flite


@pytest.fixture
def serving() -> Serve:
    """Servers with a voice that speaks fast."""
    return serve_fast


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
