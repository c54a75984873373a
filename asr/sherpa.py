"""Models of sherpa-onnx, run in this process: streaming with partials, or whole turns, whatever the folder holds."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from asr.buffered import BufferedStream, BufferLimits
from asr.sherpa_engine import load
from asr.sherpa_model import NAME, Kind, SherpaModel, find_model
from asr.sherpa_trial import try_out
from asr.threaded import Engine, ThreadedStream, Worker
from core.errors import RecognizerError
from core.frames import Samples, Transcript

log = logging.getLogger(__name__)

_SENSE_VOICE = ("zh", "en", "ja", "ko", "yue")


class SherpaRecognizer:
    """Runs the model in worker threads.

    `model`: its folder. `language`: for SenseVoice and Whisper, "" lets them find out. `precision`: "int8" (faster) or
    "float", where the folder holds both. `threads`: per turn that is being computed; `parallel`: such turns at the same
    time. `provider`: "cpu", or "cuda" and "coreml" with builds of sherpa-onnx that have it. `partial_interval_s`: for
    models of whole turns, computes the turn so far each time that so much audio was added; 0 for no partials.
    `trial`: load the model in another process first, since a broken one would end this one. `find`, `engine` and
    `check` exist for tests.
    """

    name = NAME

    def __init__(
        self,
        *,
        model: str = "",
        language: str = "",
        precision: str = "int8",
        threads: int = 2,
        parallel: int = 2,
        provider: str = "cpu",
        partial_interval_s: float = 0.0,
        max_turn_s: float = 60.0,
        load_timeout_s: float = 120.0,
        finish_timeout_s: float = 8.0,
        trial: bool = True,
        find: Callable[..., SherpaModel] = find_model,
        engine: Callable[..., Engine] = load,
        check: Callable[..., Awaitable[None]] = try_out,
    ) -> None:
        self._folder = model
        self._language = language.partition("-")[0].lower()
        self._precision = precision
        self._parallel = parallel
        self._options: dict[str, Any] = {"threads": threads, "provider": provider, "language": self._language}
        self._limits = BufferLimits(max_turn_s, partial_interval_s)
        self._load_timeout = load_timeout_s
        self._finish_timeout = finish_timeout_s
        self._trial = trial
        self._find, self._load, self._check = find, engine, check
        self._model: SherpaModel | None = None
        self._engine: Engine | None = None
        self._worker: Worker | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """Of the model, as far as it says."""
        if self._language:
            return (self._language,)
        return _SENSE_VOICE if self._model is not None and self._model.kind is Kind.SENSE_VOICE else ("*",)

    @property
    def engine(self) -> Engine:
        """The loaded model. Raises `RecognizerError` before `start`."""
        if self._engine is None:
            raise RecognizerError("the recogniser is not started", adapter=NAME)
        return self._engine

    async def start(self) -> None:
        """Find and load the model. Raises `RecognizerError` that says what is missing and where it can be had."""
        if self._engine is not None:
            return
        if self._precision not in ("int8", "float"):
            raise RecognizerError(f"asr.sherpa.precision must be int8 or float, not {self._precision!r}", adapter=NAME)
        worker = self._worker = Worker(NAME, self._parallel, self._finish_timeout)
        try:
            model = await worker.run(lambda: self._find(self._folder, precision=self._precision))
            if self._trial:
                await self._check(model, self._options, self._load_timeout)
            self._engine = await worker.run(lambda: self._load(model, **self._options))
        except BaseException:
            await self.close()
            raise
        self._model = model
        log.info("sherpa-onnx runs a %s model", model.kind)

    async def close(self) -> None:
        """Free the model. Idempotent."""
        self._engine = None
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def open(self, on_partial: Callable[[Transcript], None]) -> ThreadedStream | BufferedStream:
        """Begin a turn. Raises `RecognizerError` before `start`."""
        if self._model is not None and self._model.streaming:
            return ThreadedStream(self.engine, self._running(), on_partial, self._limits)
        _ = self.engine
        return BufferedStream(NAME, self._transcribe, on_partial, self._limits)

    async def _transcribe(self, samples: Samples) -> Transcript:
        return await self._running().transcribe(self.engine, samples)

    def _running(self) -> Worker:
        if self._worker is None:
            raise RecognizerError("the recogniser is not started", adapter=NAME)
        return self._worker
