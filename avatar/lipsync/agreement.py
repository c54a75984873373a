"""Whether a text is what one hears: follows how well the sounds of the text explain those of the audio model."""

from __future__ import annotations

from collections.abc import Sequence

_BEFORE, _BEFORE_COUNT = -0.42, 30.0
"""Score of a text of which nothing was heard yet, and the frames of speech that it counts as much as."""
_MEMORY = 150.0
"""Frames of speech (1.5 s) over which the score is a mean; further on the older ones fade."""
_TRUSTED, _REFUSED = -0.48, -0.55
"""Below the second the text is left, above the first it is taken up again."""
_TURN = 1 / 12
"""Per frame from one source of the mouth to the other: in 120 ms, so that the change is a movement and not a jump."""


class Agreement:
    """Score and trust, frame by frame: the mean of the evidence (`alignment.Aligned`) in frames of speech."""

    def __init__(self) -> None:
        self.score = _BEFORE
        self._count = _BEFORE_COUNT
        self._agreed = True
        self._trust = 1.0

    def of(self, evidence: Sequence[float], speech: Sequence[float]) -> tuple[list[float], list[float]]:
        """Score and trust (0..1) at each of n frames. `speech`: how surely each is no silence, 0..1."""
        scores, trusts = [], []
        for found, share in zip(evidence, speech, strict=True):
            self._count = min(self._count + share, _MEMORY)
            self.score += share / self._count * (found - self.score)
            self._agreed = self.score > (_REFUSED if self._agreed else _TRUSTED)
            self._trust = min(1.0, max(0.0, self._trust + (_TURN if self._agreed else -_TURN)))
            scores.append(self.score)
            trusts.append(self._trust)
        return scores, trusts
