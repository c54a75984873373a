"""Viseme posteriors of speech as it comes: features, then the network, its delay taken out, loudness considered."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.features import BEFORE, HOP, LogMelStream, silence
from avatar.lipsync.gate import AHEAD, Presence, SpeechGate
from avatar.lipsync.network import LOOK_AHEAD_FRAMES, STEP, Network
from core.frames import LISTEN_RATE, VISEME_RATE, VISEMES, Samples, VisemeFrames

LOOK_AHEAD = (LOOK_AHEAD_FRAMES + STEP - 1) / VISEME_RATE + BEFORE / LISTEN_RATE
"""Seconds of sound after a frame's end that must have come before the frame is returned, at most."""
assert AHEAD <= LOOK_AHEAD_FRAMES, "the gate must never make the network wait"
_TAKEN = 0.98
"""Share of the network's silence that goes where the sound is too loud for it: it takes people's fading vowels for
silence."""
FAVOURED = 1.3
"""Weight of p, b and m: lips that stay open are the worse mistake, and on voices kept apart it costs no accuracy."""
_SIL, _PP = VISEMES.index("sil"), VISEMES.index("PP")
_WEIGHTS: NDArray[np.float32] = np.ones(len(VISEMES), np.float32)
_WEIGHTS[_PP] = FAVOURED


class Heard(NamedTuple):
    """Decided frames: posteriors, shape (n, 15), and of each whether there may be speech, 0..1 (`gate.py`)."""

    rows: VisemeFrames
    may: list[float]


class PosteriorStream:
    """Posteriors of one piece of sound. Row i belongs to the hop from sample 160 i to 160 (i + 1)."""

    def __init__(self, network: Network) -> None:
        self._mel = LogMelStream()
        self._network = network.open()
        self._gate = SpeechGate()
        self._may: list[float] = []
        self._must: list[float] = []
        self._samples = 0
        self._returned = 0
        self._early = LOOK_AHEAD_FRAMES

    def feed(self, samples: Samples) -> VisemeFrames:
        """Take int16 samples, shape (n,), at `LISTEN_RATE`; posteriors, shape (m, 15), of what is decided."""
        return self.hear(samples).rows

    def finish(self) -> VisemeFrames:
        """The rest; ceil(seconds * VISEME_RATE) rows in all. Silence is taken to follow."""
        return self.conclude().rows

    def hear(self, samples: Samples) -> Heard:
        """As `feed`, with the gate."""
        self._samples += len(samples)
        audio = samples.astype(np.float32)
        return self._take(self._network.logits(self._mel.feed(audio)), self._gate.feed(audio))

    def conclude(self) -> Heard:
        """As `finish`, with the gate."""
        missing = -(-self._samples // HOP) - self._returned
        rest = np.concatenate((self._mel.finish(), silence(LOOK_AHEAD_FRAMES + STEP)))
        heard = self._take(self._network.logits(rest)[: self._early + missing], self._gate.finish())
        return Heard(heard.rows[:missing], heard.may[:missing])

    def _take(self, logits: VisemeFrames, presence: Presence) -> Heard:
        may, must = self._may + presence.may, self._must + presence.must
        if self._early:
            skipped = min(self._early, len(logits))
            self._early -= skipped
            logits = logits[skipped:]
        count = len(logits)
        self._returned += count
        self._may, self._must = may[count:], must[count:]
        rows: VisemeFrames = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
        np.exp(rows, out=rows)
        rows *= _WEIGHTS
        silence = rows[:, _SIL]
        silence *= [1 - _TAKEN * sure for sure in must[:count]]
        rows /= np.add.reduce(rows, axis=1, keepdims=True)
        return Heard(rows, may[:count])
