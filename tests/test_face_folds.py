"""Folds of the skin: there with their mood, gone without it, never in the eyes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from avatar.face.plate import planes
from avatar.face.vector import VectorFace
from avatar.face.warp import INDEX
from core.frames import FaceChoice, FaceCue, MouthShape


@pytest.fixture(scope="module")
def face() -> VectorFace:
    face = VectorFace()
    asyncio.run(face.start())
    return face


@pytest.mark.parametrize("size", [(256, 256), (512, 512), (360, 640)])
def test_folds_leave_the_eyes_alone(face: VectorFace, size: tuple[int, int]) -> None:
    plate = face.open(*size)._plate
    assert plate.folds is not None
    assert len(plate.folds.boxes) == 2
    for x0, y0, x1, y1 in plate.folds.boxes:
        assert 0 <= x0 < x1 <= size[0]
        assert 0 <= y0 < y1 <= size[1]
        for eye in plate.eyes:
            assert y1 <= eye.box[1] or y0 >= eye.box[3]


def test_a_mood_makes_its_folds_and_leaves_none_behind(face: VectorFace) -> None:
    stream = face.open(512, 512, seed=1)
    pose = replace(stream.pose(FaceCue(0.0)), mouth=MouthShape(), smile=0.35)
    pose.weights[:] = 0
    plain = stream.render(pose)

    def darker(changed: object, rows: slice, columns: slice) -> int:
        """How much darker the darkest pixel of a part got."""
        now = planes(stream.render(changed))[0].astype(int)  # type: ignore[arg-type]
        return int((planes(plain)[0].astype(int) - now)[rows, columns].max())

    between, forehead = (slice(178, 192), slice(248, 264)), (slice(140, 168), slice(230, 282))
    assert darker(replace(pose, furrow=1.0), *between) >= 10
    raised = replace(pose, weights=pose.weights.copy())
    for part in ("inner_left", "inner_right", "outer_left", "outer_right"):
        raised.weights[INDEX[f"brow_{part}"]] = 14
    assert darker(raised, *forehead) >= 4
    assert np.array_equal(stream.render(pose), plain)


def test_a_drawing_may_do_without(face: VectorFace) -> None:
    assert face.open(128, 128, choice=FaceChoice("juno"))._plate.folds is None


@pytest.mark.parametrize("size", [(512, 512), (1920, 1080)])
def test_folds_that_come_back_are_not_made_again_and_those_kept_are_few(
    face: VectorFace, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plate = face.open(*size)._plate
    folds = plate.folds
    assert folds is not None
    number = len(folds.boxes) - 1
    x0, y0, x1, y1 = folds.boxes[number]
    states = [(a, b, 3, 1) for a in range(11) for b in range(11)]
    one, again, other = (plate.folded(folds, number, state) for state in (states[-1], states[-1], states[0]))
    assert one is again
    assert (one.astype(int) - other).min() < -10
    assert np.array_equal(one, folds.shaded(number, states[-1], planes(plate.base)[0][y0:y1, x0:x1]))
    made: list[tuple[int, ...]] = []
    shaded = folds.shaded
    monkeypatch.setattr(folds, "shaded", lambda n, state, luma: made.append(state) or shaded(n, state, luma))
    for state in states * 2:
        plate.folded(folds, number, state)
    kept = sum(shade.result().nbytes for shade in plate._shades._items.values())
    assert kept <= 2 << 20
    assert len(made) >= len(states) - 2
