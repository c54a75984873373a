"""Cuts a recording into segments of speech that a recogniser can take as one turn each: at pauses, without the silence.

Pure but for the voice activity, which computes: call it in a worker thread, one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.frames import LISTEN_RATE, Samples
from core.listener import VoiceActivity
from core.overhearing import VoiceFrame

LEAD_S = 0.3
"""Kept before the first speech (soft onsets) and, at most, after the last."""
LONG_S = 5.0
"""A segment this long ends at the next pause of a clause; a shorter one only where a sentence would end."""
SENTENCE_PAUSE_S = 0.9
CLAUSE_PAUSE_S = 0.4
MIN_SPEECH_S = 0.12
"""A segment with less speech than this was a click."""
_BEGIN, _GO_ON = 0.5, 0.35
"""Probabilities of speech at which a segment begins, and above which it is still spoken."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of speech. `samples`: int16, shape (n,), `LISTEN_RATE`; `start`: seconds into the recording."""

    samples: Samples
    start: float

    @property
    def end(self) -> float:
        """Seconds into the recording."""
        return self.start + len(self.samples) / LISTEN_RATE


class Segmenter:
    """Takes a recording piece by piece and gives back its segments, none longer than `max_s` seconds.

    Speech that does not pause is cut where it is quietest in the segment's second half.
    """

    def __init__(self, activity: VoiceActivity, max_s: float) -> None:
        self._activity = activity
        self._max_s = max_s
        self._kept: Samples = np.zeros(0, np.int16)
        self._kept_from = 0
        """Position of the first sample in `_kept`."""
        self._now = 0.0
        self._frames: list[VoiceFrame] = []
        """Of the segment that is open."""
        self._begin: float | None = None
        self._spoken_until = 0.0
        self._cut_at = 0.0
        """Nothing before it may be used again."""

    def push(self, samples: Samples) -> list[Segment]:
        """Take int16 at `LISTEN_RATE`, shape (n,), any n; the segments that are complete now."""
        self._kept = np.concatenate([self._kept, samples])
        found: list[Segment] = []
        for frame in self._activity.push(samples):
            found += self._judge(frame)
        if self._begin is None:
            self._forget(self._now - 2 * LEAD_S)
        return found

    def finish(self) -> list[Segment]:
        """The recording is over: the last segment, if one is open."""
        if self._begin is None:
            return []
        return self._close(self._end_s(self._kept_from + len(self._kept)))

    # -- inside

    def _judge(self, frame: VoiceFrame) -> list[Segment]:
        before, self._now = self._now, frame.time
        if self._begin is None:
            if frame.probability < _BEGIN:
                return []
            self._begin = max(self._cut_at, before - LEAD_S)
        self._frames.append(frame)
        if frame.probability >= _GO_ON:
            self._spoken_until = frame.time
        pause, length = frame.time - self._spoken_until, frame.time - self._begin
        if pause >= (CLAUSE_PAUSE_S if length >= LONG_S else SENTENCE_PAUSE_S):
            return self._close(min(frame.time, self._spoken_until + LEAD_S))
        if length >= self._max_s - 0.1:
            return self._cut_in_two()
        return []

    def _cut_in_two(self) -> list[Segment]:
        later = self._frames[len(self._frames) // 2 :]
        quietest = min(later, key=lambda frame: (round(frame.level_db), -frame.time))
        rest = [frame for frame in self._frames if frame.time > quietest.time]
        spoken_until = self._spoken_until
        segments = self._close(quietest.time)
        self._begin, self._frames, self._spoken_until = quietest.time, rest, max(spoken_until, quietest.time)
        return segments

    def _close(self, end: float) -> list[Segment]:
        assert self._begin is not None
        frames, begin = self._frames, self._begin
        self._frames, self._begin, self._cut_at = [], None, end
        start = round(begin * LISTEN_RATE)
        samples = self._kept[start - self._kept_from : round(end * LISTEN_RATE) - self._kept_from]
        spoken = [frame for frame in frames if frame.probability >= _GO_ON and frame.time <= end]
        segments = []
        if len(frames) and len(spoken) * frames_s(frames, begin) >= MIN_SPEECH_S:
            segments.append(Segment(samples.copy(), begin))
        self._forget(end)
        return segments

    def _end_s(self, position: int) -> float:
        return min(position / LISTEN_RATE, self._spoken_until + LEAD_S)

    def _forget(self, before: float) -> None:
        """Drop what lies before that time."""
        count = min(len(self._kept), round(before * LISTEN_RATE) - self._kept_from)
        if count > 0:
            self._kept = self._kept[count:]
            self._kept_from += count


def frames_s(frames: list[VoiceFrame], begin: float) -> float:
    """Seconds per frame."""
    return frames[1].time - frames[0].time if len(frames) > 1 else frames[0].time - begin
