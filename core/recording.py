"""A file that holds sound, how fast it is read to a recogniser, and what its segments say together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from core.frames import Samples, Transcript

_WIDE = 0x2E80
"""From here on scripts are written without spaces between words."""


class Recording(Protocol):
    """A file that holds sound."""

    seconds: float | None
    """Its length, None when it does not say."""

    def pieces(self) -> AsyncGenerator[Samples, None]:
        """Its sound in order, once: int16, shape (n,), mono at `LISTEN_RATE`."""

    def close(self) -> None:
        """Free it. Idempotent."""


class Pace:
    """How much faster than it was spoken the recogniser is fed: as fast as it follows."""

    SLOWEST, FASTEST = 1.0, 16.0
    _BEHIND_S, _AHEAD_S = 0.5, 0.2

    def __init__(self, speed: float = 4.0) -> None:
        self.speed = speed

    def finished(self, lag_s: float) -> None:
        """The recogniser took so long for its transcript after it had been fed."""
        if lag_s > self._BEHIND_S:
            self.speed = max(self.SLOWEST, self.speed / 1.5)
        elif lag_s < self._AHEAD_S:
            self.speed = min(self.FASTEST, self.speed * 1.5)


def together(parts: Sequence[Transcript], engine: str) -> Transcript:
    """The transcripts of following segments as one, final; `engine` where there is none."""
    text = ""
    for part in parts:
        words = part.text.strip()
        wide = bool(text and words) and ord(text[-1]) >= _WIDE and ord(words[0]) >= _WIDE
        text += words if wide or not text or not words else f" {words}"
    if not parts:
        return Transcript("", engine=engine)
    confidence = parts[0].confidence if len(parts) == 1 else None
    return Transcript(text, True, parts[0].start, parts[-1].end, confidence, parts[-1].engine or engine)
