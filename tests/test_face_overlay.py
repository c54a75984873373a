"""What is worn over the eyes."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avatar.face.art import PRESENTERS
from avatar.face.plate import planes
from avatar.face.vector import VectorFace
from avatar.face.warp import INDEX
from core.frames import FaceCue, MouthShape, Picture

GLASSES = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="-128 -64 1280 1664" width="1280" height="1664">
<g fill="none" stroke="#0000ff" stroke-width="10"><rect x="360" y="384" width="136" height="92"/>
<rect x="528" y="384" width="136" height="92"/><path d="M496 420 h32"/></g></svg>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("presenter") / "bespectacled"
    shutil.copytree(PRESENTERS / "mira", folder)
    (folder / "glasses.svg").write_text(GLASSES)
    rig = (folder / "rig.yaml").read_text()
    (folder / "rig.yaml").write_text(re.sub(r"(?m)^figure:.*$", "figure: [face.svg]\nfigure_over: [glasses.svg]", rig))
    return folder


def blue(picture: Picture) -> tuple[float, float, float]:
    """Middle column and row, and amount, of blue in half-size pixels."""
    strength = np.maximum(planes(picture)[1].astype(np.float64) - 145, 0)
    rows, columns = np.indices(strength.shape)
    total = strength.sum()
    return float((columns * strength).sum() / total), float((rows * strength).sum() / total), float(total)


@pytest.mark.parametrize("size", [256, 512, 1080])
async def test_glasses_are_where_they_were_drawn(folder: Path, size: int) -> None:
    face = VectorFace(str(folder))
    await face.start()
    stream = face.open(size, size)
    pose = stream.pose(FaceCue(0.0))
    pose.weights[:] = 0
    x, y, _ = blue(stream.render(pose))
    assert x == pytest.approx(size / 4 - 0.5, abs=0.5)  # the middle of the art, in half-size pixels
    assert y == pytest.approx(430 / 1024 * size / 2 - 0.5, abs=0.5)


async def test_glasses_go_with_the_head_but_not_with_brows_or_lids(folder: Path) -> None:
    face = VectorFace(str(folder))
    await face.start()
    stream = face.open(512, 512)
    pose = stream.pose(FaceCue(0.0))
    pose.weights[:] = 0
    rest = stream.render(pose)
    for part in ("inner_left", "inner_right", "outer_left", "outer_right"):
        pose.weights[INDEX[f"brow_{part}"]] = 14
    # Nearly: the skin that moves shines through the soft edge of the glasses.
    assert blue(stream.render(replace(pose, mouth=MouthShape(jaw_open=1.0)))) == pytest.approx(blue(rest), rel=3e-4)
    pose.weights[:] = 0
    pose.weights[INDEX["shift_x"]] = 12
    x, y, amount = blue(stream.render(pose))
    assert x - blue(rest)[0] == pytest.approx(12 / 1024 * 256, abs=0.3)
    assert y == pytest.approx(blue(rest)[1], abs=0.3)
    assert amount == pytest.approx(blue(rest)[2], rel=0.15)
    pose.weights[INDEX["roll"]] = 0.08
    assert blue(stream.render(pose))[2] == pytest.approx(amount, rel=0.15)
