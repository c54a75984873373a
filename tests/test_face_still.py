"""What hardly moved is not drawn again; nothing that is shown is ever off by more than nobody sees."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.face.vector import _STILL, VectorFace
from avatar.face.warp import Area
from core.frames import Activity, Expression, FaceCue, Gesture, MouthShape

Floats = NDArray[np.float32]


def _cues(seed: int, count: int) -> list[FaceCue]:
    wild, cues = random.Random(seed), []
    for number in range(count):
        if number % 15 == 0:
            activity, mood = wild.choice(list(Activity)), wild.choice(list(Expression))
            gesture, since = wild.choice(list(Gesture)), number / 25
        mouth = MouthShape(jaw_open=wild.random() if activity is Activity.SPEAKING else 0.0)
        cues.append(FaceCue(number / 25, mouth, activity, 0.3 * wild.random(), mood, gesture, since))
    return cues


@pytest.mark.parametrize(("presenter", "seed"), [("mira", 1), ("mira", 2), ("ansel", 3)])
def test_no_pixel_is_further_from_its_place_than_nobody_sees(
    presenter: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = VectorFace(presenter)
    face._load()
    stream = face.open(260, 300, seed=seed)
    field = stream._plate.field
    assert stream._plate.outline is None
    shown = np.full((2, 300, 260), np.inf, np.float32)
    warp, solve, grids, warped = stream._warp_area, field.solve, [], [0]

    def solved(weights: Floats) -> Floats:
        grids.append(solve(weights))
        return grids[-1].copy()

    def warping(area: Area, grid: Floats) -> None:
        x0, y0, x1, y1 = area
        shown[:, y0:y1, x0:x1] = field.maps(grid, area)[0]
        warped[0] += (x1 - x0) * (y1 - y0)
        warp(area, grid)

    monkeypatch.setattr(field, "solve", solved)
    monkeypatch.setattr(stream, "_warp_area", warping)
    x0, y0, x1, y1 = field.moving
    for number, cue in enumerate(_cues(seed, 100), 1):
        stream.draw(cue)
        wanted = np.stack(field.maps(grids[-1], field.moving)[0])
        assert np.abs(wanted - shown[:, y0:y1, x0:x1]).max() <= _STILL[number % 2] + 0.001, number
    assert 0 < warped[0] < 0.8 * 100 * (x1 - x0) * (y1 - y0), "all was drawn each time"


def test_lids_that_move_are_shown_at_once() -> None:
    """… although the head need not move when they do."""
    face = VectorFace()
    face._load()
    part, whole = (face.open(256, 256, seed=4) for _ in range(2))
    for number in range(100):
        whole._grid = None
        cue = FaceCue(number / 25, shut=float(number // 5 % 2))
        one, other = part.draw(cue).astype(int), whole.draw(cue)
        for x0, y0, x1, y1 in (eye.box for eye in part._plate.eyes):
            assert np.abs(one[y0:y1, x0:x1] - other[y0:y1, x0:x1]).mean() < 2, number
