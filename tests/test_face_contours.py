"""The outer and inner edges of the lips, and the hair that is laid over them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.face.art import built_in, find_presenter
from avatar.face.contours import Contours, reach
from avatar.face.lips import Lips, lips_of
from avatar.face.mouth import MouthPainter, Place
from avatar.face.rig import Mouth, load_rig
from avatar.face.sheet import MOUTHS
from avatar.face.vector import VectorFace
from core.frames import VISEMES, FaceChoice

V = np.linspace(0, 1, 201, dtype=np.float32)
Floats = NDArray[np.float32]


def edges(rig: Mouth, drop: float, viseme: str) -> tuple[Lips, list[Floats]]:
    """Heights of the edges over the line between the lips (art units, up is positive) from the middle to the corner."""
    contours = Contours(rig, 1.0)
    lips = lips_of(MOUTHS[viseme], rig, drop, 0.5)
    found, *_ = contours.edges(lips, np.zeros_like(V), V, contours.at(V))
    return lips, [-edge for edge in found]


@pytest.mark.parametrize("presenter", built_in())
@pytest.mark.parametrize("viseme", VISEMES)
def test_f1_no_edge_of_the_lips_crosses_another(presenter: str, viseme: str) -> None:
    rig = load_rig(find_presenter(presenter))
    lips, (upper_out, upper_in, lower_in, lower_out) = edges(rig.mouth, rig.jaw.drop, viseme)
    assert (upper_out >= upper_in - 1e-3).all()
    assert (upper_in >= lower_in - 1e-3).all() or lips.down < 0
    assert (lower_in >= lower_out - 1e-3).all()


@pytest.mark.parametrize("presenter", built_in())
@pytest.mark.parametrize("viseme", ["oh", "ou"])
def test_f1_rounded_lips_are_a_bow_over_a_bowl(presenter: str, viseme: str) -> None:
    """Not a ring: a bow above, fuller below, and little flesh towards the corners."""
    rig = load_rig(find_presenter(presenter))
    lips, (upper_out, upper_in, lower_in, lower_out) = edges(rig.mouth, rig.jaw.drop, viseme)
    assert lips.rounded > 0.95
    peak = int(upper_out.argmax())
    assert 0.12 < V[peak] < 0.4
    assert upper_out[0] < 0.92 * upper_out[peak], "the bow"
    assert (upper_out - upper_in)[0] < 0.85 * (lower_in - lower_out)[0], "the lower lip is the fuller one"
    # Straight flanks: halfway from the peak to the corner it is halfway down, where an oval would be at 0.87.
    flank = upper_out[(peak + len(V)) // 2] / upper_out[peak]
    assert 0.45 < flank < 0.8
    bowl = lower_out[int(0.6 * len(V))] / lower_out[0]
    assert 0.62 < bowl < 0.92, "the lower lip is rounder"
    ends = reach(lips) < V
    assert np.allclose(upper_in[ends], 0, atol=0.05)
    assert upper_out[-1] < 1.1
    assert lower_out[-1] > -1.1


def test_f1_an_illustrator_may_draw_rounded_lips_anew() -> None:
    rig = load_rig(find_presenter("mira"))
    flat = replace(rig.mouth, round_upper=((0, 1), (0.5, 0.9), (1, 0)))
    _, (own, *_) = edges(rig.mouth, rig.jaw.drop, "ou")
    _, (other, *_) = edges(flat, rig.jaw.drop, "ou")
    assert own[40] > own[0] + 1
    assert other[40] < other[0]
    assert own[0] == pytest.approx(other[0], abs=0.1)
    _, (own, *_) = edges(rig.mouth, rig.jaw.drop, "ih")
    _, (other, *_) = edges(flat, rig.jaw.drop, "ih")
    assert np.abs(own - other).max() < 0.2, "other mouths are as before"


@pytest.fixture(scope="module")
def face() -> VectorFace:
    face = VectorFace()
    asyncio.run(face.start())
    return face


def hair(face: VectorFace, painter: MouthPainter, viseme: str) -> tuple[NDArray[np.bool_], int, Lips]:
    """Pixels that the hair changes, and the row of the resting line among them."""
    lips = lips_of(MOUTHS[viseme], painter.rig, painter.drop, 0.5)
    place = Place(400.0, 400.0, 0.0)
    with_it, _, top = painter.paint(place, MOUTHS[viseme], lips)
    beard = painter._beard
    assert beard is not None
    kept = beard._hair
    beard._hair = np.zeros_like(kept)
    without, _, _ = painter.paint(place, MOUTHS[viseme], lips)
    beard._hair = kept
    assert (with_it[3] >= without[3] - 1e-4).all(), "it covers, and leaves no hole"
    assert float((with_it[0] - without[0]).max()) > 40, "silver"
    line = round(400 + painter.rig.line[0][1] * painter.scale - top)
    return np.abs(with_it[0] - without[0]) > 8, line, lips


@pytest.mark.parametrize("viseme", ["oh", "ou", "sil", "aa"])
def test_f1_a_moustache_hangs_over_the_upper_lip(face: VectorFace, viseme: str) -> None:
    painter = face.open(1024, 1024, choice=FaceChoice("ansel"))._plate.mouth
    changed, line, lips = hair(face, painter, viseme)
    k, middle = painter.scale, changed.shape[1] // 2
    near = slice(middle - round(0.4 * lips.width * k), middle + round(0.4 * lips.width * k))
    top = line - lips.up * k
    thick = painter.rig.upper[0][1] * lips.upper * k
    over = changed[round(top - 1.0 * thick) : round(top - 0.65 * thick), near]
    assert over.mean() > 0.18, "hair over the lip"
    edge = changed[round(top - 1) : round(top + 1), near]
    assert edge.mean() < 0.6 * over.mean(), "which still shows above the opening"
    mouth = changed[round(line - 1) : round(line + max(0.0, lips.down) * k - 1), near]
    assert mouth.size == 0 or mouth.mean() < 0.05, "and none in it"


def test_f1_who_has_no_hair_drawn_over_the_lips_pays_nothing_for_it(face: VectorFace) -> None:
    has = {name: face.open(256, 256, choice=FaceChoice(name))._plate.mouth._beard is not None for name in built_in()}
    assert has == {"ansel": True, "juno": False, "mira": False}
