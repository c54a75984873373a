"""The speech queue of one avatar on its media clock.

Speech is queued as PCM with viseme frames; the audio track pulls samples, the video track asks for the
mouth at a media time. Nothing rendered is queued, so clearing the queue silences the avatar at once.
All methods run on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from avatar.lipsync.mouth import mouth_between
from core.frames import (
    AUDIO_FRAME,
    MEDIA_RATE,
    VISEME_RATE,
    Activity,
    FaceCue,
    MouthShape,
    Progress,
    Samples,
    VisemeFrames,
)
from core.stages import StageListener

MAX_QUEUED_S = 20.0
"""A writer waits while this much speech is queued."""
KEEP_PLAYED_S = 1.0
"""Played speech is kept this long for pictures that are drawn late."""
FADE = MEDIA_RATE // 200
"""Samples (5 ms) over which a cleared queue fades, so that it does not click."""
MOUTH_WINDOW_S = (-0.02, 0.02)
"""The part of the speech around a picture's timestamp that its mouth shows."""
SILENCE_DB = -100.0
FPS = 25
"""Pictures per second."""
PICTURE = MEDIA_RATE // FPS
"""Media samples per picture."""


@dataclass(frozen=True, slots=True)
class Speech:
    """A queued piece: `samples` at `MEDIA_RATE`, `visemes` covering them, and the utterance it belongs to."""

    reply_id: str
    utterance: int
    text: str
    samples: Samples
    visemes: VisemeFrames
    first: bool = False
    last: bool = False


@dataclass(slots=True)
class _Placed:
    speech: Speech
    start: int
    announced: bool = False
    end: int = 0

    def __post_init__(self) -> None:
        self.end = self.start + len(self.speech.samples)


class SpeechStage:
    """Queue, mixer and timeline of one avatar."""

    def __init__(self, listener: StageListener) -> None:
        self._listener = listener
        self._timeline: deque[_Placed] = deque()
        self._cursor = 0
        self._tail = 0
        self._reply_id = ""
        self._reply_start: int | None = None
        self._ended = 0
        self._drained = asyncio.Event()
        self._drained.set()
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._activity = Activity.IDLE
        self._rest = MouthShape()
        self.underruns = 0
        """How often speech ran dry inside an utterance (the synthesizer was slower than real time)."""

    # -- writing

    def open(self, reply_id: str) -> None:
        """Accept pieces of this reply only; pieces of others are dropped when they arrive."""
        self._reply_id = reply_id
        self._reply_start = None
        self._ended = 0

    def put(self, speech: Speech) -> bool:
        """Queue a piece behind the others. False when it belongs to a reply that is no longer wanted."""
        if speech.reply_id != self._reply_id:
            return False
        start = max(self._tail, self._cursor)
        if start > self._tail and not speech.first and self._reply_start is not None and len(speech.samples):
            self.underruns += 1
        self._timeline.append(_Placed(speech, start))
        self._tail = start + len(speech.samples)
        self._drained.clear()
        if self.queued_seconds >= MAX_QUEUED_S:
            self._roomy.clear()
        return True

    async def room(self) -> None:
        """Wait until another piece may be queued."""
        await self._roomy.wait()

    async def drained(self) -> None:
        """Wait until everything queued has been played or cleared."""
        await self._drained.wait()

    def clear(self) -> Progress:
        """Silence now. Returns how far the reply had come; later pieces of it are refused."""
        heard = self._heard()
        tail = self._samples(self._cursor, FADE)
        self._timeline = deque(p for p in self._timeline if p.end <= self._cursor)
        self._tail = self._cursor
        self._reply_id = ""
        if tail.any():
            ramp = np.linspace(1.0, 0.0, FADE, dtype=np.float32)
            faded = Speech("", 0, "", (tail * ramp).astype(np.int16), np.zeros((0, 15), np.float32))
            self._timeline.append(_Placed(faded, self._cursor, announced=True))
            self._tail += FADE
        self._drained.set()
        self._roomy.set()
        return heard

    @property
    def speaking(self) -> bool:
        """Whether sound is queued or playing."""
        return self._tail > self._cursor

    @property
    def queued_seconds(self) -> float:
        """Seconds of speech not yet played."""
        return max(0, self._tail - self._cursor) / MEDIA_RATE

    # -- playing

    def read(self, position: int) -> Samples:
        """The next `AUDIO_FRAME` samples, for the audio track; `position` is their place on the media clock."""
        samples = self._samples(position, AUDIO_FRAME)
        self._cursor = position + AUDIO_FRAME
        self._announce(position)
        keep = position - int(KEEP_PLAYED_S * MEDIA_RATE)
        while self._timeline and self._timeline[0].end < keep and self._timeline[0].announced:
            self._timeline.popleft()
        if self.queued_seconds < MAX_QUEUED_S:
            self._roomy.set()
        if not self.speaking:
            self._drained.set()
        return samples

    def cue(self, time: float) -> FaceCue:
        """What the face shows at media time `time` (seconds)."""
        frames, samples = self._around(time)
        if len(frames):
            self._rest = mouth_between(frames)
        else:
            self._rest = _relaxed(self._rest)
        activity = Activity.SPEAKING if len(frames) else self._activity
        return FaceCue(time=time, mouth=self._rest, activity=activity, loudness=_rms(samples))

    def show(self, activity: Activity) -> None:
        """What the avatar is doing while it does not speak."""
        self._activity = activity

    def recent_level_db(self) -> float:
        """Level of the last 40 ms that were played, in dBFS; `SILENCE_DB` for silence."""
        rms = _rms(self._samples(self._cursor - 2 * AUDIO_FRAME, 2 * AUDIO_FRAME))
        return 20 * math.log10(rms) if rms > 1e-5 else SILENCE_DB

    def next_position(self) -> int:
        """Where tracks of a new connection begin: the first whole picture after what was played."""
        return -(-self._cursor // PICTURE) * PICTURE

    # -- inside

    def _samples(self, position: int, count: int) -> Samples:
        out = np.zeros(count, np.int16)
        end = position + count
        for placed in self._timeline:
            if placed.start >= end:
                break  # the timeline is in order: nothing queued further ahead matters now
            lo, hi = max(position, placed.start), min(end, placed.end)
            if lo < hi:
                out[lo - position : hi - position] = placed.speech.samples[lo - placed.start : hi - placed.start]
        return out

    def _around(self, time: float) -> tuple[VisemeFrames, Samples]:
        lo = int((time + MOUTH_WINDOW_S[0]) * MEDIA_RATE)
        hi = int((time + MOUTH_WINDOW_S[1]) * MEDIA_RATE)
        step = MEDIA_RATE // VISEME_RATE
        rows = []
        for placed in self._timeline:
            if placed.start >= hi:
                break
            if placed.end > lo and len(placed.speech.visemes):
                first = max(0, (lo - placed.start) // step)
                last = max(first + 1, -((placed.start - hi) // step))
                rows.append(placed.speech.visemes[first:last])
        frames = np.concatenate(rows) if rows else np.zeros((0, 15), np.float32)
        return frames, self._samples(lo, hi - lo)

    def _announce(self, position: int) -> None:
        for placed in self._timeline:
            if placed.start >= self._cursor:
                break
            speech = placed.speech
            if not placed.announced:
                placed.announced = True
                if self._reply_start is None:
                    self._reply_start = placed.start
                if speech.first:
                    at = (placed.start - self._reply_start) / MEDIA_RATE
                    self._listener.utterance_started(speech.reply_id, speech.utterance, speech.text, at)
                    if speech.reply_id != self._reply_id:
                        break
            if speech.last and placed.end <= self._cursor and self._ended <= speech.utterance:
                self._ended = speech.utterance + 1
                self._listener.utterance_ended(speech.reply_id, speech.utterance, speech.text)

    def _heard(self) -> Progress:
        current = [p for p in self._timeline if p.speech.reply_id and p.speech.utterance == self._ended]
        if not current:
            return Progress(self._ended, 0.0)
        start, end = current[0].start, current[-1].end
        fraction = (self._cursor - start) / (end - start) if end > start else 1.0
        return Progress(self._ended, min(1.0, max(0.0, fraction)))


def _rms(samples: Samples) -> float:
    if not len(samples):
        return 0.0
    wide = samples.astype(np.float32)
    return float(math.sqrt(float(np.dot(wide, wide)) / len(wide))) / 32768.0


def _relaxed(mouth: MouthShape) -> MouthShape:
    # speech that stops without its own ending (an interruption) lets the mouth fall shut over three pictures
    if mouth.jaw_open < 0.01 and mouth.stretch < 0.01 and mouth.pucker < 0.01 and mouth.funnel < 0.01:
        return MouthShape()
    keep = 0.4
    return MouthShape(
        jaw_open=mouth.jaw_open * keep,
        close=mouth.close * keep,
        press=mouth.press * keep,
        funnel=mouth.funnel * keep,
        pucker=mouth.pucker * keep,
        stretch=mouth.stretch * keep,
        roll_lower=mouth.roll_lower * keep,
        tongue_up=mouth.tongue_up * keep,
        teeth=mouth.teeth * keep,
    )
