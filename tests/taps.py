"""A stage whose pump runs on a clock and timers that a test moves, and a sink that notes what it gets."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from avatar.pump import Pump
from avatar.stage import SpeechStage
from core.acts import Deed
from core.frames import MEDIA_RATE, Samples, SoundPiece
from core.visemes import LipPiece
from tests.test_stage import Log


class Sink:
    """Plays a reply as a client would: `at` seconds apart, silence between; what is cleared is cut off."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        self.pieces: list[tuple[float, SoundPiece]] = []
        self.clears: list[tuple[float, str, float]] = []
        self.fails = False
        self._now = now
        self._lines: dict[str, Samples] = {}

    def sound(self, piece: SoundPiece) -> None:
        if self.fails:
            raise RuntimeError("the sink is broken")
        self.pieces.append((self._now(), piece))
        line = self._lines.get(piece.reply_id, np.zeros(0, np.int16))
        start, count = round(piece.at * MEDIA_RATE), len(piece.samples)
        assert start >= len(line) or piece.reply_id == "", "sound came twice without a clear"
        line = np.pad(line, (0, max(0, start + count - len(line))))
        line[start : start + count] = piece.samples
        self._lines[piece.reply_id] = line

    def cleared(self, reply_id: str, at: float) -> None:
        if self.fails:
            raise RuntimeError("the sink is broken")
        self.clears.append((self._now(), reply_id, at))
        if reply_id in self._lines:
            self._lines[reply_id] = self._lines[reply_id][: round(at * MEDIA_RATE)]

    def line(self, reply_id: str = "r1") -> Samples:
        return self._lines.get(reply_id, np.zeros(0, np.int16))


class Viewer:
    """Notes the lips it is told."""

    def __init__(self) -> None:
        self.pieces: list[LipPiece] = []
        self.clears: list[tuple[str, float]] = []

    def lips(self, piece: LipPiece) -> None:
        self.pieces.append(piece)

    def lips_cleared(self, reply_id: str, at: float) -> None:
        self.clears.append((reply_id, at))

    def acted(self, reply_id: str, at: float, deed: Deed) -> None:
        """The face does nothing."""


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True

    def __lt__(self, other: Timer) -> bool:
        return self.at < other.at


class Scene:
    """`run(seconds)` lets time pass; `ticks` counts the timers that went off."""

    def __init__(self, ahead_s: float = 0.5, *, running: bool = True) -> None:
        self.now = 100.0
        self.ticks = 0
        self._timers: list[Timer] = []
        self.log = Log()
        self.stage = SpeechStage(self.log)
        self.viewer = Viewer()
        self.stage.watch_lips(self.viewer)
        self.sink = Sink(lambda: self.now)
        self.untap = self.stage.tap(self.sink)
        self.pump = Pump(self.stage, now=lambda: self.now, later=self.later)
        if running:
            self.pump.start(ahead_s)

    def later(self, delay: float, call: Callable[[], None]) -> Timer:
        timer = Timer(self.now + delay, call)
        heapq.heappush(self._timers, timer)
        return timer

    @property
    def timers(self) -> int:
        return sum(not timer.cancelled for timer in self._timers)

    def run(self, seconds: float = 0.0) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0].at <= end + 1e-9:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                self.now = max(self.now, timer.at)
                self.ticks += 1
                timer.call()
        self.now = end
