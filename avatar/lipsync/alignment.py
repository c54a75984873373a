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
from avatar.lipsync.lattice import Lattice
from core.frames import VISEME_RATE, VISEMES

BLOCK = 4
"""Frames that are decided together."""
LAG = 12
"""Frames after the last one of a block that are heard before it is decided."""
BEAM = 128
"""States that are followed at once, about 42 sounds; the beam moves on when its first half is left."""
_LEFT = 1e-4
"""Probability below which the first half counts as left."""
_BOUND_S = 0.10
"""A word begins at most this much before or after the time that the voice gives for it."""
_SHARPNESS = 0.35
"""Exponent of the audio model's likelihoods: neighbouring frames hear much the same."""
_FLOOR = 0.05
"""Likelihood of hearing anything at all in a state; the audio model is often sure and wrong."""

_SIL = VISEMES.index("sil")

Floats = NDArray[np.float32]

PRIOR: Floats = np.array(
    [0.44, 0.08, 0.03, 0.016, 0.09, 0.06, 0.034, 0.09, 0.096, 0.05, 0.11, 0.06, 0.14, 0.05, 0.06], np.float32
)
"""How often the audio model hears each viseme in speech; silence counts more, since weak sounds are taken for it."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """What the text says of some frames. `visemes`, shape (n, 15): expected viseme, rows sum to 1; `ended`, shape (n,):
    how surely the text is over; `score` and `trust`, shape (n,): see `agreement.Agreement`, by all that was heard
    when they were decided."""

    visemes: Floats
    ended: Floats
    score: Floats
    trust: Floats


@dataclass(frozen=True, slots=True)
class _Heard:
    """Of one frame: forward probabilities and likelihoods of the beam's states."""

    alpha: Floats
    likelihood: Floats


class Alignment:
    """Follows one utterance. Memory is bounded by beam and lag, whatever the lengths of text and sound."""

    def __init__(self, lattice: Lattice, prior: Floats) -> None:
        """`prior`, shape (15,): how frequent each viseme was in the audio model's training."""
        self._lattice = lattice
        self._prior = prior
        self._agreement = Agreement()
        self._frame = 0
        self._bounds: deque[tuple[float, int]] = deque()
        """Time in seconds and first state of the words to come, in order."""
        self._first_state = 0
        self._past: deque[_Heard] = deque()
        """The undecided frames."""
        self._low = 0
        self._look(0)
        self._alpha = np.zeros(len(self._visemes), np.float32)
        self._alpha[0] = 1.0

    def bound(self, word: int, seconds: float) -> None:
        """Word number `word` of the lattice begins at about `seconds`; words come in order, ahead of their sound."""
        states = np.flatnonzero(self._lattice.word >= word)
        if len(states):
            self._bounds.append((seconds, int(states[0])))

    def feed(self, posteriors: Floats) -> Aligned:
        """Take posteriors of the audio model, shape (n, 15); the frames that are decided now, in whole blocks."""
        decided: list[Aligned] = []
        at = 0
        while at < len(posteriors):
            taken = posteriors[at : at + BLOCK + LAG - len(self._past)]
            self._advance(taken)
            at += len(taken)
            if len(self._past) == BLOCK + LAG:
                decided.append(self._decide(BLOCK))
                self._move_on()
        return _joined(decided)

    def finish(self) -> Aligned:
        """The rest."""
        return self._decide(len(self._past)) if self._past else _joined([])

    def _look(self, low: int) -> None:
        """Set the beam to the states from `low` on."""
        net = self._lattice
        high = min(low + BEAM, len(net))
        self._low = low
        self._transitions = net.transitions(low, high)
        self._visemes = net.visemes[low:high]
        # each row: likelihood of the state for one frame = row · posterior
        self._emission = self._visemes / self._prior
        self._last = len(net) - 1 - low

    def _advance(self, posteriors: Floats) -> None:
        """The forward recursion over some frames."""
        likelihoods = np.asarray((posteriors @ self._emission.T + _FLOOR) ** _SHARPNESS, np.float32)
        tops = likelihoods.max(axis=1)
        # the largest is 1: the backward recursion needs no other scaling over so few frames
        likelihoods /= tops[:, None]
        shares = tops / ((posteriors / self._prior).max(axis=1) + _FLOOR) ** _SHARPNESS
        speech = 1 - posteriors[:, _SIL]
        for likelihood, share, spoken in zip(likelihoods, shares.tolist(), speech.tolist(), strict=True):
            evidence = self._step(likelihood, share)
            self._agreement.hear(evidence, spoken)

    def _step(self, likelihood: Floats, share: float) -> float:
        """One frame; `share`: the best likelihood of the beam's states relative to the best that there could be.

        Gives the evidence for the text: ln of how likely the frame was, coming from those before it, relative to the
        best that any text could have made of it.
        """
        reached: Floats = self._alpha @ self._transitions if self._frame else self._alpha
        alpha = reached * likelihood
        total = float(alpha.sum())
        evidence = math.log(max(total * share, 1e-6))
        allowed = self._allowed()
        if allowed is not None and (within := alpha * allowed).sum() > _LEFT * total:
            alpha, likelihood, total = within, likelihood * allowed, float(within.sum())
        # nothing that the beam holds explains this frame: stay where we were
        self._alpha = alpha / total if total > 1e-30 else self._alpha
        self._past.append(_Heard(self._alpha, likelihood))
        self._frame += 1
        return evidence

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
        beta = np.ones(len(self._alpha), np.float32)
        occupancy = [self._past[-1].alpha] if count == len(self._past) else []
        for index in range(len(self._past) - 2, -1, -1):
            beta = self._transitions @ (self._past[index + 1].likelihood * beta)
            if index < count:
                occupancy.append(self._past[index].alpha * beta)
        for _ in range(count):
            self._past.popleft()
        shares = np.stack(occupancy[::-1])
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-30)
        ended = shares[:, self._last] if self._last < shares.shape[1] else np.zeros(count, np.float32)
        score = np.full(count, self._agreement.score, np.float32)
        return Aligned(shares @ self._visemes, ended, score, np.array(self._agreement.trust(count), np.float32))

    def _move_on(self) -> None:
        """Shift the beam when no undecided frame may still lie in its first half."""
        half = BEAM // 2
        if self._last < BEAM or any(float(heard.alpha[:half].sum()) > _LEFT for heard in self._past):
            return
        self._look(self._low + half)
        grown = len(self._visemes)
        for _ in range(len(self._past)):
            heard = self._past.popleft()
            alpha = _shifted(heard.alpha, half, grown)
            self._past.append(_Heard(alpha / alpha.sum(), _shifted(heard.likelihood, half, grown)))
        self._alpha = self._past[-1].alpha


def _shifted(values: Floats, by: int, size: int) -> Floats:
    """`values` without the first `by`, padded with zeros to `size`."""
    out = np.zeros(size, np.float32)
    out[: len(values) - by] = values[by:]
    return out


def _joined(parts: list[Aligned]) -> Aligned:
    none = np.zeros(0, np.float32)
    parts = [Aligned(np.zeros((0, len(VISEMES)), np.float32), none, none, none), *parts]
    return Aligned(
        np.concatenate([part.visemes for part in parts]),
        np.concatenate([part.ended for part in parts]),
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.trust for part in parts]),
    )
