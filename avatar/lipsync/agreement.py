"""Whether a text is what one hears: follows how well the sounds of the text explain those of the audio model."""

from __future__ import annotations

_BEFORE, _BEFORE_COUNT = -0.42, 30.0
"""Score of a text of which nothing was heard yet, and the frames of speech that it counts as much as."""
_MEMORY = 150.0
"""Frames of speech (1.5 s) over which the score is a mean; further on the older ones fade."""
_TRUSTED, _REFUSED = -0.52, -0.62
"""Below the second the text is left, above the first it is taken up again."""
_TURN = 1 / 12
"""Per frame from one source of the mouth to the other: in 120 ms, so that the change is a movement and not a jump."""


class Agreement:
    """Score and trust: the mean of the evidence (see `alignment.Alignment`) in the frames of speech heard so far."""

    def __init__(self) -> None:
        self.score = _BEFORE
        self._count = _BEFORE_COUNT
        self._agreed = True
        self._trust = 1.0

    def hear(self, evidence: float, speech: float) -> None:
        """The next frame; `speech`: how surely it is no silence, 0..1."""
        self._count = min(self._count + speech, _MEMORY)
        self.score += speech / self._count * (evidence - self.score)
        self._agreed = self.score > (_REFUSED if self._agreed else _TRUSTED)

    def trust(self, count: int) -> list[float]:
        """Trust (0..1) in the text at the next `count` frames that are decided, by all that was heard until now."""
        trusts = []
        for _ in range(count):
            self._trust = min(1.0, max(0.0, self._trust + (_TURN if self._agreed else -_TURN)))
            trusts.append(self._trust)
        return trusts
