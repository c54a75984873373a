"""Who gets the sound of a stage beside its track: each sink once, in order, and told what it need not play."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from core.frames import AUDIO_FRAME, Samples, SoundPiece
from core.stages import SoundSink

LONGEST = 5
"""Frames (0.1 s) that are handed over in one piece."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Frame:
    """`AUDIO_FRAME` samples at `position` of the media clock that are somebody's: see `SoundPiece`."""

    position: int
    reply_id: str
    at: float
    samples: Samples


class Tap:
    """One sink. What lies before `handed` on the media clock it has got already."""

    def __init__(self, sink: SoundSink, handed: int, dropped: Callable[[], None]) -> None:
        self._sink = sink
        self._handed = handed
        self.dropped = dropped
        """Called when it is let go because it raised."""
        self.broken = False

    def hand(self, frames: Iterable[Frame]) -> None:
        """What it has not got of these, which are in order."""
        for position, piece in _pieces(frame for frame in frames if frame.position >= self._handed):
            self._handed = position + len(piece.samples)
            self._tell(lambda piece=piece: self._sink.sound(piece))  # type: ignore[misc]

    def clear(self, reply_id: str, at: float, position: int) -> None:
        """Nothing of the reply is played from `position` on, which is `at` on its own clock."""
        self._handed = position
        self._tell(lambda: self._sink.cleared(reply_id, at))

    def _tell(self, call: Callable[[], None]) -> None:
        if self.broken:
            return
        try:
            call()
        except Exception:
            # whoever listened ends here; the stage and the others go on
            logger.exception("a listener of the avatar's sound broke: it gets no more")
            self.broken = True


class Taps:
    """The sinks of one stage."""

    def __init__(self) -> None:
        self._taps: tuple[Tap, ...] = ()

    def __len__(self) -> int:
        return len(self._taps)

    def add(self, tap: Tap) -> None:
        """It gets what is handed over from now on."""
        self._taps += (tap,)

    def remove(self, tap: Tap) -> None:
        """It gets no more. Idempotent."""
        self._taps = tuple(other for other in self._taps if other is not tap)

    def hand(self, frames: list[Frame]) -> None:
        """Hand these over, in order."""
        if frames:
            for tap in self._taps:
                tap.hand(frames)
            self._sort_out()

    def clear(self, reply_id: str, at: float, position: int) -> None:
        """See `Tap.clear`."""
        for tap in self._taps:
            tap.clear(reply_id, at, position)
        self._sort_out()

    def _sort_out(self) -> None:
        broken = [tap for tap in self._taps if tap.broken]
        if broken:
            self._taps = tuple(tap for tap in self._taps if not tap.broken)
        for tap in broken:
            tap.dropped()


def _pieces(frames: Iterable[Frame]) -> Iterator[tuple[int, SoundPiece]]:
    """The frames, those that follow each other joined."""
    run: list[Frame] = []
    for frame in frames:
        follows = run and frame.reply_id == run[0].reply_id and frame.position == run[-1].position + AUDIO_FRAME
        if run and (not follows or len(run) == LONGEST):
            yield _joined(run)
            run = []
        run.append(frame)
    if run:
        yield _joined(run)


def _joined(run: list[Frame]) -> tuple[int, SoundPiece]:
    samples = run[0].samples if len(run) == 1 else np.concatenate([frame.samples for frame in run])
    return run[0].position, SoundPiece(run[0].reply_id, run[0].at, samples)
