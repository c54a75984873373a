"""Folds of the skin: there with their mood, gone without it, never in the eyes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

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


@pytest.mark.parametrize("presenter", ["mira", "ansel"])
def test_a_jaw_that_drops_folds_the_cheeks_and_takes_the_crease_of_the_chin_along(
    face: VectorFace, presenter: str
) -> None:
    stream = face.open(512, 512, seed=1, choice=FaceChoice(presenter))
    plate, (x, y) = stream._plate, stream.mouth_at
    pose = replace(stream.pose(FaceCue(0.0)), smile=plate.mouth.rig.smile)
    pose.weights[:] = 0

    def shadow(shape: MouthShape) -> NDArray[np.int64]:
        """Luma that the folds take from the picture of a mouth."""
        changed, folds = replace(pose, mouth=shape), plate.folds
        one = face.open(512, 512, seed=1, choice=FaceChoice(presenter))
        other = face.open(512, 512, seed=1, choice=FaceChoice(presenter))
        assert folds is not None
        shaded = planes(one.render(changed))[0].astype(int)
        try:
            plate.folds = None
            return np.asarray(planes(other.render(changed))[0].astype(int) - shaded)
        finally:
            plate.folds = folds

    def crease(shape: MouthShape) -> tuple[float, float]:
        """How deep it is below the middle of the lower lip, and its distance from the resting mouth, pixels."""
        below = shadow(shape)[round(y) + 8 : round(y) + 50, round(x) - 6 : round(x) + 7].mean(axis=1).clip(0)
        return float(below.max()), float((below * np.arange(len(below))).sum() / max(1.0, below.sum()))

    little, much, drawn_in = (
        MouthShape(jaw_open=0.3), MouthShape(jaw_open=0.7), MouthShape(jaw_open=0.08, roll_lower=1.0, teeth=0.4)
    )  # fmt: skip
    assert crease(MouthShape())[0] < 1
    for shape in (little, much, drawn_in):
        assert crease(shape)[0] > 4
    assert crease(drawn_in)[1] + 2 < crease(little)[1] < crease(much)[1] - 2, "it moves with the jaw"
    cheek = slice(round(y) - 34, round(y) - 8), slice(round(x) - 40, round(x) - 12)
    assert 3 < shadow(much)[cheek].max() < 14
    assert shadow(much)[cheek].max() > shadow(little)[cheek].max()


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
    states = [(a, b, 3, 1, 2) for a in range(11) for b in range(11)]
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
