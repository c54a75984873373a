"""The xiaozhi client in bad times: every end of a connection, recordings without one, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from typing import Any

import numpy as np
import pytest

from avatar.opus.packets import PacketDecoder
from core.dialogue.xiaozhi.client import XiaozhiClient
from core.dialogue.xiaozhi.connection import Connection
from core.dialogue.xiaozhi.endpoint import Endpoint, Options
from core.dialogue.xiaozhi.events import (
    Connected,
    Disconnected,
    Failed,
    ReplyAudio,
    SpeakingStarted,
    SpeakingStopped,
    UserText,
)
from core.dialogue.xiaozhi.failure import Backoff, Complaints, Failure, Reason, failure_of_close
from core.dialogue.xiaozhi.messages import Mode
from core.dialogue.xiaozhi.recording import MOST_PACKETS, Recording
from core.dialogue.xiaozhi.session import State
from tests.simulators.xiaozhi import CLIENT, DEVICE, TOKEN, Close, Drop, Fault, Sentence, Stall, Trouble, XiaozhiServer
from tests.xiaozhi_talk import Talk, pitch_of, poll, spoken, talking, tone

LONG = (Sentence("Long.", 440.0, (60,) * 400),)


async def works(talk: Talk) -> None:
    """The next recording is heard, and answered to the end."""
    before = len(talk.events)
    assert all(await talk.turn(spoken(2)))
    await talk.until(lambda: any(isinstance(e, SpeakingStopped) and e.complete for e in talk.events[before:]))


async def test_h1_a_new_session_keeps_nothing_of_the_last_one() -> None:
    server = XiaozhiServer(troubles={0: Trouble("reply", Drop(), packet=2)})
    async with server, talking(server) as talk:
        await talk.told(Connected)
        await talk.turn(spoken(3))
        await talk.told(Connected, 2)
        await poll(lambda: talk.client.session_id == server.visits[1].session_id)
        gc.collect()
        for kind in (Connection, PacketDecoder):
            assert sum(type(one) is kind for one in gc.get_objects()) == 1, kind


@pytest.mark.parametrize(
    ("moment", "fault", "reason"),
    [
        ("hello", Close(None), Reason.ENDED),
        ("hello", Close(1000), Reason.ENDED),
        ("hello", Drop(), Reason.LOST),
        ("listen", Close(None), Reason.ENDED),
        ("listen", Close(1001), Reason.ENDED),
        ("packet", Close(1011), Reason.LOST),
        ("packet", Drop(), Reason.LOST),
        ("reply", Close(None), Reason.ENDED),
        ("reply", Close(1011), Reason.LOST),
        ("reply", Drop(), Reason.LOST),
    ],
)
async def test_h1_every_end_leads_to_a_new_session(moment: str, fault: Fault, reason: Reason) -> None:
    server = XiaozhiServer(troubles={0: Trouble(moment, fault, packet=2)})
    async with server, talking(server) as talk:
        await talk.told(Connected)
        if moment != "hello":
            await talk.turn(spoken(3))
        gone = await talk.told(Disconnected)
        assert gone == Disconnected(reason, normal=reason is Reason.ENDED)
        await talk.told(Connected, 2)
        assert talk.client.session_id == server.visits[1].session_id != server.visits[0].session_id
        if moment in ("listen", "packet"):  # the server had not understood it: it is said again
            await talk.told(UserText)
            assert server.visits[1].turns == [3]
        await talk.until(lambda: talk.client.state is State.READY)
        await works(talk)
    assert [visit.refusal for visit in server.visits] == ["", ""]


async def test_h1_a_reply_that_breaks_off_is_over_before_the_page_is_told() -> None:
    server = XiaozhiServer(troubles={0: Trouble("reply", Drop(), packet=4)}, pace=0.05)
    async with server, talking(server) as talk:
        await talk.told(Connected)
        await talk.turn(spoken(2))
        await talk.told(Disconnected)
        await talk.told(Connected, 2)
        await works(talk)
    kinds = [type(e) for e in talk.events if isinstance(e, SpeakingStarted | SpeakingStopped | Disconnected)]
    assert kinds[:3] == [SpeakingStarted, SpeakingStopped, Disconnected]
    assert [(e.reply, e.complete) for e in talk.all(SpeakingStopped)] == [(1, False), (2, True)]
    assert len(talk.sound(1)) == 4 * 1440
    assert pitch_of(talk.sound(2)[:7200]) == pytest.approx(440, abs=15)


async def test_h1_a_recording_begun_while_disconnected_is_sent_afterwards() -> None:
    server = XiaozhiServer()
    await server.start()
    await server.stop()
    async with talking(server) as talk:
        assert (await talk.told(Failed)).error.code == "xiaozhi_unreachable"
        assert not any(await talk.turn(spoken(2, pitch=300.0) + spoken(6, pitch=600.0)))
        async with server:
            await talk.told(SpeakingStopped)
            assert server.visits[0].states() == ["hello", "start", "stop"]
            assert server.visits[0].turns == [8]
            heard = server.visits[0].heard()
            assert pitch_of(heard[:5760], 48000) == pytest.approx(300, abs=20)
            assert pitch_of(heard[-14400:], 48000) == pytest.approx(600, abs=20)
            await works(talk)
    assert len(talk.all(Failed)) == 1, "told once"


async def test_h1_a_recording_goes_on_over_a_reconnection() -> None:
    """Sound that comes while the kept sound is being sent follows it."""
    server = XiaozhiServer(troubles={0: Trouble("packet", Drop(), packet=3)})
    packets = spoken(40)
    async with server, talking(server) as talk:
        await talk.told(Connected)
        await talk.client.send_start_listening("manual")
        for packet in packets:
            await talk.client.send_audio(packet)
            await asyncio.sleep(0.005)
        await talk.told(Connected, 2)
        await talk.client.send_stop_listening()
        await talk.told(SpeakingStopped)
        assert server.visits[1].packets == packets


async def test_h1_an_old_recording_is_not_sent() -> None:
    server = XiaozhiServer()
    await server.start()
    await server.stop()
    async with talking(server, Options(stale_s=0.0)) as talk:
        await talk.told(Failed)
        await talk.turn(spoken(3))
        async with server:
            await talk.told(Connected)
            await works(talk)
            assert server.visits[0].turns == [2]


@pytest.mark.parametrize("mode", ["auto", "manual", "realtime"])
async def test_h1_a_microphone_that_was_muted_for_long_is_heard_after_a_reconnection(mode: str) -> None:
    server = XiaozhiServer()
    async with server, talking(server, Options(aec=True, stale_s=0.0)) as talk:
        await talk.told(Connected)
        await talk.client.send_start_listening(mode)
        await talk.client.send_audio(spoken(1)[0])
        server.drop_all()
        await talk.told(Connected, 2)
        await poll(lambda: talk.client.state is State.LISTENING)
        assert all([await talk.client.send_audio(packet) for packet in spoken(5)])
        if mode == "manual":
            assert await talk.client.send_stop_listening()
        await talk.told(SpeakingStopped)
        assert server.visits[1].turns == [5], "what was said long ago is not sent again"


async def test_h1_an_aborted_recording_is_not_sent() -> None:
    server = XiaozhiServer()
    await server.start()
    await server.stop()
    async with talking(server) as talk:
        await talk.told(Failed)
        await talk.turn(spoken(3))
        assert not await talk.client.send_abort()
        async with server:
            await talk.told(Connected)
            await works(talk)
            assert server.visits[0].turns == [2]


def test_h1_of_a_long_recording_the_newest_is_kept() -> None:
    recording = Recording(Mode.AUTO, 3.0, 0.0)
    for number in range(100):
        recording.add(bytes([number]), 0.06, number * 0.06)
    assert recording.packets == [bytes([number]) for number in range(50, 100)]
    assert recording.dropped_s == pytest.approx(3.0)
    recording.understood()
    assert recording.packets == []
    for _ in range(2 * MOST_PACKETS):
        recording.add(b"x", 0.0, 0.0)
    assert len(recording.packets) == MOST_PACKETS


@pytest.mark.parametrize("moment", ["hello", "reply"])
async def test_h1_a_silent_server_is_noticed(moment: str) -> None:
    server = XiaozhiServer(troubles={0: Trouble(moment, Stall(), packet=2)})
    async with server, talking(server, Options(ping_s=0.1, silent_s=0.6)) as talk:
        await talk.told(Connected)
        await talk.turn(spoken(2))
        assert await talk.told(Disconnected) == Disconnected(Reason.SILENT, normal=False)
        await talk.told(Connected, 2)
        await talk.until(lambda: talk.client.state is State.READY or talk.all(SpeakingStopped))
        await poll(lambda: talk.client.state is State.READY)
        await works(talk)


async def test_h1_a_server_that_answers_pings_is_not_silent() -> None:
    async with XiaozhiServer() as server, talking(server, Options(ping_s=0.05, silent_s=1.5)) as talk:
        await talk.told(Connected)
        await asyncio.sleep(3.0)
        assert talk.all(Disconnected) == []


async def test_h1_a_server_without_hello_is_left() -> None:
    server = XiaozhiServer(troubles={0: Trouble("no hello", Stall()), 1: Trouble("no hello", Close(1000))})
    async with server, talking(server, Options(hello_timeout_s=0.3)) as talk:
        assert (await talk.told(Failed)).error.code == "xiaozhi_no_hello"
        await talk.told(Connected)
        await works(talk)
        assert len(server.visits) == 3


async def test_h1_a_wrong_hello_is_ignored() -> None:
    server = XiaozhiServer(announced={"transport": "udp"})
    async with server, talking(server, Options(hello_timeout_s=0.3)) as talk:
        assert (await talk.told(Failed)).error.code == "xiaozhi_no_hello"


@pytest.mark.parametrize(("status", "code", "again"), [(503, "unreachable", True), (403, "refused", False)])
async def test_h1_a_refused_handshake(status: int, code: str, again: bool) -> None:
    async with XiaozhiServer(statuses=[status]) as server, talking(server) as talk:
        assert (await talk.told(Failed)).error.code == f"xiaozhi_{code}"
        if not again:
            await poll(lambda: talk.client.state is State.ERROR)
            await talk.client.connect()
        await talk.told(Connected)
        await works(talk)


async def test_h1_1008_is_a_refusal() -> None:
    server = XiaozhiServer(troubles={0: Trouble("hello", Close(1008))})
    async with server, talking(server) as talk:
        assert (await talk.told(Failed)).error.code == "xiaozhi_refused"
        assert talk.all(Disconnected) == [Disconnected(Reason.REFUSED, normal=False)]
        await poll(lambda: talk.client.state is State.ERROR)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, Reason.ENDED), (1001, Reason.ENDED), (1005, Reason.ENDED), (1006, Reason.LOST), (1011, Reason.LOST),
     (1002, Reason.LOST), (1008, Reason.REFUSED), (4000, Reason.LOST)],
)  # fmt: skip
def test_h1_close_codes(code: int, reason: Reason) -> None:
    assert failure_of_close(code).reason is reason


def test_h1_pauses_grow_and_are_spread() -> None:
    steady, hasty = Backoff(lambda: 0.0), Backoff(lambda: 0.999)
    pauses = [steady.pause() for _ in range(60)]
    assert pauses[:5] == [0.25, 0.5, 1.0, 1.5, 1.5]
    assert max(pauses[:43]) == 1.5, "back within two seconds of a server that was away for a minute"
    assert pauses[-1] == 10.0
    assert hasty.pause() == pytest.approx(0.125, abs=0.001)
    steady.succeeded()
    assert steady.pause() == 0.25


async def test_h1_who_begins_to_speak_does_not_wait_for_the_next_attempt() -> None:
    class Slow(Backoff):
        def pause(self) -> float:
            return 3600.0

    server = XiaozhiServer(statuses=[503])
    async with server, talking(server, backoff=Slow()) as talk:
        await talk.told(Failed)
        await poll(lambda: talk.client.state is State.DISCONNECTED)
        await talk.turn(spoken(2))
        await talk.told(SpeakingStopped)


async def test_h1_disconnects_at_random_instants() -> None:
    """Whatever is going on: told, connected again, the next recording works; nothing is left behind."""
    chance = random.Random(6)
    server = XiaozhiServer(reply=(Sentence("One.", 440.0, (20, 60, 40, 60)),), pace=0.002)
    async with server:
        tasks = asyncio.all_tasks()
        async with talking(server) as talk:
            for number in range(25):
                await talk.told(Connected, number + 1)
                saying = asyncio.create_task(talk.turn(spoken(3), chance.choice(["manual", "auto", "realtime"])))
                await asyncio.sleep(chance.random() * 0.06)
                server.drop_all()
                await saying
                await talk.told(Disconnected, number + 1)
            await talk.told(Connected, 26)
            await works(talk)
        await poll(lambda: server.open == 0)
        await poll(lambda: asyncio.all_tasks() <= tasks)
    del talk
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Connection | XiaozhiClient)]
    assert [visit.refusal for visit in server.visits if visit.refusal] == []
    assert len({visit.session_id for visit in server.visits}) == len(server.visits)


async def test_h1_closed_in_the_middle_of_everything() -> None:
    server = XiaozhiServer(reply=LONG, pace=0.01)
    async with server:
        tasks = asyncio.all_tasks()
        async with talking(server) as talk:
            await talk.told(Connected)
            await talk.turn(spoken(2))
            await talk.told(ReplyAudio)
            await talk.client.close()
            await talk.client.close()
            assert not await talk.client.send_start_listening()
        assert talk.events[-1] == Disconnected(Reason.CLOSED, normal=True)
        await poll(lambda: server.open == 0)
        await poll(lambda: asyncio.all_tasks() <= tasks)


async def test_h1_neither_token_nor_words_are_logged(caplog: Any) -> None:
    server = XiaozhiServer(troubles={0: Trouble("reply", Drop(), packet=2)}, said="my words")
    with caplog.at_level(logging.DEBUG):
        async with server, talking(server) as talk:
            await talk.told(Connected)
            await talk.turn(spoken(2))
            await talk.told(Connected, 2)
            await talk.client.send_detect("typed words")
            await talk.client.send_message({"words": object()})
            await talk.told(SpeakingStopped, 2)
    ours = [record for record in caplog.records if not record.name.startswith("websockets.server")]
    assert any("close code 1006" in record.getMessage() for record in ours)
    for secret in (TOKEN, "my words", "typed words", "One."):
        assert not [record for record in ours if secret in record.getMessage()]
    assert TOKEN not in repr(Endpoint(server.url, DEVICE, CLIENT, TOKEN))


def test_k2_a_service_that_is_away_is_a_line_a_minute() -> None:
    complaints, away = Complaints(), Failure(Reason.UNREACHABLE, "HTTP 503")
    lines = [(now, *complaints.failed(away, now)) for now in np.arange(0.0, 200.0, 1.5)]
    assert [now for now, level, _ in lines if level > logging.DEBUG] == [0.0, 60.0, 120.0, 180.0]
    assert {level for _, level, _ in lines} == {logging.DEBUG, logging.WARNING}
    assert lines[0][2] == "unreachable: the server can't be reached; check url and the network (HTTP 503)"
    assert lines[40][2].endswith("; 39 more since the last line")
    assert complaints.connected(203.0) == (logging.INFO, "connected again, after 203 s")
    assert complaints.connected(204.0)[0] == logging.DEBUG, "once"


def test_k2_a_service_that_flaps_is_a_line_a_minute_and_a_good_ones_end_a_line_at_once() -> None:
    complaints, lost = Complaints(), Failure(Reason.LOST, "close code 1006")
    levels = []
    for now in range(0, 120, 2):
        levels += [complaints.failed(lost, now)[0], complaints.connected(now + 1)[0]]
    assert levels.count(logging.WARNING) == levels.count(logging.INFO) == 2
    complaints.succeeded()
    assert complaints.failed(lost, 121.0)[0] == logging.WARNING
    assert complaints.failed(Failure(Reason.REFUSED), 122.0)[0] == logging.WARNING, "it ends here"
    complaints.succeeded()
    assert complaints.failed(Failure(Reason.ENDED), 123.0)[0] == logging.INFO


async def test_k2_failed_attempts_in_a_row_are_one_warning(caplog: Any) -> None:
    def quick() -> Backoff:
        return Backoff(lambda: 0.999)

    with caplog.at_level(logging.INFO, "core.dialogue.xiaozhi"):
        async with XiaozhiServer(statuses=[503] * 4) as server, talking(server, backoff=quick()) as talk:
            await talk.told(Connected)
    said = [(r.levelno, r.getMessage()) for r in caplog.records if r.name.startswith("core.dialogue.xiaozhi")]
    assert [level for level, _ in said] == [logging.WARNING, logging.INFO], said
    assert "503" in said[0][1]
    assert "connected again" in said[1][1]


async def test_h1_a_fault_of_our_own_is_told() -> None:
    class Broken(Backoff):
        def pause(self) -> float:
            raise ZeroDivisionError

    async with XiaozhiServer(statuses=[503]) as server, talking(server, backoff=Broken()) as talk:
        assert "internal" in str((await talk.told(Failed, 2)).error)
        await poll(lambda: talk.client.state is State.ERROR)


def test_h1_failures_say_what_to_do() -> None:
    for reason in Reason:
        failure = Failure(reason, "HTTP 401")
        assert "401" in str(failure)
        assert "401" not in str(failure.error())
        assert failure.error().code == f"xiaozhi_{reason}"


def test_the_helper_speaks() -> None:
    assert len(spoken(3)) == 3
    assert len(tone(0.5)) == 8000
