"""Viseme posteriors of speech as it comes: features, then the network, then its delay taken out."""

from __future__ import annotations

import numpy as np

from avatar.lipsync.features import BEFORE, HOP, LogMelStream, silence
from avatar.lipsync.network import LOOK_AHEAD_FRAMES, STEP, Network
from core.frames import LISTEN_RATE, VISEME_RATE, VISEMES, Samples, VisemeFrames

LOOK_AHEAD = (LOOK_AHEAD_FRAMES + STEP - 1) / VISEME_RATE + BEFORE / LISTEN_RATE
"""Seconds of sound after a frame's end that must have come before the frame is returned, at most."""


class PosteriorStream:
    """Posteriors of one piece of sound. Row i belongs to the hop from sample 160 i to 160 (i + 1)."""

    def __init__(self, network: Network) -> None:
        self._mel = LogMelStream()
        self._network = network.open()
        self._samples = 0
        self._returned = 0
        self._early = LOOK_AHEAD_FRAMES

    def feed(self, samples: Samples) -> VisemeFrames:
        """Take int16 samples, shape (n,), at `LISTEN_RATE`; posteriors, shape (m, 15), of what is decided."""
        self._samples += len(samples)
        return self._take(self._network.feed(self._mel.feed(samples)))

    def finish(self) -> VisemeFrames:
        """The rest; ceil(seconds * VISEME_RATE) rows in all. Silence is taken to follow."""
        missing = -(-self._samples // HOP) - self._returned
        rest = np.concatenate((self._mel.finish(), silence(LOOK_AHEAD_FRAMES + STEP)))
        return self._take(self._network.feed(rest))[:missing]

    def _take(self, log_posteriors: VisemeFrames) -> VisemeFrames:
        skipped = min(self._early, len(log_posteriors))
        self._early -= skipped
        rows = np.exp(log_posteriors[skipped:])
        self._returned += len(rows)
        return np.asarray(rows, np.float32) if len(rows) else np.zeros((0, len(VISEMES)), np.float32)
