"""The contact sheet tool."""

from __future__ import annotations

import re
import shutil
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatar.face.art import PRESENTERS
from avatar.face.sheet import COLUMNS, HEADING, MOUTHS, PARTS, babble, main, table


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """A presenter that rasterises quickly: no body, no hair."""
    folder = tmp_path / "quick"
    shutil.copytree(PRESENTERS / "mira", folder)
    rig = (folder / "rig.yaml").read_text()
    (folder / "rig.yaml").write_text(re.sub(r"(?m)^figure:.*$", "figure: [face.svg]", rig))
    return folder


TILES = {
    "mouths": len(MOUTHS), "expressions": 24, "gestures": 24, "activities": 7, "transitions": 48, "turns": 8,
    "eyes": 10, "strip": 24,
}  # fmt: skip


@pytest.mark.parametrize("part", list(PARTS))
def test_draws_each_part(quick: Path, tmp_path: Path, part: str) -> None:
    out = tmp_path / "sheet.png"
    assert main([str(quick), "-o", str(out), "--size", "128", "--part", part, "--background", "#ffffff"]) == 0
    image = cv2.imread(str(out))
    assert image is not None
    assert image.shape == (HEADING + 128 * -(-TILES[part] // COLUMNS), 128 * COLUMNS, 3)
    tiles = image[HEADING:].reshape(-1, 128, COLUMNS, 128, 3).swapaxes(1, 2).reshape(-1, 128, 128, 3)
    assert len({tile[24:].tobytes() for tile in tiles[: TILES[part]]}) == TILES[part], "no two pictures are the same"


def test_unknown_presenter_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nobody"]) == 1
    assert "mira" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "sheet.xyz"), "sheet.xyz: the file must end in .png, .jpg"),
        (("-o", "no/where/sheet.png"), "no folder no/where"),
        (("--size", "-4"), "even number, 128 to 2160"),
        (("--size", "129"), "even number, 128 to 2160"),
        (("--size", "5000"), "even number, 128 to 2160"),
        (("--part", "ears"), "mouths"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_drawn(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["mira", *words])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert "usage: python -m avatar sheet " in told
    assert said in told


def test_table_fills_the_last_row() -> None:
    tiles = [np.full((2, 3, 3), i, np.uint8) for i in range(1, 6)]
    image = table(tiles, 4)
    assert image.shape == (4, 12, 3)
    assert image[3, 0, 0] == 5
    assert image[3, 5, 0] == 0


def test_babble_is_valid_speech() -> None:
    cues = list(babble(50))
    assert all(b.time > a.time for a, b in pairwise(cues))
    assert all(0 <= getattr(c.mouth, f) <= 1 for c in cues for f in c.mouth.__slots__)
    assert all(0 <= c.loudness <= 1 for c in cues)
