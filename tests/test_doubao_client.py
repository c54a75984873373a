"""Rows D2 and D4: STTClient against the strict simulator. Numbers, replay, faults."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from asr.doubao import Endpoint, RecognitionResult, STTClient
from asr.doubao.backlog import PACKET_BYTES
from asr.doubao.errors import Action
from asr.doubao.options import Options
from asr.doubao.retry import PLANS, CircuitBreaker, Plan, RetryPolicy
from core.errors import RecognizerError
from tests.simulators.doubao import (
    ACCESS_KEY,
    API_KEY,
    APP_KEY,
    LOG_ID,
    RESOURCE,
    Close,
    DoubaoServer,
    Drop,
    Error,
    Fault,
    Hang,
    Raw,
    Trouble,
)  # fmt: skip
from tests.spoken_numbers import pcm, recognise, sentence

QUICK = {action: Plan(tuple(0.0 for _ in plan.pauses)) for action, plan in PLANS.items()}
OPTIONS = Options(max_speed=0, final_timeout_s=0.3, first_response_timeout_s=0.3, send_timeout_s=1)
WORDS = (sentence(1, 2, 3), sentence(4, 5, 6), sentence(7, 8, 9))
TEXT = "1 2 3 4 5 6 7 8 9"
COUNT = len(pcm(*WORDS)) // PACKET_BYTES + 1


def client(server: DoubaoServer, options: Options = OPTIONS, **more: Any) -> STTClient:
    endpoint = Endpoint(server.host, resource_id=RESOURCE, app_key=APP_KEY, access_key=ACCESS_KEY)
    return STTClient(endpoint, options=options, **{"retry": lambda: RetryPolicy(QUICK), **more})


async def talk(
    stt: STTClient, audio: bytes = pcm(*WORDS), on_result: Callable[[RecognitionResult], None] | None = None
) -> str:
    """All the words, in packets of 200 ms; the final text."""
    audio = pcm(*WORDS)
    try:
        await stt.start_recognition(on_result)
        for at in range(0, len(audio), PACKET_BYTES):
            await stt.send_audio(audio[at : at + PACKET_BYTES])
        async with asyncio.timeout(10):
            return (await stt.finish()).text
    finally:
        await stt.close()


# -- numbers


async def test_d2_the_full_request_is_1_audio_counts_on_and_the_last_is_negative() -> None:
    async with DoubaoServer(recognise) as server:
        stt = client(server)
        assert stt.seq == 1
        await stt.start_recognition()
        assert stt.seq == 2
        assert await stt.send_audio(bytes(64))
        assert stt.seq == 3
        assert await stt.send_audio(bytes(64))
        assert await stt.send_audio(bytes(64), is_last=True)
        await stt.finish()
        assert server.visits[0].numbers == [1, 2, 3, -4]
        assert not await stt.send_audio(bytes(64))
        await stt.close()


async def test_d2_auto_mode_carries_no_numbers() -> None:
    async with DoubaoServer(recognise) as server:
        assert await talk(client(server, replace(OPTIONS, sequence_mode="auto"))) == TEXT
        assert set(server.visits[0].numbers) == {None}


async def test_d2_the_next_recognition_starts_at_1() -> None:
    async with DoubaoServer(recognise) as server:
        stt = client(server)
        for _ in range(2):
            assert await talk(stt) == TEXT
        assert [visit.numbers[:3] for visit in server.visits] == [[1, 2, 3]] * 2


async def test_d2_100_callers_send_10000_packets_without_repeat_or_gap() -> None:
    callers, each = 100, 100
    async with DoubaoServer(lambda _: "", every_packet=False) as server:
        stt = client(server)
        await stt.start_recognition()

        async def call(caller: int) -> None:
            for number in range(each):
                assert await stt.send_audio(struct.pack("<hh", caller, number))

        await asyncio.gather(*(call(caller) for caller in range(callers)))
        assert stt.seq == callers * each + 2
        await stt.finish()
        await stt.close()
        visit = server.visits[0]
    assert visit.refusal is None
    assert visit.numbers == [*range(1, callers * each + 2), -(callers * each + 2)]
    order = defaultdict(list)
    for packet in visit.packets[:-1]:
        caller, number = struct.unpack("<hh", packet)
        order[caller].append(number)
    assert len(order) == callers
    assert all(numbers == list(range(each)) for numbers in order.values())


async def test_d2_whoever_holds_the_lock_holds_up_the_numbers() -> None:
    async with DoubaoServer(recognise) as server:
        stt = client(server)
        await stt.start_recognition()
        async with stt._seq_lock:
            sending = asyncio.create_task(stt.send_audio(bytes(64)))
            await asyncio.sleep(0.05)
            assert stt.seq == 2
            assert not sending.done()
        assert await sending
        assert stt.seq == 3
        await stt.close()


async def test_d2_a_caller_that_gives_up_leaves_no_gap() -> None:
    async with DoubaoServer(recognise) as server:
        stt = client(server)
        await stt.start_recognition()
        async with stt._seq_lock:
            sending = [asyncio.create_task(stt.send_audio(bytes(64))) for _ in range(5)]
            await asyncio.sleep(0)
            sending[2].cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        await stt.finish()
        await stt.close()
        assert server.visits[0].numbers == [1, 2, 3, 4, 5, 6, -7]


@pytest.mark.parametrize("once", [True, False])
async def test_d2_after_a_mismatch_once_more_without_numbers(once: bool) -> None:
    mismatch = Error(45000000, "autoAssignedSequence (1) mismatch sequence in request (2)")
    troubles = {number: Trouble(5, mismatch) for number in range(1 if once else 9)}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        stt = client(server)
        if once:
            assert await talk(stt) == TEXT
        else:
            with pytest.raises(RecognizerError) as caught:
                await talk(stt)
            assert caught.value.code == "doubao_45000000"
        assert stt.stats.mismatches == 1
        assert len(server.visits) == 2
        assert server.visits[0].numbers[:3] == [1, 2, 3]
        assert set(server.visits[1].numbers) == {None}


# -- replay

BREAKS: list[Fault] = [
    Drop(), Close(1000), Close(1001), Close(None), Close(1009), Close(1011), Error(45000081), Error(55000031),
    Error(55000099), Error(45000292), Raw(b"\x11\x90"), Raw(b"garbage"), Raw("text"),
    Raw(b"\x11\x90\x11\x00\xff\xff\xff\xff"), Raw(b"\x11\x90\x11\x00\x00\x00\x00\x04\x1f\x8b\x08\x00"),
    Raw(b"\x11\x90\x10\x00\x00\x00\x00\x01x"),
    Raw(b"\x11\x10\x10\x00\x00\x00\x00\x02{}"), Error(45000001, "duplicate request", zipped=True),
    Error(55000031, "busy", plain=True),
]  # fmt: skip


@pytest.mark.parametrize("fault", BREAKS, ids=repr)
@pytest.mark.parametrize("packet", [1, 7, 14, 23, -1])
async def test_d2_no_word_is_lost_and_none_comes_twice(fault: Fault, packet: int) -> None:
    texts: list[str] = []
    async with DoubaoServer(recognise, troubles={0: Trouble(packet, fault)}) as server:
        stt = client(server)
        assert await talk(stt, on_result=lambda result: texts.append(result.text)) == TEXT
        assert len(server.visits) == 2
        assert stt.stats.reconnects == 1
        assert server.visits[1].refusal is None
    assert all(TEXT.startswith(text) for text in texts)


STYLES = [{"every_packet": False, "bare": True}, {"zipped": True}, {"listed": True}, {"acknowledges": True}]


@pytest.mark.parametrize("packet", range(1, COUNT, 3))
@pytest.mark.parametrize(
    "style", [{"every_packet": False, "bare": True}, {"zipped": True}, {"listed": True}, {"acknowledges": True}]
)
async def test_d2_replay_in_every_style_of_answer(style: dict[str, bool], packet: int) -> None:
    async with DoubaoServer(recognise, troubles={0: Trouble(packet, Drop())}, **style) as server:  # type: ignore[arg-type]
        assert await talk(client(server)) == TEXT


async def test_d2_a_replay_begins_behind_the_last_finished_sentence() -> None:
    async with DoubaoServer(recognise, troubles={0: Trouble(22, Drop())}) as server:
        assert await talk(client(server)) == TEXT
        assert recognise(server.visits[1].audio) == "7 8 9"


async def test_d2_one_break_after_the_other() -> None:
    troubles = {
        0: Trouble(5, Drop()),
        1: Trouble(3, Close(None)),
        2: Trouble(6, Error(45000081)),
        3: Trouble(2, Drop()),
    }
    async with DoubaoServer(recognise, troubles=troubles) as server:
        assert await talk(client(server)) == TEXT
        assert len(server.visits) == 5


async def test_d2_callers_wait_through_a_break_and_their_packets_arrive() -> None:
    async with DoubaoServer(lambda _: "", troubles={0: Trouble(30, Drop())}) as server:
        stt = client(server)
        await stt.start_recognition()
        packets = [bytes([number]) * 64 for number in range(100)]
        assert all(await asyncio.gather(*(stt.send_audio(packet) for packet in packets)))
        await stt.finish()
        await stt.close()
        assert server.visits[1].audio == b"".join(packets)
        assert server.visits[1].numbers == [*range(1, 102), -102]


async def test_d2_times_are_those_of_the_turn_in_spite_of_a_break() -> None:
    results: list[RecognitionResult] = []
    async with DoubaoServer(recognise, troubles={0: Trouble(14, Drop())}) as server:
        await talk(client(server), on_result=results.append)
    sentences = [(s.text, s.start, s.end) for result in results for s in result.sentences]
    expected = [("1 2 3", 0, 0.9), ("4 5 6", 1.9, 2.8), ("7 8 9", 3.8, 4.7)]
    assert [s[0] for s in sentences] == [e[0] for e in expected]
    for (_, start, end), (_, begin, stop) in zip(sentences, expected, strict=True):
        assert start == pytest.approx(begin, abs=0.02)
        assert end == pytest.approx(stop, abs=0.02)
    assert results[-1].is_final
    assert (results[-1].start, results[-1].end) == (pytest.approx(0, abs=0.02), pytest.approx(4.7, abs=0.02))


# -- what the codes ask for


@pytest.mark.parametrize("code", [45000010, 45000030, 45000131, 45000132, 45000151, 45999999, 45000001])
@pytest.mark.parametrize("packet", [0, 3])
async def test_d4_what_only_an_operator_can_mend_is_not_tried_again(code: int, packet: int) -> None:
    troubles = {0: Trouble(packet, Error(code, f"refused {ACCESS_KEY}"))}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        with pytest.raises(RecognizerError) as caught:
            await talk(client(server))
        assert len(server.visits) == 1
    assert (caught.value.code, caught.value.retryable, caught.value.adapter) == (f"doubao_{code}", False, "doubao")
    assert ACCESS_KEY not in str(caught.value)


@pytest.mark.parametrize("code", [20000003, 45000002, 20000000])
async def test_d4_silence_is_no_error(code: int) -> None:
    async with DoubaoServer(lambda _: "", troubles={0: Trouble(-1, Error(code))}) as server:
        assert await talk(client(server)) == ""
        assert len(server.visits) == 1


@pytest.mark.parametrize(
    ("fault", "visits"),
    [(Error(55000031), 5), (Error(55000000), 4), (Drop(), 4), (Error(45000081), 4), (Raw(b"x"), 4), (Hang(), 2),
     (Close(None), 2)],
    ids=repr,
)  # fmt: skip
async def test_d4_attempts_are_counted(fault: Fault, visits: int) -> None:
    troubles = {number: Trouble(2, fault) for number in range(20)}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        with pytest.raises(RecognizerError) as caught:
            await talk(client(server))
        assert len(server.visits) == visits
        assert caught.value.retryable


async def test_d4_three_quota_errors_and_nobody_connects_for_a_while() -> None:
    now = 0.0
    breaker = CircuitBreaker(clock=lambda: now)
    troubles = {number: Trouble(0, Error(45000292, "quota exceeded")) for number in range(3)}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        for attempts, code in ((3, "doubao_45000292"), (3, "doubao_circuit_open")):
            with pytest.raises(RecognizerError) as caught:
                await talk(client(server, breaker=breaker))
            assert (caught.value.code, caught.value.retryable) == (code, True)
            assert server.attempts == attempts
        now += 60
        assert await talk(client(server, breaker=breaker)) == TEXT


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_d4_a_refused_handshake_is_not_repeated(status: int, caplog: pytest.LogCaptureFixture) -> None:
    async with DoubaoServer(recognise, statuses=[status] * 5) as server:
        with pytest.raises(RecognizerError) as caught:
            await talk(client(server))
        assert server.attempts == 1
    assert (caught.value.code, caught.value.retryable) == (f"doubao_http_{status}", False)
    assert LOG_ID in caplog.text


async def test_d4_a_server_that_is_busy_at_the_door_is_asked_again() -> None:
    async with DoubaoServer(recognise, statuses=[503, 502]) as server:
        assert await talk(client(server)) == TEXT
        assert server.attempts == 3


async def test_d4_nobody_there() -> None:
    async with DoubaoServer(recognise) as server:
        host = server.host
    stt = STTClient(Endpoint(host, api_key=API_KEY), options=OPTIONS, retry=lambda: RetryPolicy(QUICK))
    with pytest.raises(RecognizerError) as caught:
        await talk(stt)
    assert (caught.value.code, caught.value.retryable) == ("doubao_unreachable", True)
    assert stt.stats.connections == 4


async def test_d4_missing_keys_are_told_before_connecting() -> None:
    with pytest.raises(RecognizerError, match="api_key"):
        await STTClient(Endpoint()).start_recognition()


async def test_d4_keys_never_and_log_ids_always_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    troubles = {0: Trouble(3, Error(55000031, f"{APP_KEY} {ACCESS_KEY}")), 1: Trouble(4, Error(45000000, ACCESS_KEY))}
    async with DoubaoServer(recognise, statuses=[503], troubles=troubles) as server:
        assert await talk(client(server)) == TEXT
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets.server")]
    assert not any(key in line for key in (APP_KEY, ACCESS_KEY) for line in ours)
    assert not any(TEXT[:5] in line for line in ours)
    failures = [line for line in ours if "doubao failed" in line]
    assert len(failures) == 3
    assert all(LOG_ID in line for line in failures)
    assert sum("connected" in line and LOG_ID in line for line in ours) == 3


async def test_d4_a_mismatch_logs_the_heads_of_the_last_frames_and_no_audio(caplog: pytest.LogCaptureFixture) -> None:
    async with DoubaoServer(recognise, troubles={0: Trouble(3, Error(45000000))}) as server:
        await talk(client(server))
    line = next(record.getMessage() for record in caplog.records if "could not decode" in record.getMessage())
    assert "11 21 00 00 00 00 00 04 00 00 19 00" in line


# -- silence, and servers that fall silent


async def test_d2_a_muted_microphone_keeps_the_session_alive() -> None:
    options = replace(OPTIONS, keep_alive_s=0.05)
    async with DoubaoServer(recognise, idle_timeout_s=0.3) as server:
        stt = client(server, options)
        await stt.start_recognition()
        await stt.send_audio(pcm(sentence(1, 2)))
        while stt.stats.keep_alives < 10:
            await asyncio.sleep(0.02)
        await stt.send_audio(pcm(sentence(3)))
        result = await stt.finish()
        await stt.close()
        assert result.text == "1 2 3"
        assert result.end == pytest.approx(1.9, abs=0.02)
        assert len(server.visits) == 1
        assert server.visits[0].refusal is None


async def test_d4_an_idle_session_ends_normally_and_the_next_words_open_another() -> None:
    options = replace(OPTIONS, keep_alive_s=9, idle_after_s=0.05)
    async with DoubaoServer(recognise, idle_timeout_s=0.1) as server:
        stt = client(server, options)
        await stt.start_recognition()
        await stt.send_audio(pcm(sentence(1, 2)))
        while not stt.stats.errors["45000081"]:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
        assert len(server.visits) == 1
        await stt.send_audio(pcm(sentence(3, 4)))
        assert (await stt.finish()).text == "1 2 3 4"
        assert recognise(server.visits[1].audio) == "3 4"
        await stt.close()


async def test_d4_an_idle_session_that_is_finished_need_not_come_back() -> None:
    options = replace(OPTIONS, keep_alive_s=9, idle_after_s=0.02)
    async with DoubaoServer(recognise, idle_timeout_s=0.05) as server:
        stt = client(server, options)
        await stt.start_recognition()
        await stt.send_audio(pcm(sentence(1, 2)))
        while not stt.stats.errors["45000081"]:
            await asyncio.sleep(0.02)
        assert (await stt.finish()).text == "1 2"
        await stt.close()
        assert len(server.visits) == 1


@pytest.mark.parametrize("fault", [Hang(), Close(1000)], ids=repr)
async def test_d2_no_final_result_twice_and_the_newest_one_counts(fault: Fault) -> None:
    troubles = {0: Trouble(-1, fault), 1: Trouble(-1, fault)}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        assert await talk(client(server)) == TEXT
        assert len(server.visits) == 2


async def test_d2_a_server_that_hangs_in_the_middle_is_left_at_the_end_of_the_turn() -> None:
    async with DoubaoServer(recognise, troubles={0: Trouble(9, Hang())}) as server:
        assert await talk(client(server)) == TEXT
        assert len(server.visits) == 2


async def test_d2_a_server_that_never_answers_the_full_request() -> None:
    troubles = {number: Trouble(0, Hang()) for number in range(9)}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        with pytest.raises(RecognizerError) as caught:
            await talk(client(server))
        assert caught.value.code == "doubao_silent"
        assert caught.value.retryable
        assert all(visit.packets == [] for visit in server.visits)


# -- life cycle


async def test_d2_closing_ends_what_waits() -> None:
    async with DoubaoServer(recognise, troubles={0: Trouble(1, Hang())}) as server:
        stt = client(server)
        await stt.start_recognition()
        await stt.send_audio(bytes(64))
        async with stt._seq_lock:
            sending = asyncio.create_task(stt.send_audio(bytes(64)))
            finishing = asyncio.create_task(stt.finish())
            await asyncio.sleep(0)
            await stt.close()
            assert await asyncio.wait_for(sending, 5) is False
        with pytest.raises(RecognizerError):
            await asyncio.wait_for(finishing, 5)
        await stt.close()


async def test_d2_audio_before_the_start_is_refused() -> None:
    async with DoubaoServer(recognise) as server:
        stt = client(server)
        assert not await stt.send_audio(bytes(64))
        with pytest.raises(RecognizerError):
            await stt.finish()
        await stt.close()


async def test_d2_a_callback_that_fails_ends_the_turn_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: RecognitionResult) -> None:
        raise ZeroDivisionError

    async with DoubaoServer(recognise) as server:
        with pytest.raises(RecognizerError):
            await talk(client(server), on_result=fail)
    assert "ZeroDivisionError" in caplog.text


async def test_d2_waiting_audio_is_sent_no_faster_than_asked() -> None:
    async with DoubaoServer(recognise) as server:
        stt = client(server, replace(OPTIONS, max_speed=20))
        began = asyncio.get_running_loop().time()
        assert await talk(stt) == TEXT
        assert asyncio.get_running_loop().time() - began >= len(pcm(*WORDS)) / 32000 / 20


def test_every_action_with_attempts_is_quick_here() -> None:
    assert {Action.BUSY, Action.BACK_OFF, Action.RECONNECT} <= set(QUICK)
