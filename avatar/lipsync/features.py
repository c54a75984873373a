"""Log-mel features of speech for the lip model, computed as the sound comes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.frames import LISTEN_RATE, VISEME_RATE, Samples

MEL_BANDS = 40
HOP = LISTEN_RATE // VISEME_RATE
WINDOW = 400
BEFORE = (WINDOW - HOP) // 2
"""Samples of a frame's window before its hop, and as many after it: the window is centred on the hop."""
_FFT = 512
_LOWEST, _HIGHEST = 60.0, 7800.0
_FULL_SCALE = 32768
_FLOOR: NDArray[np.float32] = np.array(1e-8, np.float32)
"""Power (full scale = 1) added to each band: quieter than -80 dBFS is silence."""

Mel = NDArray[np.float32]
"""Natural logarithms of the mel bands' powers, shape (n, 40), dtype float32, `VISEME_RATE` rows per second."""


def _filters() -> NDArray[np.float32]:
    """Triangles of equal width on the mel scale 2595 log10(1 + f / 700); shape (257, 40)."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (_LOWEST, _HIGHEST))
    edges = 700 * (10 ** (np.linspace(low, high, MEL_BANDS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(_FFT, 1 / LISTEN_RATE)[:, None]
    rise = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rise, fall), 0).astype(np.float32)


_TAPER = np.hanning(WINDOW + 2)[1:-1].astype(np.float32)
_MEL = _filters() * np.float32(2 / (np.sum(_TAPER.astype(float) ** 2) * _FFT * _FULL_SCALE**2))
_MEL_OF_PARTS = np.ascontiguousarray(np.repeat(_MEL, 2, axis=0).T).T
"""For the squares of real and imaginary parts in turn: their sum is the power. In the order that is quickest here."""
_SILENCE = np.float32(np.log(_FLOOR))


class LogMelStream:
    """Features of one piece of sound; the same however it is cut (but for the last bit of a float)."""

    def __init__(self) -> None:
        self._audio = np.zeros(BEFORE, np.float32)
        self._samples = 0
        self._frames = 0

    def feed(self, samples: Samples | NDArray[np.float32]) -> Mel:
        """Take int16 samples, or the same numbers as float32, shape (n,), at `LISTEN_RATE`; the frames whose window is
        complete."""
        self._samples += len(samples)
        self._audio = np.concatenate((self._audio, np.asarray(samples, np.float32)))
        count = max(0, (len(self._audio) - WINDOW) // HOP + 1)
        mel = log_mel(self._audio, count)
        self._audio = self._audio[count * HOP :]
        self._frames += count
        return mel

    def finish(self) -> Mel:
        """The rest, up to ceil(seconds * VISEME_RATE) frames in all; silence follows the sound."""
        missing = -(-self._samples // HOP) - self._frames
        audio = np.concatenate((self._audio, np.zeros(WINDOW + HOP, np.float32)))
        self._frames += missing
        return log_mel(audio, missing)


def log_mel(audio: NDArray[np.float32], count: int) -> Mel:
    """Features of `count` windows that begin at every `HOP`th sample of `audio` (full scale = 32768)."""
    if count <= 0:
        return np.zeros((0, MEL_BANDS), np.float32)
    # as numpy's sliding_window_view, in a tenth of its time
    audio = np.ascontiguousarray(audio, np.float32)
    windows = np.ndarray((count, WINDOW), np.float32, audio, strides=(HOP * audio.itemsize, audio.itemsize))
    tapered = np.zeros((count, _FFT), np.float32)
    np.multiply(windows, _TAPER, out=tapered[:, :WINDOW])
    spectra = np.fft.rfft(tapered, out=np.empty((count, _FFT // 2 + 1), np.complex64))
    parts = spectra.view(np.float32)
    np.multiply(parts, parts, out=parts)
    mel: Mel = parts.dot(_MEL_OF_PARTS)
    mel += _FLOOR
    return np.log(mel, out=mel)


def silence(count: int) -> Mel:
    """Features of digital silence, shape (count, 40)."""
    return np.full((count, MEL_BANDS), _SILENCE, np.float32)
