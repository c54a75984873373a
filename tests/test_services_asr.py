"""Speech over `/ws`: into a live session's ears, or into a recognition of the socket's own."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from asr.tracker import RecognitionResultTracker
from core.frames import LISTEN_RATE
from core.services.asr import MAX_RECOGNITIONS, ASRWebSocketService
from core.services.asr_audio import Pace, PcmReader
from core.services.asr_recognition import MAX_UNFINISHED
from core.websocket_manager import UnifiedWebSocketManager
from tests.service_fakes import FewSessions, NotingEars, StringRecognizer, pcm
from tests.service_line import Line, Office, office

MAX_TURN = 10 / LISTEN_RATE
"""Ten letters."""


class Desk:
    """The service with everything around it."""

    def __init__(self, timeout_s: float = 30.0, max_turn_s: float = MAX_TURN) -> None:
        self.manager = UnifiedWebSocketManager()
        self.recognizer = StringRecognizer()
        self.sessions = FewSessions()
        self.tracker = RecognitionResultTracker()
        self.failures: list[tuple[str, str, str]] = []
        self.service = ASRWebSocketService(
            self.manager, self.recognizer, self.sessions, self.tracker, timeout_s=timeout_s, max_turn_s=max_turn_s,
            failed=lambda session_id, failure: self.failures.append((session_id, failure.stage, failure.adapter)),
        )  # fmt: skip
        self.office: Office = None  # type: ignore[assignment]

    async def line(self, session_id: object = 7) -> Line:
        return await self.office.line(session_id)

    def live(self, session_id: str = "7") -> NotingEars:
        ears = self.sessions.live[session_id] = NotingEars()
        return ears


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    async with office(desk.manager, [desk.service]) as desk.office:
        yield desk


async def say(line: Line, text: str, **more: Any) -> None:
    await line.send("asr_audio_data", audio=base64.b64encode(pcm(text)).decode(), **more)


async def until(line: Line, kind: str, **fields: Any) -> dict[str, Any]:
    """The next message of a type with these fields; what comes before it is skipped."""
    while True:
        message = await line.next()
        if message["type"] == kind and fields.items() <= message.items():
            return message


async def statuses(line: Line) -> list[str]:
    """The statuses up to the first "idle"."""
    seen: list[str] = []
    while not seen or seen[-1] != "idle":
        seen.append((await until(line, "status_update"))["status"])
    return seen


async def refused(line: Line, ref: str, code: str = "bad_message") -> str:
    message = await until(line, "wsa_error")
    assert (message["code"], message["ref"]) == (code, ref)
    return str(message["message"])


# -- a recognition of its own


async def test_e1_a_socket_without_a_live_session_is_recognised_by_itself(desk: Desk) -> None:
    line, tab, stranger = await desk.line(), await desk.line(), await desk.line(8)
    await line.send("start_asr_recognition", session_id=7, engine="funasr", sample_rate=16000, format="pcm")
    await say(line, "hel", session_id="7", sequence=1)
    await line.ws.send_bytes(pcm("lo"))
    await line.send("stop_asr_recognition", session_id="7")
    for socket in (line, tab):
        messages = [await socket.next() for _ in range(7)]
        assert [message["type"] for message in messages] == [
            "status_update", "asr_result", "asr_result", "status_update", "asr_result", "chat_message", "status_update",
        ]  # fmt: skip
        assert [message["status"] for message in messages if "status" in message] == [
            "listening",
            "recognizing",
            "idle",
        ]
        assert [(m["text"], m["is_final"]) for m in messages if m["type"] == "asr_result"] == [
            ("hel", False), ("hello", False), ("hello", True),
        ]  # fmt: skip
        assert messages[1]["session_id"] == "7"
        assert messages[5] == {
            "type": "chat_message", "sender": "回音", "content": "hello", "Username": "User_7", "model_info": "strings",
        }  # fmt: skip
    assert await stranger.quiet()
    assert desk.recognizer.open_streams == 0


async def test_e2_every_result_goes_to_the_tracker(desk: Desk) -> None:
    line = await desk.line()
    for words in ("ab", "c"):
        await line.send("start_asr_recognition")
        await say(line, words)
        await line.send("stop_asr_recognition")
        await until(line, "asr_result", is_final=True)
    results = desk.tracker.session_results("7")
    assert [(r["sequence"], r["stage"], r["text"]) for r in results] == [
        (1, "partial", "ab"), (1, "final", "ab"), (2, "partial", "c"), (2, "final", "c"),
    ]  # fmt: skip
    assert results[3]["predecessors"] == [results[2]["result_id"]]
    assert [(r["start"], r["end"], r["audio_bytes"]) for r in results[1::2]] == [
        (0.0, 2 / LISTEN_RATE, 4), (2 / LISTEN_RATE, 3 / LISTEN_RATE, 2),
    ]  # fmt: skip
    assert {r["engine"] for r in results} == {"strings"}


async def test_e1_silence_ends_without_a_chat_line(desk: Desk) -> None:
    line = await desk.line()
    await line.send("start_asr_recognition")
    await line.send("stop_asr_recognition")
    assert (await until(line, "asr_result"))["text"] == ""
    assert (await line.next())["status"] == "idle"
    assert await line.quiet()


async def test_e1_a_turn_that_is_too_long_is_cut_and_answered_and_the_next_one_begins(desk: Desk) -> None:
    line = await desk.line()
    await line.send("start_asr_recognition")
    await say(line, "0123456789abc")
    assert (await until(line, "asr_result", is_final=True))["text"] == "0123456789"
    await line.send("stop_asr_recognition")
    assert (await until(line, "asr_result", is_final=True))["text"] == "abc"
    assert desk.tracker.session_sequences("7") == [1, 2]


async def test_e1_starting_again_forgets_what_was_said(desk: Desk) -> None:
    line = await desk.line()
    await line.send("start_asr_recognition")
    await say(line, "wrong")
    await line.send("start_asr_recognition")
    await say(line, "right", sequence=1)
    await line.send("stop_asr_recognition")
    assert (await until(line, "asr_result", is_final=True))["text"] == "right"
    assert [stream.state for stream in desk.recognizer.streams] == ["cancelled", "finished"]


async def test_e1_a_recogniser_that_is_away_is_said_at_once(desk: Desk) -> None:
    desk.recognizer.broken = True
    line = await desk.line()
    await line.send("start_asr_recognition")
    assert "away" in await refused(line, "start_asr_recognition", "asr_failed")
    status = await until(line, "status_update", status="error")
    assert "away" in status["content"]
    await say(line, "hello")
    assert "start_asr_recognition" in await refused(line, "asr_audio_data")


async def test_e1_a_recogniser_that_breaks_ends_the_turn_with_an_error(desk: Desk) -> None:
    desk.recognizer.fails = True
    line = await desk.line()
    await line.send("start_asr_recognition")
    await line.send("stop_asr_recognition")
    assert await statuses(line) == ["listening", "recognizing", "error", "idle"]
    assert desk.failures == [("7", "asr", desk.recognizer.name)]  # operators learn of it
    desk.recognizer.fails = False
    await line.send("start_asr_recognition")
    await say(line, "fine")
    await line.send("stop_asr_recognition")
    assert (await until(line, "asr_result", is_final=True))["text"] == "fine"


async def test_e1_a_recogniser_that_does_not_answer_is_given_up() -> None:
    desk = Desk(timeout_s=0.01)
    desk.recognizer.gate = asyncio.Event()
    async with office(desk.manager, [desk.service]) as desk.office:
        line = await desk.line()
        await line.send("start_asr_recognition")
        await say(line, "x")
        await line.send("stop_asr_recognition")
        assert "in time" in (await until(line, "status_update", status="error"))["content"]
        await until(line, "status_update", status="idle")
    assert desk.recognizer.streams[0].state == "cancelled"


async def test_e1_turns_that_wait_for_their_transcript_are_bounded(desk: Desk) -> None:
    desk.recognizer.gate = asyncio.Event()
    line = await desk.line()
    for _ in range(MAX_UNFINISHED + 1):
        await line.send("start_asr_recognition")
        await line.send("stop_asr_recognition")
    assert "keep up" in await refused(line, "stop_asr_recognition", "asr_failed")
    desk.recognizer.gate.set()
    await until(line, "status_update", status="idle")
    assert [stream.state for stream in desk.recognizer.streams] == ["finished"] * MAX_UNFINISHED + ["cancelled"]


async def test_e1_recognitions_are_bounded(desk: Desk) -> None:
    lines = [await desk.line(number) for number in range(MAX_RECOGNITIONS + 1)]
    for line in lines[:-1]:
        await line.send("start_asr_recognition")
        await until(line, "status_update")
    await lines[-1].send("start_asr_recognition")
    assert "too many" in await refused(lines[-1], "start_asr_recognition", "busy")
    await lines[0].ws.close()
    await until_freed(desk)
    await lines[-1].send("start_asr_recognition")
    assert (await until(lines[-1], "status_update"))["status"] == "listening"


async def until_freed(desk: Desk, streams: int = MAX_RECOGNITIONS - 1) -> None:
    async with asyncio.timeout(5):
        while desk.recognizer.open_streams != streams:
            await asyncio.sleep(0.005)


async def test_a7_a_socket_that_goes_frees_its_recognition(desk: Desk) -> None:
    line, other = await desk.line(), await desk.line()
    await line.send("start_asr_recognition")
    await say(line, "x")
    await until(other, "asr_result")
    await line.ws.close()
    await until_freed(desk, 0)
    assert desk.recognizer.streams[0].state == "cancelled"
    assert await other.quiet()


async def test_b7_a_transcript_on_its_way_reaches_the_session_although_its_socket_is_gone(desk: Desk) -> None:
    desk.recognizer.gate = asyncio.Event()
    line, other = await desk.line(), await desk.line()
    await line.send("start_asr_recognition")
    await say(line, "late")
    await line.send("stop_asr_recognition")
    await until(other, "status_update", status="recognizing")
    await line.ws.close()
    desk.recognizer.gate.set()
    assert (await until(other, "asr_result", is_final=True))["text"] == "late"


async def test_a2_a_socket_that_moves_to_another_session_leaves_its_recognition(desk: Desk) -> None:
    line, old = await desk.line(), await desk.line()
    await line.send("start_asr_recognition")
    await until(old, "status_update")
    await line.send("login", session_id=8)
    await say(line, "for whom")
    await refused(line, "asr_audio_data")
    await line.ws.send_bytes(pcm("for whom"))
    await refused(line, "")
    await until_freed(desk, 0)
    assert await old.quiet()


async def test_a_service_that_closes_ends_everything(desk: Desk) -> None:
    desk.recognizer.gate = asyncio.Event()
    line = await desk.line()
    await line.send("start_asr_recognition")
    await line.send("stop_asr_recognition")
    await line.send("start_asr_recognition")
    for _ in range(3):
        await until(line, "status_update")
    await desk.service.close()
    assert [stream.state for stream in desk.recognizer.streams] == ["cancelled", "cancelled"]


# -- a live session


async def test_e1_audio_of_a_live_session_goes_to_its_ears_and_to_no_other(desk: Desk) -> None:
    ears, others = desk.live("7"), desk.live("8")
    line = await desk.line()
    await line.send("start_asr_recognition", session_id="7")
    await say(line, "hel", sequence=0)
    await line.ws.send_bytes(pcm("lo"))
    assert await line.quiet()
    assert "".join(map(chr, ears.samples)) == "hello"
    assert ears.calls == []
    await line.send("stop_asr_recognition")
    assert await line.quiet()
    assert ears.calls == [False]
    assert (others.heard, others.calls, desk.recognizer.streams) == ([], [], [])


async def test_e1_the_ears_get_audio_in_pieces_of_half_a_second() -> None:
    desk = Desk(max_turn_s=30.0)
    ears = desk.live()
    async with office(desk.manager, [desk.service]) as desk.office:
        line = await desk.line()
        await line.send("start_asr_recognition")
        await line.ws.send_bytes(bytes(2 * LISTEN_RATE + 100))
        assert await line.quiet()
    assert [len(piece) for piece in ears.heard] == [LISTEN_RATE // 2, LISTEN_RATE // 2, 50]
    assert all(piece.dtype == np.int16 for piece in ears.heard)


async def test_e1_what_a_socket_was_saying_is_dropped_when_it_goes(desk: Desk) -> None:
    ears, line, other = desk.live(), await desk.line(), await desk.line()
    await line.send("start_asr_recognition")
    assert await line.quiet()
    await line.ws.close()
    async with asyncio.timeout(5):
        while not ears.calls:
            await asyncio.sleep(0.005)
    await other.ws.close()
    assert ears.calls == ["rest"]


async def test_e1_the_newest_window_speaks_for_the_session(desk: Desk) -> None:
    ears, old, new = desk.live(), await desk.line(), await desk.line()
    await old.send("start_asr_recognition")
    assert await old.quiet()
    await new.send("start_asr_recognition")
    told = await until(old, "microphone")
    assert (told["heard"], told["by"], told["session_id"]) == (False, "recognition", "7")
    await say(old, "old")
    assert await old.quiet()
    await say(new, "new")
    assert await new.quiet()
    assert "".join(map(chr, ears.samples)) == "new"
    assert ears.calls == ["rest"], "half a sentence of one does not go on with the other's"
    await new.send("stop_asr_recognition")
    assert (await until(old, "microphone"))["heard"] is True
    await say(old, "again")
    assert await old.quiet()
    assert "".join(map(chr, ears.samples)) == "newagain"
    assert ears.calls == ["rest", False], "what was finished is not dropped"
    await old.send("stop_asr_recognition")
    assert await old.quiet()
    assert ears.calls == ["rest", False, False]


async def test_e1_a_session_that_ends_stops_the_listening(desk: Desk) -> None:
    desk.live()
    line = await desk.line()
    await line.send("start_asr_recognition")
    assert await line.quiet()
    del desk.sessions.live["7"]
    await say(line, "x")
    assert "over" in await refused(line, "asr_audio_data")
    await line.send("start_asr_recognition")
    assert (await until(line, "status_update"))["status"] == "listening"


# -- what is refused


@pytest.mark.parametrize(
    "fields",
    [
        {"sample_rate": 8000}, {"sample_rate": "48000"}, {"sample_rate": True}, {"format": "opus"}, {"format": 5},
        {"session_id": "8"}, {"sessionid": 8}, {"session_id": ""}, {"engine": []},
    ],
    ids=repr,
)  # fmt: skip
async def test_e1_what_is_not_understood_is_refused_before_anything_runs(desk: Desk, fields: dict[str, Any]) -> None:
    line = await desk.line()
    await line.send("start_asr_recognition", **fields)
    reason = await refused(line, "start_asr_recognition")
    assert next(iter(fields)).replace("_id", "").replace("id", "") in reason
    assert desk.recognizer.streams == []
    await line.send("start_asr_recognition", sample_rate="16000", format="PCM", session_id=7)
    assert (await until(line, "status_update"))["status"] == "listening"


@pytest.mark.parametrize("fields", [{}, {"audio": 5}, {"audio": "?"}, {"audio": "é"}, {"audio": "AAA"}, {"audio": "", "sequence": -1}, {"audio": "", "session_id": "8"}], ids=repr)  # fmt: skip # noqa: E501
async def test_a8_bad_audio_is_refused_and_the_recognition_goes_on(desk: Desk, fields: dict[str, Any]) -> None:
    line = await desk.line()
    await line.send("start_asr_recognition")
    await line.send("asr_audio_data", **fields)
    await refused(line, "asr_audio_data")
    await say(line, "fine")
    await line.send("stop_asr_recognition")
    assert (await until(line, "asr_result", is_final=True))["text"] == "fine"


@pytest.mark.parametrize("kind", ["asr_audio_data", "stop_asr_recognition"])
async def test_a8_audio_and_stop_without_a_start_are_refused(desk: Desk, kind: str) -> None:
    line = await desk.line()
    await line.send(kind, audio="")
    assert "start_asr_recognition" in await refused(line, kind)
    await line.ws.send_bytes(b"\0\0")
    assert "start_asr_recognition" in await refused(line, "")


async def test_k2_what_was_said_is_never_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    line = await desk.line()
    await line.send("start_asr_recognition")
    await say(line, "mysecret")
    await line.send("stop_asr_recognition")
    await until(line, "chat_message", content="mysecret")
    assert "mysecret" not in caplog.text.replace(base64.b64encode(pcm("mysecret")).decode(), "mysecret")


# -- pieces


def test_e1_repeated_pieces_are_left_out_and_missing_ones_counted(caplog: pytest.LogCaptureFixture) -> None:
    reader = PcmReader()
    heard = [
        reader.take(pcm(letter), number).tolist() for letter, number in zip("abbadf", (4, 5, 5, 4, 6, 9), strict=True)
    ]
    assert heard == [[97], [98], [], [], [100], [102]]
    assert (reader.repeats, reader.gaps) == (2, 2)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_e1_pieces_may_be_cut_in_the_middle_of_a_sample() -> None:
    reader, data = PcmReader(), pcm("hello")
    heard = [sample for cut in (data[:1], data[1:4], b"", data[4:7], data[7:]) for sample in reader.take(cut)]
    assert "".join(map(chr, heard)) == "hello"


def test_e1_half_a_sample_before_a_gap_is_dropped() -> None:
    reader = PcmReader()
    assert reader.take(pcm("a") + b"\x7f", 1).tolist() == [97]
    assert reader.take(pcm("c"), 3).tolist() == [99]


async def test_e1_sound_that_comes_faster_than_it_was_spoken_is_held_up() -> None:
    now, slept = 100.0, []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))

    pace = Pace(10.0, lambda: now, sleep)
    for _ in range(12):
        await pace.after(LISTEN_RATE)
    assert slept == [0.0] * 10 + [1.0, 2.0]
    now += 60
    slept.clear()
    for _ in range(11):
        await pace.after(LISTEN_RATE)
    assert slept == [0.0] * 10 + [1.0]
