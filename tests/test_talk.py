"""The spine end to end over real WebRTC, with an aiortc client: talk, interrupt, upload, listen."""

from __future__ import annotations

import asyncio
import io
import time
import wave

import numpy as np
import pytest

from tests.avatar_client import AvatarClient, WavMicrophone, loudness
from tests.conftest import Serve
from tests.speech import flite


def wav(seconds: float, rate: int = 44_100, channels: int = 1, frequency: float = 300) -> bytes:
    t = np.arange(int(seconds * rate)) / rate
    tone = (9000 * np.sin(2 * np.pi * frequency * t)).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(tone, channels).tobytes())
    return buffer.getvalue()


async def test_a_text_is_heard_with_moving_lips_and_subtitles(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        asked = time.monotonic()
        assert (await client.human("one two three four five"))["code"] == 0
        began = await client.audible(asked)
        ended = await client.silence(began)
        assert 0.85 < ended - began < 1.3
        await client.message("reply", state="end", text="one two three four five")
        bright = [float(luma.mean()) for arrival, _, luma in client.pictures if began <= arrival <= ended]
        idle = [float(luma.mean()) for arrival, _, luma in client.pictures if arrival < asked]
        assert max(bright) > max(idle) + 15
        kinds = [(m["type"], m.get("state", m.get("status"))) for m in client.messages]
        assert kinds.index(("reply", "start")) < kinds.index(("reply", "sentence")) < kinds.index(("reply", "end"))
        chat = await client.message("chat_message")
        assert set(chat) == {"type", "sender", "content", "Username", "model_info"}


async def test_audio_and_video_timestamps_start_together_and_follow_one_clock(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        await asyncio.sleep(1.0)
        first_sound, first_picture = client.sound[0], client.pictures[0]
        sound_time = (client.sound[-1][1] - first_sound[1]) / 48_000
        picture_time = client.pictures[-1][1] - first_picture[1]
        assert abs(sound_time - picture_time) < 0.25  # the client's jitter buffer holds 80 ms of sound back
        pts = np.diff([pts for _, pts, _ in client.sound])
        assert set(pts.tolist()) == {960}


async def test_interrupt_silences_and_tells_what_was_heard(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        asked = time.monotonic()
        await client.human(" ".join(["word"] * 50))
        await client.audible(asked)
        await asyncio.sleep(1.0)
        interrupted = time.monotonic()
        assert (await client.post("/interrupt_talk", sessionid=client.session))["code"] == 0
        last = await client.silence(interrupted)
        assert last - interrupted < 0.5
        said = await client.message("reply", state="interrupted")
        assert 2 <= len(said["text"].split()) <= 12
        assert not (await client.post("/is_speaking", sessionid=client.session))["data"]


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44_100, 2), (48_000, 1)])
async def test_an_uploaded_file_is_spoken(serving: Serve, rate: int, channels: int) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        asked = time.monotonic()
        assert (await client.upload(wav(1.0, rate, channels)))["code"] == 0
        began = await client.audible(asked)
        ended = await client.silence(began)
        assert 0.85 < ended - began < 1.2
        spectrum = np.abs(np.fft.rfft(client.heard(began)[4800:28_800].astype(float)))
        assert abs(np.argmax(spectrum) * 2 - 300) <= 4  # pitch kept: nothing was resampled wrongly


async def test_speech_is_heard_answered_and_shown(serving: Serve) -> None:
    microphone = WavMicrophone()
    async with serving() as server, AvatarClient(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        await asyncio.sleep(0.5)
        microphone.say(flite("what is seven times six"))
        final = await client.message("asr_result", is_final=True)
        assert final["text"].endswith("seconds")
        assert float(final["text"].split()[0]) > 1.0
        await client.message("reply", state="end", text="One two three. Four five six.")
        statuses = [m["status"] for m in client.messages if m["type"] == "status_update"]
        assert statuses[:4] == ["listening", "recognizing", "thinking", "speaking"]


async def test_two_sessions_never_hear_each_other(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as one, AvatarClient(server.url) as two:
        await asyncio.gather(one.connect(), two.connect())
        await asyncio.gather(one.login(), two.login())
        asked = time.monotonic()
        await one.human("only for the first")
        began = await one.audible(asked)
        await one.silence(began)
        assert loudness(two.heard(asked)) < 0.001
        assert [m for m in two.messages if m["type"] in ("reply", "chat_message")] == []


async def test_recvonly_page_without_microphone_and_audio_only_client(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client:
        await client.connect()
        asked = time.monotonic()
        await client.human("hello")
        await client.audible(asked)


async def test_video_codec_preference(serving: Serve) -> None:
    for codec in ("vp8", "h264"):
        async with serving(media__codec=codec) as server, AvatarClient(server.url) as client:
            answer = await client.connect()
            video = answer["sdp"].split("m=video")[1]
            first = next(line for line in video.splitlines() if "rtpmap" in line)
            assert codec in first.lower()
