"""FunASR's own models (`funasr.AutoModel`: SenseVoice, Paraformer, Fun-ASR …), run in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.automodel_engine import NAME, AutoModelEngine, Request, load
from asr.buffered import BufferedStream, BufferLimits
from asr.threaded import ThreadedStream, Worker
from core.errors import RecognizerError
from core.frames import Samples, Transcript

log = logging.getLogger(__name__)

_ADVICE = (
    "asr.automodel.model is not set: give a folder with a model, or a name that funasr downloads when the server "
    "starts, e.g. iic/SenseVoiceSmall (0.9 GB)"
)


class AutoModelRecognizer:
    """Runs the model in a worker thread, one turn after the other: torch models are not made for more.

    `model`: a folder, or a name of ModelScope or Hugging Face (`hub`: "ms" or "hf"), which funasr downloads once.
    `vad_model`, `punc_model`: for models that need them (fsmn-vad, ct-punc). `device`: "cpu", "cuda:0", "mps".
    `streaming`: the model is one of the "-online"/"-streaming" kind and gives partials; `chunk_size` as FunASR counts
    it, in 60 ms. `language`: for models that take one, "" for automatic. `hotwords`: words to expect. `itn`: numbers as
    digits. `partial_interval_s`: for the others, computes the turn so far each time that so much audio was added; 0 for
    no partials. `arguments`: anything else for `AutoModel`. `factory` exists for tests.
    """

    name = NAME

    def __init__(
        self,
        *,
        model: str = "",
        vad_model: str = "",
        punc_model: str = "",
        hub: str = "ms",
        device: str = "cpu",
        threads: int = 4,
        streaming: bool = False,
        chunk_size: Sequence[int] = (0, 10, 5),
        language: str = "",
        hotwords: Sequence[str] = (),
        itn: bool = True,
        partial_interval_s: float = 0.0,
        max_turn_s: float = 60.0,
        finish_timeout_s: float = 8.0,
        arguments: Mapping[str, Any] | None = None,
        factory: Callable[..., Any] | None = None,
    ) -> None:
        self._model = model
        self._language = language.partition("-")[0].lower()
        self._streaming = streaming
        self._limits = BufferLimits(max_turn_s, partial_interval_s)
        self._finish_timeout = finish_timeout_s
        self._factory = factory
        self._arguments: dict[str, Any] = {"device": device, "ncpu": threads, "hub": hub, **(arguments or {})}
        for key, value in (("vad_model", vad_model), ("punc_model", punc_model)):
            if value:
                self._arguments[key] = value
        self._request = Request(
            chunk_size=tuple(chunk_size) if streaming else None,
            language=self._language,
            hotwords=tuple(hotwords),
            itn=itn,
        )
        self._worker: Worker | None = None
        self._engine: AutoModelEngine | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """The configured one, or whatever the model knows."""
        return (self._language or "*",)

    async def start(self) -> None:
        """Load the model: seconds, minutes where it is downloaded. Raises `RecognizerError` that says what to do."""
        if self._engine is not None:
            return
        if complaint := self._complaint():
            raise RecognizerError(complaint, adapter=NAME, code=f"{NAME}_model")
        worker = self._worker = Worker(NAME, 1, self._finish_timeout)
        try:
            model = str(Path(self._model).expanduser()) if _is_folder(self._model) else self._model
            self._engine = await worker.run(lambda: load(model, self._arguments, self._request, self._factory))
        except BaseException:
            await self.close()
            raise
        log.info("funasr runs %s", self._model)

    async def close(self) -> None:
        """Free the model. Idempotent."""
        self._engine = None
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def open(self, on_partial: Callable[[Transcript], None]) -> ThreadedStream | BufferedStream:
        """Begin a turn. Raises `RecognizerError` before `start`."""
        if self._engine is None or self._worker is None:
            raise RecognizerError("the recogniser is not started", adapter=NAME)
        if self._streaming:
            return ThreadedStream(self._engine, self._worker, on_partial, self._limits)
        return BufferedStream(NAME, self._transcribe, on_partial, self._limits)

    async def _transcribe(self, samples: Samples) -> Transcript:
        if self._engine is None or self._worker is None:
            raise RecognizerError("the recogniser is closed", adapter=NAME)
        return await self._worker.transcribe(self._engine, samples)

    def _complaint(self) -> str:
        """What is wrong with the settings, "" if nothing."""
        if not self._model:
            return _ADVICE
        if _is_folder(self._model):
            folder = Path(self._model).expanduser()
            if not folder.is_dir():
                return f"asr.automodel.model: {folder} is no folder"
            if not any((folder / name).is_file() for name in ("config.yaml", "configuration.json")):
                return f"asr.automodel.model: {folder} holds no model of FunASR (no config.yaml)"
        if self._streaming and (len(chunk := self._request.chunk_size or ()) != 3 or chunk[1] < 1):
            return "asr.automodel.chunk_size must be three numbers with a positive middle one, e.g. [0, 10, 5]"
        return ""


def _is_folder(model: str) -> bool:
    """Whether a path is meant, not a name such as iic/SenseVoiceSmall."""
    return model.startswith(("/", "~", ".")) or Path(model).is_dir()
