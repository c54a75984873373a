"""Row D2: STTClient against the strict simulator: its numbers, its life."""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from dataclasses import replace

import pytest

from asr.doubao import Endpoint, RecognitionConfig, RecognitionResult
from asr.doubao.backlog import PACKET_BYTES
from asr.doubao.connection import Connection
from asr.doubao.errors import Failure
from asr.doubao.options import Options
from core.errors import RecognizerError
from tests.doubao_talk import OPTIONS, TEXT, WORDS, client, talk
from tests.simulators.doubao import API_KEY, RESOURCE, DoubaoServer, Error, Hang, Trouble
from tests.spoken_numbers import pcm, recognise

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


async def test_d2_a_number_is_counted_only_when_its_packet_was_sent() -> None:
    async with DoubaoServer(recognise) as server:
        connection = await Connection.open(
            Endpoint(server.host, resource_id=RESOURCE, api_key=API_KEY), OPTIONS, numbered=True
        )
        assert connection.seq == 1
        await connection.send_request(RecognitionConfig())
        await connection.send_audio(bytes(64))
        assert connection.seq == 3
        connection.abort()
        for _ in range(2):
            with pytest.raises(Failure):
                await connection.send_audio(bytes(64))
        assert connection.seq == 3


def test_d2_the_defaults_are_what_the_service_wants() -> None:
    options = Options()
    assert PACKET_BYTES == 16_000 * 2 * 200 // 1000
    assert options.keep_alive_s == 2.0
    assert options.sequence_mode == "explicit"
    assert 5 <= options.first_response_timeout_s <= 10
    assert 3 <= options.final_timeout_s <= 8
