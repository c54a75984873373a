"""Which face a session shows: the contract of every face, and what `vector` offers."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatar.face.art import PRESENTERS
from avatar.face.plate import planes
from avatar.face.shelf import Shelf
from avatar.face.vector import VectorFace
from core.errors import FaceError
from core.frames import FaceChoice, FaceCue
from core.stages import Face
from tests.fakes import GreyFace

FACES: dict[str, Callable[[], Face]] = {"vector": VectorFace, "grey": GreyFace}


@pytest.fixture(scope="module", params=list(FACES))
def face(request: pytest.FixtureRequest) -> Face:
    face = FACES[request.param]()
    asyncio.run(face.start())
    return face


def test_names_its_presenters(face: Face) -> None:
    presenters = face.presenters()
    assert presenters
    assert len({p.name for p in presenters}) == len(presenters)
    assert all(p.name and p.title for p in presenters)


def test_presenters_are_known_before_the_start() -> None:
    assert {name: make().presenters()[0].name for name, make in FACES.items()} == {"vector": "mira", "grey": "grey"}


def test_shows_each_presenter(face: Face) -> None:
    pictures = [face.open(128, 128, choice=FaceChoice(p.name)).draw(FaceCue(0.0)) for p in face.presenters()]
    assert all(p.shape == (192, 128) and p.dtype == np.uint8 for p in pictures)
    assert len({p.tobytes() for p in pictures}) == len(pictures)


@pytest.mark.parametrize("name", ["nora", "ansel"])
async def test_a_presenter_of_ones_own_is_chosen_by_name_and_its_place_is_not_told(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "secret place"
    shutil.copytree(PRESENTERS / "mira", folder)
    rig = (folder / "rig.yaml").read_text()
    (folder / "rig.yaml").write_text(re.sub("(?m)^(name|title): .*$", rf"\1: {name}", rig))
    face = VectorFace(presenter=str(folder))
    await face.start()
    presenters = face.presenters()
    assert presenters[0].name == presenters[0].title == name
    assert sorted(one.name for one in presenters) == sorted({name, "ansel", "juno", "mira"})
    shown = {one.name: face.open(128, 128, choice=FaceChoice(one.name)).draw(FaceCue(0.0)) for one in presenters}
    assert np.array_equal(shown[name], face.open(128, 128).draw(FaceCue(0.0)))
    assert np.array_equal(shown[name], shown["mira"])
    with pytest.raises(FaceError, match="ansel, juno") as refused:
        face.open(128, 128, choice=FaceChoice(str(folder)))
    assert refused.value.code == "unknown_presenter"


def test_an_empty_choice_is_the_settings(face: Face) -> None:
    first = face.presenters()[0].name
    plain, chosen = (face.open(128, 128, choice=c).draw(FaceCue(0.0)) for c in (FaceChoice(), FaceChoice(first)))
    assert np.array_equal(plain, chosen)


@pytest.mark.parametrize("name", ["nobody", "../mira", "/etc"])
def test_refuses_unknown_presenters(face: Face, name: str) -> None:
    with pytest.raises(FaceError) as caught:
        face.open(128, 128, choice=FaceChoice(name))
    assert caught.value.code == "unknown_presenter"


@pytest.mark.parametrize("name", ["nowhere.png", "/etc/passwd", "../mira/body.svg"])
def test_refuses_unknown_backgrounds(face: Face, name: str) -> None:
    with pytest.raises(FaceError) as caught:
        face.open(128, 128, choice=FaceChoice(background=name))
    assert caught.value.code == "unknown_background"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of backgrounds with one red picture, and a picture beside it."""
    folder = tmp_path / "rooms"
    folder.mkdir()
    red = np.full((90, 160, 3), (0, 0, 200), np.uint8)
    cv2.imwrite(str(folder / "red.png"), red)
    cv2.imwrite(str(tmp_path / "private.png"), red)
    return folder


def corner(face: VectorFace, background: str, row: int = 2) -> list[int]:
    """Y, U, V near the left edge."""
    y, u, v = planes(face.open(128, 128, choice=FaceChoice(background=background)).draw(FaceCue(0.0)))
    return [int(y[row, 2]), int(u[row // 2, 1]), int(v[row // 2, 1])]


async def test_backgrounds_of_one_session(pictures: Path) -> None:
    face = VectorFace(background="#00ff00", backgrounds=str(pictures))
    await face.start()
    assert corner(face, "#0000ff") == [41, 240, 110]
    assert corner(face, "") == corner(face, "#00ff00") == [145, 54, 34]
    assert corner(face, "studio") not in (corner(face, ""), corner(face, "#000000"))
    assert corner(face, "red.png")[2] > 200
    top, bottom = corner(face, "#ffffff-#000000"), corner(face, "#ffffff-#000000", 125)
    assert top[0] > 225
    assert bottom[0] < 25
    for name in ("private.png", "../private.png", str(pictures.parent / "private.png"), "#12", "#000000-", "rooms"):
        with pytest.raises(FaceError, match="background") as caught:
            face.open(128, 128, choice=FaceChoice(background=name))
        assert caught.value.code == "unknown_background"


async def test_a_picture_that_cannot_be_read_is_refused_without_its_place(pictures: Path) -> None:
    (pictures / "broken.jpg").write_text("no picture")
    face = VectorFace(backgrounds=str(pictures))
    await face.start()
    for name in ("broken.jpg", "missing.jpg"):
        with pytest.raises(FaceError, match=name) as refused:
            face.open(128, 128, choice=FaceChoice(background=name))
        assert refused.value.code == "unknown_background"
        assert str(pictures) not in str(refused.value)


async def test_a_missing_folder_of_backgrounds_is_told(tmp_path: Path) -> None:
    with pytest.raises(FaceError, match=r"face\.vector\.backgrounds"):
        await VectorFace(backgrounds=str(tmp_path / "no")).start()


def test_a_shelf_makes_each_thing_once() -> None:
    shelf: Shelf[str, object] = Shelf(3)
    begun, go = [], threading.Event()

    def make() -> object:
        begun.append(1)
        go.wait(10)
        return object()

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(shelf.get, "a", make) for _ in range(4)]
        go.set()
        assert len({id(future.result()) for future in asked}) == 1
    assert len(begun) == 1


def test_a_shelf_is_bounded_and_drops_what_was_not_used() -> None:
    shelf: Shelf[int, str] = Shelf(2)
    for key in (1, 2, 1, 3):
        shelf.get(key, lambda: "made")
    assert len(shelf) == 2
    assert shelf.get(1, lambda: "anew") == "made"
    assert shelf.get(2, lambda: "anew") == "anew"
    shelf.clear()
    assert len(shelf) == 0


def test_what_could_not_be_made_is_tried_again_also_by_those_who_waited() -> None:
    shelf: Shelf[str, int] = Shelf(2)
    tries = []

    def make() -> int:
        tries.append(1)
        if len(tries) == 1:
            while len(waiting) < 3:
                pass
            raise FaceError("not now")
        return 7

    waiting: list[int] = []

    def ask() -> int | None:
        waiting.append(1)
        try:
            return shelf.get("a", make)
        except FaceError:
            return None

    with ThreadPoolExecutor(3) as pool:
        found = [future.result() for future in [pool.submit(ask) for _ in range(3)]]
    assert sorted(found, key=str) == [7, 7, None]
    assert len(tries) == 2
