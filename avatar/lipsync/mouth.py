"""From viseme weights to the shape of a mouth; pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.frames import VISEMES, MouthShape, VisemeFrames
from core.visemes import blended

SHAPES = ("jaw_open", "close", "press", "funnel", "pucker", "stretch", "roll_lower", "tongue_up", "teeth")
"""The columns of the table, and the fields of `MouthShape`, in order."""

# Amplitudes of conversation, not of singing: an open "aa" is little more than half of what a jaw can do.
_TABLE = {
    #      jaw  close press funnel pucker stretch roll tongue teeth
    "sil": (0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    "PP": (0.06, 1.00, 0.70, 0.00, 0.05, 0.00, 0.00, 0.00, 0.00),
    "FF": (0.08, 0.00, 0.00, 0.00, 0.00, 0.00, 1.00, 0.00, 0.40),
    "TH": (0.23, 0.00, 0.00, 0.00, 0.00, 0.05, 0.00, 1.00, 0.40),
    "DD": (0.22, 0.00, 0.00, 0.00, 0.00, 0.15, 0.00, 0.75, 0.35),
    "kk": (0.32, 0.00, 0.00, 0.00, 0.00, 0.05, 0.00, 0.00, 0.10),
    "CH": (0.14, 0.00, 0.00, 0.60, 0.25, 0.00, 0.00, 0.20, 0.60),
    "SS": (0.10, 0.00, 0.00, 0.00, 0.00, 0.60, 0.00, 0.15, 1.00),
    "nn": (0.18, 0.00, 0.00, 0.00, 0.00, 0.10, 0.00, 0.85, 0.20),
    "RR": (0.18, 0.00, 0.00, 0.35, 0.30, 0.00, 0.00, 0.30, 0.25),
    "aa": (0.69, 0.00, 0.00, 0.00, 0.00, 0.10, 0.00, 0.00, 0.35),
    "E": (0.38, 0.00, 0.00, 0.00, 0.00, 0.40, 0.00, 0.00, 0.50),
    "ih": (0.24, 0.00, 0.00, 0.00, 0.00, 0.50, 0.00, 0.10, 0.60),
    "oh": (0.46, 0.00, 0.00, 0.60, 0.45, 0.00, 0.00, 0.00, 0.05),
    "ou": (0.20, 0.00, 0.00, 0.30, 0.90, 0.00, 0.00, 0.00, 0.00),
}
_MATRIX: NDArray[np.float32] = np.array([_TABLE[viseme] for viseme in VISEMES], np.float32)
_PP = VISEMES.index("PP")
_FULL_CLOSURE = 0.6
"""A posterior this sure of p, b or m closes the lips completely: half-closed lips read as a mistake."""
_WIDEST = 0.5
"""Visible opening that counts as 1: an "aa" with nothing against it."""


def mouth_of(weights: NDArray[np.float32]) -> MouthShape:
    """The mouth for one row of viseme weights, shape (15,), summing to about 1."""
    values = (weights @ _MATRIX).tolist()
    pp = float(weights[_PP])
    # A trace of doubt moves nothing; the lips don't jump where it ends.
    values[1] = max(values[1], min(pp / _FULL_CLOSURE, 2.5 * (pp - 0.02)))
    return MouthShape(*(0.0 if value < 0.0 else 1.0 if value > 1.0 else value for value in values))


def mouth_between(frames: VisemeFrames) -> MouthShape:
    """The mouth for the interval of one picture, from its `frames`, shape (k, 15).

    No frame (k = 0) is a relaxed closed mouth.
    """
    return mouth_of(blended(frames)) if len(frames) else MouthShape()


def opening(mouth: MouthShape) -> float:
    """How far the lips are visibly apart, 0 (closed) to 1 (as wide as speech goes)."""
    jaw = mouth.jaw_open * (1.0 - 0.35 * mouth.pucker) * (1.0 - 0.5 * mouth.roll_lower)
    return min(1.0, max(0.0, jaw * (1.0 - mouth.close) / _WIDEST))


def relaxed(mouth: MouthShape) -> MouthShape:
    """The next picture's mouth where speech stopped without its own ending (an interruption): shut after three."""
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
