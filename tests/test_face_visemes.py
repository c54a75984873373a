"""Every presenter's mouth for every viseme, as a viewer would tell them apart."""

from __future__ import annotations

import asyncio
from copy import copy
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.face.art import built_in, find_presenter
from avatar.face.lips import inside_of, lips_of
from avatar.face.mouth import Place
from avatar.face.plate import planes
from avatar.face.rig import load_rig
from avatar.face.sheet import MOUTHS
from avatar.face.vector import VectorFace, VectorStream
from avatar.face.warp import INDEX, MOTIONS, basis, follow_lips
from avatar.lipsync.mouth import mouth_of
from core.frames import VISEMES, Activity, FaceChoice, FaceCue, MouthShape

SIDE = 256
ALIKE = {frozenset(pair) for pair in (("DD", "nn"), ("TH", "DD"), ("TH", "nn"), ("E", "ih"), ("sil", "PP"))}
"""Mouths that differ little on living faces too."""


@pytest.fixture(scope="module")
def face() -> VectorFace:
    face = VectorFace()
    asyncio.run(face.start())
    return face


def mouths(face: VectorFace, presenter: str) -> dict[str, NDArray[np.float64]]:
    """Y, U and V around the mouth of an otherwise equal face, at half the size, by viseme."""
    found = {}
    for viseme in VISEMES:
        stream = face.open(SIDE, SIDE, seed=1, choice=FaceChoice(presenter))
        view, (mx, my) = stream._plate.view, stream._plate.mouth.rig.centre
        y, u, v = planes(stream.draw(FaceCue(0.0, MOUTHS[viseme], Activity.SPEAKING)))
        x0, y0 = int(view.x(mx)) // 2, int(view.y(my)) // 2
        part = slice(y0 - 8, y0 + 12), slice(x0 - 12, x0 + 12)
        small = y.reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3))
        found[viseme] = np.stack([small[part], u[part], v[part]]).astype(np.float64)
    return found


@pytest.mark.parametrize("presenter", built_in())
def test_every_two_visemes_differ(face: VectorFace, presenter: str) -> None:
    pictures = mouths(face, presenter)
    for a, b in combinations(VISEMES, 2):
        difference = np.abs(pictures[a] - pictures[b])
        least = 8 if frozenset((a, b)) in ALIKE else 16
        assert difference.max() >= least, (a, b, float(difference.max()))


@pytest.mark.parametrize("presenter", built_in())
def test_the_mouths_of_visemes_have_their_shapes(face: VectorFace, presenter: str) -> None:
    plate = face.open(SIDE, SIDE, choice=FaceChoice(presenter))._plate
    rig, drop = plate.mouth.rig, plate.mouth.drop
    lips = {viseme: lips_of(MOUTHS[viseme], rig, drop, 0.52) for viseme in VISEMES}
    inside = {viseme: inside_of(MOUTHS[viseme], drop) for viseme in VISEMES}
    assert lips["PP"].gap == lips["sil"].gap == 0
    assert lips["PP"].upper < 0.85 * lips["sil"].upper
    assert lips["PP"].lower < 0.75 * lips["sil"].lower
    oh = lips["oh"]
    assert 0.75 < oh.gap / (2 * oh.width * oh.inner) < 1.1, "nearly as tall as wide"
    ou = lips["ou"]
    # What is seen is a little narrower: the ends fade into the cheek.
    assert 0.52 < oh.width / lips["sil"].width < 0.64
    assert 0.46 < ou.width / lips["sil"].width < 0.58
    assert ou.width < oh.width < lips["CH"].width < lips["RR"].width < 0.90 * lips["aa"].width
    assert lips["CH"].rounded > lips["RR"].rounded > 0.8 > 0.1 > lips["aa"].rounded
    seen = {viseme: found.up + inside[viseme].upper_teeth for viseme, found in lips.items()}
    assert seen["CH"] > 3, "teeth behind rounded lips"
    assert max(seen[viseme] for viseme in ("oh", "ou", "RR")) < 0, "which cover them else"
    thick = rig.upper[0][1] * ou.upper, rig.lower[0][1] * ou.lower
    assert 0.8 < 2 * ou.width / (sum(thick) + ou.gap) < 1.25, "an oval"
    assert 0 < ou.gap * ou.width * ou.inner < 0.5 * oh.gap * oh.width * oh.inner
    hole = 2 * ou.width * ou.inner / 1.14
    assert 0.8 < ou.gap / hole < 1.15, "around another"
    assert thick[0] < 0.8 * thick[1], "and a thinner upper lip"
    assert ou.forward > 0.9
    assert 0.5 < lips["FF"].lower / lips["sil"].lower < 1.1, "the lower lip shows under the teeth, also a thin one"
    assert lips["FF"].tucked > 0.9 > 0 == lips["SS"].tucked
    assert 0.85 < lips["FF"].width / lips["sil"].width < 0.94, "narrower than a grin"
    assert abs(lips["FF"].lift) < 0.4 * abs(lips["sil"].lift), "with level corners"
    assert 0.45 < lips["FF"].inner < 0.6, "closed beside the front teeth"
    assert 4 < inside["FF"].upper_teeth - lips["FF"].down < 6, "and the teeth reach over it"
    ss = inside["SS"]
    assert 0 < ss.lower_teeth - ss.upper_teeth < 1.5, "teeth together"
    assert ss.lower_teeth < lips["SS"].down, "both rows show"
    th = inside["TH"]
    assert th.upper_teeth - 1 < th.tongue < lips["TH"].down - 3, "the tongue between them"
    assert inside["aa"].tongue > inside["DD"].tongue + 5
    aa = lips["aa"]
    assert aa.gap > 0.5 * aa.width, "tall"
    assert aa.width < 0.95 * lips["sil"].width, "with corners drawn in"
    assert aa.lift < lips["sil"].lift - 0.3 * aa.down, "and down"
    assert aa.agape > 0.7 > 0.2 > lips["SS"].agape
    areas = {viseme: found.gap * found.width * found.inner for viseme, found in lips.items()}
    assert max(areas, key=lambda viseme: areas[viseme]) == "aa", "the largest opening"


@pytest.mark.parametrize("presenter", built_in())
def test_f1_teeth_get_darker_towards_the_cheeks(face: VectorFace, presenter: str) -> None:
    stream, shape = face.open(512, 512, seed=1, choice=FaceChoice(presenter)), MOUTHS["aa"]
    y, *_ = planes(stream.draw(FaceCue(0.0, shape, Activity.SPEAKING)))
    (mx, my), plate = stream.mouth_at, stream._plate
    half = lips_of(shape, plate.mouth.rig, plate.mouth.drop, 0.5).width * plate.view.scale
    between = y[round(my) - 3 : round(my) + 4].max(axis=0).astype(int)
    middle, *sides = (
        int(between[round(mx + at * half) - 1 : round(mx + at * half) + 2].max()) for at in (0, -0.72, 0.72)
    )
    assert middle > 130
    assert max(sides) < middle - 30


def opening(face: VectorFace, presenter: str, viseme: str) -> tuple[VectorStream, int, int, float]:
    """A stream, and pixel row of the upper lip's edge, row of the lower one's, half the lips' width for a viseme."""
    stream = face.open(512, 512, seed=1, choice=FaceChoice(presenter))
    plate, (_, y) = stream._plate, stream.mouth_at
    rig, k = plate.mouth.rig, plate.view.scale
    lips = lips_of(MOUTHS[viseme], rig, plate.mouth.drop, 0.5)
    middle = y + rig.line[0][1] * k
    return stream, round(middle - lips.up * k), round(middle + lips.down * k), lips.width * k


@pytest.mark.parametrize("presenter", built_in())
@pytest.mark.parametrize(("viseme", "least"), [("oh", 30), ("ou", 22), ("RR", 27)])
def test_f1_rounded_lips_are_no_empty_hole(face: VectorFace, presenter: str, viseme: str, least: int) -> None:
    """It is dark behind the upper lip, and a little light falls on the tongue."""
    stream, top, bottom, _ = opening(face, presenter, viseme)
    column = round(stream.mouth_at[0])
    y, u, v = planes(stream.draw(FaceCue(0.0, MOUTHS[viseme], Activity.SPEAKING)))
    rows = y[top + 2 : bottom - 1, column - 2 : column + 3].mean(axis=1)
    assert rows.max() - rows.min() >= least
    assert rows.argmax() > rows.argmin(), "from above to below"
    low = slice(bottom // 2 - 1, bottom // 2), slice(column // 2 - 1, column // 2 + 2)
    assert (v[low].astype(int) - u[low]).mean() > 25, "and red"


HALFWAY = [
    (0.20, 0.30, 0.90), (0.46, 0.60, 0.45), (0.20, 0.35, 0.75), (0.25, 0.35, 0.50), (0.35, 0.50, 0.35),
    (0.35, 0.50, 0.20), (0.45, 0.50, 0.50), (0.45, 0.35, 0.20), (0.25, 0.35, 0.20), (0.15, 0.20, 0.50),
]  # fmt: skip
"""Jaw, funnel and pucker of rounded mouths as they are on the way to and from their visemes."""


def hole(face: VectorFace, presenter: str, shape: MouthShape) -> NDArray[np.float32]:
    """How much of each pixel of a large picture is behind the lips, 0..1."""
    bright = copy(face.open(1024, 1024, seed=1, choice=FaceChoice(presenter))._plate.mouth)
    bright._upper_teeth, bright._lower_teeth, bright._tongue = (
        np.zeros_like(layer) for layer in (bright._upper_teeth, bright._lower_teeth, bright._tongue)
    )
    bright._cavity = np.full_like(bright._cavity, 200)
    dark = copy(bright)
    dark._cavity = np.zeros_like(bright._cavity)
    lips = lips_of(shape, bright.rig, bright.drop, 0.5)
    one, other = (painter.paint(Place(512.0, 600.0, 0.0), shape, lips)[0] for painter in (bright, dark))
    return np.asarray((one[0] - other[0]) / 200, np.float32)


@pytest.mark.parametrize("presenter", built_in())
@pytest.mark.parametrize(("jaw", "funnel", "pucker"), HALFWAY)
def test_f1_rounded_mouths_are_round_halfway_too(
    face: VectorFace, presenter: str, jaw: float, funnel: float, pucker: float
) -> None:
    seen = hole(face, presenter, MouthShape(jaw_open=jaw, funnel=funnel, pucker=pucker)) > 0.5
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    wide, high = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    part = 1.15 * pucker + 0.95 * funnel
    most = 1.5 if part > 0.85 else 1.55 if part > 0.65 and jaw > 0.3 else 2.05
    assert 0.85 < wide / high < most
    middle = (columns[0] + columns[-1]) / 2
    top = [int(seen[:, round(middle + at * wide / 2)].argmax()) for at in (-0.7, 0, 0.7)]
    assert min(top[0], top[2]) - top[1] > 0.07 * high, "the upper lip arches"


@pytest.mark.parametrize("viseme", ["oh", "ou"])
def test_f1_a_moustache_leaves_the_upper_lip_of_a_rounded_mouth(face: VectorFace, viseme: str) -> None:
    stream, top, _, half = opening(face, "ansel", viseme)
    y, u, v = planes(stream.draw(FaceCue(0.0, MOUTHS[viseme], Activity.SPEAKING)))
    for side in (-0.3, 0.3):
        x = round(stream.mouth_at[0] + side * half)
        light = y[top - 8 : top + 4, x - 1 : x + 2].mean(axis=1)
        red = (v.astype(int) - u)[(top - 8) // 2 : (top + 5) // 2, x // 2 - 1 : x // 2 + 1].mean(axis=1).repeat(2)
        assert np.count_nonzero((light > 60) & (red[(top - 8) % 2 :][: len(light)] > 20)) >= 3


@pytest.mark.parametrize("presenter", built_in())
@pytest.mark.parametrize("viseme", ["oh", "ou"])
def test_f1_the_skin_comes_along_with_rounded_lips(face: VectorFace, presenter: str, viseme: str) -> None:
    """Corners of the mouth that were drawn in take the cheek, and a moustache, along for more than half of the way."""
    stream = face.open(SIDE, SIDE, seed=1, choice=FaceChoice(presenter))
    rig = stream._plate.mouth.rig
    lips = lips_of(MOUTHS[viseme], rig, stream._plate.mouth.drop, 0.5)
    still = np.zeros(len(MOTIONS), np.float32)
    moved = follow_lips(still, MOUTHS[viseme], lips, rig, stream._plate.mouth.drop)[INDEX["gather"]]
    assert 0.55 < float(moved) / (rig.half_width - lips.width) < 1.0


@pytest.mark.parametrize(("presenter", "creased"), [("mira", True), ("ansel", True), ("juno", False)])
def test_f1_lips_crease_when_drawn_together(face: VectorFace, presenter: str, creased: bool) -> None:
    painter = face.open(512, 512, seed=1, choice=FaceChoice(presenter))._plate.mouth
    found = painter._creases
    assert (found is not None) is creased, "a flat drawing has none"
    if found is None:
        return
    for viseme, most in (("ou", True), ("aa", False), ("sil", False), ("PP", False)):
        shape = MOUTHS[viseme]
        lips = lips_of(shape, painter.rig, painter.drop, 0.5)
        with_them = painter.paint(Place(256.0, 300.0, 0.0), shape, lips)[0]
        painter._creases = None
        without = painter.paint(Place(256.0, 300.0, 0.0), shape, lips)[0]
        painter._creases = found
        lost = float((without[0] - with_them[0]).max())
        assert lost > 8 if most else lost < 0.5, viseme


@pytest.mark.parametrize("presenter", built_in())
@pytest.mark.parametrize(("before", "after"), [("sil", "oh"), ("aa", "ou"), ("PP", "ou"), ("CH", "SS"), ("FF", "oh")])
def test_f1_lips_round_without_a_jump(face: VectorFace, presenter: str, before: str, after: str) -> None:
    stream = face.open(SIDE, SIDE, seed=1, choice=FaceChoice(presenter))
    pose, (x, y) = stream.pose(FaceCue(0.0)), stream.mouth_at
    part = slice(round(y) - 14, round(y) + 20), slice(round(x) - 22, round(x) + 22)

    def between(t: float) -> MouthShape:
        one, other = MOUTHS[before], MOUTHS[after]
        return MouthShape(*((1 - t) * getattr(one, f) + t * getattr(other, f) for f in MouthShape.__slots__))

    shots = [
        planes(stream.render(replace(pose, mouth=between(t))))[0][part].astype(float)
        for t in np.linspace(0, 1, 41).tolist()
    ]
    steps = [float(np.abs(b - a).mean()) for a, b in pairwise(shots)]
    assert max(steps) < 3.5 * sum(steps) / len(steps)


@pytest.mark.parametrize("presenter", built_in())
def test_f1_at_f_a_row_of_upper_teeth_rests_on_a_thin_lower_lip(face: VectorFace, presenter: str) -> None:
    plate = face.open(1080, 1080, choice=FaceChoice(presenter))._plate
    painter, k = plate.mouth, plate.mouth.scale
    dark = copy(painter)
    dark._upper_teeth = painter._upper_teeth.copy()
    dark._upper_teeth[..., 0] = 16 * dark._upper_teeth[..., 3]
    place = Place(200, 200, 0)
    shown = {}
    for viseme in ("FF", "sil", "PP", "SS", "ih", "aa"):
        shape = MOUTHS[viseme]
        lips = lips_of(shape, painter.rig, painter.drop, 0.5)
        layer, left, _ = painter.paint(place, shape, lips)
        teeth = layer[0] - dark.paint(place, shape, lips)[0][0] > 40
        half = lips.width * k
        columns = [round(200 - left + at * half) for at in (-0.32, -0.05, 0.05, 0.32)]
        lowest = [np.flatnonzero(teeth[:, at]).max(initial=0) for at in columns]
        foot = np.flatnonzero(layer[3][:, columns[1]] > 0.5)[-1]
        wide = np.flatnonzero(teeth.any(axis=0))
        shown[viseme] = {
            "wide": (wide[-1] - wide[0]) / (2 * half) if len(wide) else 0,
            "high": teeth[:, columns[1]].sum() / k,
            "lip": (foot - lowest[1]) / k,
            "curve": (min(lowest[1:3]) - max(lowest[0], lowest[3])) / k,
            "light": float(layer[0][teeth].max()) if len(wide) else 0,
        }
    f = shown["FF"]
    assert 0.4 < f["wide"] < 0.55, "the front four teeth: not a chip, and no row as of a grin"
    assert 9 < f["high"] < 14
    assert 4.5 < f["lip"] < 12, "a lip that is thinner shows under them"
    assert f["lip"] < 0.5 * shown["SS"]["lip"]
    assert 0.9 < f["curve"] < 4, "their edges are on a curve"
    assert 170 < f["light"] < 220, "bright, not pure white"
    assert shown["sil"]["wide"] == shown["PP"]["wide"] == 0, "closed lips show none"


@pytest.mark.parametrize("presenter", built_in())
def test_f1_the_way_to_f_and_back_has_no_jumps(face: VectorFace, presenter: str) -> None:
    painter = face.open(256, 256, choice=FaceChoice(presenter))._plate.mouth

    def largest(other: str, count: int) -> float:
        """The largest change from one picture to the next, of `count` on the way."""
        pictures = []
        for at in np.linspace(0, 1, count):
            shape = mouth_of(((1 - at) * _row(other) + at * _row("FF")).astype(np.float32))
            layer, left, top = painter.paint(Place(100, 60, 0), shape, lips_of(shape, painter.rig, painter.drop, 0.5))
            whole = np.full((120, 200), 120, np.float32)
            part = whole[top : top + layer.shape[1], left : left + layer.shape[2]]
            part += layer[0] - part * layer[3]
            pictures.append(whole)
        return max(float(np.abs(b - a).sum()) for a, b in pairwise(pictures))

    for other in ("sil", "aa", "SS", "PP", "ou"):
        assert largest(other, 161) < 0.65 * largest(other, 41), other


def _row(viseme: str) -> NDArray[np.float64]:
    return np.eye(len(VISEMES))[VISEMES.index(viseme)]


@pytest.mark.parametrize("presenter", built_in())
def test_f1_cheeks_and_lower_lids_follow_the_jaw(presenter: str) -> None:
    rig = load_rig(find_presenter(presenter))
    (x, y), (mx, my) = rig.eyes.left.centre, rig.mouth.centre
    points = np.array([(x, y + 16), (x, y - 16), (mx - 100, my - 75)], np.float32)
    moves = basis(rig, points[:, 0], points[:, 1])

    def lower(viseme: str) -> NDArray[np.float32]:
        """How far down the skin at the points is, art units."""
        shape = MOUTHS[viseme]
        lips = lips_of(shape, rig.mouth, rig.jaw.drop, rig.mouth.smile)
        weights = follow_lips(np.zeros(len(MOTIONS), np.float32), shape, lips, rig.mouth, rig.jaw.drop)
        return np.asarray(np.tensordot(weights, moves[..., 1], 1))

    lid, upper_lid, cheek = lower("aa") - lower("PP")
    assert 0.6 < lid < 3
    assert abs(upper_lid) < 0.2
    assert 3 < cheek < 12


@pytest.mark.parametrize("presenter", built_in())
def test_same_seed_same_pictures(face: VectorFace, presenter: str) -> None:
    def run(seed: int) -> bytes:
        stream = face.open(128, 128, seed=seed, choice=FaceChoice(presenter))
        return b"".join(stream.draw(FaceCue(i * 0.04, activity=Activity.SPEAKING)).tobytes() for i in range(20))

    assert run(1) == run(1) != run(2)
