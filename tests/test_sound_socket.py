"""Sessions without WebRTC over a real socket: offered, heard, answered with sound, interrupted, resumed, moved."""

from __future__ import annotations

import asyncio
import contextlib
import time
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.opus.packets import PacketEncoder
from tests.avatar_client import AvatarClient, WavMicrophone, loudness
from tests.conftest import Serve
from tests.fakes import ToneSynthesizer
from tests.sound_client import LISTEN_RATE, RATE, SoundClient
from tests.speech import flite

TEN = "one two three four five six seven eight nine ten"
LONG = " ".join(["word"] * 60)
TONE = 8000 / 2**0.5 / 32768
"""Loudness of the fake voice; it speaks a word in 0.2 s."""


def gapless(client: SoundClient, reply: str) -> bool:
    """Whether each piece follows the one before, or goes back to where the sound was cleared."""
    frames = [frame for frame in client.frames if frame.reply == reply]
    return all(one.end_ms == two.at_ms for one, two in pairwise(frames))


def holes(sound: NDArray[np.int16]) -> int:
    """Blocks of 5 ms without the tone."""
    blocks = sound[: len(sound) // 120 * 120].reshape(-1, 120)
    return int(np.count_nonzero(np.abs(blocks.astype(int)).max(axis=1) < 1000))


async def test_h3_a_reply_comes_as_audio_frames_whole_and_in_order(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        answer = await client.offer()
        assert answer["type"] == "websocket"
        assert "sdp" not in answer
        assert {"sessionid", "token", "avatar", "background"} <= answer.keys()
        await client.login()
        assert "once the media" in (await client.human("one"))["msg"]
        opened = await client.open_audio("none")
        assert (opened["rate"], opened["uplink"], opened["uplink_rate"]) == (RATE, "none", LISTEN_RATE)
        assert (await client.human(TEN))["msg"] == "ok"
        ended = await client.message("reply", state="end", text=TEN)
        frames = [frame for frame in client.frames if frame.reply == "r2"]
        assert [frame.seq for frame in client.frames] == list(range(1, len(client.frames) + 1))
        assert gapless(client, "r2") or server.sessions.find(client.session).media.status()["underruns"]
        assert frames[0].at_ms == 0
        sound = client.sound("r2")
        assert abs(len(sound) / RATE - 2.0) < 0.03
        assert abs(ended["at_ms"] - frames[-1].end_ms) <= 20
        assert abs(loudness(sound[: 2 * RATE - 1000]) - TONE) < 0.005
        assert not holes(sound[: 2 * RATE - 1000])
        assert np.argmax(np.abs(np.fft.rfft(sound[:RATE]))) == 200
        assert (await client.message("reply", state="sentence", reply_id="r2"))["at_ms"] == 0


async def test_h3_a_microphone_that_is_faster_than_time_is_read_more_slowly(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start("pcm")
        assert client.socket is not None
        began = time.monotonic()
        for _ in range(8):  # seconds; five may come at once
            await client.socket.send_bytes(bytes(2 * LISTEN_RATE))
        await client.send(type="heartbeat")
        await client.message("heartbeat_response")
        assert time.monotonic() - began > 2.5


async def test_h3_an_interruption_clears_what_is_not_due_and_nothing_more_comes(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start()
        await client.human(LONG)
        media = server.sessions.find(client.session).media
        async with asyncio.timeout(10):  # the share of a sentence that was heard is known once all of it is there
            while media.status()["queued_seconds"] < 9:
                await asyncio.sleep(0.01)
        assert (await client.post("/interrupt_talk", sessionid=client.session))["code"] == 0
        clear = await client.message("audio_clear", reply="r1")
        count = len(client.frames)
        said = await client.message("reply", state="interrupted")
        await asyncio.sleep(0.4)
        assert len(client.frames) == count
        assert clear["at_ms"] <= 3100
        assert abs(len(said["text"].split()) - clear["at_ms"] / 200) <= 1.1, "what was heard"
        assert len(client.sound("r1")) == clear["at_ms"] * RATE // 1000
        await client.human("one two")
        await client.message("reply", state="end", text="one two")
        assert abs(len(client.sound("r2")) / RATE - 0.4) < 0.03


@pytest.mark.parametrize("afterwards", [False, True])
async def test_h3_what_a_client_has_not_played_yet_was_not_heard(serving: Serve, afterwards: bool) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start(**({} if afterwards else {"delay_ms": 1500}))
        await client.human(LONG)
        media = server.sessions.find(client.session).media
        async with asyncio.timeout(20):  # the share of a sentence that was heard is known once all of it is there
            while media.status()["queued_seconds"] < 9:
                await asyncio.sleep(0.01)
        await client.heard_ms("r1", 2600)
        if afterwards:
            await client.send(type="audio_delay", content={"delay_ms": 1500})
            assert await client.quiet()
        assert (await client.post("/interrupt_talk", sessionid=client.session))["code"] == 0
        clear = await client.message("audio_clear", reply="r1")
        said = await client.message("reply", state="interrupted")
        assert clear["at_ms"] > 2000
        assert abs(len(said["text"].split()) - (clear["at_ms"] - 1500) / 200) <= 1.1


@pytest.mark.parametrize("delay", [-1, 2001, 1.5, "200", True, None])
async def test_h3_a_delay_that_is_none_is_refused(serving: Serve, delay: object) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.offer()
        await client.login()
        await client.send(type="audio_delay", content={"delay_ms": 100})
        assert "open_audio" in (await client.message("wsa_error", ref="audio_delay"))["message"]
        await client.send(type="open_audio", content={"uplink": "none", "delay_ms": delay})
        refusal = await client.message("wsa_error", ref="open_audio")
        assert (refusal["code"], refusal["message"][:18]) == ("bad_message", "content.delay_ms: ")
        await client.open_audio(delay_ms=100)
        await client.send(type="audio_delay", content={"delay_ms": delay})
        refusal = await client.message("wsa_error", skip=1, ref="audio_delay")
        assert (refusal["code"], refusal["message"][:18]) == ("bad_message", "content.delay_ms: ")
        await client.send(type="audio_delay", content={"delay_ms": 0})
        assert await client.quiet()


async def test_h3_what_is_spoken_into_the_socket_is_heard_and_answered(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start("pcm")
        speech = flite("what time is it in London today", rate=LISTEN_RATE)
        await client.speak(speech, piece_s=0.0333, speed=3)  # pieces that are cut in the middle of a sample
        final = await client.message("asr_result", is_final=True)
        assert abs(float(final["text"].split()[0]) - len(speech) / LISTEN_RATE) < 1.0
        await client.message("chat_message", sender="回音")
        await client.message("reply", state="end", text="One two three. Four five six.")
        assert abs(loudness(client.sound("r1")) - TONE) < 0.01
        assert abs(len(client.sound("r1")) / RATE - 1.2) < 0.2


async def test_h3_speaking_over_the_avatar_interrupts_it(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start("pcm")
        await client.human(LONG)
        await client.heard_ms("r1", 1000)
        await client.speak(flite("excuse me, could you tell me something else please", rate=LISTEN_RATE))
        await client.message("audio_clear", reply="r1")
        await client.message("reply", state="interrupted")
        assert len(client.sound("r1")) / RATE < 6
        await client.message("reply", state="end", reply_id="r2")
        assert abs(loudness(client.sound("r2")) - TONE) < 0.01


@pytest.mark.parametrize(("delay_s", "told"), [(0.15, {}), (0.9, {"delay_ms": 800})])
async def test_h3_the_avatars_own_voice_leaking_back_does_not_interrupt(
    serving: Serve, delay_s: float, told: dict[str, int]
) -> None:
    """The microphone hears what a client plays so late after it is due, 20 dB down, without echo cancelling."""
    async with serving(tts__engine="espeak") as server, SoundClient(server.url) as client:
        await client.start("pcm", **told)
        leak = asyncio.create_task(client.leak(delay_s))
        await client.human("This is a rather long text that the avatar speaks while its voice comes back. " * 2)
        await client.message("reply", state="end", timeout=60)
        leak.cancel()
        await asyncio.wait({leak})
        session = server.sessions.find(client.session)
        assert loudness(client.sound("r1")) > 0.01
        assert not [m for m in client.messages if m.get("state") == "interrupted"]
        assert not [m for m in client.messages if m["type"] == "asr_result" and m["is_final"] and m["text"]]
        assert session.media.status()["listeners"] == 1


async def test_h3_opus_from_the_microphone(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start("opus")
        assert client.socket is not None
        speech = flite("what time is it in London today", rate=LISTEN_RATE)
        quiet = np.random.default_rng(1).normal(0, 26, 20_000).astype(np.int16)
        for packet in PacketEncoder(LISTEN_RATE, 60).encode(np.concatenate([speech, quiet])):
            await client.socket.send_bytes(packet)
            await asyncio.sleep(0.02)
        final = await client.message("asr_result", is_final=True)
        assert abs(float(final["text"].split()[0]) - len(speech) / LISTEN_RATE) < 1.0
        await client.socket.send_bytes(b"\x03")
        refused = await client.message("wsa_error")
        assert refused["code"] == "bad_message"
        assert "Opus" in refused["message"]


async def test_h3_an_answer_that_is_held_goes_on_where_it_was(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start()
        conversation = server.sessions.find(client.session).conversation
        await client.human(TEN)
        await client.heard_ms("r1", 1000)
        conversation.hold()
        clear = await client.message("audio_clear", reply="r1")
        await asyncio.sleep(0.3)
        conversation.resume()
        await client.message("reply", state="end")
        again = next(frame for frame in client.frames if frame.arrival > client.clears[0][0])
        assert 250 <= again.at_ms - clear["at_ms"] <= 800
        heard = clear["at_ms"] + client.frames[-1].end_ms - again.at_ms
        assert 2080 <= heard <= 2400, "a little is said twice"


async def test_h3_lips_and_sound_have_one_timeline(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start()
        await client.send(type="subscribe_visemes", content={"format": "ovr"})
        await client.message("visemes_subscribed")
        await client.human("one two three. four five six.", kind="echo")
        await client.message("reply", state="end")
        lips = [message for message in client.messages if message["type"] == "visemes"]
        assert lips[0]["at_ms"] == client.frames[0].at_ms == 0
        open_ms = [
            message["at_ms"] + number * message["step_ms"]
            for message in lips
            for number, row in enumerate(message["frames"])
            if row[message["names"].index("aa")] > 0.5
        ]
        last = max(frame.end_ms for frame in client.frames)
        assert abs(max(open_ms) - last) < 150
        second = await client.message("reply", state="sentence", text="four five six.")
        assert abs(second["at_ms"] - 600) < 100


async def test_two_sockets_hear_the_same_and_one_can_leave(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as one, SoundClient(server.url) as two:
        await one.start()
        two.answer = one.answer
        await two.login()
        await two.open_audio(ahead_ms=0)
        await one.human(TEN)
        await one.heard_ms("r1", 800)
        await two.send(type="close_audio")
        assert (await two.message("audio_closed"))["reason"] == "closed"
        await one.message("reply", state="end")
        assert abs(len(one.sound("r1")) / RATE - 2.0) < 0.03
        part = two.sound("r1")
        assert 0.5 < len(part) / RATE < 1.5
        assert np.array_equal(part, one.sound("r1")[: len(part)])


async def test_h3_a_line_that_breaks_loses_nothing_of_the_reply(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start()
        await client.human(TEN)
        await client.heard_ms("r1", 700)
        await client.hang_up()
        session = server.sessions.find(client.session)
        async with asyncio.timeout(5):
            while session.listened:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        assert session.conversation.busy
        await client.login()
        await client.open_audio()
        await client.message("reply", state="end")
        sound = client.sound("r1")
        assert abs(len(sound) / RATE - 2.0) < 0.03
        assert not holes(sound[: 2 * RATE - 1000])


async def test_h3_a_listener_that_stays_away_is_forgotten(serving: Serve) -> None:
    limits = {"lifecycle__vanish_s": "0.3", "lifecycle__resume_s": "0.6", "lifecycle__handshake_timeout_s": "0.5"}
    async with serving(**limits) as server, SoundClient(server.url) as client:
        await client.start()
        await asyncio.sleep(1.2)
        assert len(server.sessions) == 1
        await client.hang_up()
        async with asyncio.timeout(5):
            while len(server.sessions):
                await asyncio.sleep(0.02)
        await client.offer()
        async with asyncio.timeout(5):  # nobody ever opens its sound
            while len(server.sessions):
                await asyncio.sleep(0.02)
        assert (await client.offer(sessionid=client.session, token=client.answer["token"]))["type"] == "websocket"


async def test_h3_a_hang_up_ends_it_at_once(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start("pcm")
        await client.human(LONG)
        await client.heard_ms("r1", 300)
        assert (await client.post("/api/hangup", sessionid=client.session))["code"] == 0
        assert (await client.message("audio_closed"))["reason"] == "ended"
        assert len(server.sessions) == 0
        assert client.socket is not None
        while not any(message["type"] == "wsa_error" for message in client.messages):  # what was under way is forgiven
            await client.socket.send_bytes(b"\0\0")
            await asyncio.sleep(0.2)
        assert (await client.message("wsa_error"))["code"] == "bad_message"
        await client.send(type="open_audio", content={"uplink": "none"})
        assert "session not found" in (await client.message("wsa_error", skip=1))["message"]


async def test_h3_another_page_takes_the_sound_over(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as first, SoundClient(server.url) as second:
        await first.offer(page="first")
        await first.login()
        await first.open_audio("pcm", page="first")
        await first.human(LONG)
        await first.heard_ms("r1", 400)
        await second.offer(page="second", sessionid=first.session, token=first.answer["token"])
        assert second.session == first.session
        assert (await first.message("audio_closed"))["reason"] == "moved"
        assert first.socket is not None
        await first.socket.send_bytes(bytes(640))
        assert await first.quiet(), "it was under way"
        assert (await first.message("media", page="second"))["session_id"] == first.session
        await second.login()
        await second.open_audio("pcm", page="second")
        await second.heard_ms("r1", 2500)
        assert first.socket is not None
        count = len(first.frames)
        begun = min(frame.at_ms for frame in second.frames)
        assert begun <= max(frame.end_ms for frame in first.frames), "nothing is lost between them"
        await asyncio.sleep(0.2)
        assert len(first.frames) == count


async def test_who_goes_on_speaking_into_a_microphone_that_was_closed_is_told(
    serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.services.audio.UNDER_WAY_S", 0.0)
    async with serving() as server, SoundClient(server.url) as client:
        await client.start("pcm")
        await server.sessions.close(server.sessions.find(client.session))
        assert (await client.message("audio_closed"))["reason"] == "ended"
        assert client.socket is not None
        for number in range(2):
            await client.socket.send_bytes(bytes(640))
            assert "open_audio" in (await client.message("wsa_error", skip=number))["message"]


async def test_of_two_microphones_the_newest_is_heard_and_the_other_again_when_it_goes(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as one, SoundClient(server.url) as two:
        await one.start("pcm")
        two.answer = one.answer
        await two.login()
        await two.open_audio("none")
        assert await one.quiet()
        ears = server.sessions.find(one.session).ears
        heard: list[int] = []
        ears.hear = lambda samples: heard.extend(set(samples.tolist()))  # type: ignore[method-assign]

        async def both() -> None:
            for client, sample in ((one, 1), (two, 2)):
                assert client.socket is not None
                await client.socket.send_bytes(np.full(320, sample, "<i2").tobytes())
                assert await client.quiet()

        await two.open_audio("pcm")
        told = await one.message("microphone")
        assert (told["heard"], told["by"], told["session_id"]) == (False, "websocket", one.session)
        for _ in range(3):
            await both()
        assert heard == [2, 2, 2]
        await two.send(type="close_audio")
        assert (await one.message("microphone", skip=1))["heard"] is True
        assert one.socket is not None
        await one.socket.send_bytes(np.full(320, 1, "<i2").tobytes())
        assert await one.quiet()
        assert heard == [2, 2, 2, 1]
        assert not [message for message in two.messages if message["type"] == "microphone"]
        await one.human("one two")
        await one.message("reply", state="end")
        assert one.frames


async def test_a_socket_that_speaks_goes_before_webrtc_until_it_closes_and_both_are_told(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, microphone=WavMicrophone()) as page:
        await page.connect()
        await page.login()
        async with SoundClient(server.url) as program:
            program.answer = {"sessionid": page.session}
            await program.login()
            microphones = server.sessions.find(page.session).microphones
            async with asyncio.timeout(10):
                while microphones.heard is None:
                    await asyncio.sleep(0.01)
            await program.open_audio("pcm")
            assert (await page.message("microphone"))["by"] == "websocket"
            assert await program.quiet()
            assert microphones.heard.kind == "websocket"
            assert not [message for message in program.messages if message["type"] == "microphone"]
        assert (await page.message("microphone", heard=True))["by"] == "webrtc"


async def test_sockets_with_sound_are_counted_for_each_session(serving: Serve) -> None:
    async with serving() as server, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(SoundClient(server.url)) for _ in range(5)]
        first, *others, last = clients
        await first.start()
        for client in others:
            client.answer = first.answer
            await client.login()
            await client.open_audio()
        last.answer = first.answer
        await last.login()
        await last.send(type="open_audio", content={"uplink": "pcm"})
        refusal = await last.message("wsa_error")
        assert (refusal["code"], refusal["ref"]) == ("busy", "open_audio")
        assert "close_audio" in refusal["message"]
        assert server.audio.sockets == 4
        await others[0].open_audio("pcm")  # again: it is one of them
        await others[1].send(type="close_audio")
        await others[1].message("audio_closed")
        await last.open_audio("pcm")
        other = await stack.enter_async_context(SoundClient(server.url))
        await other.start()  # another session's


@pytest.mark.parametrize(
    "content", [None, {}, {"uplink": "mp3"}, {"uplink": "pcm", "page": "x" * 65}, {"uplink": "pcm", "ahead_ms": 1001}]
)
async def test_a_wrong_open_audio_is_refused_and_the_socket_lives(serving: Serve, content: object) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.offer()
        await client.login()
        await client.send(type="open_audio", content=content)
        assert (await client.message("wsa_error"))["code"] == "bad_message"
        await client.open_audio("none")


async def test_bounds_of_the_microphone(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.offer()
        await client.login()
        assert client.socket is not None
        await client.socket.send_bytes(bytes(640))
        assert "open_audio" in (await client.message("wsa_error"))["message"]
        await client.send(type="close_audio")
        assert "open_audio" in (await client.message("wsa_error", skip=1))["message"]
        await client.open_audio("pcm")
        await client.socket.send_bytes(bytes(2 * LISTEN_RATE + 2))
        assert "1 s" in (await client.message("wsa_error", skip=2))["message"]
        await client.socket.send_bytes(bytes(2 * LISTEN_RATE))
        await client.socket.send_bytes(bytes(1))
        assert await client.quiet()


async def test_the_offer_names_a_face_and_wrong_ones_are_refused(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        refused = await client.offer(avatar="nobody")
        assert refused["error"] == "unknown_presenter"
        assert len(server.sessions) == 0
        await client.offer(avatar="teal")
        assert client.answer["avatar"] == "teal"
        wrong = await client.offer(sessionid=client.session, token="wrong")
        assert wrong["error"] == "auth_failed"
        assert len(server.sessions) == 1


async def test_h3_fifty_sessions_come_and_go_and_leave_nothing(serving: Serve) -> None:
    async with serving(limits__max_sessions="60") as server:
        await asyncio.sleep(0.1)
        before = {task.get_name() for task in asyncio.all_tasks()}
        for _ in range(5):
            clients = [SoundClient(server.url) for _ in range(10)]
            await asyncio.gather(*(client.start("pcm") for client in clients))
            await asyncio.gather(*(client.human(LONG) for client in clients))
            await asyncio.gather(*(client.heard_ms("r1", 100, timeout=30) for client in clients))
            media = [server.sessions.find(client.session).media for client in clients]
            assert all(one.status()["listeners"] == 1 for one in media)
            for number, client in enumerate(clients):
                if number % 2:
                    await client.post("/api/hangup", sessionid=client.session)
                await client.close()
            for session in server.sessions.all():
                await server.sessions.close(session)
            async with asyncio.timeout(10):
                while any(one.status()["listeners"] for one in media) or server.audio.sockets:
                    await asyncio.sleep(0.02)
        async with asyncio.timeout(10):
            while {task.get_name() for task in asyncio.all_tasks()} - before:
                await asyncio.sleep(0.05)


async def test_h3_real_stages_hear_a_recording_and_answer_with_the_voice(serving: Serve) -> None:
    """The embedded recogniser, mind, voice and lips; what is played is what the voice makes."""
    engines = {"asr__engine": "pocketsphinx", "dialogue__engine": "demo", "tts__engine": "espeak"}
    async with serving(**engines) as server, SoundClient(server.url) as client:
        await client.start("pcm")
        await client.speak(flite("what is seven times six", rate=LISTEN_RATE), speed=2)
        said = await client.message("chat_message", sender="回音", timeout=60)
        assert "seven times six" in said["content"]
        over = await client.message("reply", state="end", timeout=60)
        assert "42" in over["text"] or "forty" in over["text"].lower()
        heard = client.sound(over["reply_id"])
        parts = []
        sentences = [m["text"] for m in client.messages if m["type"] == "reply" and m["state"] == "sentence"]
        assert not isinstance(server.engines.synthesizer, ToneSynthesizer)
        for sentence in sentences:
            async for chunk in server.engines.synthesizer.synthesize(sentence):
                parts.append(chunk.pcm.samples.astype(float) / 32768)
                rate = chunk.pcm.rate
        voice = np.concatenate(parts)
        assert abs(len(heard) / RATE - len(voice) / rate) < 0.15
        assert abs(loudness(heard) / float(np.sqrt(np.mean(voice**2))) - 1) < 0.1
