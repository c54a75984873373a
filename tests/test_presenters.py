"""Every built-in presenter: complete, distinct in its mouths, drawn far enough down."""

from __future__ import annotations

import asyncio
from itertools import combinations

import numpy as np
import pytest

from avatar.face.art import PRESENTERS, Art
from avatar.face.plate import planes
from avatar.face.sheet import MOUTHS
from avatar.face.vector import VectorFace
from avatar.face.view import View
from core.frames import FaceCue

SIDE = 512
NAMES = sorted(path.parent.name for path in PRESENTERS.glob("*/rig.yaml"))
LOWEST = 1560
"""Row in art units that the tallest picture shows."""


def test_f4_women_and_men_speak_with_their_voices() -> None:
    voices = {one.name: one.voices.get("espeak", "") for one in VectorFace().presenters()}
    assert voices == {"mira": "", "ansel": "+m7", "juno": "+m3"}, "mira has the one of the settings, a woman's"


@pytest.fixture(scope="module", params=NAMES)
def presenter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_f4_each_viseme_looks_different(presenter: str) -> None:
    face = VectorFace(presenter)
    asyncio.run(face.start())
    rig = Art.load(presenter, 0.25).rig
    (cx, cy), wide = rig.mouth.centre, rig.mouth.half_width
    x0, y0, x1, y1 = View.fit(SIDE, SIDE, rig.canvas).box(cx - wide * 1.3, cy - 40, cx + wide * 1.3, cy + 60)
    seen = {}
    for name, mouth in MOUTHS.items():
        luma = planes(face.open(SIDE, SIDE, seed=1).draw(FaceCue(0.0, mouth)))[0]
        seen[name] = luma[y0:y1, x0:x1].astype(np.float32)
    gaps = {(a, b): float(np.abs(seen[a] - seen[b]).mean()) for a, b in combinations(seen, 2)}
    assert min(gaps.values()) > 0.5, min(gaps, key=lambda pair: gaps[pair])


def test_f4_body_reaches_the_foot_of_upright_pictures(presenter: str) -> None:
    art = Art.load(presenter, 0.25)
    x, y, _, _ = art.rig.canvas
    rows = slice(round((1024 - y) * art.scale), round((LOWEST - y) * art.scale))
    columns = slice(round((256 - x) * art.scale), round((768 - x) * art.scale))
    assert art.figure[rows, columns, 3].min() == 255


def test_f4_presenters_introduce_themselves(presenter: str) -> None:
    rig = Art.load(presenter, 0.25).rig
    assert rig.name == presenter
    assert rig.title


def test_f4_drawings_are_small(presenter: str) -> None:
    sizes = {path.name: path.stat().st_size for path in (PRESENTERS / presenter).iterdir()}
    assert max(sizes.values()) < 200_000, sizes
