"""What every recogniser must do. Collected by test_recognizers.py.

An adapter that needs options registers how to build it in `RECOGNIZERS`; one that needs a server registers in `SERVED`
who runs one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

import asr
from core.frames import LISTEN_RATE, Samples, Transcript
from core.stages import Recognizer
from tests.speech import flite

QUESTION = "what is seven times six"
STATEMENT = "hello how are you today"
PACKET = LISTEN_RATE // 50


def build(name: str) -> Any:
    """The adapter `name` of the table, with its defaults."""
    module, _, cls = asr.ADAPTERS[name].partition(":")
    return getattr(importlib.import_module(module), cls)()


RECOGNIZERS: dict[str, Callable[[], Any]] = {name: functools.partial(build, name) for name in asr.ADAPTERS}

SERVED: dict[str, str] = {
    "automodel": "tests.asr_fakes:automodel_served",
    "sherpa": "tests.asr_fakes:sherpa_served",
    "chain": "tests.asr_fakes:chain_served",
    "openai": "tests.asr_fakes:openai_served",
    "doubao": "tests.doubao_served:served",
    "funasr_custom": "tests.funasr_custom_served:served",
    "funasr_runtime": "tests.funasr_runtime_served:served",
}
"""Adapter → "module:function": an async context manager of the adapter and the simulated server that it talks to."""


@contextlib.asynccontextmanager
async def built(name: str) -> AsyncIterator[Any]:
    """The adapter `name`, not started, with the server that it needs."""
    async with contextlib.AsyncExitStack() as stack:
        if name in SERVED:
            module, _, function = SERVED[name].partition(":")
            yield await stack.enter_async_context(getattr(importlib.import_module(module), function)())
        else:
            yield RECOGNIZERS[name]()


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(asr.ADAPTERS))
async def recognizer(request: pytest.FixtureRequest) -> AsyncIterator[Recognizer]:
    """Each adapter, started once."""
    async with built(request.param) as adapter:
        await adapter.start()
        yield adapter
        await adapter.close()
        await adapter.close()


def ignore(_: Transcript) -> None:
    """For who does not care for partials."""


def turn_audio(text: str, voice: str = "rms") -> Samples:
    """A turn as the turn detector cuts it: 0.2 s before, 0.5 s after."""
    speech = flite(text, voice, LISTEN_RATE)
    return np.concatenate([np.zeros(3200, np.int16), speech, np.zeros(8000, np.int16)])


async def recognized(recognizer: Recognizer, audio: Samples, packet: int = PACKET) -> Transcript:
    """The final transcript of `audio`, pushed at once in packets."""
    stream = recognizer.open(ignore)
    for start in range(0, len(audio), packet):
        stream.push(audio[start : start + packet])
    transcript = await stream.finish()
    await stream.cancel()
    return transcript


async def test_is_a_recognizer(recognizer: Recognizer) -> None:
    assert isinstance(recognizer, Recognizer)
    assert recognizer.name in asr.ADAPTERS
    assert recognizer.languages


async def test_recognizes_speech(recognizer: Recognizer) -> None:
    audio = turn_audio(QUESTION)
    transcript = await recognized(recognizer, audio)
    assert QUESTION in transcript.text
    assert transcript.final
    assert transcript.engine in getattr(recognizer, "engines", (recognizer.name,))
    assert 0 <= transcript.start < transcript.end <= len(audio) / LISTEN_RATE + 0.1
    assert transcript.confidence is None or 0 <= transcript.confidence <= 1


@pytest.mark.parametrize("packet", [1, 333, 100_000])
async def test_any_packet_size_gives_the_same(recognizer: Recognizer, packet: int) -> None:
    assert STATEMENT in (await recognized(recognizer, turn_audio(STATEMENT, "slt"), packet)).text


@pytest.mark.parametrize("level", [0, 30, 3000])
@pytest.mark.parametrize("seconds", [0.1, 1.2])
async def test_noise_and_silence_are_no_words(recognizer: Recognizer, level: int, seconds: float) -> None:
    noise = np.random.default_rng(1).normal(0, level, int(seconds * LISTEN_RATE))
    assert (await recognized(recognizer, noise.clip(-32768, 32767).astype(np.int16))).text == ""


async def test_an_empty_turn(recognizer: Recognizer) -> None:
    stream = recognizer.open(ignore)
    stream.push(np.zeros(0, np.int16))
    assert (await stream.finish()).text == ""


async def test_partials_come_on_the_loop_while_the_user_speaks(recognizer: Recognizer) -> None:
    loop, partials = asyncio.get_running_loop(), list[Transcript]()

    def on_partial(transcript: Transcript) -> None:
        assert asyncio.get_running_loop() is loop
        partials.append(transcript)
        heard.set()

    heard = asyncio.Event()
    stream = recognizer.open(on_partial)
    stream.push(turn_audio(QUESTION + " and who are you"))
    await asyncio.wait_for(heard.wait(), 10)
    await stream.finish()
    assert all(partial.text and not partial.final for partial in partials)
    count = len(partials)
    await stream.cancel()
    assert len(partials) == count


async def test_turns_do_not_mix(recognizer: Recognizer) -> None:
    question, statement = turn_audio(QUESTION), turn_audio(STATEMENT)
    first, second = recognizer.open(ignore), recognizer.open(ignore)
    for start in range(0, max(len(question), len(statement)), PACKET):
        first.push(question[start : start + PACKET])
        second.push(statement[start : start + PACKET])
    transcripts = await asyncio.gather(second.finish(), first.finish())
    alone = await recognized(recognizer, statement), await recognized(recognizer, question)
    assert [t.text for t in transcripts] == [t.text for t in alone]


async def test_a_finished_turn_need_not_wait_for_one_that_goes_on(recognizer: Recognizer) -> None:
    going_on = recognizer.open(ignore)
    going_on.push(turn_audio(STATEMENT))
    await asyncio.sleep(0.05)
    transcript = await asyncio.wait_for(recognized(recognizer, turn_audio(QUESTION)), 10)
    assert QUESTION in transcript.text
    assert (await going_on.finish()).text == (await recognized(recognizer, turn_audio(STATEMENT))).text


async def test_a_turn_leaves_no_trace_on_the_next(recognizer: Recognizer) -> None:
    before = await recognized(recognizer, turn_audio(QUESTION))
    loud = np.random.default_rng(2).integers(-32768, 32767, 3 * LISTEN_RATE).astype(np.int16)
    await recognized(recognizer, loud)
    after = await recognized(recognizer, turn_audio(QUESTION))
    assert after.text == before.text
    assert after.start == pytest.approx(before.start, abs=0.1)


async def test_cancel_at_any_time(recognizer: Recognizer) -> None:
    unused = recognizer.open(ignore)
    await unused.cancel()
    await unused.cancel()
    partials: list[Transcript] = []
    speaking = recognizer.open(partials.append)
    speaking.push(turn_audio(QUESTION))
    await speaking.cancel()
    speaking.push(turn_audio(QUESTION))
    finishing = recognizer.open(ignore)
    finishing.push(turn_audio(QUESTION))
    waiting = asyncio.create_task(finishing.finish())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await finishing.cancel()
    assert QUESTION in (await recognized(recognizer, turn_audio(QUESTION))).text
    assert partials == []
