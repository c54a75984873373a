"""Transparent pictures: colour at the left, matte at the right, no dark fringe; and backgrounds that stay still."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatar.face.art import PRESENTERS, built_in
from avatar.face.matte import bled, limited, mix
from avatar.face.plate import planes
from avatar.face.vector import VectorFace, VectorStream
from core.frames import Activity, FaceChoice, FaceCue, Gesture, MouthShape, Picture


@pytest.fixture(scope="module")
def face() -> VectorFace:
    face = VectorFace()
    asyncio.run(face.start())
    return face


def moved(face: VectorFace, background: str, size: tuple[int, int] = (256, 256), presenter: str = "") -> Picture:
    """A head tilted and talking."""
    stream = face.open(*size, seed=3, choice=FaceChoice(presenter, background))
    for i in range(20):
        cue = FaceCue(i * 0.04, MouthShape(jaw_open=0.5), Activity.SPEAKING, 0.1, gesture=Gesture.TILT)
        picture = stream.draw(cue)
    return picture


@pytest.mark.parametrize("presenter", built_in())
@pytest.mark.parametrize("size", [(128, 128), (256, 256), (640, 360), (240, 426)])
def test_colour_and_matte_side_by_side(face: VectorFace, presenter: str, size: tuple[int, int]) -> None:
    width, height = size
    picture = moved(face, "transparent", size, presenter)
    assert picture.shape == (height * 3 // 2, 2 * width)
    y, u, v = planes(picture)
    matte = y[:, width:]
    assert (u[:, width // 2 :] == 128).all()
    assert (v[:, width // 2 :] == 128).all()
    assert int(matte.min()) == 16
    assert int(matte.max()) == 235
    assert (matte[: height // 4, : width // 10] == 16).all(), "nothing beside the head"
    assert (matte[height * 45 // 100 : height // 2, width // 2 - 8 : width // 2 + 8] == 235).all(), (
        "no hole in the face"
    )
    soft = ((matte > 20) & (matte < 231)).mean()
    assert 0.0005 < soft < 0.08, "an outline that is neither stepped nor blurred"


@pytest.mark.parametrize("presenter", built_in())
@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (200, 200, 40)])
def test_composed_on_the_page_it_looks_as_drawn_on_that_colour(
    face: VectorFace, presenter: str, background: tuple[int, int, int]
) -> None:
    """The luma of colour × matte + page × (1 - matte) against the picture drawn on that colour: no fringe."""
    blue, green, red = background
    y, _, _ = planes(moved(face, "transparent", presenter=presenter))
    colour, matte = y[:, :256].astype(float), (y[:, 256:].astype(float) - 16) / 219
    page = float(16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255)
    composed = colour * matte + page * (1 - matte)
    drawn = planes(moved(face, f"#{red:02x}{green:02x}{blue:02x}", presenter=presenter))[0]
    error = np.abs(composed - drawn)
    assert error.mean() < 0.5
    assert np.percentile(error, 99.5) < 12


def test_the_matte_follows_the_head(face: VectorFace) -> None:
    stream = face.open(256, 256, seed=3, choice=FaceChoice(background="transparent"))

    def outline(cue: FaceCue) -> float:
        matte = planes(stream.draw(cue))[0][40:120, 256:].astype(float) - 16
        return float((matte * np.arange(256)).sum() / matte.sum())

    still = outline(FaceCue(0.0))
    tilted = [outline(FaceCue(i * 0.04, gesture=Gesture.TILT)) for i in range(1, 25)]
    assert max(tilted) - still > 5


def test_colours_go_on_beyond_the_outline() -> None:
    figure = np.zeros((64, 64, 4), np.float32)
    figure[20:40, 20:40] = (10, 200, 30, 255)
    figure[20:40, 40] = (5, 100, 15, 127.5)
    colours = bled(figure)
    assert np.abs(colours - (10, 200, 30)).max() < 2, "one colour everywhere, also where nothing is"


def test_mattes_and_mixing_are_exact_at_both_ends() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert limited(ramp).min() == 16
    assert limited(ramp).max() == 235
    front, back, out = np.full((16, 16), 200, np.uint8), np.full((16, 16), 50, np.uint8), np.empty((16, 16), np.uint8)
    mix(front, back, ramp, out)
    assert out[0, 0] == 50
    assert out[-1, -1] == 200
    assert np.abs(out - (50 + 150 * (ramp / 255.0))).max() <= 1


SHAPES = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 512 512" width="512" height="512">
<rect width="512" height="512" fill="#d0d0d0"/><path d="M0 0 H512 V60 H0 Z M0 90 H512 V130 H0 Z" fill="#304050"/>
<path d="M60 0 h30 V512 h-30 Z M420 0 h30 V512 h-30 Z" fill="#803020"/></svg>"""


async def test_a_sharp_background_stays_where_it_is_while_the_head_moves(tmp_path: Path) -> None:
    """A studio of graphic shapes: wherever the figure never comes, each picture has the very same pixels."""
    folder = tmp_path / "graphic"
    shutil.copytree(PRESENTERS / "mira", folder)
    rig = re.sub(r"(?m)^figure:.*$", "figure: [face.svg]", (folder / "rig.yaml").read_text())
    (folder / "rig.yaml").write_text(rig + "\nbackground_blur: 0\n")
    (folder / "background.svg").write_text(SHAPES)
    face = VectorFace(str(folder))
    await face.start()
    stream, cut = face.open(256, 256, seed=1), face.open(256, 256, seed=1, choice=FaceChoice(background="transparent"))
    pictures, mattes = play(stream), [planes(p)[0][:, 256:] for p in play(cut)]
    outside = cv2.dilate(np.max(mattes, axis=0), np.ones((3, 3), np.uint8)) == 16
    assert outside.mean() > 0.3
    lumas = [planes(p)[0] for p in pictures]
    assert all(np.array_equal(lumas[0][outside], luma[outside]) for luma in lumas[1:])
    assert any(not np.array_equal(lumas[0], luma) for luma in lumas[1:])
    edges = np.abs(np.diff(lumas[0].astype(int), axis=1))[:, :60].max()
    assert edges > 60, "and it is sharp"


def play(stream: VectorStream) -> list[Picture]:
    return [stream.draw(FaceCue(i * 0.04, gesture=Gesture.SHAKE)) for i in range(30)]
