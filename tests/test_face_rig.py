"""Rigs and drawings of presenters: what is refused, and with which words."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from avatar.face.art import PRESENTERS, find_presenter, rasterise, to_yuv
from avatar.face.curve import through
from avatar.face.rig import load_rig
from avatar.face.sheet import MOUTHS
from avatar.face.vector import VectorFace
from avatar.face.view import View
from core.errors import FaceError
from core.frames import FaceCue


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "presenter"
    shutil.copytree(PRESENTERS / "mira", folder)
    return folder


def change(folder: Path, keys: list[str], value: Any) -> None:
    path = folder / "rig.yaml"
    data = yaml.safe_load(path.read_text())
    part = data
    for key in keys[:-1]:
        part = part[key]
    if value is None:
        del part[keys[-1]]
    else:
        part[keys[-1]] = value
    path.write_text(yaml.safe_dump(data))


def test_the_built_in_rig_is_valid() -> None:
    rig = load_rig(find_presenter("mira"))
    assert rig.name == "mira"
    assert rig.eyes.left.outward == -1
    assert rig.mouth.line[0][0] == 0


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (["name"], None, "name"),
        (["canvas"], [0, 0, 0, 10], "canvas"),
        (["figure"], [], "figure"),
        (["jaw"], None, "jaw"),
        (["jaw", "drop"], "far", "drop"),
        (["jaw", "drop"], True, "drop"),
        (["eyes", "left", "centre"], [1], "centre"),
        (["eyes", "upper"], [[0, 0], [-1, 0], [2, 0]], "upper"),
        (["mouth", "smile"], 7, "smile"),
        (["mouth", "line"], [[0, 0]], "line"),
        (["brows"], 3, "brows"),
        (["eyes", "lash"], "brown", "lash"),
        (["eyes", "rim"], 7, "rim"),
        (["eyes", "reach"], [1, 2], "reach"),
        (["mouth", "reach"], [70, 0, 50], "reach"),
        (["mouth", "shade"], 2, "shade"),
        (["mouth", "round_upper"], [[0, 15], [0.5, 17], [1, 0]], "round_upper"),
        (["mouth", "round_lower"], [[0, 1], [0.5, 0.8], [0.9, 0]], "round_lower"),
        (["mouth", "round_lower"], [[0, 1], [1, 0]], "round_lower"),
        (["motion"], -1, "motion"),
        (["figure_over"], "glasses.svg", "figure_over"),
        (["title"], 5, "title"),
    ],
)
def test_wrong_keys_are_named(copy: Path, keys: list[str], value: Any, words: str) -> None:
    change(copy, keys, value)
    with pytest.raises(FaceError, match=words) as caught:
        load_rig(copy)
    assert "avatars.md" in str(caught.value)
    assert caught.value.adapter == "vector"


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (["titel"], "Nora", "unknown key `titel`.* title"),
        (["mouth", "shades"], 1, "mouth: unknown key `shades`.* shade,"),
        (["eyes", "right", "outwards"], 1, "right: unknown key `outwards`.* outward"),
        ([7], 1, "unknown key `7`"),
        (["name"], "a/b", "`name` must be letters"),
        (["name"], "x" * 65, "`name` must be letters"),
        (["eyes", "left", "outward"], 0.5, "outward"),
        (["canvas"], [0, 0, float("nan"), 10], "canvas"),
        (["voices"], "m7", "`voices` must be names of synthesizers"),
        (["voices"], {"espeak": 7}, "`voices` must be names of synthesizers"),
        (["head", "pivot"], [float("inf"), 0], "pivot"),
    ],
)
def test_unknown_keys_and_values_that_cannot_be_are_named(copy: Path, keys: list[str], value: Any, words: str) -> None:
    change(copy, keys, value)
    with pytest.raises(FaceError, match=words):
        load_rig(copy)


def test_optional_keys(copy: Path) -> None:
    plain = load_rig(copy)
    assert plain.voices == {}
    assert (plain.motion, plain.figure_over, plain.eyes.shade, plain.mouth.shade) == (1.0, (), 1.0, 1.0)
    for keys, value in (
        (["title"], "Ida"), (["about"], "A test."), (["motion"], 0.5), (["eyes", "lash"], "#102030"),
        (["voices"], {"espeak": "+m7"}), (["eyes", "rim"], "none"), (["eyes", "margin"], "#c0a090"),
        (["eyes", "reach"], [70, 50, 40]), (["mouth", "shade"], 0),
    ):  # fmt: skip
        change(copy, keys, value)
    rig = load_rig(copy)
    assert (rig.title, rig.about, rig.motion) == ("Ida", "A test.", 0.5)
    assert (rig.eyes.lash, rig.eyes.rim, rig.eyes.reach) == ((0x30, 0x20, 0x10), None, (70, 50, 40))
    assert rig.eyes.margin == (0x90, 0xA0, 0xC0)
    assert rig.mouth.shade == 0
    assert rig.voices == {"espeak": "+m7"}


@pytest.mark.parametrize("text", ["a: [", "just words", "[1, 2]"])
def test_broken_yaml_is_refused(copy: Path, text: str) -> None:
    (copy / "rig.yaml").write_text(text)
    with pytest.raises(FaceError, match=r"rig\.yaml"):
        load_rig(copy)


async def test_missing_rig(tmp_path: Path) -> None:
    with pytest.raises(FaceError, match="missing"):
        await VectorFace(presenter=str(tmp_path)).start()


async def test_missing_drawing_is_named(copy: Path) -> None:
    (copy / "eyes.svg").unlink()
    with pytest.raises(FaceError, match=r"eyes\.svg"):
        await VectorFace(presenter=str(copy)).start()


async def test_missing_group_is_named(copy: Path) -> None:
    path = copy / "mouth.svg"
    path.write_text(path.read_text().replace('id="tongue"', 'id="tounge"'))
    with pytest.raises(FaceError, match="tongue"):
        await VectorFace(presenter=str(copy)).start()


async def test_broken_drawing_is_named(copy: Path) -> None:
    (copy / "mouth.svg").write_text("<svg")
    with pytest.raises(FaceError, match=r"mouth\.svg"):
        await VectorFace(presenter=str(copy)).start()


@pytest.mark.parametrize(
    ("element", "words"),
    [
        ('<text x="9" y="9">Nora</text>', "has text"),
        ('<g><image href="photo.png" width="9" height="9"/></g>', "'photo.png'"),
        ('<image xlink:href="photo.png" xmlns:xlink="http://www.w3.org/1999/xlink" width="9" height="9"/>', "photo"),
    ],
)
@pytest.mark.parametrize("drawing", ["face.svg", "mouth.svg", "background.svg"])
async def test_what_would_be_left_out_of_a_drawing_is_refused(
    copy: Path, drawing: str, element: str, words: str
) -> None:
    path = copy / drawing
    path.write_text(path.read_text().replace("</svg>", f"{element}</svg>"))
    with pytest.raises(FaceError, match=words) as refused:
        await VectorFace(presenter=str(copy)).start()
    assert drawing in str(refused.value)


async def test_broken_figure_is_refused(copy: Path) -> None:
    (copy / "body.svg").write_text("no drawing")
    with pytest.raises(FaceError, match=r"body\.svg"):
        await VectorFace(presenter=str(copy)).start()


def test_colours_are_bt601_limited_range() -> None:
    """Reference values of the colour bars in ITU-R BT.601: white, black, red (8 bit)."""
    bgr = np.array([[255, 255, 255], [0, 0, 0], [0, 0, 255]], np.uint8)
    assert np.rint(to_yuv(bgr)).tolist() == [[235, 128, 128], [16, 128, 128], [81, 90, 240]]


def test_rasterise_gives_the_size_asked_for() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><rect width="10" height="10" fill="#f00"/></svg>'
    image = rasterise(svg, 32, 32)
    assert image.shape == (32, 32, 4)
    assert image[16, 16].tolist() == [0, 0, 255, 255]


def test_curve_passes_through_its_points() -> None:
    points = ((-2.0, 1.0), (0.0, -3.0), (1.0, 2.0), (4.0, 0.0))
    x = np.array([p[0] for p in points])
    assert np.allclose(through(points, x), [p[1] for p in points], atol=1e-6)
    assert np.allclose(through(points, np.array([-9.0, 9.0])), [1.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("size", [(512, 512), (1280, 720), (720, 1280), (256, 1080), (1920, 400)])
def test_view_keeps_face_in_the_picture(size: tuple[int, int]) -> None:
    rig = load_rig(find_presenter("mira"))
    view = View.fit(*size, rig.canvas)
    for x, y in (rig.eyes.left.centre, rig.eyes.right.centre, rig.mouth.centre):
        assert 0 < view.x(x) < size[0]
        assert 0 < view.y(y) < size[1]
    assert view.y(rig.canvas[1] + rig.canvas[3]) >= size[1], "the body reaches the lower edge"
    assert abs(view.x(rig.canvas[0]) - round(view.x(rig.canvas[0]))) < 1e-6


def test_f1_a_reach_that_is_too_small_cuts_the_mouth_and_no_more(copy: Path) -> None:
    change(copy, ["mouth", "reach"], [50, 24, 40])
    face = VectorFace(str(copy))
    asyncio.run(face.start())
    for shape in MOUTHS.values():
        picture = face.open(256, 256).draw(FaceCue(0.0, shape))
        assert picture.shape == (384, 256)
