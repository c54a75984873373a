"""Whether a text is what one hears: follows how well the sounds of the text explain those of the audio model."""

from __future__ import annotations

_INDIFFERENT = -0.60
"""Evidence of a frame that speaks neither for the text nor against it: between those of right texts (-0.3 on average)
and of wrong ones (-1.0)."""
_BEFORE = 4.0
"""Score of a text of which nothing was heard yet: texts are hardly ever wrong."""
_SUREST = 15.0
"""Bound of the score, either way: a text that was right for minutes may go wrong, and is left in half a second."""
_REFUSED, _TRUSTED = 0.0, 2.0
"""Below the first the text is left, above the second it is taken up again."""
_TURN = 1 / 12
"""Per frame from one source of the mouth to the other: in 120 ms, so that the change is a movement and not a jump."""


class Agreement:
    """Score and trust: the evidence (see `alignment.Alignment`) of the frames of speech, summed within bounds.

    A sequential test (Page 1954, "Continuous inspection schemes"): quicker than a mean where a text becomes wrong.
    """

    def __init__(self) -> None:
        self.score = _BEFORE
        self._agreed = True
        self._trust = 1.0

    def hear(self, evidence: float, speech: float) -> None:
        """The next frame; `speech`: how surely it is no silence, 0..1."""
        score = self.score + speech * (evidence - _INDIFFERENT)
        self.score = min(_SUREST, max(-_SUREST, score))
        self._agreed = self.score > (_REFUSED if self._agreed else _TRUSTED)

    def trust(self, count: int) -> list[float]:
        """Trust (0..1) in the text at the next `count` frames that are decided, by all that was heard until now."""
        if self._trust == (1.0 if self._agreed else 0.0):
            return [self._trust] * count
        trusts = []
        for _ in range(count):
            self._trust = min(1.0, max(0.0, self._trust + (_TURN if self._agreed else -_TURN)))
            trusts.append(self._trust)
        return trusts
