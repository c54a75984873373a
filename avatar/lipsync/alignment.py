"""Where in a text the speaker is: a fixed-lag smoother over the lattice of its sounds.

The forward-backward recursions of a hidden Markov model (Rabiner 1989, "A tutorial on hidden Markov models"), the
backward one from `LAG` frames ahead only. Against a Viterbi path it keeps the doubt about a boundary, so that the
mouth glides over it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.agreement import Agreement
from avatar.lipsync.lattice import Lattice, Transitions
from core.frames import VISEME_RATE, VISEMES

Floats = NDArray[np.float32]

BLOCK = 4
"""Frames that are decided together."""
LAG = 12
"""Frames after the last one of a block that are heard before it is decided."""
BEAM = 128
"""States that are followed at once, about 42 sounds; the beam moves on when its first half is left."""
_AT_ONCE = 20
"""Frames between two looks whether the beam can move on: fewer sounds than its second half has."""
_LEAST: Floats = np.array(1e-30, np.float32)
"""Less than this is nothing."""
_LEFT = 1e-4
"""Probability below which the first half counts as left."""
_BOUND_S = 0.10
"""A word begins at most this much before or after the time that the voice gives for it."""
_SHARPNESS: Floats = np.array(0.35, np.float32)
"""Exponent of the audio model's likelihoods: neighbouring frames hear much the same."""
_FLOOR: Floats = np.array(0.05, np.float32)
"""Likelihood of hearing anything at all in a state; the audio model is often sure and wrong."""

_SIL = VISEMES.index("sil")

_ONES: Floats = np.ones((BEAM, 1), np.float32)
_FIRST_HALF: Floats = np.repeat(np.array([1, 0], np.float32), BEAM // 2)

PRIOR: Floats = np.array(
    [0.44, 0.08, 0.03, 0.016, 0.09, 0.06, 0.034, 0.09, 0.096, 0.05, 0.11, 0.06, 0.14, 0.05, 0.06], np.float32
)
"""How often the audio model hears each viseme in speech; silence counts more, since weak sounds are taken for it."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """What the text says of some frames. `visemes`, shape (n, 15): expected viseme, rows sum to 1; of each frame
    `ended`: how surely the text is over; `score` and `trust`: see `agreement.Agreement`, by all that was heard when
    they were decided."""

    visemes: Floats
    ended: list[float]
    score: list[float]
    trust: list[float]


class Alignment:
    """Follows one utterance. Memory is bounded by beam and lag, whatever the lengths of text and sound."""

    def __init__(self, lattice: Lattice, prior: Floats) -> None:
        """`prior`, shape (15,): how frequent each viseme was in the audio model's training."""
        self._lattice = lattice
        self._per_prior = 1 / prior
        self._all_visemes = np.pad(lattice.visemes, ((0, BEAM), (0, 0)))
        self._all_emissions = self._all_visemes * self._per_prior
        """Each row: likelihood of the state for one frame = posterior · row."""
        self._agreement = Agreement()
        self._frame = 0
        self._bounds: deque[tuple[float, int]] = deque()
        """Time in seconds and first state of the words to come, in order."""
        self._first_state = 0
        self._alphas = np.zeros((BLOCK + LAG, BEAM), np.float32)
        """Of the undecided frames, of which there are `_count`: forward probabilities of the beam's states."""
        self._likelihoods = np.zeros((BLOCK + LAG + _AT_ONCE, BEAM), np.float32)
        """How likely these frames sound in each state, and those that were heard after them, `_heard` in all."""
        self._betas = np.ones((BLOCK + LAG, BEAM), np.float32)
        """Of the undecided frames: the backward probabilities."""
        # Views, made once: making one takes half as long as computing with it.
        self._flat_alphas, self._flat_likelihoods = self._alphas.reshape(-1), self._likelihoods.reshape(-1)
        self._alpha_rows, self._likelihood_rows = list(self._alphas), list(self._likelihoods)
        betas = list(self._betas)
        self._back = list(zip(self._likelihood_rows[1 : BLOCK + LAG], betas[1:], betas, strict=False))[::-1]
        """The steps of the backward recursion, last frame first: its likelihoods, its probabilities, those before."""
        self._count = self._heard = 0
        self._reached = np.zeros(BEAM, np.float32)
        self._total = np.zeros(1, np.float32)
        self._low = 0
        # Changed in place where the beam moves on: new ones would be cold in the processor's cache.
        self._beam = Transitions(lattice, BEAM)
        self._transitions = self._beam.matrix
        self._emission = np.empty((len(VISEMES), BEAM), np.float32)
        self._look(0)
        self._alpha = np.zeros(BEAM, np.float32)
        self._alpha[0] = 1.0

    def bound(self, word: int, seconds: float) -> None:
        """Word number `word` of the lattice begins at about `seconds`; words come in order, ahead of their sound."""
        states = np.flatnonzero(self._lattice.word >= word)
        if len(states):
            self._bounds.append((seconds, int(states[0])))

    def feed(self, posteriors: Floats) -> Aligned:
        """Take posteriors of the audio model, shape (n, 15); the frames that are decided now, in whole blocks."""
        decided: list[Aligned] = []
        for start in range(0, len(posteriors), _AT_ONCE):
            self._move_on()
            for spoken in self._evidence(posteriors[start : start + _AT_ONCE]):
                self._step(spoken)
                if self._count == BLOCK + LAG:
                    decided.append(self._decide(BLOCK))
        return decided[0] if len(decided) == 1 else _joined(decided)

    def finish(self) -> Aligned:
        """The rest."""
        return self._decide(self._count) if self._count else _joined([])

    def _look(self, low: int) -> None:
        """Set the beam to the states from `low` on; where the text has fewer, the last ones are never reached."""
        self._low = low
        self._beam.look(low)
        self._visemes = self._all_visemes[low : low + BEAM]
        np.copyto(self._emission, self._all_emissions[low : low + BEAM].T)
        self._last = len(self._lattice) - 1 - low

    def _evidence(self, posteriors: Floats) -> list[float]:
        """Hear frames, shape (n, 15): what they say of the beam's states, relative to the best that any state could
        make of them; how surely each is no silence."""
        likelihoods = self._likelihoods[self._heard : self._heard + len(posteriors)]
        self._heard += len(posteriors)
        posteriors.dot(self._emission, out=likelihoods)
        likelihoods += _FLOOR
        best = np.maximum.reduce(posteriors * self._per_prior, axis=1, keepdims=True)
        best += _FLOOR
        # at most 1, and 0.07 where they are least: the recursions need no other scaling over so few frames
        likelihoods /= best
        np.power(likelihoods, _SHARPNESS, out=likelihoods)
        return [1 - silence for silence in posteriors[:, _SIL].tolist()]

    def _step(self, spoken: float) -> None:
        """One frame of the forward recursion, which was heard; `spoken`: how surely it is no silence.

        The evidence for the text is ln of how likely the frame was, coming from those before it, relative to the best
        that any text could have made of it.
        """
        alpha, likelihood = self._alpha_rows[self._count], self._likelihood_rows[self._count]
        reached = self._alpha.dot(self._transitions, out=self._reached) if self._frame else self._alpha
        np.multiply(reached, likelihood, out=alpha)
        total = float(alpha.dot(_ONES, out=self._total)[0])
        self._agreement.hear(math.log(max(total, 1e-6)), spoken)
        allowed = self._allowed() if self._bounds or self._first_state > self._low else None
        if allowed is not None and (within := alpha * allowed).sum() > _LEFT * total:
            np.copyto(alpha, within)
            likelihood *= allowed
            total = float(alpha.dot(_ONES, out=self._total)[0])
        if total > 1e-30:
            np.divide(alpha, self._total, out=alpha)
        else:  # nothing that the beam holds explains this frame: stay where we were
            np.copyto(alpha, self._alpha)
        self._alpha = alpha
        self._count += 1
        self._frame += 1

    def _allowed(self) -> Floats | None:
        """1 for the states of the beam that the words' times allow now, 0 for the others; None without such times."""
        now = self._frame / VISEME_RATE
        while self._bounds and self._bounds[0][0] + _BOUND_S < now:
            self._first_state = self._bounds.popleft()[1]
        too_late = next((state for seconds, state in self._bounds if seconds - _BOUND_S > now), None)
        if too_late is None and self._first_state <= self._low:
            return None
        allowed = np.ones(len(self._alpha), np.float32)
        allowed[: max(0, self._first_state - self._low)] = 0
        if too_late is not None:
            allowed[max(0, too_late - self._low) :] = 0
        return allowed

    def _decide(self, count: int) -> Aligned:
        """The oldest `count` frames, by what is known of those after them."""
        weighed, transitions = self._reached, self._transitions
        self._betas[self._count - 1].fill(1)
        for likelihood, beta, before in self._back[BLOCK + LAG - self._count :]:
            np.multiply(likelihood, beta, out=weighed)
            transitions.dot(weighed, out=before)
        occupancy: Floats = self._alphas[:count] * self._betas[:count]
        # the rows of `_visemes` sum to 1
        visemes = occupancy.dot(self._visemes)
        totals = np.maximum(np.add.reduce(visemes, axis=1, keepdims=True), _LEAST)
        visemes /= totals
        ended = (occupancy[:, self._last] / totals[:, 0]).tolist() if self._last < BEAM else [0.0] * count
        self._forget(count)
        return Aligned(visemes, ended, [self._agreement.score] * count, self._agreement.trust(count))

    def _forget(self, count: int) -> None:
        """Drop the oldest `count` frames."""
        self._count -= count
        self._heard -= count
        # in one dimension: numpy copies overlapping rows by way of a third array
        for rows, kept in ((self._flat_alphas, self._count * BEAM), (self._flat_likelihoods, self._heard * BEAM)):
            rows[:kept] = rows[count * BEAM : count * BEAM + kept]
        if self._count:
            self._alpha = self._alpha_rows[self._count - 1]

    def _move_on(self) -> None:
        """Shift the beam when no undecided frame may still lie in its first half."""
        if self._last < BEAM or not self._count:
            return
        undecided = self._alphas[: self._count]
        if max(undecided.dot(_FIRST_HALF).tolist()) > _LEFT:
            return
        half = BEAM // 2
        self._look(self._low + half)
        size = self._count * BEAM
        for flat, rows in ((self._flat_alphas, undecided), (self._flat_likelihoods, self._likelihoods[: self._count])):
            flat[: size - half] = flat[half:size]
            rows[:, half:] = 0


def _joined(parts: list[Aligned]) -> Aligned:
    return Aligned(
        np.concatenate([np.zeros((0, len(VISEMES)), np.float32), *(part.visemes for part in parts)]),
        [ended for part in parts for ended in part.ended],
        [score for part in parts for score in part.score],
        [trust for part in parts for trust in part.trust],
    )
