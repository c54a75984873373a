"""Around a figure that is laid over a background nothing is drawn, and nobody can tell."""

from __future__ import annotations

import random

import numpy as np
import pytest

from avatar.face.outline import Outline
from avatar.face.vector import VectorFace
from core.frames import Activity, Expression, FaceChoice, FaceCue, Gesture, MouthShape


def test_columns_reach_as_far_as_the_figure_moves() -> None:
    matte = np.zeros((40, 64), np.uint8)
    matte[10:30, 30:34] = 255
    outline = Outline(matte, cell=2)
    assert outline.columns((0, 12, 64, 20), (0.0, 0.0)) == (26, 38)
    assert outline.columns((0, 12, 64, 20), (6.5, 0.0)) == (20, 44)
    assert outline.columns((0, 12, 64, 20), (60.0, 0.0)) == (0, 64)
    assert outline.columns((8, 32, 60, 40), (0.0, 0.0)) == (26, 38)  # soft edges
    assert outline.columns((8, 34, 60, 40), (0.0, 0.0)) == (60, 8)
    assert outline.columns((8, 34, 60, 40), (0.0, 5.0)) == (26, 38)


@pytest.mark.parametrize("seed", range(3))
def test_a_figure_drawn_only_where_it_is_looks_the_same(seed: int) -> None:
    face, wild = VectorFace("juno"), random.Random(seed)
    face._load()
    part, whole = (face.open(256, 256, seed=seed, choice=FaceChoice("juno")) for _ in range(2))
    assert part._plate.outline is not None
    cues = []
    for number in range(150):
        if number % 15 == 0:
            activity, mood = wild.choice(list(Activity)), wild.choice(list(Expression))
            gesture, since = wild.choice(list(Gesture)), number / 25
        mouth = MouthShape(jaw_open=wild.random())
        cues.append(FaceCue(number / 25, mouth, activity, 0.3 * wild.random(), mood, gesture, since))
    pictures = [part.draw(cue) for cue in cues]
    part._plate.outline = None
    for cue, picture in zip(cues, pictures, strict=True):
        assert np.abs(whole.draw(cue).astype(int) - picture).max() <= 1
