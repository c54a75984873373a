"""G3: what the dashboard is told about sessions, sockets, answers, errors and the process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

import pytest

from core.events import Failed, ReplyState, Typed
from core.monitor import ERRORS, MESSAGE_CHARS, OTHER_SOCKETS, TURNS
from core.process import FRESH_S, ProcessMeter
from tests.avatar_client import AvatarClient
from tests.conftest import Serve
from tests.operators import ADAPTERS, observatory, turn

SESSION_KEYS = {
    "sessionid", "username", "link", "link_kind", "activity", "speaking", "age_s", "device", "avatar", "turns",
    "storage", "pictures_sent", "pictures_skipped", "pictures_failed", "fps", "underruns", "clock_resyncs", "network",
    "queues", "sockets",
}  # fmt: skip
SERVER_KEYS = {
    "version", "uptime_s", "cpu_percent", "rss_mb", "loop_lag_ms", "log_level", "sessions", "max_sessions", "sockets",
    "sound_sockets", "username_conflicts", "ready", "adapters",
}  # fmt: skip


async def test_g3_snapshot_has_the_documented_shape() -> None:
    async with observatory() as watch:
        session, media = await watch.open()
        media.figures |= {"speaking": True, "queued_seconds": 1.4, "pictures_sent": 1500, "underruns": 2}
        watch.sockets.add(session.id, queued=3)
        watch.sockets.add(session.id, queued=1)
        watch.record(session.id, turn())
        shot = await watch.monitor.snapshot()
    assert set(shot) == {
        "type", "at", "server", "sessions", "other_sockets", "turns", "errors", "recognitions",
    }  # fmt: skip
    assert shot["type"] == "snapshot"
    assert abs(shot["at"] / 1000 - time.time()) < 60
    assert set(shot["server"]) == SERVER_KEYS
    assert shot["server"]["version"] == "1.2.3"
    assert shot["server"]["adapters"] == ADAPTERS
    assert (shot["server"]["sessions"], shot["server"]["max_sessions"], shot["server"]["sockets"]) == (1, 8, 2)
    assert shot["server"]["rss_mb"] > 10
    (row,) = shot["sessions"]
    assert set(row) == SESSION_KEYS
    assert row["sessionid"] == session.id
    assert row["username"] == f"User_{session.id}"
    assert (row["link"], row["activity"], row["speaking"], row["avatar"]) == ("connected", "idle", True, "mira")
    assert (row["turns"], row["storage"], row["pictures_sent"], row["underruns"]) == (1, True, 1500, 2)
    assert row["network"] == {"rtt_ms": 20.0, "loss_percent": 0.5, "jitter_ms": 1.5}
    assert row["queues"] == {"replies": 0, "speech_s": 1.4, "messages": 4}
    assert [set(socket) for socket in row["sockets"]] == [
        {"connection", "age_s", "idle_s", "queued", "alive", "roles"}
    ] * 2
    assert json.loads(json.dumps(shot)) == shot


async def test_g3_turns_are_the_newest_50_with_their_waterfall() -> None:
    async with observatory() as watch:
        session, _ = await watch.open()
        for number in range(TURNS + 5):
            watch.record(session.id, turn(number))
        watch.record(session.id, turn(99, "echo", ReplyState.INTERRUPTED, transcript_ms=None, on_wire_ms=None))
        turns = (await watch.monitor.snapshot())["turns"]
    assert len(turns) == TURNS
    assert turns[0]["reply_id"] == "r6"
    assert set(turns[0]) == {"sessionid", "reply_id", "at", "source", "outcome", "engine", "marks"}
    assert turns[0]["marks"] == {"transcript": 180, "first_token": 182, "first_audio": 205, "on_wire": 221}
    assert turns[-1]["outcome"] == "interrupted"
    assert turns[-1]["marks"] == {"transcript": None, "first_token": 182, "first_audio": 205, "on_wire": None}


async def test_g3_errors_that_are_alike_are_one_line() -> None:
    async with observatory() as watch:
        for session_id, message in (("1", "away"), ("2", "still away " + "x" * 5000)):
            watch.record(session_id, Failed("dialogue", "openai", "dialogue_failed", message))
        watch.record("1", Failed("tts", "espeak", "tts_failed", "mute"))
        errors = (await watch.monitor.snapshot())["errors"]
    assert [error["stage"] for error in errors] == ["dialogue", "tts"]
    first = errors[0]
    assert set(first) == {"stage", "adapter", "code", "message", "count", "first_at", "last_at", "sessionid"}
    assert (first["count"], first["sessionid"]) == (2, "2")
    assert first["message"].startswith("still away")
    assert len(first["message"]) == MESSAGE_CHARS
    assert first["first_at"] <= first["last_at"]


async def test_g3_the_errors_seen_longest_ago_make_room() -> None:
    async with observatory() as watch:
        watch.record("1", Failed("asr", "a", "old", ""))
        watch.record("1", Failed("asr", "a", "again", ""))
        for number in range(ERRORS - 2):
            watch.record("1", Failed("asr", "a", f"code{number}", ""))
        watch.record("1", Failed("asr", "a", "again", ""))
        watch.record("1", Failed("asr", "a", "newest", ""))
        errors = {error["code"]: error["count"] for error in (await watch.monitor.snapshot())["errors"]}
    assert len(errors) == ERRORS
    assert "old" not in errors
    assert (errors["again"], errors["newest"]) == (2, 1)


async def test_g3_pictures_per_second_are_measured_between_looks() -> None:
    async with observatory() as watch:
        _, media = await watch.open()
        assert (await watch.monitor.snapshot())["sessions"][0]["fps"] == 0.0
        for second in range(4):
            media.figures["pictures_sent"] = 1000 + 25 * second
            watch.sources.pictures.look(now=100.0 + second)
        assert (await watch.monitor.snapshot())["sessions"][0]["fps"] == 25.0
        watch.sources.pictures.look(now=104.0)  # it stands still
        watch.sources.pictures.look(now=105.0)
        assert (await watch.monitor.snapshot())["sessions"][0]["fps"] == 0.0
        assert watch.sources.pictures.fps("404") == 0.0


async def test_g3_a_session_that_ended_leaves_its_turns_and_errors_only() -> None:
    async with observatory() as watch:
        session, _ = await watch.open()
        watch.record(session.id, turn())
        watch.record(session.id, Failed("tts", "tone", "tts_failed", "away"))
        await watch.sessions.close(session)
        watch.record(session.id, turn(2))  # a straggler
        shot = await watch.monitor.snapshot()
        assert shot["sessions"] == []
        assert [row["reply_id"] for row in shot["turns"]] == ["r1", "r2"]
        assert shot["errors"][0]["sessionid"] == session.id
        again, _ = await watch.sessions.open("sdp", session_id=session.id)
        assert (await watch.monitor.snapshot())["sessions"][0]["turns"] == 0
        watch.record(again.id, turn())
        assert (await watch.monitor.snapshot())["sessions"][0]["turns"] == 1


async def test_g3_a_connection_that_does_not_tell_its_network_holds_nothing_up() -> None:
    async with observatory() as watch, asyncio.timeout(20):
        session, slow = await watch.open()
        await watch.open()
        slow.gate = asyncio.Event()
        for _ in range(3):
            rows = (await watch.monitor.snapshot())["sessions"]
            assert rows[0]["network"] == {"rtt_ms": None, "loss_percent": None, "jitter_ms": None}
            assert rows[1]["network"]["rtt_ms"] == 20.0
        assert slow.asked == 1  # and is not asked again before it answered
        slow.gate.set()
        await asyncio.sleep(0)
        assert (await watch.monitor.snapshot())["sessions"][0]["network"]["rtt_ms"] == 20.0
        slow.gate.clear()
        await watch.monitor.snapshot()
        await watch.sessions.close(session)
        await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() if session.id in task.get_name()]


async def test_g3_a_connection_whose_figures_break_is_shown_without_them(caplog: pytest.LogCaptureFixture) -> None:
    async with observatory() as watch:
        _, media = await watch.open()
        media.network_error = RuntimeError("half built")
        assert (await watch.monitor.snapshot())["sessions"][0]["network"]["rtt_ms"] is None
        media.network_error = None
        assert (await watch.monitor.snapshot())["sessions"][0]["network"]["rtt_ms"] == 20.0
    assert "half built" in caplog.text


async def test_g3_sockets_without_a_media_session_are_listed_apart_and_bounded() -> None:
    async with observatory() as watch:
        session, _ = await watch.open()
        watch.sockets.add(session.id)
        for number in range(OTHER_SOCKETS + 50):
            watch.sockets.add(str(number % 100))
        shot = await watch.monitor.snapshot()
    assert shot["server"]["sockets"] == OTHER_SOCKETS + 51
    assert len(shot["other_sockets"]) == OTHER_SOCKETS
    assert session.id not in {socket["session_id"] for socket in shot["other_sockets"]}
    assert len(shot["sessions"][0]["sockets"]) == 1
    assert watch.sockets.described == OTHER_SOCKETS + 1  # thousands of others cost nothing


async def test_e2_recognitions_come_from_the_tracker() -> None:
    async with observatory() as watch:
        watch.recognised = [{"sequence": number} for number in range(70)]
        recognitions = (await watch.monitor.snapshot())["recognitions"]
    assert [row["sequence"] for row in recognitions] == list(range(20, 70))


async def test_g3_events_that_say_nothing_about_times_or_errors_leave_nothing() -> None:
    async with observatory() as watch:
        watch.monitor.record("1", Typed("periwinkle"))
        assert "periwinkle" not in json.dumps(await watch.monitor.snapshot())


async def test_g3_readiness_is_told() -> None:
    async with observatory() as watch:
        assert (await watch.monitor.snapshot())["server"]["ready"] is False
        for stage in ADAPTERS:
            watch.sources.readiness.arrived(stage)
        assert (await watch.monitor.snapshot())["server"]["ready"] is True
        watch.sources.readiness.stop()
        assert (await watch.monitor.snapshot())["server"]["ready"] is False


# -- the process


async def test_k2_processor_time_and_memory_count_the_children() -> None:
    meter = ProcessMeter()
    await meter.start()
    program = "x = bytearray(80 << 20)\nprint(sum(range(3_000_000)), flush=True)\ninput()"
    try:
        alone = meter.latest
        assert alone.rss_bytes > 10 << 20
        child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert child.stdout is not None
            await asyncio.to_thread(child.stdout.readline)
            await asyncio.sleep(FRESH_S)
            first, same = await asyncio.gather(meter.sample(), meter.sample())
            assert first is same  # one measurement for both
            assert first.rss_bytes > alone.rss_bytes + (60 << 20)
            assert first.cpu_s > alone.cpu_s
            assert first.cpu_percent > 0
        finally:
            child.communicate(b"\n")
        await asyncio.sleep(FRESH_S)
        later = await meter.sample()
        assert later.rss_bytes < first.rss_bytes - (60 << 20)
        assert later.cpu_s >= first.cpu_s  # what the child used stays used
    finally:
        await meter.close()


async def test_k2_a_blocked_loop_shows() -> None:
    meter = ProcessMeter()
    await meter.start()
    try:
        await asyncio.sleep(0.05)
        time.sleep(0.3)  # noqa: ASYNC251 - the loop stands still beyond the meter's next look
        await asyncio.sleep(0.15)
        assert meter.loop_lag_s > 0.1
    finally:
        await meter.close()


# -- the real server


async def test_g3_a_live_session_shows_its_pictures_network_and_answers(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        await client.human("one two three", kind="chat")
        await client.message("reply", state="end")
        async with asyncio.timeout(20):
            while True:
                shot = await server.monitor.snapshot()
                (row,) = shot["sessions"]
                if row["network"]["rtt_ms"] is not None and row["fps"] and shot["turns"]:
                    break
                await asyncio.sleep(0.1)
        assert row["sessionid"] == client.session
        assert row["link"] == "connected"
        assert 0 < row["fps"] < 35
        assert 0 <= row["network"]["rtt_ms"] < 1000
        assert 0 <= row["network"]["loss_percent"] <= 100
        assert 0 <= row["network"]["jitter_ms"] < 1000
        assert (row["turns"], len(row["sockets"]), row["storage"]) == (1, 1, False)  # this server keeps no history
        assert shot["turns"][-1]["source"] == "text"
        assert shot["turns"][-1]["marks"]["on_wire"] is not None
        assert shot["server"]["ready"] is True


async def test_g3_a_failing_voice_is_an_error_of_its_adapter(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client:
        await client.connect()
        await client.login()
        for _ in range(2):
            await client.human("broken")
        await client.message("reply", state="error", reply_id="r2")
        errors = (await server.monitor.snapshot())["errors"]
    assert [(row["stage"], row["adapter"], row["code"], row["count"]) for row in errors] == [
        ("tts", "tone", "tts_failed", 2)
    ]


async def test_g3_pictures_stay_counted_when_the_page_comes_back(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        before = (await server.monitor.snapshot())["sessions"][0]["pictures_sent"]
        again = AvatarClient(server.url)
        again.extra = {"sessionid": client.session, "token": client.answer["token"]}
        async with again:
            await again.connect()
            assert (await server.monitor.snapshot())["sessions"][0]["pictures_sent"] > before
