"""Row D2: whatever breaks, no word is lost and none comes twice."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from asr.doubao import RecognitionResult
from asr.doubao.options import SEQUENCE_MODES
from asr.doubao.retry import CircuitBreaker
from tests.doubao_talk import COUNT, OPTIONS, TEXT, client, talk
from tests.simulators.doubao import (
    Close,
    DoubaoServer,
    Drop,
    Error,
    Fault,
    Raw,
    Trouble,
)  # fmt: skip
from tests.spoken_numbers import recognise

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


@pytest.mark.parametrize("seed", range(40))
async def test_d2_any_mishaps_at_any_time(seed: int) -> None:
    """Up to three in a row, in either mode, whatever the style of the answers."""
    chance = random.Random(seed)
    mild = [fault for fault in BREAKS if not (isinstance(fault, Error) and fault.code == 45000001)]
    count = chance.randint(1, 3)
    troubles = {n: Trouble(chance.choice([*range(1, COUNT), -1]), chance.choice(mild)) for n in range(count)}
    style = chance.choice(STYLES)
    options = replace(OPTIONS, sequence_mode=chance.choice(SEQUENCE_MODES))
    results: list[RecognitionResult] = []
    async with DoubaoServer(recognise, troubles=troubles, **style) as server:  # type: ignore[arg-type]
        quota = CircuitBreaker(limit=9)
        assert await talk(client(server, options, breaker=quota), on_result=results.append) == TEXT
        assert all(visit.refusal is None for visit in server.visits)
    assert [s.text for result in results for s in result.sentences] == ["1 2 3", "4 5 6", "7 8 9"]
