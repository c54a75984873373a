"""Choosing who is shown, per session: over HTTP and in the pictures that arrive."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest

from avatar.poster import PREVIEW, THUMBNAIL, Posters
from core.cast import Cast
from core.errors import BadRequest, FaceError
from core.frames import FaceChoice, FaceCue, PresenterInfo
from core.stages import FaceStream
from tests.avatar_client import AvatarClient
from tests.conftest import Serve
from tests.fakes import GreyFace, ToneSynthesizer
from tests.loop_ticks import ticking


async def offer(url: str, **wish: Any) -> dict[str, Any]:
    """An offer's answer; the connection is given up."""
    async with AvatarClient(url, extra=wish) as client:
        return await client.offer()


def frames_of(webp: bytes) -> list[np.ndarray]:
    """The pictures of an animated WebP that plays for ever."""
    animation = cv2.imdecodeanimation(np.frombuffer(webp, np.uint8)[None, :])[1]
    assert animation.loop_count == 0
    return list(animation.frames)


async def data(client: AvatarClient, path: str) -> Any:
    async with client.http.get(client.url + path) as response:
        return (await response.json())["data"]


async def colour(client: AvatarClient, after: float) -> tuple[int, float]:
    """Width of the first picture that arrives later than `after`, and its mean chroma (U)."""
    async with asyncio.timeout(20):
        while not client.pictures or client.pictures[-1][0] <= after:
            await asyncio.sleep(0.02)
    return client.pictures[-1][2].shape[1], client.chroma


async def test_f4_presenters_are_listed_with_their_pictures(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        listed = await data(client, "/api/presenters")
        assert [one["name"] for one in listed["presenters"]] == ["grey", "teal"]
        keys = {"name", "title", "about", "picture", "preview", "portrait", "cutout", "mouths"}
        assert set(listed["presenters"][0]) == keys
        assert listed["backgrounds"][:2] == ["studio", "transparent"]
        seen = {}
        for one in listed["presenters"]:
            async with client.http.get(f"{server.url}/{one['picture']}") as response:
                assert response.content_type == "image/png"
                picture = cv2.imdecode(np.frombuffer(await response.read(), np.uint8), cv2.IMREAD_COLOR)
                etag = response.headers["ETag"]
            assert picture.shape == (THUMBNAIL, THUMBNAIL, 3)
            seen[one["name"]] = picture.mean(axis=(0, 1))
            again = await client.http.get(f"{server.url}/{one['picture']}", headers={"If-None-Match": etag})
            assert again.status == 304
            assert await again.read() == b""
            other = await client.http.get(f"{server.url}/{one['picture']}", headers={"If-None-Match": '"other"'})
            assert other.status == 200
            async with client.http.get(f"{server.url}/{one['preview']}") as response:
                assert response.content_type == "image/webp"
                moving = frames_of(await response.read())
            assert len(moving) > 8
            assert moving[0].shape[:2] == (PREVIEW, PREVIEW)
        assert seen["teal"][0] > seen["grey"][0] + 20


async def test_f4_no_picture_of_somebody_who_is_not_there(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        for path in ("nobody.png", "nobody.webp", "%2Fetc%2Fpasswd.png", "..%2Fmira.png"):
            async with client.http.get(f"{server.url}/api/presenters/{path}") as response:
                answer = await response.json()
            assert answer["error"] == "unknown_presenter"
            assert "grey, teal" in answer["msg"]


async def test_f4_each_session_shows_whom_it_chose(serving: Serve) -> None:
    async with (
        serving() as server,
        AvatarClient(server.url, extra={"avatar": "teal"}) as one,
        AvatarClient(server.url) as other,
    ):
        first = await one.connect()
        second = await other.connect()
        assert (first["avatar"], first["background"]) == ("teal", "studio")
        assert (second["avatar"], second["background"]) == ("grey", "studio")
        assert (await colour(one, 0.0))[1] == pytest.approx(160, abs=6)
        assert (await colour(other, 0.0))[1] == pytest.approx(128, abs=6)
        snapshot = await server.monitor.snapshot()
        shown = {session["sessionid"]: session["avatar"] for session in snapshot["sessions"]}
        assert shown == {one.session: "teal", other.session: "tests.fakes:GreyFace"}


async def test_f4_a_presenter_speaks_with_a_voice_of_their_own_where_nobody_chose(serving: Serve) -> None:
    async with serving(tts__engine="tests.fakes:ToneSynthesizer") as server, AvatarClient(server.url) as client:
        synthesizer = server.engines.synthesizer
        assert isinstance(synthesizer, ToneSynthesizer)

        async def spoken(text: str) -> None:
            async with asyncio.timeout(60):
                while text not in synthesizer.spoken:
                    await asyncio.sleep(0.02)

        answer = await client.connect(wait=30)
        own = {"sessionid": answer["sessionid"], "token": answer["token"]}
        await client.human("one")
        await spoken("one")
        async with AvatarClient(server.url, extra={**own, "avatar": "teal"}) as other:
            await other.connect(wait=30)
            await other.human("two")
            await other.human("hello", "chat")
            await other.human("three", tts={"voice": "chosen"})
            await spoken("three")
        async with AvatarClient(server.url, extra={**own, "avatar": "grey"}) as again:
            await again.connect(wait=30)
            await again.human("four")
            await spoken("four")
    used = dict(zip(synthesizer.spoken, synthesizer.voices, strict=True))
    answers = {used.pop(text) for text in list(used) if text not in ("one", "two", "three", "four")}
    assert used == {"one": None, "two": "deep", "three": "chosen", "four": None}
    assert answers == {"deep"}


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"avatar": "wav2lip256_avatar1"}, "unknown_presenter"),
        ({"avatar": "../mira"}, "unknown_presenter"),
        ({"avatar": "x" * 1000}, "bad_request"),
        ({"avatar": 7}, "bad_request"),
        ({"background": "/etc/passwd"}, "unknown_background"),
        ({"background": ["studio"]}, "bad_request"),
        ({"background": "#12" * 500}, "bad_request"),
    ],
)
async def test_f4_a_choice_that_there_is_not_holds_nothing(serving: Serve, wish: dict[str, Any], code: str) -> None:
    async with serving(limits__max_sessions="1") as server:
        answer = await offer(server.url, **wish)
        assert (answer["code"], answer["error"]) == (-1, code)
        if code == "unknown_presenter":
            assert "grey, teal" in answer["msg"]
        assert len(server.sessions) == 0
        assert (await offer(server.url))["type"] == "answer"


async def test_f4_another_choice_within_a_session_and_a_bad_one(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        answer = await client.connect()
        session = server.sessions.find(answer["sessionid"])
        own = {"sessionid": answer["sessionid"], "token": answer["token"]}
        assert (await offer(server.url, **own, avatar="nobody"))["error"] == "unknown_presenter"
        useless = await client.post("/offer", sdp="v=0", type="offer", avatar="teal", **own)
        assert useless["error"] == "bad_sdp"
        assert session.face == FaceChoice()
        assert (await colour(client, time.monotonic()))[1] == pytest.approx(128, abs=6)
        async with AvatarClient(server.url, extra={**own, "avatar": "teal", "background": "#102030"}) as other:
            again = await other.connect()
            assert (again["sessionid"], again["avatar"], again["background"]) == (own["sessionid"], "teal", "#102030")
            assert (await colour(other, 0.0))[1] == pytest.approx(160, abs=6)
        kept = await offer(server.url, **own)
        assert (kept["avatar"], kept["background"]) == ("teal", "#102030")
        assert server.sessions.find(own["sessionid"]) is session


async def test_f4_transparent_pictures_are_twice_as_wide(serving: Serve) -> None:
    wish = {"background": "transparent"}
    async with (
        serving(media__width="256", media__height="256") as server,
        AvatarClient(server.url, extra=wish) as client,
    ):
        answer = await client.connect()
        assert answer["background"] == "transparent"
        assert (await colour(client, 0.0))[0] == 512
        matte = client.pictures[-1][2][:, 320:]
        assert matte.mean() > 220


async def test_f4_the_choice_outlives_a_restart(serving: Serve) -> None:
    async with serving() as server:
        first = await offer(server.url, avatar="teal", background="#102030")
    own = {"sessionid": first["sessionid"], "token": first["token"]}
    async with serving() as server, AvatarClient(server.url, extra=own) as client:
        again = await client.connect()
        assert (again["sessionid"], again["avatar"], again["background"]) == (first["sessionid"], "teal", "#102030")
        assert (await colour(client, 0.0))[1] == pytest.approx(160, abs=6)


async def test_f5_clients_of_another_server_get_the_default_in_its_mode(serving: Serve) -> None:
    async with serving(compat__livetalking="true") as server:
        answer = await offer(server.url, avatar="wav2lip256_avatar1")
        assert (answer["type"], answer["avatar"]) == ("answer", "grey")


class Slow(GreyFace):
    """Loading takes a while; how often it was done is counted."""

    def __init__(self) -> None:
        self.opened: list[FaceChoice] = []

    def open(self, width: int, height: int, *, seed: int = 0, choice: FaceChoice = FaceChoice()) -> Any:  # noqa: B008 - frozen
        self.opened.append(choice)
        time.sleep(0.3)
        return super().open(width, height, seed=seed, choice=choice)


class Alone(GreyFace):
    """A face without a choice."""

    def presenters(self) -> tuple[PresenterInfo, ...]:
        return ()


async def test_f4_presenters_are_loaded_beside_the_event_loop() -> None:
    face = Slow()
    cast = Cast(face, 64, 64)
    await cast.start()
    async with ticking() as ticks:
        await cast.choose("teal", "")
    assert ticks() > 10
    opened = len(face.opened)
    await cast.choose("teal", "")
    assert len(face.opened) == opened
    cast.close()


async def test_f4_a_face_without_choice_offers_none() -> None:
    cast = Cast(Alone(), 64, 64, backgrounds=("studio",))
    await cast.start()
    assert (cast.presenters, cast.backgrounds, cast.default) == ((), (), "")
    with pytest.raises(BadRequest, match="offers no choice"):
        await cast.choose("grey", "")
    assert await cast.choose("", "") == FaceChoice()
    cast.close()


async def test_f4_of_an_old_choice_what_there_still_is() -> None:
    cast = Cast(GreyFace(), 64, 64)
    await cast.start()
    assert await cast.kept(FaceChoice("teal", "gone.jpg")) == FaceChoice("teal")
    assert await cast.kept(FaceChoice("nobody", "#102030")) == FaceChoice()
    assert await cast.kept(FaceChoice("teal", "#102030")) == FaceChoice("teal", "#102030")
    cast.close()


class Failing(GreyFace):
    """Draws from the second time on."""

    def __init__(self) -> None:
        self.calls = 0

    def open(self, width: int, height: int, *, seed: int = 0, choice: FaceChoice = FaceChoice()) -> Any:  # noqa: B008 - frozen
        self.calls += 1
        if self.calls == 1:
            raise FaceError("not yet")
        return super().open(width, height, seed=seed, choice=choice)


async def test_f4_each_picture_is_drawn_once_and_a_failure_is_not_kept() -> None:
    face = Failing()
    with ThreadPoolExecutor(1) as thread:
        posters = Posters(face, 64, 64, thread)
        with pytest.raises(FaceError, match="not yet"):
            await posters.still("grey")
        pictures = await asyncio.gather(*(posters.still("grey") for _ in range(10)))
        assert len(set(pictures)) == 1
        assert face.calls == 2
        assert (await posters.poster()).startswith(b"\x89PNG")


class Transparent(GreyFace):
    """Transparent unless something else is wanted."""

    def open(self, width: int, height: int, *, seed: int = 0, choice: FaceChoice = FaceChoice()) -> FaceStream:  # noqa: B008 - frozen
        wanted = FaceChoice(choice.presenter, choice.background or "transparent")
        return super().open(width, height, seed=seed, choice=wanted)


async def test_f4_a_still_is_never_transparent() -> None:
    assert Transparent().open(64, 64).draw(FaceCue(0.0)).shape[1] == 128
    with ThreadPoolExecutor(1) as thread:
        png = await Posters(Transparent(), 64, 64, thread).poster()
    assert cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape == (64, 64, 3)


async def test_the_thumbnails_of_the_embedded_presenters(serving: Serve) -> None:
    async with serving(face__engine="vector") as server, AvatarClient(server.url) as client:
        for one in (await data(client, "/api/presenters"))["presenters"]:
            assert re.fullmatch(r"[a-z]+", one["name"])
            assert one["title"]
            async with client.http.get(f"{server.url}/{one['preview']}") as response:
                preview = await response.read()
            assert 10_000 < len(preview) < 120_000
            for kind, channels in (("portrait", 3), ("cutout", 4)):
                async with client.http.get(f"{server.url}/{one[kind]}") as response:
                    webp = await response.read()
                still = cv2.imdecode(np.frombuffer(webp, np.uint8), cv2.IMREAD_UNCHANGED)
                assert still.shape == (512, 512, channels)
                assert len(webp) < 90_000
            assert still[8, 8, 3] == still[8, -8, 3] == 0
            assert still[256, 256, 3] == 255
            frames = frames_of(preview)
            moved = [float(np.abs(a.astype(int) - b).mean()) for a, b in itertools.pairwise(frames)]
            seam = float(np.abs(frames[0].astype(int) - frames[-1]).mean())
            assert max(moved) > 0.4
            assert seam < 2 * max(moved)
