"""How good lips are, against speech whose visemes are known. Pure; all figures are defined here and nowhere else.

Curves have 100 points per second; the delay of whatever made them is already taken out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.labels import Segment, classes_of
from avatar.lipsync.mouth import mouth_between, mouth_of, opening
from core.frames import VISEME_RATE, VISEMES, VisemeFrames

PICTURE_FRAMES = VISEME_RATE // 25
"""Viseme frames in one picture at 25 fps."""
TOLERANCE = 2
"""Frames by which a viseme may be early or late in the tolerant accuracy."""
CLOSED = 0.8
"""Lips touch from this `MouthShape.close` on: posterior of PP 0.48."""
AROUND_S = 0.040
"""A closure may be this much before or after its p, b or m."""
OPEN_IN_SILENCE, SILENCE_MARGIN_S = 0.10, 0.120
_SIL, _PP = VISEMES.index("sil"), VISEMES.index("PP")
_SIGMA = 0.025 * VISEME_RATE

Curve = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """One clip: what the lips did (`rows`, shape (n, 15)) and what was said (`segments`)."""

    rows: VisemeFrames
    segments: Sequence[Segment]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class of every frame, shape (n,)."""
        return classes_of(list(self.segments), len(self.rows))

    @cached_property
    def speech(self) -> Mask:
        """Frames whose label is not silence."""
        return np.asarray(self.labels != _SIL)

    @cached_property
    def opening(self) -> Curve:
        """Visible opening of each frame, 0..1."""
        return openings(self.rows)

    @cached_property
    def reference(self) -> Curve:
        """The opening that the labels ask for: table, smoothed with σ = 25 ms, shut on p b m."""
        return reference_opening(self.labels)

    @cached_property
    def closed(self) -> Mask:
        """Frames in which the lips touch, shape (n,)."""
        return np.array([mouth_of(row).close >= CLOSED for row in self.rows], bool)

    @cached_property
    def pictures(self) -> tuple[Curve, Mask]:
        """Opening, and whether the lips touch, in each picture at 25 fps, shape (ceil(n / 4),)."""
        starts = range(0, len(self.rows), PICTURE_FRAMES)
        mouths = [mouth_between(self.rows[start : start + PICTURE_FRAMES]) for start in starts]
        return np.array([opening(m) for m in mouths], float), np.array([m.close >= CLOSED for m in mouths], bool)

    @cached_property
    def labials(self) -> list[tuple[float, float]]:
        """Start and end in seconds of every p, b and m."""
        return [(start, end) for start, end, viseme in self.segments if viseme == "PP"]


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `n`."""

    hits: float
    n: int

    @property
    def value(self) -> float:
        """Between 0 and 1; NaN of nothing."""
        return self.hits / self.n if self.n else math.nan

    def __add__(self, other: Share) -> Share:
        return Share(self.hits + other.hits, self.n + other.n)


def openings(rows: VisemeFrames) -> Curve:
    """Visible opening of each row, shape (n,)."""
    return np.array([opening(mouth_of(row)) for row in rows], float)


def reference_opening(labels: NDArray[np.int64]) -> Curve:
    """Opening by the viseme table over `labels`, Gaussian smoothing, forced shut on p b m; shape (n,)."""
    table = openings(np.eye(len(VISEMES), dtype=np.float32))
    if not len(labels):
        return np.zeros(0)
    reach = math.ceil(4 * _SIGMA)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SIGMA) ** 2)
    curve = np.convolve(np.pad(table[labels], reach, mode="edge"), kernel / kernel.sum(), "valid")
    return np.where(labels == _PP, 0.0, curve)


def accuracy(clip: Judged, tolerance: int = 0) -> Share:
    """Speech frames with the right viseme; with a tolerance, with that of any frame so near."""
    predicted = clip.rows.argmax(axis=1)
    right = np.zeros(len(predicted), bool)
    padded = np.pad(clip.labels, tolerance, mode="edge") if len(predicted) else clip.labels
    for shift in range(2 * tolerance + 1):
        right |= padded[shift : shift + len(predicted)] == predicted
    return Share(float(right[clip.speech].sum()), int(clip.speech.sum()))


def opening_correlation(clips: Iterable[Judged]) -> Share:
    """Pearson's r of opening and reference, clip by clip, weighted by length."""
    total = Share(0.0, 0)
    for clip in clips:
        if len(clip.rows) > 2 and clip.opening.std() > 0 and clip.reference.std() > 0:
            r = float(np.corrcoef(clip.opening, clip.reference)[0, 1])
            total += Share(r * len(clip.rows), len(clip.rows))
    return total


def closure_recall(clip: Judged, *, pictures: bool = False) -> Share:
    """p, b and m during which (±40 ms) the lips touch, in any frame or in any picture at 25 fps."""
    step = PICTURE_FRAMES if pictures else 1
    closed = clip.pictures[1] if pictures else clip.closed
    met = sum(bool(closed[_within(clip, start, end, step)].any()) for start, end in clip.labials)
    return Share(met, len(clip.labials))


def closure_precision(clip: Judged, *, pictures: bool = False) -> Share:
    """Closures, uninterrupted frames (pictures) with touching lips, that lie at a p, b or m (±40 ms)."""
    step = PICTURE_FRAMES if pictures else 1
    closed = clip.pictures[1] if pictures else clip.closed
    wanted = np.zeros(len(closed), bool)
    for start, end in clip.labials:
        wanted[_within(clip, start, end, step)] = True
    edges = np.flatnonzero(np.diff(np.concatenate(([False], closed, [False])).astype(np.int8)))
    events = list(zip(edges[::2], edges[1::2], strict=True))
    return Share(sum(bool(wanted[first:last].any()) for first, last in events), len(events))


def opening_in_silence(clip: Judged) -> Share:
    """Frames at least 120 ms from speech in which the mouth is open."""
    margin = round(SILENCE_MARGIN_S * VISEME_RATE)
    if not len(clip.rows):
        return Share(0.0, 0)
    near = np.convolve(clip.speech, np.ones(2 * margin - 1))[margin - 1 : margin - 1 + len(clip.rows)] > 0
    return Share(float((clip.opening[~near] > OPEN_IN_SILENCE).sum()), int((~near).sum()))


def jerk(clips: Iterable[Judged]) -> float:
    """Mean |third difference| of the opening at 25 fps over that of the reference; NaN where that never moves."""
    ours: list[Curve] = []
    wanted: list[Curve] = []
    for clip in clips:
        ours.append(np.abs(np.diff(clip.pictures[0], 3)))
        wanted.append(np.abs(np.diff(clip.reference[PICTURE_FRAMES // 2 :: PICTURE_FRAMES], 3)))
    still = not any(map(np.any, wanted))
    return math.nan if still else float(np.concatenate(ours).mean() / np.concatenate(wanted).mean())


def separation(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Area under the ROC curve: how likely a score of `right` is above one of `wrong`; ties count half."""
    if not len(right) or not len(wrong):
        return math.nan
    ordered = np.sort(np.asarray(wrong, float))
    values = np.asarray(right, float)
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return float(below.mean() / 2 / len(ordered))


def _within(clip: Judged, start: float, end: float, step: int) -> slice:
    """Indices of the frames (pictures) that overlap [start - 40 ms, end + 40 ms]."""
    first = math.floor((start - AROUND_S) * VISEME_RATE / step + 1e-6)
    last = math.ceil((end + AROUND_S) * VISEME_RATE / step - 1e-6)
    return slice(max(0, first), max(0, last))
