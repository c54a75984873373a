"""Sessions without WebRTC over a real socket: offered, heard, answered with sound, interrupted."""

from __future__ import annotations

import itertools

import numpy as np

from tests.avatar_client import loudness
from tests.conftest import Serve
from tests.sound_client import RATE, SoundClient


async def test_h3_a_reply_comes_as_audio_frames_ahead_of_time_and_whole(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        answer = await client.offer()
        assert answer["type"] == "websocket"
        assert "sdp" not in answer
        assert {"sessionid", "token", "avatar", "background"} <= answer.keys()
        await client.login()
        opened = await client.open_audio("none")
        assert (opened["rate"], opened["uplink"], opened["uplink_rate"]) == (24_000, "none", 16_000)
        assert (await client.human("one two three four five six seven eight nine ten"))["msg"] == "ok"
        await client.message("reply", state="end")
        frames = client.frames
        assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
        assert {frame.reply for frame in frames} == {"r1"}
        assert all(one.end_ms == two.at_ms for one, two in itertools.pairwise(frames))
        assert frames[0].at_ms == 0
        sound = client.sound("r1")
        assert abs(len(sound) / RATE - 2.0) < 0.05
        assert abs(loudness(sound[: 2 * RATE - 1000]) - 8000 / 2**0.5 / 32768) < 0.005
        assert np.argmax(np.abs(np.fft.rfft(sound[:RATE]))) == 200
