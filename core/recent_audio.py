"""The last seconds of what the microphone sent."""

from __future__ import annotations

from collections import deque

import numpy as np

from core.frames import LISTEN_RATE, Samples


class RecentAudio:
    """Keeps at least `keep_s` seconds of int16 audio at `LISTEN_RATE`; `now` is the clock of all its times."""

    def __init__(self, keep_s: float) -> None:
        self._keep = int(keep_s * LISTEN_RATE)
        self._parts: deque[Samples] = deque()
        self._count = 0
        self._position = 0

    @property
    def now(self) -> float:
        """Seconds received so far."""
        return self._position / LISTEN_RATE

    def add(self, samples: Samples) -> None:
        """What came next."""
        self._position += len(samples)
        self._parts.append(samples)
        self._count += len(samples)
        while self._count - len(self._parts[0]) >= self._keep:
            self._count -= len(self._parts.popleft())

    def between(self, start: float, end: float | None = None) -> Samples:
        """What was received from `start` to `end` (seconds; None: now), as far as it is kept."""
        begin = int(start * LISTEN_RATE)
        parts: list[Samples] = []
        first = self._position
        for part in reversed(self._parts):  # mostly the newest are wanted
            if first <= begin:
                break
            parts.append(part)
            first -= len(part)
        kept = np.concatenate(parts[::-1]) if parts else np.zeros(0, np.int16)
        stop = self._position if end is None else int(end * LISTEN_RATE)
        return kept[max(0, begin - first) : max(0, stop - first)]
