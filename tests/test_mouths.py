"""A presenter's mouths and lids in pieces: what a page puts together is what the face draws."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.face.vector import VectorFace
from avatar.lipsync.mouth import mouth_of
from avatar.mouths import IMPORTANCE, SHUT, Mouths, draw_mouths, mouths
from avatar.poster import Posters
from core.errors import FaceError
from core.frames import VISEMES, Expression, FaceChoice, FaceCue, MouthShape
from core.visemes import arkit_of
from tests.avatar_client import AvatarClient
from tests.conftest import Serve
from tests.fakes import GreyFace

SIZE = 256
Bgra = NDArray[np.uint8]


@pytest.fixture(scope="module")
def face() -> VectorFace:
    face = VectorFace()
    asyncio.run(face.start())
    return face


@cache
def atlas_of(face: VectorFace, presenter: str) -> tuple[Mouths, Bgra]:
    atlas = draw_mouths(face, presenter, SIZE, SIZE)
    return atlas, np.asarray(cv2.imdecode(np.frombuffer(atlas.image, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


def drawn(
    face: VectorFace, presenter: str, mouth: MouthShape, shut: float = 0.0, mood: Expression = Expression.NEUTRAL
) -> Bgra:
    """B G R of the whole picture."""
    cue = FaceCue(1e-6, mouth, shut=shut, expression=mood, worn=mood is not Expression.NEUTRAL)
    picture = face.open(SIZE, SIZE, choice=FaceChoice(presenter, "transparent")).draw(cue)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420)[:, :SIZE], np.uint8)


def piece(image: Bgra, part: dict[str, Any], number: int) -> Bgra:
    x, y = part["tiles"][number]["from"]
    _, _, width, height = part["box"]
    return image[y : y + height, x : x + width]


def difference(one: Bgra, other: Bgra, alpha: Bgra) -> float:
    visible = alpha > 250
    return float(np.abs(one[..., :3].astype(int) - other).mean(axis=2)[visible].mean())


def test_h3_the_mouths_begin_at_rest_and_differ() -> None:
    shapes = mouths()
    assert shapes[0] == MouthShape()
    assert len(set(shapes)) == len(shapes) == 64
    pure = [mouth_of(row) for row in np.eye(len(VISEMES), dtype=np.float32)]
    assert list(shapes[: len(VISEMES)]) == pure
    # whatever speech mixes has one near it
    scale = np.array(list(IMPORTANCE.values()))

    def place(shape: MouthShape) -> NDArray[np.float64]:
        return np.array([arkit_of(shape)[name] for name in IMPORTANCE]) * scale

    places = np.array([place(shape) for shape in shapes])
    rng = np.random.default_rng(0)
    mixed = [place(mouth_of(rng.dirichlet([0.2] * len(VISEMES)).astype(np.float32))) for _ in range(300)]
    far = np.array([np.linalg.norm(places - at, axis=1).min() for at in mixed])
    alone = np.array([np.linalg.norm(places[: len(VISEMES)] - at, axis=1).min() for at in mixed])
    assert far.mean() < 0.8 * alone.mean()
    assert far.max() < 0.9


@pytest.mark.parametrize("presenter", ["mira", "ansel", "juno"])
def test_h3_each_piece_is_what_the_face_draws_there(face: VectorFace, presenter: str) -> None:
    atlas, image = atlas_of(face, presenter)
    assert atlas.places["size"] == [SIZE, SIZE]
    mouth, eyes = atlas.places["mouth"], atlas.places["eyes"]
    assert len(mouth["tiles"]) == 64
    assert [lid["shut"] for lid in eyes["tiles"]] == list(SHUT)
    x, y, width, height = mouth["box"]
    assert y >= eyes["box"][1] + eyes["box"][3], "lids and mouth must not overlap"
    for number in range(0, 64, 9):
        tile = piece(image, mouth, number)
        whole = drawn(face, presenter, mouths()[number])[y : y + height, x : x + width]
        others = [drawn(face, presenter, mouths()[other])[y : y + height, x : x + width] for other in (1, 3)]
        own = difference(tile, whole, tile[..., 3])
        assert own < 4
        assert all(own < difference(tile, other, tile[..., 3]) for other in others if not np.array_equal(other, whole))
    x, y, width, height = eyes["box"]
    shut = piece(image, eyes, len(SHUT) - 1)
    assert difference(shut, drawn(face, presenter, MouthShape(), 1.0)[y : y + height, x : x + width], shut[..., 3]) < 4


def test_h3_the_pieces_hold_all_that_a_mouth_moves(face: VectorFace) -> None:
    atlas, _ = atlas_of(face, "mira")
    x, y, width, height = atlas.places["mouth"]["box"]
    wide, rest = drawn(face, "mira", MouthShape(jaw_open=0.69)), drawn(face, "mira", MouthShape())
    changed = np.abs(wide.astype(int) - rest).max(axis=2)
    changed[y : y + height, x : x + width] = 0
    assert np.percentile(changed, 99.5) < 8


MOODS = [mood for mood in Expression if mood is not Expression.NEUTRAL]


@pytest.mark.parametrize("mood", MOODS)
def test_h3_a_mood_is_a_face_with_mouths_and_lids_on_it(face: VectorFace, mood: Expression) -> None:
    atlas = draw_mouths(face, "mira", SIZE, SIZE, mood)
    image = np.asarray(cv2.imdecode(np.frombuffer(atlas.image, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)
    part, mouth = atlas.places["face"], atlas.places["mouth"]
    (left, top), (x, y, width, height) = part["from"], part["box"]
    worn = image[top : top + height, left : left + width]
    assert (
        difference(worn, drawn(face, "mira", MouthShape(), mood=mood)[y : y + height, x : x + width], worn[..., 3]) < 4
    )
    assert len(mouth["tiles"]) == 32
    # where the head is does not change: what is outside the face is what it was
    changed = np.abs(drawn(face, "mira", MouthShape()).astype(int) - drawn(face, "mira", MouthShape(), mood=mood)).max(
        axis=2
    )
    assert changed[y : y + height, x : x + width].max() > 40
    changed[y : y + height, x : x + width] = 0
    assert np.percentile(changed, 99.5) < 8
    # speech is on this face, and closes its lips
    shut = next(number for number, tile in enumerate(mouth["tiles"]) if tile["at"] == _at("PP"))
    x, y, width, height = mouth["box"]
    tile = piece(image, mouth, shut)
    whole = drawn(face, "mira", mouths()[shut], mood=mood)[y : y + height, x : x + width]
    assert difference(tile, whole, tile[..., 3]) < 4


def _at(viseme: str) -> list[float]:
    values = arkit_of(mouths()[VISEMES.index(viseme)])
    return [round(values[name], 3) for name in IMPORTANCE]


def test_h3_a_face_that_moves_as_a_whole_has_no_pieces() -> None:
    for mood in (Expression.NEUTRAL, Expression.SAD):
        with pytest.raises(FaceError, match="pieces") as caught:
            draw_mouths(GreyFace(), "grey", 64, 64, mood)
        assert caught.value.code == "no_mouths"


async def test_h3_the_pieces_are_drawn_once() -> None:
    class Counting(GreyFace):
        opened = 0

        def open(self, *arguments: Any, **more: Any) -> Any:
            self.opened += 1
            return super().open(*arguments, **more)

    with ThreadPoolExecutor(1) as thread:
        counting = Counting()
        posters = Posters(counting, 64, 64, thread)
        for _ in range(2):
            with pytest.raises(FaceError) as caught:
                await posters.mouths("grey")
            assert caught.value.code == "no_mouths"
        assert counting.opened == 1, "who has none has none, and drawing all of them takes long"
        face = VectorFace()
        await face.start()
        posters = Posters(face, SIZE, SIZE, thread)
        assert await posters.mouths("mira") is await posters.mouths("mira")


async def test_h3_a_failure_of_the_moment_is_not_kept() -> None:
    class Failing(GreyFace):
        opened = 0

        def open(self, *arguments: Any, **more: Any) -> Any:
            self.opened += 1
            raise FaceError("out of memory")

    with ThreadPoolExecutor(1) as thread:
        failing = Failing()
        posters = Posters(failing, 64, 64, thread)
        for _ in range(2):
            with pytest.raises(FaceError, match="memory"):
                await posters.mouths("grey")
        assert failing.opened == 2


async def test_h3_the_server_tells_what_is_where(serving: Serve) -> None:
    async with (
        serving(face__engine="vector", media__width="256", media__height="256") as server,
        AvatarClient(server.url) as client,
    ):

        async def get(path: str) -> tuple[int, bytes]:
            async with client.http.get(f"{server.url}/{path}") as response:
                return response.status, await response.read()

        async with client.http.get(f"{server.url}/api/presenters/mira/mouths.json") as response:
            places = (await response.json())["data"]
        status, image = await get(places["picture"])
        assert status == 200
        decoded = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED)
        for part in (places["mouth"], places["eyes"]):
            _, _, width, height = part["box"]
            for tile in part["tiles"]:
                assert tile["from"][0] + width <= decoded.shape[1]
                assert tile["from"][1] + height <= decoded.shape[0]
        assert places["names"] == list(IMPORTANCE)
        async with client.http.get(f"{server.url}/api/presenters/mira/mouths.json?mood=happy") as response:
            happy = (await response.json())["data"]
        assert places["face"] is None
        assert happy["face"]["box"][2] > happy["eyes"]["box"][2] * 0.9
        other = await get(happy["picture"])
        assert other[0] == 200
        assert other[1] != image
        assert b"unknown_mood" in (await get("api/presenters/mira/mouths.json?mood=../secret"))[1]
        assert (await get("api/presenters/mira/portrait.webp"))[1].startswith(b"RIFF")
        assert (await get("api/presenters/mira/portrait.webp?background=studio"))[1].startswith(b"RIFF")
        assert b"unknown_background" in (await get("api/presenters/mira/portrait.webp?background=../secret"))[1]
        assert b"unknown_presenter" in (await get("api/presenters/nobody/mouths.json"))[1]
