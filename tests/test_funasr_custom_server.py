"""Server of the custom FunASR protocol over real connections (row C4)."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from asr.funasr.files import SharedFiles
from asr.funasr.refusal import CODES
from asr.funasr.upload import Limits
from tests.funasr_custom_line import Counting, Line, b64, chunk, end, line, serving, start, wav

ROOT = Path(__file__).parent.parent
SMALL = Limits(message=8000, upload=10_000, memory=15_000, uploads=3, per_connection=2)


async def test_c4_an_upload_in_chunks() -> None:
    """The frames of a plain upload, as documented."""
    async with serving() as server, line(server) as talk:
        ready = await talk.ask(start(total_chunks=2, total_size=6))
        assert ready["type"] == "status"
        assert (ready["status"], ready["request_id"], ready["total_chunks"]) == ("ready", "r1", 2)
        assert ready["message"] == "ready to receive 2 chunks"
        assert ready["max_chunk_bytes"] >= 524_288
        got = await talk.ask(chunk(0, b"\1\0\2\0"))
        assert (got["status"], got["chunk_index"], got["received"], got["total_chunks"]) == ("chunk_received", 0, 1, 2)
        await talk.ask(chunk(1))
        processing = await talk.ask(end())
        assert (processing["status"], processing["bytes"], processing["request_id"]) == ("processing", 6, "r1")
        assert await talk.hear() == "3 samples"
        assert len(server.service.uploads) == 1, "kept until the client has left"
    await gone(server)


async def gone(server: Any) -> None:
    """Until the server has forgotten everybody."""
    async with asyncio.timeout(5):
        while server.connections or len(server.service.uploads):
            await asyncio.sleep(0.005)
    assert server.service.memory.used == 0
    assert server.service.jobs == 0


async def test_c4_a_result_as_json() -> None:
    async with serving() as server, line(server) as talk:
        await talk.ask(start(result_format="json"))
        await talk.ask(chunk(0, b"\0" * 32_000))
        await talk.say(end())
        final = await talk.final()
        assert final["type"] == "result"
        assert (final["text"], final["is_final"], final["duration_ms"]) == ("16000 samples", True, 1000)
        assert (final["request_id"], final["start_ms"], final["end_ms"]) == ("r1", 0, 1000)
        assert final["elapsed_ms"] >= 0


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("first", [0, 1])
async def test_c4_chunks_in_any_order_counted_from_0_or_1(order: tuple[int, ...], first: int) -> None:
    data = [bytes([i, 0]) * (i + 1) for i in range(3)]
    digest = hashlib.sha256(b"".join(data)).hexdigest()
    async with serving() as server, line(server) as talk:
        await talk.ask(start(total_chunks=3, sha256=digest, total_size=12))
        for index in order:
            assert (await talk.ask(chunk(index + first, data[index])))["status"] == "chunk_received"
        await talk.say(end())
        assert await talk.final() == "6 samples"


async def test_c4_alternative_names_of_fields() -> None:
    async with serving() as server, line(server) as talk:
        await talk.ask({"type": "audio_start", "session_id": "s", "chunks": 3, "format": "pcm"})
        for index, name in enumerate(("audio_data", "chunk_data", "audio")):
            await talk.ask({"type": "audio_chunk", "session_id": "s", "chunk_index": index, name: b64(b"\1\0")})
        await talk.say({"type": "audio_end", "session_id": "s"})
        assert await talk.final() == "3 samples"


async def test_c4_the_server_names_an_upload_and_one_upload_needs_no_name() -> None:
    async with serving() as server, line(server) as talk:
        ready = await talk.ask(start(None))
        assert len(ready["request_id"]) >= 16
        await talk.ask(chunk(0, request_id=None))
        await talk.say(end(None))
        assert await talk.final() == "1 samples"


@pytest.mark.parametrize(("ack", "expected"), [("each", [0, 1, 2, 3, 4]), ("none", []), (2, [1, 3, 4]), (9, [4])])
async def test_c4_acknowledgement_as_wished(ack: Any, expected: list[int]) -> None:
    async with serving() as server, line(server) as talk:
        await talk.ask(start(total_chunks=5, ack=ack))
        for index in range(5):
            await talk.say(chunk(index))
        await talk.say(end())
        frames = [await talk.hear() for _ in range(len(expected) + 2)]
        assert [f["chunk_index"] for f in frames[:-2]] == expected


async def test_c4_a_repeated_chunk_is_ignored_and_a_conflicting_one_refused() -> None:
    async with serving() as server, line(server) as talk:
        await talk.ask(start(total_chunks=2))
        await talk.ask(chunk(0, b"\1\0"))
        assert (await talk.ask(chunk(0, b"\1\0")))["received"] == 1
        refused = await talk.ask(chunk(0, b"\2\0"))
        assert (refused["status"], refused["code"], refused["retryable"]) == ("error", "chunk_conflict", False)
        assert (await talk.ask(end()))["code"] == "no_session"


async def test_c4_an_incomplete_upload_is_told_what_is_missing_and_can_go_on() -> None:
    async with serving() as server, line(server) as talk:
        await talk.ask(start(total_chunks=4))
        await talk.ask(chunk(1))
        refused = await talk.ask(end())
        assert (refused["code"], refused["retryable"], refused["missing"]) == ("incomplete", True, [0, 2, 3])
        ready = await talk.ask({"type": "audio_resume", "request_id": "r1"})
        assert (ready["status"], ready["missing"]) == ("ready", [0, 2, 3])
        for index in ready["missing"]:
            await talk.ask(chunk(index))
        await talk.say(end())
        assert await talk.final() == "4 samples"


async def test_c4_an_upload_goes_on_after_the_connection_broke() -> None:
    async with serving() as server:
        async with line(server) as talk:
            await talk.ask(start(total_chunks=2, result_format="json"))
            await talk.ask(chunk(0))
            talk.socket.transport.abort()
        async with line(server) as talk:
            ready = await talk.ask({"type": "audio_resume", "request_id": "r1"})
            assert (ready["missing"], ready["received"]) == ([1], 1)
            await talk.ask(chunk(1))
            await talk.say(end())
            assert (await talk.final())["text"] == "2 samples"


async def test_c4_a_result_waits_for_a_client_that_lost_its_connection() -> None:
    recognizer = Counting(hold=True)
    async with serving(recognizer) as server:
        async with line(server) as talk:
            await talk.ask(start())
            await talk.ask(chunk(0))
            await talk.ask(end())
            talk.socket.transport.abort()
        recognizer.go.set()
        async with line(server) as talk:
            assert (await talk.ask({"type": "audio_resume", "request_id": "r1"}))["missing"] == []
            await talk.say(end())
            assert await talk.final() == "1 samples"
        assert recognizer.finished == [1], "recognised once"
        await gone(server)


async def test_c4_the_final_frame_is_the_last_of_its_request() -> None:
    async with serving() as server, line(server) as talk:
        await talk.ask(start())
        await talk.ask(chunk(0))
        await talk.say(end())
        assert await talk.final() == "1 samples"
        for late in (end(), chunk(1), {"type": "audio_cancel", "request_id": "r1"}):
            assert (await talk.ask(late))["code"] == "no_session"


async def test_c4_nobody_else_takes_an_upload() -> None:
    async with serving() as server, line(server) as one, line(server) as two:
        await one.ask(start(total_chunks=1))
        assert (await two.ask(start()))["code"] == "session_exists"
        assert (await two.ask(chunk(0)))["code"] == "no_session"
        assert (await two.ask({"type": "audio_cancel", "request_id": "r1"}))["code"] == "no_session"
        await one.ask(chunk(0))
        await one.say(end())
        assert await one.final() == "1 samples"


async def test_c4_a_client_that_was_restarted_begins_again_under_the_same_name() -> None:
    async with serving() as server:
        async with line(server) as talk:
            await talk.ask(start(total_chunks=5))
            await talk.ask(chunk(0, b"\7\0"))
        async with line(server) as talk:
            assert (await talk.ask(start(total_chunks=1)))["status"] == "ready"
            await talk.ask(chunk(0))
            await talk.say(end())
            assert await talk.final() == "1 samples"


async def test_c4_cancel_before_and_during_recognition() -> None:
    recognizer = Counting(hold=True)
    async with serving(recognizer) as server, line(server) as talk:
        for begun in (False, True):
            await talk.ask(start())
            await talk.ask(chunk(0))
            if begun:
                await talk.ask(end())
            refused = await talk.ask({"type": "audio_cancel", "request_id": "r1"})
            assert (refused["code"], refused["request_id"]) == ("cancelled", "r1")
            assert (server.service.memory.used, len(server.service.uploads)) == (0, 0)
        assert await talk.silent()
        await gone_streams(recognizer)


async def gone_streams(recognizer: Counting) -> None:
    """Until the recogniser has nothing open."""
    async with asyncio.timeout(5):
        while recognizer.open_streams:
            await asyncio.sleep(0.005)


async def test_c4_limits() -> None:
    async with serving(limits=SMALL) as server, line(server) as one, line(server) as two:
        assert (await one.ask(start(total_size=10_001)))["code"] == "too_large"
        assert (await one.ask(start("a")))["status"] == "ready"
        assert (await one.ask(start("b")))["status"] == "ready"
        refused = await one.ask(start("c"))
        assert (refused["code"], refused["retryable"]) == ("too_many_sessions", True)
        assert (await two.ask(start("d")))["status"] == "ready"
        assert (await two.ask(start("e")))["code"] == "too_many_sessions"
        assert (await one.ask(chunk(0, bytes(3000), "a")))["code"] == "chunk_too_large"
        assert (await one.ask(chunk(0, bytes(30_000), "b")))["code"] == "chunk_too_large"
        for index in range(4):
            assert (await two.ask(chunk(index, bytes(2500), "d")))["status"] == "chunk_received"
        assert (await two.ask(chunk(4, bytes(2500), "d")))["code"] == "too_large"
        assert server.service.memory.used == 0


async def test_c4_memory_is_bounded_over_all_users() -> None:
    async with serving(limits=SMALL) as server, line(server) as one, line(server) as two:
        for talk, name in ((one, "a"), (two, "b")):
            await talk.ask(start(name))
            for index in range(3):
                assert (await talk.ask(chunk(index, bytes(2000), name)))["status"] == "chunk_received"
        await one.ask(chunk(3, bytes(2000), "a"))
        refused = await two.ask(chunk(3, bytes(2000), "b"))
        assert (refused["code"], refused["retryable"]) == ("busy", True)
        assert server.service.memory.used == 8000


async def test_c4_abandoned_uploads_make_room_for_new_ones() -> None:
    async with serving(limits=SMALL) as server:
        for name in ("a", "b", "c", "d", "e"):
            async with line(server) as talk:
                assert (await talk.ask(start(name)))["status"] == "ready"
                for index in range(4):
                    await talk.ask(chunk(index, bytes(2000), name))
        assert server.service.memory.used <= SMALL.memory


async def test_c4_a_silent_uploader_is_told_and_forgotten() -> None:
    async with serving(limits=Limits(idle_s=0.05)) as server, line(server) as talk:
        await talk.ask(start())
        refused = await talk.hear()
        assert (refused["code"], refused["request_id"], refused["retryable"]) == ("timeout", "r1", True)
        assert len(server.service.uploads) == 0


async def test_c4_what_a_gone_client_left_is_cleaned() -> None:
    async with serving(limits=Limits(kept_s=0.05)) as server:
        async with line(server) as talk:
            await talk.ask(start())
            await talk.ask(chunk(0, bytes(1000)))
            assert server.service.memory.used == 1000
        await gone(server)


async def test_c4_many_users_at_once_each_get_their_own() -> None:
    recognizer = Counting()
    async with serving(recognizer) as server:

        async def user(n: int) -> str:
            async with line(server) as talk:
                await talk.ask(start(f"u{n}"))
                for index in range(n % 4 + 1):
                    await talk.ask(chunk(index, bytes(2 * n), f"u{n}"))
                await talk.say(end(f"u{n}"))
                return str(await talk.final())

        heard = await asyncio.gather(*(user(n) for n in range(1, 31)))
        assert heard == [f"{n * (n % 4 + 1)} samples" for n in range(1, 31)]
        assert recognizer.most_at_work == 1, "one recognition at a time"
        await gone(server)


async def test_c4_a_full_queue_is_busy_and_the_upload_can_go_on() -> None:
    recognizer = Counting(hold=True)
    async with serving(recognizer, waiting=1) as server, line(server) as talk:
        answers = []
        for name in ("a", "b", "c"):
            await talk.ask(start(name))
            await talk.ask(chunk(0, request_id=name))
            answers.append(await talk.ask(end(name)))
        assert [a["status"] for a in answers] == ["processing", "processing", "error"]
        assert (answers[2]["code"], answers[2]["retryable"]) == ("busy", True)
        recognizer.go.set()
        assert [await talk.final(), await talk.final()] == ["1 samples"] * 2
        await talk.ask({"type": "audio_resume", "request_id": "c"})
        await talk.say(end("c"))
        assert await talk.final() == "1 samples"


async def test_c4_a_recogniser_that_fails() -> None:
    async with serving(Counting(fail=1)) as server, line(server) as talk:
        for expected in ("asr_failed", None):
            await talk.ask(start())
            await talk.ask(chunk(0))
            await talk.say(end())
            final = await talk.final()
            assert final == "1 samples" if expected is None else (final["code"], final["retryable"]) == (expected, True)


async def test_c4_a_recogniser_with_a_bug_ends_the_request_not_the_server(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Counting(bug=True)) as server, line(server) as talk:
        await talk.ask(start())
        await talk.ask(chunk(0))
        await talk.say(end())
        assert (await talk.final())["code"] == "asr_failed"
        assert await talk.silent()
    assert "ZeroDivisionError" in caplog.text


async def test_c4_long_audio_is_recognised_in_pieces_cut_in_pauses() -> None:
    recognizer = Counting()
    async with serving(recognizer) as server, line(server) as talk:
        loud, quiet = b"\x00\x20" * 16_000, bytes(3200)
        await talk.ask(start(result_format="json"))
        for index in range(40):
            await talk.ask(chunk(index, loud + quiet))
        await talk.say(end())
        final = await talk.final()
        assert sum(recognizer.finished) == 40 * 17_600
        assert len(recognizer.finished) > 1
        assert max(recognizer.finished) <= 25 * 16_000
        rest = [sum(recognizer.finished[: n + 1]) % 17_600 for n in range(len(recognizer.finished) - 1)]
        assert all(16_000 <= cut <= 17_600 for cut in rest), "cut where it is quiet"
        assert final["end_ms"] == 44_000


async def live(talk: Line, sizes: list[int]) -> list[Any]:
    """Partials of a live upload, and its final frame."""
    ready = await talk.ask(start(live=True, ack="none"))
    assert ready["live"] is True
    partials = []
    for index, size in enumerate(sizes):
        await talk.say(chunk(index, bytes(size)))
        partials.append((await talk.hear())["text"])
    await talk.say(end())
    return [*partials, await talk.final()]


async def test_c4_live_audio_is_recognised_while_it_comes() -> None:
    recognizer = Counting()
    async with serving(recognizer) as server, line(server) as talk:
        assert await live(talk, [20, 31, 1, 8]) == ["so far 10", "so far 25", "so far 26", "so far 30", "30 samples"]
        assert recognizer.finished == [30]
        await gone_streams(recognizer)


async def test_c4_a_live_turn_that_fails_is_recognised_again() -> None:
    recognizer = Counting(fail=1)
    async with serving(recognizer) as server, line(server) as talk:
        assert (await live(talk, [20, 20]))[-1] == "20 samples"
        await gone_streams(recognizer)


async def test_c4_a_live_turn_is_freed_when_its_client_leaves() -> None:
    recognizer = Counting()
    async with serving(recognizer) as server:
        async with line(server) as talk:
            await talk.ask(start(live=True))
            assert recognizer.open_streams == 1
        await gone_streams(recognizer)
        assert server.service.jobs == 0


# -- clients of the older forms: one plain text frame per request, nothing else


async def test_c4_inline_audio_is_answered_by_plain_text_and_nothing_else() -> None:
    async with serving() as server, line(server) as talk:
        for message, text in (
            ({"audio_data": b64(wav(2044))}, "1000 samples"),
            ({"audio_data": b64(bytes(100))}, "50 samples"),
            ({"audio_data": b64(bytes(100)), "audio_format": "pcm", "channels": 2}, "25 samples"),
            ({"audio_data": b64(bytes(64)), "audio_format": "pcm", "sample_width": 4}, "16 samples"),
        ):
            assert await talk.ask(message) == text
        assert await talk.silent()


async def test_c4_the_last_line_of_a_real_client_may_be_a_number() -> None:
    async with serving(Counting(answer="123")) as server, line(server) as talk:
        assert await talk.ask({"audio_data": b64(bytes(100))}) == "123"


@pytest.mark.parametrize(
    "message",
    [
        {"audio_data": "!"},
        {"audio_data": 7},
        {"audio_data": b64(b"nothing like it"), "audio_format": "mp3"},
        {"audio_data": b64(bytes(100)), "audio_format": "wav"},
        {"audio_data": b64(b"RIFF and then nothing")},
        {"audio_data": b64(bytes(4)), "sample_rate": "fast"},
        {"url": "/etc/passwd"},
        {"url": "file:///etc/passwd"},
        {"url": "http://127.0.0.1:1/x.wav"},
        {"url": "\0"},
        {"url": 5},
        {"url": ""},
    ],
)
async def test_c4_a_failure_is_an_empty_frame_for_older_clients(message: dict[str, Any]) -> None:
    async with serving(files=SharedFiles((Path("/nowhere"),))) as server, line(server) as talk:
        assert await talk.ask(message) == ""
        refused = await talk.ask({**message, "status": True})
        assert (refused["status"], refused["code"] in CODES) == ("error", True)


async def test_c4_older_requests_are_answered_in_order() -> None:
    recognizer = Counting(hold=True)
    async with serving(recognizer) as server, line(server) as talk:
        for size in (2, 4, 6):
            await talk.say({"audio_data": b64(bytes(size))})
        await talk.say({"audio_data": "!"})
        await talk.say({"audio_data": b64(bytes(8))})
        recognizer.go.set()
        assert [await talk.hear() for _ in range(5)] == ["1 samples", "2 samples", "3 samples", "", "4 samples"]


async def test_c4_a_failing_recogniser_is_an_empty_frame_for_older_clients() -> None:
    async with serving(Counting(fail=1)) as server, line(server) as talk:
        assert await talk.ask({"audio_data": b64(bytes(10))}) == ""
        assert await talk.ask({"audio_data": b64(bytes(10))}) == "5 samples"


async def test_c4_a_client_of_an_older_form_that_leaves_is_not_worked_for() -> None:
    recognizer = Counting(hold=True)
    async with serving(recognizer) as server:
        async with line(server) as talk:
            await talk.say({"audio_data": b64(bytes(10))})
            while not recognizer.at_work:
                await asyncio.sleep(0.001)
        await gone(server)
        assert (recognizer.open_streams, recognizer.finished) == (0, [])


async def test_c4_files_under_a_root_are_recognised_and_kept(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    path = tmp_path / "shared" / "hello world.wav"
    path.write_bytes(wav(2044))
    (tmp_path / "secret.wav").write_bytes(wav(2044))
    (tmp_path / "shared" / "link.wav").symlink_to(tmp_path / "secret.wav")
    async with serving(files=SharedFiles((tmp_path / "shared",))) as server, line(server) as talk:
        assert await talk.ask({"url": str(path)}) == "1000 samples"
        assert await talk.ask({"url": path.as_uri()}) == "1000 samples"
        assert path.exists()
        for outside in ("../secret.wav", "link.wav", "."):
            assert await talk.ask({"url": str(tmp_path / "shared" / outside)}) == ""


async def test_c4_fay_s_habit_of_deleting_is_opt_in_and_stays_under_the_root(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    path, outside = tmp_path / "shared" / "a.wav", tmp_path / "b.wav"
    for file in (path, outside):
        file.write_bytes(wav(2044))
    files = SharedFiles((tmp_path / "shared",), delete_after=True)
    async with serving(files=files) as server, line(server) as talk:
        assert await talk.ask({"url": str(path)}) == "1000 samples"
        assert await talk.ask({"url": str(outside)}) == ""
        assert (path.exists(), outside.exists()) == (False, True)


async def test_c4_control_frames_and_live_pcm() -> None:
    """Fay's sample client: says when it begins, sends PCM in binary frames, says when it ends."""
    async with serving() as server, line(server) as talk:
        await talk.say({"vad_need": True, "state": ""})
        await talk.say(bytes(5120))
        await talk.say({"vad_need": False, "state": "StartTranscription"})
        for _ in range(3):
            await talk.say(bytes(5121))
        assert await talk.ask({"vad_need": False, "state": "StopTranscription"}) == f"{5121 * 3 // 2} samples"
        await talk.say({"vad_need": False, "state": "StopTranscription"})
        assert await talk.silent(), "nothing was said: no answer"
        for _ in range(70):
            await talk.say(bytes(32_000))
        assert await talk.ask({"state": "StopTranscription"}) != ""
        assert server.service.memory.used == 0


async def test_c4_what_is_no_request_is_ignored() -> None:
    async with serving() as server, line(server) as talk:
        for frame in ("5", "null", "[]", "{}", '{"type": "hello"}', '{"type": 5}', '"text"'):
            await talk.say(frame)
        assert await talk.silent()
        assert next(iter(server.connections)).ignored == 7


async def test_c4_frames_that_are_no_json_close_the_connection_the_third_time() -> None:
    async with serving() as server, line(server) as talk:
        await talk.say("{")
        await talk.say("[" * 100_000)
        assert await talk.silent()
        await talk.say("1e")
        with pytest.raises(ConnectionClosed) as caught:
            await talk.hear()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1003


async def test_c4_the_goodbye_is_not_held_up_by_what_was_sent_before_it() -> None:
    async with serving() as server, line(server) as talk:
        for frame in ["{"] * 3 + ["x" * 1000] * 50:
            await talk.say(frame)
        await asyncio.wait_for(talk.socket.wait_closed(), 5)
        assert talk.socket.close_code == 1003


@pytest.mark.parametrize("offered", [None, ["binary"], ["chat", "binary"], ["chat"]])
async def test_c4_subprotocol_binary_is_echoed_but_not_required(offered: Any) -> None:
    async with serving() as server, line(server, subprotocols=offered) as talk:
        assert talk.socket.subprotocol == ("binary" if offered and "binary" in offered else None)


async def test_c4_connections_are_bounded() -> None:
    async with serving(max_connections=1) as server, line(server):
        with pytest.raises(InvalidStatus) as caught:
            async with line(server):
                pass
        assert caught.value.response.status_code == 503


async def test_c4_strangers_leave_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as server:
        for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00", b""):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(words)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        async with line(server) as talk:
            assert await talk.silent()
    assert "Traceback" not in caplog.text


async def test_c4_closing_the_server_ends_everything() -> None:
    recognizer = Counting(hold=True)
    async with serving(recognizer) as server, line(server) as talk:
        await talk.ask(start())
        await talk.ask(chunk(0))
        await talk.ask(end())
        await talk.ask(start("live", live=True))
        await talk.say({"audio_data": b64(bytes(10))})
        await server.close()
        await server.close()
        await asyncio.wait_for(talk.socket.wait_closed(), 5)
        assert recognizer.open_streams == 0


async def test_k2_words_and_audio_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(Counting(answer="what the user said")) as server, line(server) as talk:
        await talk.ask(start(filename="secret name.wav", hotwords="secret word"))
        await talk.ask(chunk(0, b"secret audio"))
        await talk.say(end())
        assert await talk.final() == "what the user said"
        await talk.ask({"url": "/secret path"})
    own = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("asr"))
    assert "request r1" in own
    assert "user said" not in own
    assert "secret" not in own


async def started(*arguments: str) -> asyncio.subprocess.Process:
    """The program, with these arguments."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "asr.funasr.server", "--port", "0", *arguments)
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=pipe, stderr=pipe)


async def test_c4_it_runs_by_itself_with_any_recogniser(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(2044))
    name = "tests.funasr_custom_line:Counting"
    process = await started("--recognizer", name, "--option", "answer=from the program", "--root", str(tmp_path))
    try:
        assert process.stdout is not None
        first = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        assert first.startswith("counting at ws://127.0.0.1:")
        async with connect(first.split()[-1], proxy=None) as socket:
            assert await Line(socket).ask({"url": str(tmp_path / "a.wav")}) == "from the program"
    finally:
        process.terminate()
        _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("--recognizer", "telepathy"), "allowed:"),
        (("--option", "colour=red"), "does not take these options"),
        (("--tls-cert", "/nowhere.pem"), "No such file"),
    ],
)
async def test_c4_a_wrong_command_line_ends_with_advice(arguments: tuple[str, ...], advice: str) -> None:
    process = await started(*arguments)
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert advice in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_c4_web_addresses_are_fetched_only_when_allowed() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(body=wav(2044))

    app = web.Application()
    app.router.add_get("/a.wav", page)
    async with TestServer(app) as site:
        url = str(site.make_url("/a.wav"))
        for http, expected in ((True, "1000 samples"), (False, "")):
            async with serving(files=SharedFiles(http=http)) as server, line(server) as talk:
                assert await talk.ask({"url": url}) == expected
        async with serving(files=SharedFiles(http=True, max_bytes=1000)) as server, line(server) as talk:
            assert (await talk.ask({"url": url, "status": True}))["code"] == "too_large"
