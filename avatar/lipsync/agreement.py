"""Whether a text is what one hears: follows how well the sounds of the text explain those of the audio model."""

from __future__ import annotations

import math

import numpy as np

from core.frames import VISEMES, VisemeFrames

_SIL = VISEMES.index("sil")
_FLOOR = 0.02
_MEMORY = 60.0
"""Frames of speech after which a frame counts 1/e (0.6 s)."""
_TRUSTED, _REFUSED = -1.0, -1.5
"""Below the second the text is left, above the first it is taken up again."""
_START = -0.8
_TURN = 1 / 12
"""Frames from one source of the mouth to the other: 120 ms, so that the change is a movement and not a jump."""


class Agreement:
    """Score and trust, frame by frame.

    The score of a frame is ln of the probability that the audio model gives what the text expects, relative to what
    it gives its own favourite; only frames with speech in them count.
    """

    def __init__(self) -> None:
        self.score = _START
        self._agreed = True
        self._trust = 1.0

    def of(self, expected: VisemeFrames, heard: VisemeFrames) -> tuple[list[float], list[float]]:
        """Score and trust (0..1) at each of n frames; both arguments have shape (n, 15)."""
        chance = np.einsum("ij,ij->i", expected, heard)
        ratios = np.log((chance + _FLOOR) / (heard.max(axis=1) + _FLOOR)).tolist()
        spoken = (1 - np.minimum(expected[:, _SIL], heard[:, _SIL])).tolist()
        scores, trusts = [], []
        for ratio, speech in zip(ratios, spoken, strict=True):
            self.score += (1 - math.exp(-speech / _MEMORY)) * (ratio - self.score)
            if self._agreed:
                self._agreed = self.score > _REFUSED
            else:
                self._agreed = self.score > _TRUSTED
            self._trust = min(1.0, max(0.0, self._trust + (_TURN if self._agreed else -_TURN)))
            scores.append(self.score)
            trusts.append(self._trust)
        return scores, trusts
