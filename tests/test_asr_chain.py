"""Fallback between recognisers: when one fails the user's words are not lost."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import numpy as np
import pytest

from asr.chain import ChainRecognizer
from asr.circuit import CircuitBreaker
from asr.pocketsphinx import PocketsphinxRecognizer
from core.errors import RecognizerError, SettingsError
from core.frames import LISTEN_RATE, Samples, Transcript
from tests.asr_fakes import FaultyRecognizer
from tests.contracts_recognizer import QUESTION, turn_audio
from tests.simulators.openai_asr import KEY, MODEL, Answer, TranscriptionServer

AUDIO = np.arange(4800, dtype=np.int16)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def started(*engines: Any, **options: Any) -> ChainRecognizer:
    chain = ChainRecognizer(engines=engines, **options)
    await chain.start()
    return chain


async def turn(chain: ChainRecognizer, audio: Samples = AUDIO, packet: int = 320) -> Transcript:
    stream = chain.open(lambda _: None)
    for start in range(0, len(audio), packet):
        stream.push(audio[start : start + packet])
    try:
        return await stream.finish()
    finally:
        await stream.cancel()


async def test_the_first_one_that_works_is_asked_alone() -> None:
    first, second = FaultyRecognizer("first"), FaultyRecognizer("second")
    chain = await started(first, second)
    found = await turn(chain)
    assert (found.text, found.engine) == ("first heard it", "first")
    assert not second.streams
    await chain.close()
    assert (first.closed, second.closed) == (1, 1)


@pytest.mark.parametrize("fault", ["open", "push", "finish", "hang"])
async def test_wherever_one_fails_the_next_hears_everything(fault: str) -> None:
    broken, spare = FaultyRecognizer("broken", fault=fault), FaultyRecognizer("spare")
    chain = await started(broken, spare, timeout_s=0.1)
    found = await turn(chain)
    assert (found.text, found.engine) == ("spare heard it", "spare")
    assert np.array_equal(spare.streams[0].audio, AUDIO)
    await chain.close()
    assert all(stream.cancelled for stream in broken.streams + spare.streams)


async def test_a_failure_in_mid_utterance_is_noticed_at_once_and_partials_go_on() -> None:
    broken, spare = FaultyRecognizer("broken", fault="push"), FaultyRecognizer("spare")
    chain = await started(broken, spare)
    partials: list[Transcript] = []
    stream = chain.open(partials.append)
    for start in range(0, 1600, 320):
        stream.push(AUDIO[start : start + 320])
    assert np.array_equal(spare.streams[0].audio, AUDIO[:1600])
    assert [p.engine for p in partials] == ["broken", "spare", "spare", "spare", "spare"]
    assert not any(p.final for p in partials)
    await stream.cancel()
    await chain.close()


async def test_a_recogniser_that_failed_can_not_speak_any_more() -> None:
    broken, spare = FaultyRecognizer("broken", fault="push"), FaultyRecognizer("spare")
    chain = await started(broken, spare)
    partials: list[Transcript] = []
    stream = chain.open(partials.append)
    stream.push(AUDIO[:320])
    stream.push(AUDIO[320:640])
    broken.fault = ""
    broken.streams[0].push(AUDIO)
    assert partials[-1].engine == "spare"
    await stream.cancel()
    count = len(partials)
    spare.streams[0].push(AUDIO)
    assert len(partials) == count
    await chain.close()


async def test_when_all_fail_the_last_error_counts_and_is_retryable_if_any_was() -> None:
    chain = await started(
        FaultyRecognizer("one", fault="finish", retryable=True),
        FaultyRecognizer("two", fault="finish", retryable=False),
    )
    with pytest.raises(RecognizerError, match="two is broken") as caught:
        await turn(chain)
    assert caught.value.retryable
    assert caught.value.adapter == "two"
    await chain.close()


async def test_a_turn_that_is_lost_says_so_while_the_user_speaks() -> None:
    chain = await started(FaultyRecognizer("one", fault="push"), FaultyRecognizer("two", fault="open"))
    stream = chain.open(lambda _: None)
    stream.push(AUDIO)
    assert stream.failure is None
    stream.push(AUDIO)
    assert "two is broken" in str(stream.failure)
    await stream.cancel()
    await chain.close()


async def test_one_that_keeps_failing_rests_and_is_tried_again_later() -> None:
    clock = Clock()
    broken, spare = FaultyRecognizer("broken", fault="finish"), FaultyRecognizer("spare")
    chain = await started(broken, spare, failures=2, rest_s=10, clock=clock)
    assert [(await turn(chain)).engine for _ in range(4)] == ["spare"] * 4
    assert len(broken.streams) == 2
    assert chain.resting == ("broken",)
    clock.now += 10.1
    broken.fault = ""
    assert (await turn(chain)).engine == "broken"
    assert chain.resting == ()
    await chain.close()


async def test_when_all_rest_the_one_that_is_back_first_is_asked() -> None:
    clock = Clock()
    first, second = FaultyRecognizer("first", fault="finish"), FaultyRecognizer("second", fault="finish")
    chain = await started(first, second, failures=1, rest_s=10, clock=clock)
    with pytest.raises(RecognizerError):
        await turn(chain)
    first.fault = second.fault = ""
    assert (await turn(chain)).text
    await chain.close()


async def test_a_wrong_key_is_not_tried_with_every_turn() -> None:
    broken = FaultyRecognizer("broken", fault="finish", retryable=False)
    chain = await started(broken, FaultyRecognizer("spare"), failures=5)
    for _ in range(3):
        await turn(chain)
    assert len(broken.streams) == 1
    await chain.close()


async def test_a_slow_one_gets_the_time_that_replayed_audio_takes() -> None:
    """Audio that arrives faster than it was spoken extends the patience by its own length."""
    clock = Clock()
    chain = await started(FaultyRecognizer("slow"), timeout_s=5, clock=clock)
    stream = chain.open(lambda _: None)
    stream.push(np.ones(20 * LISTEN_RATE, np.int16))
    assert stream._attempt is not None
    assert stream._patience(stream._attempt) == pytest.approx(25)
    clock.now = 20
    assert stream._patience(stream._attempt) == pytest.approx(5)
    await stream.cancel()
    await chain.close()


async def test_the_buffer_is_bounded() -> None:
    only = FaultyRecognizer("only")
    chain = await started(only, max_turn_s=1.0)
    stream = chain.open(lambda _: None)
    for _ in range(20):
        stream.push(np.ones(LISTEN_RATE // 4, np.int16))
    assert stream.truncated
    assert len(only.streams[0].audio) == LISTEN_RATE
    await stream.cancel()
    await chain.close()


async def test_the_callers_buffer_may_be_used_again() -> None:
    broken, spare = FaultyRecognizer("broken", fault="finish"), FaultyRecognizer("spare")
    chain = await started(broken, spare)
    buffer = AUDIO.copy()
    stream = chain.open(lambda _: None)
    stream.push(buffer)
    buffer[:] = 0
    await stream.finish()
    assert np.array_equal(spare.streams[0].audio, AUDIO)
    await chain.close()


async def test_the_words_survive_the_death_of_the_worker_in_mid_utterance() -> None:
    """C/D faults: a real engine's process is killed while the user speaks."""
    dying = PocketsphinxRecognizer(longest_backoff_s=60)
    chain = await started(dying, {"engine": "pocketsphinx", "max_turn_s": 30})
    audio = turn_audio(QUESTION)
    partials: list[Transcript] = []
    stream = chain.open(partials.append)
    half = len(audio) // 2
    stream.push(audio[:half])
    assert dying.pid is not None
    os.kill(dying.pid, signal.SIGKILL)
    while dying.pid is not None:
        await asyncio.sleep(0)
    stream.push(audio[half:])
    found = await stream.finish()
    assert QUESTION in found.text
    assert found.engine == "pocketsphinx"
    await chain.close()


@pytest.mark.parametrize("answer", [Answer(status=503), Answer(drop=True), Answer(stall=True), Answer(body=b"<html>")])
async def test_a_server_that_fails_at_the_end_of_the_turn_leaves_it_to_the_embedded_engine(answer: Answer) -> None:
    async with TranscriptionServer(lambda _: "never heard", answer).running() as server:
        far = {"engine": "openai", "base_url": server.base_url, "api_key": KEY, "model": MODEL, "retries": 0}
        chain = await started(far, "pocketsphinx", timeout_s=1 if answer.stall else 5)
        found = await turn(chain, turn_audio(QUESTION))
        await chain.close()
    assert server.seconds
    assert (found.engine, QUESTION in found.text) == ("pocketsphinx", True)


async def test_one_that_can_not_be_started_now_is_started_later() -> None:
    late, spare = FaultyRecognizer("late", fault="start"), FaultyRecognizer("spare")
    chain = await started(late, spare, rest_s=0.01)
    assert (await turn(chain)).engine == "spare"
    assert chain.resting == ("late",)
    late.fault = ""
    while chain.resting:
        await asyncio.sleep(0.005)
    assert (await turn(chain)).engine == "late"
    await chain.close()


@pytest.mark.parametrize("retryable", [True, False])
async def test_start_fails_for_a_wrong_setting_or_when_nothing_is_left(retryable: bool) -> None:
    broken = FaultyRecognizer("broken", fault="start", retryable=retryable)
    others = [] if retryable else [FaultyRecognizer("spare")]
    with pytest.raises(RecognizerError, match="broken is broken"):
        await started(broken, *others)
    assert all(other.closed for other in others)


def test_the_settings_name_engines_with_their_options() -> None:
    chain = ChainRecognizer(
        engines=["openai", {"engine": "pocketsphinx", "vocabulary": 100}],
        options={"openai": {"base_url": "http://127.0.0.1:1/v1", "language": "de"}},
    )
    assert chain.engines == ("openai", "pocketsphinx")
    assert chain.languages == ("de", "en")


@pytest.mark.parametrize(
    ("engines", "message"),
    [
        ([], "at least one"),
        ("pocketsphinx", "at least one"),
        (["nobody"], "'nobody' is unknown"),
        ([{"vocabulary": 3}], "mapping with 'engine'"),
        (["chain"], "can't hold a chain"),
        ([{"engine": "pocketsphinx", "speed": 3}], "does not take these options"),
    ],
)
def test_wrong_settings_are_named(engines: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ChainRecognizer(engines=engines)


def test_circuit_breaker_rests_twice_as_long_each_time_and_lets_one_try() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures=2, rest_s=10, longest_rest_s=30, clock=clock)
    rests = []
    assert breaker.acquire()
    breaker.failed()
    assert breaker.acquire()
    breaker.failed()
    for _ in range(4):
        assert not breaker.acquire()
        rests.append(breaker.rest_left_s)
        clock.now += breaker.rest_left_s
        assert breaker.acquire()
        assert not breaker.acquire(), "a second turn tries at the same time"
        breaker.failed()
    assert rests == [10, 20, 30, 30]
    clock.now += 30
    assert breaker.acquire()
    breaker.released()
    assert breaker.acquire()
    breaker.succeeded()
    breaker.failed()
    assert breaker.acquire()
