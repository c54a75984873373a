"""The queued pieces of speech at their places on the media clock. Pure: asked for sound, mouths and gaps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from avatar.speech import FADE, STEP, Placed, Speech
from core.frames import AUDIO_FRAME, MEDIA_RATE, Samples, VisemeFrames

REWIND_S = (0.1, 0.35)
"""Speech that was held goes on from the quietest moment this long before it was held: a gap between words."""


class Timeline:
    """In order; `tail` is the end of the last piece. Positions are samples of the media clock."""

    def __init__(self) -> None:
        self._placed: deque[Placed] = deque()
        self.tail = 0

    def __iter__(self) -> Iterator[Placed]:
        return iter(self._placed)

    def __len__(self) -> int:
        return len(self._placed)

    def append(self, placed: Placed) -> None:
        """A piece that begins at the tail or later."""
        self._placed.append(placed)
        self.tail = placed.end

    def cut(self, played: Iterable[Placed], cursor: int) -> None:
        """Leave only what was played, and let what would have come next die away."""
        rest = self.samples(cursor, FADE)
        self._placed = deque(played)
        self.tail = cursor
        if rest.any():
            ramp = np.linspace(1.0, 0.0, FADE, dtype=np.float32)
            faded = Speech("", 0, "", (rest * ramp).astype(np.int16), np.zeros((0, 15), np.float32))
            self.append(Placed(faded, cursor, announced=True))

    def forget(self, before: int) -> None:
        """What had its end by then, and was told, is no longer needed."""
        while self._placed and self._placed[0].end < before and self._placed[0].announced:
            self._placed.popleft()

    def until(self, end: int) -> Iterator[Placed]:
        """The pieces that begin before `end`."""
        for placed in self._placed:
            if placed.start >= end:
                break  # in order: nothing queued further ahead matters now
            yield placed

    def samples(self, position: int, count: int) -> Samples:
        """The sound of that stretch, silence where nothing is queued."""
        out = np.zeros(count, np.int16)
        end = position + count
        for placed in self.until(end):
            lo, hi = max(position, placed.start), min(end, placed.end)
            if lo < hi:
                out[lo - position : hi - position] = placed.speech.samples[lo - placed.start : hi - placed.start]
        return out

    def visemes(self, lo: int, hi: int) -> VisemeFrames:
        """The viseme frames between, shape (n, 15); none where nobody speaks."""
        rows = []
        for placed in self.until(hi):
            if placed.end > lo and len(placed.speech.visemes):
                first = max(0, (lo - placed.start) // STEP)
                last = max(first + 1, -((placed.start - hi) // STEP))
                rows.append(placed.speech.visemes[first:last])
        return np.concatenate(rows) if rows else np.zeros((0, 15), np.float32)

    def speaks(self, reply_id: str, position: int) -> bool:
        """Whether the reply has sound in the packet at `position`."""
        return any(
            placed.end > max(position, placed.start) and placed.speech.reply_id == reply_id
            for placed in self.until(position + AUDIO_FRAME)
        )

    def first_after(self, reply_id: str, cursor: int) -> int | None:
        """The reply's first utterance of which something comes after `cursor`."""
        later = (placed.speech for placed in self if placed.end > cursor and placed.speech.reply_id)
        return min((speech.utterance for speech in later if speech.reply_id == reply_id), default=None)

    def waiting(self, reply_id: str, utterance: int, cursor: int) -> int:
        """Samples of the reply's utterance that come after `cursor`."""
        told = (reply_id, utterance)
        pieces = (placed for placed in self if (placed.speech.reply_id, placed.speech.utterance) == told)
        return sum(placed.end - min(max(cursor, placed.start), placed.end) for placed in pieces)

    def next_change(self, cursor: int, span: int) -> int:
        """The packet's end after `cursor` at which an utterance will have begun, one or all will have ended; at the
        latest `span` on."""
        targets = [cursor + span, whole(self.tail)]
        for placed in self.until(cursor + span):
            if not placed.announced:
                targets.append(whole(placed.start + 1))
            if placed.speech.last:
                targets.append(whole(placed.end))
        return min(target for target in targets if target > cursor)

    def gap(self, cursor: int) -> int:
        """The quietest 10 ms shortly before `cursor`, within the utterance that sounds."""
        ended = (p.end for p in self if p.announced and p.speech.last and p.end <= cursor)
        begun = (p.start for p in self if p.speech.reply_id)
        earliest = max(max(ended, default=0), min(begun, default=cursor))
        first = max(earliest, cursor - int(REWIND_S[1] * MEDIA_RATE))
        last = cursor - int(REWIND_S[0] * MEDIA_RATE)
        if last < first + STEP:
            return first
        sound = self.samples(first, last - first)
        blocks = sound[: len(sound) // STEP * STEP].reshape(-1, STEP).astype(np.float32)
        return first + int(np.argmin(np.mean(blocks**2, axis=1))) * STEP


def whole(position: int) -> int:
    """The next packet's beginning."""
    return -(-position // AUDIO_FRAME) * AUDIO_FRAME
