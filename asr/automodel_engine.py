"""`funasr.AutoModel` behind the shape that worker threads run. Blocking."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript

NAME = "automodel"
INSTALL = "asr.automodel needs the package funasr and torch: .venv/bin/pip install '.[neural,funasr]'"
_TAG = re.compile(r"<\|[^<>|]*\|>")
_STEP = 960


@dataclass(frozen=True, slots=True)
class Request:
    """What each call of the model is told. `chunk_size`: of a streaming model, None for others."""

    chunk_size: tuple[int, ...] | None = None
    language: str = ""
    hotwords: tuple[str, ...] = ()
    itn: bool = True

    def keywords(self) -> dict[str, Any]:
        """Arguments of `AutoModel.generate`."""
        if self.chunk_size is not None:
            return {"chunk_size": list(self.chunk_size), "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1}
        words: dict[str, Any] = {"language": self.language or "auto", "use_itn": self.itn, "batch_size_s": 60}
        return {**words, "hotword": " ".join(self.hotwords)} if self.hotwords else words


@dataclass(slots=True)
class _Turn:
    """`cache`: the model's state. `rest`: audio that does not fill a step yet. `text`: what was recognised so far."""

    cache: dict[str, Any] = field(default_factory=dict)
    rest: list[NDArray[np.float32]] = field(default_factory=list)
    text: str = ""


class AutoModelEngine:
    """A loaded model."""

    def __init__(self, model: Any, request: Request) -> None:
        self._model = model
        self._request = request

    def begin(self) -> _Turn:
        """A new turn."""
        return _Turn()

    def feed(self, stream: _Turn, samples: Samples) -> Transcript:
        """More audio (int16, shape (n,), `LISTEN_RATE`); streaming models say what they hear."""
        stream.rest.append(samples.astype(np.float32) / np.float32(32768))
        chunk = self._request.chunk_size
        if chunk is None:
            return Transcript("")
        step = chunk[1] * _STEP
        waiting = np.concatenate(stream.rest)
        while len(waiting) > step:  # one step stays: the end of the turn must not come with nothing
            self._run(stream, waiting[:step], is_final=False)
            waiting = waiting[step:]
        stream.rest = [waiting]
        return Transcript(stream.text)

    def end(self, stream: _Turn) -> Transcript:
        """All words of the turn."""
        audio = np.concatenate(stream.rest) if stream.rest else np.zeros(0, np.float32)
        if self._request.chunk_size is not None:
            if len(audio):
                self._run(stream, audio, is_final=True)
            return Transcript(stream.text)
        found = self._model.generate(input=audio, cache={}, **self._request.keywords())
        return transcript(found)

    def _run(self, stream: _Turn, audio: NDArray[np.float32], *, is_final: bool) -> None:
        found = self._model.generate(input=audio, cache=stream.cache, is_final=is_final, **self._request.keywords())
        stream.text = joined(stream.text, transcript(found).text)


def load(
    model: str, arguments: Mapping[str, Any], request: Request, factory: Callable[..., Any] | None
) -> AutoModelEngine:
    """Load the model and let it hear a second of silence.

    Raises `RecognizerError` that says what to install, or what funasr complains about.
    """
    if factory is None:
        try:
            with redirect_stdout(sys.stderr):  # it prints advice and its version where our answers go
                factory = importlib.import_module("funasr").AutoModel
        except ImportError as error:
            raise RecognizerError(f"{INSTALL} ({error})", adapter=NAME, code=f"{NAME}_package") from None
    try:
        with redirect_stdout(sys.stderr):
            engine = AutoModelEngine(factory(model=model, disable_update=True, disable_pbar=True, **arguments), request)
            # funasr looks for some of its libraries when it is first used
            stream = engine.begin()
            engine.feed(stream, np.zeros(LISTEN_RATE, np.int16))
            engine.end(stream)
    except Exception as error:  # whatever a model's code raises; nobody has spoken yet
        reason = " ".join(str(error).split())[:400] or type(error).__name__
        message = f"funasr can't load {model}: {reason}"
        raise RecognizerError(message, adapter=NAME, code=f"{NAME}_model", retryable=_passing(error)) from error
    return engine


def transcript(found: Any) -> Transcript:
    """The words of `generate`'s result, without SenseVoice's tags, with the span of its time stamps (ms).

    Raises `RecognizerError` for what is no such result.
    """
    if not (isinstance(found, list) and all(isinstance(item, dict) for item in found)):
        raise RecognizerError("funasr returned something that is no transcription", adapter=NAME)
    text = ""
    for item in found:
        text = joined(text, _TAG.sub(" ", str(item.get("text") or "")).strip())
    text = " ".join(text.split())
    times = [pair for item in found for pair in item.get("timestamp") or () if _is_span(pair)]
    if not text or not times:
        return Transcript(text)
    return Transcript(text, start=times[0][0] / 1000, end=times[-1][1] / 1000)


def joined(before: str, after: str) -> str:
    """Pieces of text put together, with a space where two words of a Latin script meet."""
    if before and after and before[-1].isascii() and after[0].isascii() and after[0].isalnum():
        return f"{before} {after}"
    return before + after


def _is_span(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(at, int | float) for at in pair)


def _passing(error: Exception) -> bool:
    """Whether the network is to blame."""
    return isinstance(error, ConnectionError | TimeoutError)
