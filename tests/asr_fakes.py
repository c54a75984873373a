"""Recognisers' stand-ins: servers and engines that know the sentences which the contract tests speak."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np

from asr.automodel import AutoModelRecognizer
from asr.chain import ChainRecognizer
from asr.openai import OpenAIRecognizer
from asr.sherpa import SherpaRecognizer
from asr.sherpa_model import Kind, SherpaModel
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from tests.doubao_served import recognise
from tests.simulators.openai_asr import KEY, MODEL, TranscriptionServer


class FaultyRecognizer:
    """Hears `words` in everything and fails as told by `fault`, which a test may change at any time:

    "start", "open", "deaf" (told by the stream's `failure` at the first push), "push" (at the second),
    "finish" or "hang" (no answer).
    """

    languages: tuple[str, ...] = ("en",)

    def __init__(self, name: str = "faulty", fault: str = "", *, words: str = "", retryable: bool = True) -> None:
        self.name = name
        self.words = words or f"{name} heard it"
        self.fault = fault
        self.retryable = retryable
        self.streams: list[FaultyStream] = []
        self.starts = 0
        self.closed = 0

    def error(self) -> RecognizerError:
        return RecognizerError(f"{self.name} is broken", adapter=self.name, retryable=self.retryable)

    async def start(self) -> None:
        self.starts += 1
        if self.fault == "start":
            raise self.error()

    async def close(self) -> None:
        self.closed += 1

    def open(self, on_partial: Callable[[Transcript], None]) -> FaultyStream:
        if self.fault == "open":
            raise self.error()
        self.streams.append(FaultyStream(self, on_partial))
        return self.streams[-1]


class FaultyStream:
    """One turn; `audio` is what it heard."""

    def __init__(self, owner: FaultyRecognizer, on_partial: Callable[[Transcript], None]) -> None:
        self._owner = owner
        self._on_partial = on_partial
        self._pieces: list[Samples] = []
        self.failure: RecognizerError | None = None
        self.cancelled = False

    @property
    def audio(self) -> Samples:
        return np.concatenate([np.zeros(0, np.int16), *self._pieces])

    def push(self, samples: Samples) -> None:
        self._pieces.append(samples.copy())
        if len(self._pieces) > {"deaf": 0, "push": 1}.get(self._owner.fault, math.inf):
            self.failure = self._owner.error()
        else:
            self._on_partial(Transcript(f"{self._owner.name} hears", final=False, engine=self._owner.name))

    async def finish(self) -> Transcript:
        if self._owner.fault == "hang":
            await asyncio.Event().wait()
        if self._owner.fault in ("finish", "push", "deaf"):
            raise self._owner.error()
        return Transcript(self._owner.words, start=0.0, end=len(self.audio) / LISTEN_RATE, engine=self._owner.name)

    async def cancel(self) -> None:
        self.cancelled = True


class Interruptible(FaultyRecognizer):
    """Says on standard output when it hears its first turn, which it never finishes, and when it is closed."""

    def __init__(self) -> None:
        super().__init__(fault="hang")

    def open(self, on_partial: Callable[[Transcript], None]) -> FaultyStream:
        print("listening", flush=True)
        return super().open(on_partial)

    async def close(self) -> None:
        print("closed", flush=True)


@contextlib.asynccontextmanager
async def openai_served() -> AsyncIterator[OpenAIRecognizer]:
    """The adapter with a simulated server; partials come twice a second."""
    async with TranscriptionServer(recognise).running() as server:
        yield OpenAIRecognizer(base_url=server.base_url, api_key=KEY, model=MODEL, partial_interval_s=0.5)


@contextlib.asynccontextmanager
async def chain_served() -> AsyncIterator[ChainRecognizer]:
    """A chain whose first engine fails in mid-utterance; each turn is replayed into the embedded one."""
    yield ChainRecognizer(engines=[FaultyRecognizer("broken", "deaf"), "pocketsphinx"], failures=10_000)


class KnownEngine:
    """An engine of sherpa-onnx's shape that knows the contract tests' sentences; what is `broken` raises."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.loop_blocked = False

    def begin(self) -> bytearray:
        self._step("begin")
        return bytearray()

    def feed(self, stream: bytearray, samples: Samples) -> Transcript:
        self._step("feed")
        stream += samples.astype("<i2").tobytes()
        return self._heard(stream)

    def end(self, stream: bytearray) -> Transcript:
        self._step("end")
        return self._heard(stream)

    def _heard(self, stream: bytearray) -> Transcript:
        words = recognise(bytes(stream)) if any(stream) else ""
        return Transcript(words, start=0.1, end=len(stream) / 32_000) if words else Transcript("")

    def _step(self, name: str) -> None:
        try:
            asyncio.get_running_loop()
            self.loop_blocked = True
        except RuntimeError:
            pass  # a worker thread, as it should be
        if name == self.broken:
            raise RuntimeError("Got invalid dimensions for input")


def sherpa(
    engine: KnownEngine | None = None, kind: Kind = Kind.STREAMING_TRANSDUCER, **options: Any
) -> SherpaRecognizer:
    """The adapter with a fake of the library."""
    return SherpaRecognizer(
        model="somewhere",
        trial=False,
        find=lambda folder, precision: SherpaModel(kind),
        engine=lambda model, **_: engine or KnownEngine(),
        **options,
    )


@contextlib.asynccontextmanager
async def sherpa_served() -> AsyncIterator[SherpaRecognizer]:
    """A streaming model."""
    yield sherpa()


class FakeAutoModel:
    """`funasr.AutoModel` as its documentation describes it; streaming models give the new words of each call."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.calls: list[dict[str, Any]] = []

    def generate(self, input: Any, **options: Any) -> list[dict[str, Any]]:
        assert input.dtype == np.float32
        assert np.abs(input).max(initial=0) <= 1
        self.calls.append(options)
        pcm = (input * 32768).astype("<i2").tobytes()
        if "is_final" not in options:
            words = recognise(pcm) if any(pcm) else ""
            text = f"<|en|><|NEUTRAL|><|Speech|><|withitn|>{words}"
            return [{"key": "turn", "text": text, "timestamp": [[100, 200], [200, len(pcm) / 32]]}]
        cache = options["cache"]
        cache["pcm"] = cache.get("pcm", b"") + pcm
        words = recognise(cache["pcm"]) if any(cache["pcm"]) else ""
        fresh = words[len(cache.get("told", "")) :].strip()
        cache["told"] = words
        return [{"key": "turn", "text": fresh}]


@contextlib.asynccontextmanager
async def automodel_served() -> AsyncIterator[AutoModelRecognizer]:
    """A streaming model."""
    yield AutoModelRecognizer(model="iic/paraformer-streaming", streaming=True, factory=FakeAutoModel)
