"""How long each stage of one answer took, for operators."""

from __future__ import annotations

import time
from enum import Enum

from core.events import ReplyState, Timed


class Mark(Enum):
    """What an answer passes through, in this order."""

    TRANSCRIPT = "transcript"
    FIRST_TOKEN = "first_token"
    FIRST_AUDIO = "first_audio"
    ON_WIRE = "on_wire"


class Waterfall:
    """The marks of one answer, on the monotonic clock.

    `asked_at`: when the user stopped speaking, or the request arrived; `heard_at`: when the transcript was there.
    """

    def __init__(self, source: str, asked_at: float, heard_at: float | None = None) -> None:
        self._source = source
        self._asked_at = asked_at
        self._reached: dict[Mark, float] = {} if heard_at is None else {Mark.TRANSCRIPT: heard_at}

    def reach(self, mark: Mark) -> None:
        """It is there now; only the first time counts."""
        self._reached.setdefault(mark, time.monotonic())

    def milliseconds(self, mark: Mark) -> int | None:
        """After `asked_at`; None while it is not reached."""
        at = self._reached.get(mark)
        return None if at is None else max(0, round((at - self._asked_at) * 1000))

    def summary(self, reply_id: str, outcome: ReplyState, engine: str) -> Timed:
        """The event that tells of it."""
        return Timed(
            reply_id,
            self._source,
            outcome,
            engine,
            transcript_ms=self.milliseconds(Mark.TRANSCRIPT),
            first_token_ms=self.milliseconds(Mark.FIRST_TOKEN),
            first_audio_ms=self.milliseconds(Mark.FIRST_AUDIO),
            on_wire_ms=self.milliseconds(Mark.ON_WIRE),
        )
