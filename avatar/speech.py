"""Speech on its way to be played: the pieces that are queued, their place on the media clock, and sums of sound."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from core.acts import Act
from core.frames import MEDIA_RATE, VISEME_RATE, Samples, VisemeFrames

FADE = MEDIA_RATE // 200
"""Samples (5 ms) over which sound fades in and out, so that it does not click."""
STEP = MEDIA_RATE // VISEME_RATE
"""Samples of one viseme frame."""


@dataclass(frozen=True, slots=True)
class Speech:
    """A queued piece: `samples` at `MEDIA_RATE`, `visemes` covering them, and the utterance it belongs to.

    Live sound does not wait for its lips: its pieces, whole rows but for the last, come without, and get them later.
    """

    reply_id: str
    utterance: int
    text: str
    samples: Samples
    visemes: VisemeFrames
    first: bool = False
    last: bool = False
    acts: tuple[Act, ...] = ()
    """What the face does in this utterance; on its first piece."""
    offset: int = 0
    """Samples of the utterance before this piece; set by the stage."""

    def with_lips(self, first: int, rows: VisemeFrames) -> Speech:
        """With what it lacked of the utterance's rows, of which these are the ones from number `first` on."""
        begin = self.offset // STEP
        missing, end = begin + len(self.visemes), begin - (-len(self.samples) // STEP)
        more = rows[missing - first : max(0, end - first)] if missing >= first else rows[:0]
        return replace(self, visemes=np.concatenate((self.visemes, more))) if len(more) else self


@dataclass(slots=True)
class Placed:
    """A piece and the sample of the media clock at which it begins."""

    speech: Speech
    start: int
    announced: bool = False
    told: int = 0
    """So many rows of its lips were told."""
    end: int = 0

    def __post_init__(self) -> None:
        self.end = self.start + len(self.speech.samples)

    def split(self, cut: int, cursor: int) -> tuple[Placed | None, Speech | None]:
        """What was played before `cursor`, and what is to be played again or for the first time, from `cut` on."""
        if self.end <= cut or not self.speech.reply_id:
            return self, None
        if self.start >= cursor:
            return None, self.speech
        rows = max(0, cut - self.start) // STEP  # sound and lips stay together
        speech, count = self.speech, cursor - self.start
        before = replace(
            speech, samples=speech.samples[:count], visemes=speech.visemes[: -(-count // STEP)], last=False
        )
        again = replace(
            speech,
            samples=speech.samples[rows * STEP :],
            visemes=speech.visemes[rows:],
            first=False,
            acts=(),
            offset=speech.offset + rows * STEP,
        )
        return Placed(before, self.start, announced=self.announced, told=min(self.told, len(before.visemes))), again


def added(one: Samples, other: Samples) -> Samples:
    """The sum of two sounds of one length, limited to what 16 bits hold."""
    return np.asarray(np.clip(one.astype(np.int32) + other, -32768, 32767), np.int16)


def faded_in(samples: Samples) -> Samples:
    """The same, beginning softly."""
    ramp = np.ones(len(samples), np.float32)
    ramp[:FADE] = np.linspace(0.0, 1.0, FADE, dtype=np.float32)[: len(samples)]
    return (samples * ramp).astype(np.int16)


def rms(samples: Samples) -> float:
    """Loudness as a share of full scale."""
    if not len(samples):
        return 0.0
    wide = samples.astype(np.float32)
    return float(math.sqrt(float(np.dot(wide, wide)) / len(wide))) / 32768.0
