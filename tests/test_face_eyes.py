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
