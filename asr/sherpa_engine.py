"""sherpa-onnx itself: loads a model and runs it. Blocking; called in worker threads, where it frees the lock."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.sherpa_model import NAME, Kind, SherpaModel
from asr.threaded import Engine
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript

INSTALL = "asr.sherpa needs the package sherpa-onnx: .venv/bin/pip install '.[sherpa]'"
_TAIL_S = 0.5
_TOKEN_S = 0.1


class StreamingEngine:
    """Recognises while it is fed."""

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer

    def begin(self) -> Any:
        """A new turn."""
        return self._recognizer.create_stream()

    def feed(self, stream: Any, samples: Samples) -> Transcript:
        """Audio in, the words so far out."""
        stream.accept_waveform(LISTEN_RATE, _floats(samples))
        return self._decoded(stream)

    def end(self, stream: Any) -> Transcript:
        """The last words: half a second of silence brings them out of the encoder's look-ahead."""
        stream.accept_waveform(LISTEN_RATE, np.zeros(int(_TAIL_S * LISTEN_RATE), np.float32))
        stream.input_finished()
        return self._decoded(stream)

    def _decoded(self, stream: Any) -> Transcript:
        while self._recognizer.is_ready(stream):
            self._recognizer.decode_stream(stream)
        result = self._recognizer.get_result_all(stream)
        return _transcript(result.text, result.timestamps)


class OfflineEngine:
    """Recognises finished audio."""

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer

    def begin(self) -> Any:
        """A new turn."""
        return self._recognizer.create_stream()

    def feed(self, stream: Any, samples: Samples) -> Transcript:
        """Takes the audio; nothing is recognised yet."""
        stream.accept_waveform(LISTEN_RATE, _floats(samples))
        return Transcript("")

    def end(self, stream: Any) -> Transcript:
        """All words."""
        self._recognizer.decode_stream(stream)
        return _transcript(stream.result.text, stream.result.timestamps)


def load(model: SherpaModel, *, threads: int, provider: str, language: str) -> Engine:
    """Load the model: seconds. Raises `RecognizerError`; ends the process on a broken model (see `sherpa_trial`)."""
    try:
        sherpa = importlib.import_module("sherpa_onnx")
    except ImportError as error:
        raise RecognizerError(f"{INSTALL} ({error})", adapter=NAME, code=f"{NAME}_package") from None
    method, extra = _METHODS[model.kind]
    arguments: dict[str, Any] = {"num_threads": threads, "provider": provider, **extra}
    if model.kind is Kind.SENSE_VOICE:
        arguments |= {"language": language or "auto", "use_itn": True}
    elif model.kind is Kind.WHISPER:
        arguments |= {"language": language}
    elif model.kind is Kind.TRANSDUCER and model.model_type.startswith("EncDec"):
        arguments |= {"model_type": "nemo_transducer"}
    files = dict(model.files)
    if model.kind is Kind.PARAFORMER:
        files["paraformer"] = files.pop("model")
    factory = sherpa.OnlineRecognizer if model.streaming else sherpa.OfflineRecognizer
    try:
        recognizer = getattr(factory, method)(**files, **arguments)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise RecognizerError(f"sherpa-onnx can't load the model: {reason[0]}", adapter=NAME) from None
    return StreamingEngine(recognizer) if model.streaming else OfflineEngine(recognizer)


_METHODS: dict[Kind, tuple[str, dict[str, Any]]] = {
    Kind.STREAMING_TRANSDUCER: ("from_transducer", {}),
    Kind.STREAMING_PARAFORMER: ("from_paraformer", {}),
    Kind.STREAMING_CTC: ("from_zipformer2_ctc", {}),
    Kind.TRANSDUCER: ("from_transducer", {}),
    Kind.PARAFORMER: ("from_paraformer", {}),
    Kind.SENSE_VOICE: ("from_sense_voice", {}),
    Kind.WHISPER: ("from_whisper", {"task": "transcribe"}),
    Kind.CTC: ("from_zipformer_ctc", {}),
    Kind.NEMO_CTC: ("from_nemo_ctc", {}),
}


def _floats(samples: Samples) -> NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(32768)


def _transcript(text: str, times: list[float]) -> Transcript:
    """Words with the span of their tokens; a token's own length is not told."""
    words = text.strip()
    if not words or not times:
        return Transcript(words)
    return Transcript(words, start=float(times[0]), end=float(times[-1]) + _TOKEN_S)
