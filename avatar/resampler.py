"""Sample-rate conversion of a stream of mono PCM."""

from __future__ import annotations

import av
import numpy as np

from avatar.guard import audio_frame
from core.frames import Samples


class Resampler:
    """Streaming resampler, int16 mono to int16 mono, by FFmpeg's swresample.

    One instance per stream and direction: it keeps the filter's state. Not thread-safe.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self.source_rate = source_rate
        self.target_rate = target_rate
        self._inner = (
            None if source_rate == target_rate else av.AudioResampler(format="s16", layout="mono", rate=target_rate)
        )
        self._position = 0

    def feed(self, samples: Samples) -> Samples:
        """Convert the next samples, shape (n,); the result, shape (m,), lags by the filter's delay."""
        if self._inner is None or not len(samples):
            return samples
        frame = audio_frame(samples, self._position, self.source_rate)
        self._position += len(samples)
        return _joined(self._inner.resample(frame))

    def finish(self) -> Samples:
        """What the filter still holds."""
        if self._inner is None or not self._position:
            return np.zeros(0, np.int16)
        return _joined(self._inner.resample(None))


def mono_samples(frames: list[av.AudioFrame]) -> list[Samples]:
    """The samples of s16 mono frames, one owned array per frame."""
    return [frame.to_ndarray().reshape(-1).astype(np.int16, copy=False) for frame in frames]


def _joined(frames: list[av.AudioFrame]) -> Samples:
    return np.concatenate(mono_samples(frames)) if frames else np.zeros(0, np.int16)
