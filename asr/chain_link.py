"""One engine of a chain, as all turns see it."""

from __future__ import annotations

from dataclasses import dataclass

from asr.circuit import CircuitBreaker
from core.errors import RecognizerError
from core.stages import Recognizer

NAME = "chain"


@dataclass(slots=True)
class Link:
    """A recogniser with its circuit breaker. `ready`: it was started."""

    recognizer: Recognizer
    breaker: CircuitBreaker
    ready: bool = False

    @property
    def name(self) -> str:
        """Of the engine."""
        return self.recognizer.name

    def failed(self, error: RecognizerError) -> None:
        """A turn failed: a wrong key or setting won't get better by itself soon."""
        self.breaker.failed(for_good=not error.retryable)
