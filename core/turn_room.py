"""How much sound of a turn is still taken."""

from __future__ import annotations

from core.frames import LISTEN_RATE, Samples


class TurnRoom:
    """Takes samples at `LISTEN_RATE` for at most `max_s` seconds."""

    def __init__(self, max_s: float) -> None:
        self._left = int(max_s * LISTEN_RATE)
        self.truncated = False
        """Whether there was more."""

    def take(self, samples: Samples) -> Samples:
        """As many of them as there is room for."""
        if len(samples) > self._left:
            self.truncated = True
            samples = samples[: self._left]
        self._left -= len(samples)
        return samples
