"""From WebRTC to the socket and back in a live session: the reply goes on; who only listens never notices."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import numpy as np
import pytest

from core.frames import LinkKind, LinkState
from tests.avatar_client import AvatarClient, loudness
from tests.clip_files import folder, tone
from tests.conftest import Serve
from tests.sound_client import RATE, SoundClient
from tests.test_sound_socket import LONG, TEN, holes

WORDS = " ".join(["word"] * 25)
"""5 s."""


def sounding(client: AvatarClient, since: float = 0.0) -> float:
    """Seconds of audible sound that a WebRTC client received."""
    return 0.02 * sum(loudness(samples) > 0.05 for at, _, samples in client.sound if at >= since)


def played_ms(client: SoundClient, until: float) -> float:
    """How far a client that stopped playing at `until` had played the first reply, at the earliest."""
    begun = client.frames[0]
    return begun.at_ms + 1000 * (until - begun.arrival)


async def test_h3_from_webrtc_to_the_socket_in_the_middle_of_an_answer(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as page, SoundClient(server.url) as client:
        await page.connect(wait=30)
        asked = time.monotonic()
        await page.human(WORDS)
        await page.audible(asked)
        await asyncio.sleep(1.0)
        await client.offer(sessionid=page.session, token=page.answer["token"], page="same")
        changed = time.monotonic()
        await client.login()
        await client.open_audio(page="same")
        session = server.sessions.find(client.session)
        assert (session.link, session.link_kind) == (LinkState.CONNECTED, LinkKind.WEBSOCKET)
        await client.message("reply", state="end")
        heard, rest = sounding(page), client.sound("r1")
        begun = client.frames[0].at_ms
        assert begun > 800
        assert not holes(rest[begun * RATE // 1000 : 5 * RATE - 1000])
        assert abs(len(rest) / RATE - 5.0) < 0.03
        # what WebRTC sent it had sent by then; a little of it was still on its way
        assert begun / 1000 - 0.25 <= heard <= begun / 1000 + 0.05
        assert sounding(page, since=changed + 0.5) == 0


async def test_h3_from_the_socket_to_webrtc_in_the_middle_of_an_answer(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start(page="same")
        await client.human(WORDS)
        await client.heard_ms("r1", 1200)
        extra = {"sessionid": client.session, "token": client.answer["token"], "page": "same"}
        async with AvatarClient(server.url, extra=extra) as page:
            await page.connect(wait=30)
            session = server.sessions.find(client.session)
            changed = page.sound[0][0]
            await client.send(type="close_audio")
            await client.message("audio_closed", reason="closed")
            await client.message("reply", state="end")
            await asyncio.sleep(0.3)
            assert (session.link, session.link_kind) == (LinkState.CONNECTED, LinkKind.WEBRTC)
            before, after = played_ms(client, changed) / 1000, sounding(page)
            assert 4.7 <= before + after <= 5.3
            assert page.pictures


async def test_a_listener_goes_on_while_a_page_comes_and_goes(serving: Serve) -> None:
    """As a device does that somebody watches on the avatar page."""
    async with serving(lifecycle__vanish_s="3") as server, SoundClient(server.url) as device:
        await device.start()
        await device.human(LONG)
        await device.heard_ms("r1", 800)
        extra = {"sessionid": device.session, "token": device.answer["token"], "page": "watcher"}
        async with AvatarClient(server.url, extra=extra) as page:
            await page.connect(wait=30)
            at_connect = device.frames[-1].end_ms
            async with asyncio.timeout(15):
                while sounding(page) < 0.5:
                    await asyncio.sleep(0.02)
            session = server.sessions.find(device.session)
            assert session.media.status()["listeners"] == 1
            assert device.frames[-1].end_ms > at_connect
        await device.heard_ms("r1", 7000, timeout=30)
        assert session.link_kind is LinkKind.WEBSOCKET
        sound = device.sound("r1")[: 7 * RATE]
        assert not holes(sound)
        assert not device.clears
        assert len(server.sessions) == 1
        steps = {two.at_ms - one.end_ms for one, two in zip(device.frames, device.frames[1:], strict=False)}
        assert min(steps) == 0, "each packet once"
        assert steps == {0} or session.media.status()["underruns"]


async def test_an_offer_that_never_connects_disturbs_nobody_who_listens(serving: Serve) -> None:
    async with (
        serving(lifecycle__handshake_timeout_s="0.6") as server,
        SoundClient(server.url) as client,
        AvatarClient(server.url) as page,
    ):
        await client.start()
        await client.human(TEN)
        await client.heard_ms("r1", 300)
        page.extra = {"sessionid": client.session, "token": client.answer["token"]}
        assert "sdp" in await page.offer()  # and never answers
        await client.message("reply", state="end")
        assert not holes(client.sound("r1")[: 2 * RATE - 1000])
        async with asyncio.timeout(5):
            while server.sessions.find(client.session).media.link() is not LinkState.NEW:
                await asyncio.sleep(0.02)


async def test_a_bad_offer_leaves_the_sound_alone(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start()
        await client.human(TEN)
        await client.heard_ms("r1", 300)
        body = {"type": "offer", "sessionid": client.session, "token": client.answer["token"]}
        assert (await client.post("/offer", sdp="v=0\r\nnonsense", **body))["error"] == "bad_sdp"
        await client.message("reply", state="end")
        assert not holes(client.sound("r1")[: 2 * RATE - 1000])


async def test_webrtc_with_a_socket_beside_it_hands_over_in_real_time(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as page, SoundClient(server.url) as client:
        await page.connect(wait=30)
        client.answer = page.answer
        await client.login()
        await client.open_audio()
        await client.human(TEN)
        await client.message("reply", state="end")
        first, last = client.frames[0], client.frames[-1]
        assert last.arrival - first.arrival > (last.at_ms - first.at_ms) / 1000 - 0.2
        assert not holes(client.sound("r1")[: 2 * RATE - 1000])


async def test_a_clip_sounds_over_the_socket_and_steps_aside_for_an_answer(serving: Serve, tmp_path: Path) -> None:
    folder(tmp_path / "wave", [100])
    tone(tmp_path / "wave.wav", 30.0)
    clip = [{"audiotype": 2, "imgpath": "wave", "audiopath": "wave.wav"}]
    async with serving(avatar__clips_folder=str(tmp_path)) as server, SoundClient(server.url) as client:
        await client.offer(custom_config=json.dumps(clip))
        await client.login()
        await client.open_audio()
        assert (await client.post("/set_audiotype", sessionid=client.session, audiotype=2))["code"] == 0
        await client.heard_ms("", 1)
        clip_began = client.frames[0]
        await client.heard_ms("", clip_began.at_ms + 500)
        await client.human("one two three")
        await client.message("reply", state="end")
        answered = client.frames[-1]
        await client.heard_ms("", 1e3 * (answered.arrival - clip_began.arrival) + clip_began.at_ms + 300)
        answer = client.sound("r1")
        assert abs(len(answer) / RATE - 0.6) < 0.03
        assert np.argmax(np.abs(np.fft.rfft(answer[RATE // 10 : RATE // 2]))) == pytest.approx(200 * 0.4, abs=1)
        await client.post("/set_audiotype", sessionid=client.session, audiotype=0)
        pump = server.sessions.find(client.session).media._pump  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            while pump._timer is not None:
                await asyncio.sleep(0.01)
