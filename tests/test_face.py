"""The embedded face: what the pictures show."""

from __future__ import annotations

import asyncio
import re
import shutil
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatar.face.art import PRESENTERS, built_in, find_presenter
from avatar.face.lips import lips_of
from avatar.face.plate import planes
from avatar.face.rig import Rig, load_rig
from avatar.face.sheet import MOUTHS
from avatar.face.vector import VectorFace, VectorStream
from core.errors import FaceError
from core.frames import Activity, FaceCue, MouthShape, Picture

SIDE = 512


@pytest.fixture(scope="module", params=built_in())
def face(request: pytest.FixtureRequest) -> VectorFace:
    face = VectorFace(request.param)
    asyncio.run(face.start())
    return face


def rig_of(face: VectorFace) -> Rig:
    return load_rig(find_presenter(face.presenters()[0].name))


def around(point: tuple[float, float], side: int, up: int, down: int) -> tuple[slice, slice]:
    """Rows and columns, at SIDE×SIDE, around a point of the art."""
    x, y = (round(v * SIDE / 1024) for v in point)
    return slice(y - up, y + down), slice(x - side, x + side)


def luma(picture: Picture) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return planes(picture)[0].astype(np.int16)


def mouth(face: VectorFace, shape: MouthShape) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """Luma around the mouth of an otherwise equal face, without nostrils and jaw line."""
    return luma(face.open(SIDE, SIDE, seed=1).draw(FaceCue(0.0, shape)))[around(rig_of(face).mouth.centre, 35, 13, 33)]


def dark(face: VectorFace, shape: MouthShape) -> int:
    return int(inside(face, shape).sum())


def inside(face: VectorFace, shape: MouthShape) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Where a mouth shows its inside behind teeth and tongue: where the picture changes with the inside's colour."""
    painter = face.open(SIDE, SIDE, seed=1)._plate.mouth
    own, drawn = painter._cavity, mouth(face, shape)
    try:
        painter._cavity = own + np.float32(60)
        return np.abs(mouth(face, shape) - drawn) > 20
    finally:
        painter._cavity = own


def chin(face: VectorFace, jaw: float) -> int:
    """Row of the strongest edge below the mouth: the chin against the shaded neck."""
    rig = rig_of(face)
    place = around((rig.mouth.centre[0], rig.jaw.chin), 8, 18, 42)
    picture = luma(face.open(SIDE, SIDE, seed=1).draw(FaceCue(0.0, MouthShape(jaw_open=jaw, close=1.0))))
    return int(np.argmin(np.diff(picture[place].mean(axis=1))))


def play(stream: VectorStream, start: float, seconds: float, activity: Activity) -> list[Picture]:
    return [
        stream.draw(FaceCue(start + i * 0.04, activity=activity, loudness=0.1 if activity == "speaking" else 0.0))
        for i in range(round(seconds * 25))
    ]


@pytest.mark.parametrize("jaw", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("how", [{"close": 1.0}, {"press": 1.0}, {"close": 1.0, "press": 0.8}])
@pytest.mark.parametrize("also", [{}, {"stretch": 0.6, "teeth": 0.5}, {"pucker": 0.8, "funnel": 0.4}])
def test_closed_lips_show_no_gap(face: VectorFace, jaw: float, how: dict[str, float], also: dict[str, float]) -> None:
    assert dark(face, MouthShape(jaw_open=jaw, **how, **also)) == 0


def test_relaxed_mouth_is_closed(face: VectorFace) -> None:
    assert dark(face, MouthShape()) == 0


def test_mouth_opens_monotonically(face: VectorFace) -> None:
    areas = [dark(face, MouthShape(jaw_open=j)) for j in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert areas == sorted(areas)
    assert areas[0] == 0
    assert areas[2] > 40
    assert areas[5] > 300


def test_chin_follows_the_jaw(face: VectorFace) -> None:
    assert chin(face, 0.5) - chin(face, 0.0) >= 8
    assert chin(face, 1.0) - chin(face, 0.5) >= 8


def test_pucker_narrows_and_stretch_widens(face: VectorFace) -> None:
    def width(shape: MouthShape) -> int:
        columns = np.flatnonzero(inside(face, shape).any(axis=0))
        return int(np.ptp(columns))

    plain = width(MouthShape(jaw_open=0.5))
    assert width(MouthShape(jaw_open=0.5, pucker=0.8)) < 0.8 * plain
    assert width(MouthShape(jaw_open=0.5, stretch=1.0)) > 1.05 * plain


def test_pucker_is_rounder(face: VectorFace) -> None:
    def roundness(shape: MouthShape) -> float:
        rows, columns = np.nonzero(inside(face, shape))
        return float(np.ptp(rows) / np.ptp(columns))

    assert roundness(MouthShape(jaw_open=0.6, pucker=0.8)) > 1.3 * roundness(MouthShape(jaw_open=0.6))


@pytest.mark.parametrize("viseme", ["oh", "ou"])
def test_rounded_lips_show_no_line_at_their_corners(face: VectorFace, viseme: str) -> None:
    """Beside the opening no row is much darker than the rows above and below it, or than the upper lip."""
    stream, shape = face.open(SIDE, SIDE, seed=1), MOUTHS[viseme]
    picture = luma(stream.draw(FaceCue(0.0, shape)))
    (x, y), view, rig = stream.mouth_at, stream._plate.view, rig_of(face)
    lips = lips_of(shape, rig.mouth, rig.jaw.drop, 0.5)
    half, thick = lips.width * view.scale, rig.mouth.upper[0][1] * lips.upper
    lip = picture[round(y + (rig.mouth.line[0][1] - lips.up - 0.55 * thick) * view.scale), round(x + 0.2 * half)]
    for side in (-1, 1):
        column = round(x + 0.84 * side * half)
        rows = picture[round(y) - 5 : round(y) + 11, column - 1 : column + 2].mean(axis=1)
        around_it = np.minimum(rows[:-4], rows[4:])
        assert (np.minimum(around_it, lip) - rows[2:-2]).max() < 9


def test_lower_lip_rolls_under_the_teeth(face: VectorFace) -> None:
    """For f and v light teeth lie between the middle of the lips and there is no dark gap."""
    rolled = MouthShape(jaw_open=0.1, roll_lower=1.0, teeth=0.3)
    middle = slice(25, 45)
    gap = inside(face, rolled)
    assert gap[:, 14:56].sum() == 0
    assert gap.sum() < 16, "at most thin wedges beside the teeth"
    seam, rest = mouth(face, rolled)[:, middle], mouth(face, MouthShape())[:, middle]
    rows, columns = around(rig_of(face).mouth.centre, 14, 6, 8)
    half = slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2)
    u = planes(face.open(SIDE, SIDE, seed=1).draw(FaceCue(0.0, rolled)))[2][half]
    v = planes(face.open(SIDE, SIDE, seed=1).draw(FaceCue(0.0, MouthShape())))[2][half]
    assert int(np.abs(seam - rest).max()) > 30
    # A row of teeth is less red than the lips there.
    assert (v.astype(float) - u).mean(axis=1).max() > 6


def test_the_jaw_leaves_neck_and_collar(face: VectorFace) -> None:
    rig = rig_of(face)
    shut, wide = (luma(face.open(SIDE, SIDE, seed=1).draw(FaceCue(0.0, MouthShape(jaw_open=j)))) for j in (0.0, 1.0))
    same = np.abs(wide - shut) <= 3
    k = SIDE / 1024
    low, chin, (x, _) = round((rig.jaw.chin + 114) * k), round((rig.jaw.chin + 36) * k), rig.head.centre
    assert same[low:].all()
    assert same[chin:, : round((x - 0.58 * rig.jaw.width) * k)].all()
    assert same[chin:, round((x + 0.58 * rig.jaw.width) * k) :].all()


def test_tongue_shows(face: VectorFace) -> None:
    down, up = (mouth(face, MouthShape(jaw_open=0.25, tongue_up=t)) for t in (0.0, 1.0))
    assert int(np.abs(up - down).max()) > 20


@pytest.mark.parametrize("name", ["jaw_open", "close", "press", "funnel", "pucker", "stretch", "roll_lower", "teeth"])
def test_parameters_blend_without_popping(face: VectorFace, name: str) -> None:
    """Twenty small steps of one parameter: no step changes the picture much more than an even share."""
    base = {"jaw_open": 0.4} if name in ("close", "press", "pucker", "funnel") else {}
    shots = [mouth(face, MouthShape(**{**base, name: v})) for v in np.linspace(0, 1, 21).tolist()]
    steps = [float(np.abs(b - a).mean()) for a, b in pairwise(shots)]
    assert max(steps) < 4 * sum(steps) / len(steps) + 0.5
    assert sum(steps) > 1.0


def test_blinks_close_the_lids(face: VectorFace) -> None:
    """Within ten seconds the eye loses its white and its pupil at least once, and gets them back."""
    eye = around(rig_of(face).eyes.left.centre, 25, 16, 16)
    spread = [float(np.std(luma(p)[eye])) for p in play(face.open(SIDE, SIDE, seed=2), 0.0, 10.0, Activity.IDLE)]
    open_ = float(np.median(spread))
    shut = [s < 0.6 * open_ for s in spread]
    assert any(shut)
    assert sum(shut) < len(shut) / 8
    assert not shut[0]


def test_same_seed_same_pictures_other_seed_others(face: VectorFace) -> None:
    runs = [play(face.open(256, 256, seed=s), 5.0, 2.0, Activity.SPEAKING) for s in (4, 4, 5)]
    assert all(np.array_equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))
    assert not np.array_equal(runs[0][-1], runs[2][-1])


def test_idle_is_alive(face: VectorFace) -> None:
    pictures = play(face.open(256, 256, seed=1), 0.0, 2.0, Activity.IDLE)
    moved = [int((a != b).sum()) for a, b in zip(pictures, pictures[5:], strict=False)]
    assert min(moved) > 1000  # never still for a fifth of a second


def test_no_jump_through_all_activities(face: VectorFace) -> None:
    """From any picture to the next, also when the activity changes, only little of the picture changes."""
    stream = face.open(256, 256, seed=6)
    time, last, worst = 0.0, stream.draw(FaceCue(0.0)), 0.0
    for activity in [*Activity, Activity.IDLE, Activity.SPEAKING, Activity.LISTENING]:
        for picture in play(stream, time + 0.04, 1.2, activity):
            worst = max(worst, float(np.abs(luma(picture) - luma(last)).mean()))
            last = picture
        time += 1.2
    assert worst < 1.5


def test_skipped_cues_do_not_throw_the_face_off(face: VectorFace) -> None:
    stream = face.open(256, 256, seed=1)
    before = stream.draw(FaceCue(0.0))
    after = stream.draw(FaceCue(3.0, activity=Activity.SPEAKING, loudness=0.3))
    assert float(np.abs(luma(after) - luma(before)).mean()) < 4
    later = stream.draw(FaceCue(3600.0))
    assert float(np.abs(luma(later) - luma(before)).mean()) < 4


def test_loudness_moves_head_and_brows(face: VectorFace) -> None:
    """A loud onset changes the picture more than going on in silence does."""
    quiet, loud = face.open(256, 256, seed=1), face.open(256, 256, seed=1)
    for i in range(50):
        calm = quiet.draw(FaceCue(i * 0.04, activity=Activity.SPEAKING))
        same = loud.draw(FaceCue(i * 0.04, activity=Activity.SPEAKING))
    assert np.array_equal(calm, same)
    for i in range(50, 56):
        calm = quiet.draw(FaceCue(i * 0.04, activity=Activity.SPEAKING))
        strong = loud.draw(FaceCue(i * 0.04, activity=Activity.SPEAKING, loudness=0.4))
    assert float(np.abs(luma(strong) - luma(calm)).mean()) > 0.5


@pytest.mark.parametrize(
    ("width", "height"), [(256, 256), (640, 360), (360, 640), (450, 254), (254, 450), (1080, 1080)]
)
def test_picture_format(face: VectorFace, width: int, height: int) -> None:
    stream = face.open(width, height)
    first = stream.draw(FaceCue(0.0))
    kept = first.copy()
    second = stream.draw(FaceCue(0.04, MouthShape(jaw_open=0.8), Activity.SPEAKING, 0.3))
    for picture in (first, second):
        assert picture.shape == (height * 3 // 2, width)
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous
    assert np.array_equal(first, kept), "a picture belongs to the caller"
    y, u, v = planes(second)
    assert int(y.min()) >= 16
    assert int(y.max()) <= 235
    assert min(int(u.min()), int(v.min())) >= 16
    assert max(int(u.max()), int(v.max())) <= 240


@pytest.mark.parametrize(("width", "height"), [(512, 512), (640, 360)])
def test_still_background_stays_bit_identical(face: VectorFace, width: int, height: int) -> None:
    pictures = play(face.open(width, height, seed=1), 0.0, 1.0, Activity.SPEAKING)
    corner = [planes(p)[0][: height // 4, : width // 9] for p in pictures]
    assert all(np.array_equal(corner[0], c) for c in corner[1:])


@pytest.mark.parametrize(("width", "height"), [(511, 512), (512, 511), (64, 64), (4096, 4096), (0, 0)])
def test_refuses_sizes(face: VectorFace, width: int, height: int) -> None:
    with pytest.raises(FaceError, match="even"):
        face.open(width, height)


def test_a_stream_is_small(face: VectorFace) -> None:
    """A session owns one picture; the rest is shared."""
    a, b = face.open(512, 512, seed=1), face.open(512, 512, seed=2)
    assert a._plate is b._plate
    assert a._rest.nbytes + b._rest.nbytes < 1_000_000


@pytest.mark.parametrize(("kind", "chroma"), [("colour", "u"), ("file", "v")])
async def test_backgrounds(tmp_path: Path, kind: str, chroma: str) -> None:
    """Blue as a colour and red as an image file; with a presenter that rasterises quickly."""
    folder = tmp_path / "quick"
    shutil.copytree(PRESENTERS / "mira", folder)
    rig = (folder / "rig.yaml").read_text()
    (folder / "rig.yaml").write_text(re.sub(r"(?m)^figure:.*$", "figure: [face.svg]", rig))
    image = tmp_path / "room.png"
    cv2.imwrite(str(image), np.full((90, 160, 3), (0, 0, 200), np.uint8))
    face = VectorFace(str(folder), "#0000c8" if kind == "colour" else str(image))
    await face.start()
    _, u, v = planes(face.open(256, 256).draw(FaceCue(0.0)))
    strong, weak = (u, v) if chroma == "u" else (v, u)
    assert int(strong[4, 4]) > 190
    assert int(weak[4, 4]) < 128
    await face.close()
    await face.close()


@pytest.mark.parametrize("background", ["#12", "#gggggg", "nowhere.png"])
async def test_refuses_backgrounds(background: str) -> None:
    with pytest.raises(FaceError, match="background"):
        await VectorFace(background=background).start()


async def test_unknown_presenter_names_the_known_ones() -> None:
    with pytest.raises(FaceError, match="mira"):
        await VectorFace(presenter="nobody").start()


def test_open_before_start_is_an_error() -> None:
    with pytest.raises(FaceError, match="not started"):
        VectorFace().open(512, 512)
