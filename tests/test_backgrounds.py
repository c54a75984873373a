"""The operator's pictures behind a presenter: which are offered, and what is shown of each."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import aiohttp
import cv2
import numpy as np
import pytest
from yarl import URL

from avatar.face.plate import planes
from avatar.face.vector import VectorFace
from core.cast import THUMBNAIL, Cast
from core.errors import BadRequest, FaceError
from core.frames import FaceChoice, FaceCue
from tests.background_files import BAD, COLOURS, fill
from tests.conftest import Serve
from tests.fakes import GreyFace
from tests.loop_ticks import ticking

OFFERED = ["By the sea & co.jpg", "Glass.png", "my_holiday-photo.jpg", "wall.webp", "海边 日落.png"]


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    return fill(tmp_path / "rooms")


def settings(rooms: Path) -> dict[str, str]:
    return {"face__engine": "vector", "face__vector__backgrounds": str(rooms)}


async def test_f4_only_pictures_that_can_be_shown_are_offered(
    serving: Serve, rooms: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with serving(**settings(rooms)) as server, aiohttp.ClientSession() as http:
            async with http.get(f"{server.url}/api/presenters") as response:
                data = (await response.json())["data"]
            for name in OFFERED:
                assert (await server.cast.choose("", name)).background == name
            for name in ("broken.jpg", "text.png", "huge.png", "gone.jpg", "字" * 200):
                with pytest.raises(BadRequest, match=name) as refused:
                    await server.cast.choose("", name)
                assert refused.value.code == "unknown_background"
                assert str(rooms) not in str(refused.value)
    assert data["backgrounds"][-len(OFFERED) :] == OFFERED
    assert data["backgrounds"][0] == "studio"
    assert list(data["background_pictures"]) == OFFERED
    told = [record.getMessage() for record in caplog.records if record.name == "avatar.face.gallery"]
    assert len(told) == len(BAD)
    assert not any(str(rooms) in line for line in told)
    for name, why in BAD.items():
        [line] = [line for line in told if repr(name) in line]
        assert why in line


async def test_f4_each_picture_has_a_thumbnail(serving: Serve, rooms: Path) -> None:
    async with serving(**settings(rooms)) as server, aiohttp.ClientSession() as http:
        async with http.get(f"{server.url}/api/presenters") as response:
            places = (await response.json())["data"]["background_pictures"]
        for name, place in places.items():
            address = URL(f"{server.url}/{place}", encoded=True)
            async with http.get(address) as response:
                assert response.content_type == "image/webp"
                assert "max-age" in response.headers["Cache-Control"]
                etag, webp = response.headers["ETag"], await response.read()
            seen = cv2.imdecode(np.frombuffer(webp, np.uint8), cv2.IMREAD_UNCHANGED)
            assert seen.shape == (THUMBNAIL, THUMBNAIL, 3)
            assert len(webp) < 12_000
            # what is black at the sides is cut off, in the video, too
            assert np.abs(seen[-48:].mean(axis=(0, 1)) - COLOURS[name]).max() < 8, name
            if name == "Glass.png":
                assert seen[:28].min() > 245
            async with http.get(address, headers={"If-None-Match": etag}) as again:
                assert again.status == 304


@pytest.mark.parametrize(
    "name",
    ["broken.jpg", "notes.txt", "studio", "private.png", "../private.png", "../rooms/wall.webp", "/etc/passwd", "wall",
     "WALL.webp", ".hidden.png", "#1.png", "wall.webp\0", "x" * 3000],
)  # fmt: skip
async def test_f4_no_thumbnail_of_what_is_not_offered(serving: Serve, rooms: Path, name: str) -> None:
    async with serving(**settings(rooms)) as server, aiohttp.ClientSession() as http:
        address = URL(f"{server.url}/api/backgrounds/{quote(name, safe='')}.webp", encoded=True)
        async with http.get(address) as response:
            answer = await response.json()
        assert (answer["code"], answer["error"]) == (-1, "unknown_background")
        raw = URL(f"{server.url}/api/backgrounds/../../{quote(name)}.webp", encoded=True)
        async with http.get(raw) as response:
            assert response.content_type != "image/webp"


async def test_f4_a_picture_of_the_settings_that_there_is_not_is_left_out(
    serving: Serve, rooms: Path, caplog: pytest.LogCaptureFixture
) -> None:
    page = '["wall.webp", studio, "gone.jpg", "#102030"]'
    async with serving(**settings(rooms), page__backgrounds=page) as server:
        others = [name for name in OFFERED if name != "wall.webp"]
        assert list(server.cast.backgrounds) == ["wall.webp", "studio", "#102030", *others]
    assert "'gone.jpg' is not offered" in caplog.text


class Pictured(GreyFace):
    """Has two pictures, which take a while."""

    def pictures(self, side: int) -> Mapping[str, bytes]:
        time.sleep(0.4)
        return {"Arch.PNG": b"one", "beach.jpg": b"other"}


async def test_f4_pictures_are_read_beside_the_event_loop() -> None:
    cast = Cast(Pictured(), 64, 64, backgrounds=("studio",))
    async with ticking() as ticks:
        await cast.start()
    assert ticks() > 10
    assert cast.backgrounds == ("studio", "Arch.PNG", "beach.jpg")
    cast.close()


async def test_f4_a_picture_is_not_read_again_while_it_is_in_use(rooms: Path) -> None:
    face = VectorFace(backgrounds=str(rooms))
    await face.start()
    cast = Cast(face, 128, 128)
    await cast.start()
    await cast.choose("", "wall.webp")
    before = cast.open(FaceChoice(background="wall.webp")).draw(FaceCue(0.0))
    for number in range(20):  # more than a face keeps
        face.open(128, 128, choice=FaceChoice(background=f"#0000{number:02x}"))
    (rooms / "wall.webp").write_text("no picture any more")
    assert np.array_equal(cast.open(FaceChoice(background="wall.webp")).draw(FaceCue(0.0)), before)
    fresh = VectorFace(backgrounds=str(rooms))
    await fresh.start()
    with pytest.raises(FaceError, match=r"wall\.webp"):
        fresh.open(128, 128, choice=FaceChoice(background="wall.webp"))
    cast.close()


async def test_f4_what_is_transparent_in_a_picture_is_white_behind_the_presenter(rooms: Path) -> None:
    face = VectorFace(backgrounds=str(rooms))
    await face.start()
    luma, u, v = planes(face.open(128, 128, choice=FaceChoice(background="Glass.png")).draw(FaceCue(0.0)))
    assert luma[4, 4] > 230
    assert abs(int(u[2, 2]) - 128) < 4
    assert abs(int(v[2, 2]) - 128) < 4


async def test_only_so_many_pictures_are_offered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture = cv2.imencode(".png", np.full((4, 4, 3), 90, np.uint8))[1].tobytes()
    for number in range(203):
        (tmp_path / f"{number:03}.png").write_bytes(picture)
    names = list(VectorFace(backgrounds=str(tmp_path)).pictures(32))
    assert (names[0], names[-1], len(names)) == ("000.png", "199.png", 200)
    assert "first 200 of 203" in caplog.text
