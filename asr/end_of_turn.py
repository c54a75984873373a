"""A semantic end-of-turn model of the user's own: an ONNX file that hears whether somebody has finished speaking.

Contract of the file: one float32 input of shape (1, 80, n) or (1, n), one float32 output whose first value is the
probability (0..1) that the speaker has finished. (1, 80, n) is the log-mel spectrogram of the last n / 100 seconds as
Whisper's feature extractor makes it (this is what pipecat's smart-turn v3 takes, with n = 800); (1, n) is the waveform
itself at 16 kHz, -1..1. Where n is not fixed it is 8 seconds. Shorter sound is preceded by silence.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

log = logging.getLogger(__name__)

SECONDS = 8.0
MELS = 80
_HOP, _FFT = 160, 400
_NAME = "end of turn"


class EndOfTurnNetwork:
    """Implements `core.listener.EndOfTurnModel`. Runs in one thread of its own, one sound after the other."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seconds = SECONDS
        self._session: InferenceSession | None = None
        self._input = ""
        self._mel = True
        self._executor = ThreadPoolExecutor(1, "end of turn")
        self._broken = False

    async def start(self) -> None:
        """Load the file. Raises `RecognizerError` with a message that says what to do."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._load)

    async def close(self) -> None:
        """Free it. Idempotent."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def probability(self, samples: Samples, /) -> float | None:
        """See `core.listener.EndOfTurnModel`. A model that fails is reported once; turn-taking goes on without it."""
        if self._broken:
            return None
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, samples)
        except RecognizerError as error:
            self._broken = True
            log.error("turn.semantic_model is not used any more: %s", error)
            return None

    # -- in the thread

    def _load(self) -> None:
        if not Path(self.path).is_file():
            raise RecognizerError(f"turn.semantic_model: there is no file {self.path}", adapter=_NAME)
        try:
            import onnxruntime
        except ImportError:
            advice = "turn.semantic_model needs onnxruntime: pip install '.[turn]'"
            raise RecognizerError(advice, adapter=_NAME) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        except _failures() as error:
            raise RecognizerError(
                f"turn.semantic_model: {self.path} can't be loaded: {error}", adapter=_NAME
            ) from error
        self._take_shape(self._session)
        self._run(np.zeros(0, np.int16))  # the first run is the slow one, and shows whether the shapes fit

    def _take_shape(self, session: InferenceSession) -> None:
        inputs = session.get_inputs()
        shape = list(inputs[0].shape) if len(inputs) == 1 else []
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[1] != MELS):
            wanted = f"(1, {MELS}, n) log-mel or (1, n) samples"
            raise RecognizerError(f"turn.semantic_model: one input of shape {wanted} is wanted", adapter=_NAME)
        self._input, self._mel = inputs[0].name, len(shape) == 3
        if isinstance(shape[-1], int):
            self.seconds = shape[-1] * (_HOP if self._mel else 1) / LISTEN_RATE

    def _run(self, samples: Samples) -> float:
        assert self._session is not None
        sound = fitted(samples, round(self.seconds * LISTEN_RATE))
        features = log_mel(sound) if self._mel else sound
        try:
            answer = self._session.run(None, {self._input: features[None]})[0]
            value = float(np.asarray(answer).reshape(-1)[0])
        except _failures() as error:
            raise RecognizerError(f"the model failed: {type(error).__name__}", adapter=_NAME) from error
        if not 0.0 <= value <= 1.0:
            raise RecognizerError(f"the model's output {value:.3g} is no probability", adapter=_NAME)
        return value


def _failures() -> tuple[type[Exception], ...]:
    """All that onnxruntime raises: its kinds have no common base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*kinds, RuntimeError, ValueError)


def fitted(samples: Samples, count: int) -> NDArray[np.float32]:
    """The last `count` samples as float32 in -1..1, preceded by silence where there are fewer."""
    sound = np.zeros(count, np.float32)
    kept = samples[-count:]
    if len(kept):
        sound[-len(kept) :] = kept.astype(np.float32) / 32768
    return sound


def log_mel(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mel spectrogram, shape (80, len(sound) // 160), float32: Whisper's (Radford et al. 2022, section 2.2).

    The waveform is brought to zero mean and unit variance first. Hann windows of 25 ms every 10 ms, power, 80 mel
    bands, log10, at most 8 below the maximum, then (x + 4) / 4.
    """
    wide = sound.astype(np.float64)
    wide = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-7)
    padded = np.pad(wide, _FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP][: len(sound) // _HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    bands = np.log10(np.maximum(power @ mel_filters(), 1e-10)).T
    bands = (np.maximum(bands, bands.max() - 8.0) + 4.0) / 4.0
    return np.ascontiguousarray(bands, np.float32)


@cache
def mel_filters() -> NDArray[np.float64]:
    """Triangular mel filters of equal area (Slaney 1998), shape (201, 80), 0 to 8 kHz."""
    edges = _hertz(np.linspace(0.0, _mel(LISTEN_RATE / 2), MELS + 2))
    bins = np.linspace(0.0, LISTEN_RATE / 2, _FFT // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    return triangles


def _mel(hertz: float) -> float:
    """Slaney's mel scale: linear up to 1 kHz (15 mel), logarithmic above."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + np.log(hertz / 1000) * 27 / np.log(6.4)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    bent: NDArray[np.float64] = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
    return bent
