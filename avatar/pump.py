"""Pulls a stage that no connection pulls, a little ahead of real time, for those who get its sound otherwise.

Timers on the event loop, and none while nothing sounds: a silent session costs nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from avatar.stage import SpeechStage
from core.clock import MAX_LAG_S
from core.frames import AUDIO_FRAME, MEDIA_RATE


class Timer(Protocol):
    """What will be called."""

    def cancel(self) -> None:
        """It won't."""


def _later(delay: float, call: Callable[[], None]) -> Timer:
    loop = asyncio.get_running_loop()
    return loop.call_later(delay, call) if delay > 0 else loop.call_soon(call)


class Pump:
    """Implements `avatar.stage.Pacer`. `start` and `stop` as often as one likes. Tests inject the clock and timers."""

    def __init__(
        self,
        stage: SpeechStage,
        now: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], Timer] = _later,
    ) -> None:
        self._stage = stage
        self._now = now
        self._later = later
        self._ahead = 0
        self._origin = 0.0
        self._running = False
        self._timer: Timer | None = None
        self.resyncs = 0
        """How often its clock had to be moved, as the loop (or the machine) stood still."""

    @property
    def running(self) -> bool:
        """Whether it pulls."""
        return self._running

    def start(self, ahead_s: float) -> None:
        """Pull from where the stage is, up to `ahead_s` before real time; or, when it runs, that much from now on."""
        self._ahead = int(ahead_s * MEDIA_RATE)
        if not self._running:
            self._running = True
            self._origin = self._now() - self._stage.position / MEDIA_RATE
            self._stage.use_pacer(self)
        self.wake()

    def stop(self) -> None:
        """Leave the stage at what was really due. Idempotent."""
        if self._running:
            self._running = False
            self._rest()
            self._stage.use_pacer(None)

    def due(self) -> int:
        """See `avatar.stage.Pacer`."""
        elapsed = round((self._now() - self._origin) * MEDIA_RATE)  # a timer may be a hair early
        due = elapsed // AUDIO_FRAME * AUDIO_FRAME + AUDIO_FRAME
        late = due - self._stage.position
        # a shorter one nobody notices who has got the sound of that time already
        if late > self._ahead + MAX_LAG_S * MEDIA_RATE and not self._stage.idle:
            self._origin += late / MEDIA_RATE
            self.resyncs += 1
            due -= late
        return due

    def wake(self) -> None:
        """See `avatar.stage.Pacer`."""
        if self._running:
            self._rest()
            self._timer = self._later(0.0, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._stage.pull(self.due(), self._ahead)
        target = self._stage.next_change()
        # whoever was told something may have woken or stopped it
        if target is not None and self._running and self._timer is None:
            at = self._origin + (target - AUDIO_FRAME) / MEDIA_RATE
            self._timer = self._later(max(0.0, at - self._now()), self._tick)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
