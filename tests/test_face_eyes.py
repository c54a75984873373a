"""Lids as they fall and rise."""

from __future__ import annotations

import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from avatar.face.art import PRESENTERS, Art, built_in
from avatar.face.plate import Plate

SIDE = 512


def _plate(presenter: str) -> Plate:
    return Plate(Art.load(presenter), SIDE, SIDE, "#808080")


@pytest.mark.parametrize("presenter", built_in())
def test_f1_the_edge_of_a_half_shut_lid_bows_down(presenter: str) -> None:
    art = Art.load(presenter)
    eye = Plate(art, SIDE, SIDE, "#808080").eyes[0]
    middle, aside = eye.paint(0.0, 0.0, 1.0).shape[2] // 2, round(34 * eye.scale)
    above = round((art.rig.eyes.reach[1] + min(y for _, y in art.rig.eyes.upper) - 4) * eye.scale)

    def edge(openness: float, column: int) -> int:
        """The first row of the dark line along the upper lid."""
        luma = eye.paint(0.0, 0.0, openness)[0, above:, column]
        return int(np.flatnonzero(luma < (luma.min() + np.median(luma)) / 2)[0])

    for openness, sign in ((1.0, -1), (0.45, 1), (0.3, 1), (0.0, 1)):
        inner, deep, outer = (edge(openness, column) for column in (middle - aside, middle, middle + aside))
        assert sign * (deep - (inner + outer) / 2) > 0.9, f"{openness}: {inner} {deep} {outer}"


@pytest.mark.parametrize("presenter", built_in())
def test_f1_what_is_left_of_an_eye_lies_in_the_shade_of_the_lashes(presenter: str) -> None:
    rig = Art.load(presenter).rig.eyes
    eye = _plate(presenter).eyes[0]
    column = eye.paint(0.0, 0.0, 1.0).shape[2] // 2 - round(26 * eye.scale)
    row = round((rig.reach[1] + min(y for x, y in rig.lower if abs(x) < 30) - 3) * eye.scale)
    white, slit = (eye.paint(0.0, 0.0, openness)[0, row, column] for openness in (1.0, 0.35))
    assert slit < 0.6 * white


def test_f1_a_squint_raises_the_lit_edge_of_the_lower_lid(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(PRESENTERS / "mira", folder)
    rig = folder / "rig.yaml"
    rig.write_text(re.sub(r"  margin: .*\n", "", rig.read_text()))
    with_it, without = (_plate(name).eyes[0] for name in ("mira", str(folder)))
    middle = with_it.paint(0.0, 0.0, 1.0).shape[2] // 2
    lit = [
        int(np.argmax(with_it.paint(0, 0, 1, squint)[0, :, middle] - without.paint(0, 0, 1, squint)[0, :, middle]))
        for squint in (0.0, 0.8)
    ]
    assert 2 <= lit[0] - lit[1] <= 8


@pytest.mark.parametrize("presenter", built_in())
def test_f1_no_step_of_a_blink_jumps(presenter: str) -> None:
    """The skin above an open eye's lashes, which a falling lid draws smooth, never changes suddenly."""
    art = Art.load(presenter)
    eye = Plate(art, SIDE, SIDE, "#808080").eyes[0]
    above = round((art.rig.eyes.reach[1] + min(y for _, y in art.rig.eyes.upper) - 8) * eye.scale)
    phases = [eye.paint(0.0, 0.0, openness)[:, :above] for openness in np.linspace(1, 0, 41)]
    assert max(float(np.abs(a - b).max()) for a, b in pairwise(phases)) < 4


def test_f1_the_crease_of_an_open_eye_fades_when_it_shuts() -> None:
    eye = _plate("ansel").eyes[0]
    middle, rows = eye.paint(0.0, 0.0, 1.0).shape[2] // 2, slice(round(4 * eye.scale), round(26 * eye.scale))
    open_, shut = (eye.paint(0.0, 0.0, openness)[0, rows, middle] for openness in (1.0, 0.0))
    assert np.ptp(open_) > 30, "drawn as a line"
    assert np.ptp(shut) < 0.7 * np.ptp(open_)


def test_a_drawing_may_do_without_the_skin_around_shut_lids(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(PRESENTERS / "ansel", folder)
    drawing = folder / "eyes.svg"
    text = drawing.read_text()
    drawing.write_text(re.sub(r'<g id="lid-shut">.*(?=<g id="lashes")', "", text, flags=re.DOTALL))
    assert drawing.read_text() != text
    eye = _plate(str(folder)).eyes[0]
    top = round(20 * eye.scale)
    np.testing.assert_array_equal(eye.paint(0.0, 0.0, 1.0)[:, :top], eye.paint(0.0, 0.0, 0.0)[:, :top])
