"""LiveTalking's choreography over the wire: `custom_config`, `/set_audiotype`, received pictures and sound."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import numpy as np
import pytest

from config.layers import load_settings
from config.wiring import clip_shelf
from core.errors import SettingsError
from core.frames import Expression, Gesture
from tests.avatar_client import AUDIBLE, AvatarClient, loudness
from tests.clip_files import folder, tone, video
from tests.conftest import FAKES, Serve

BRIGHT = 250
"""Of the clips; the face of these tests has a luma of 40 while it is silent."""


def files(tmp_path: Path) -> Path:
    folder(tmp_path / "wave", [BRIGHT], size=(320, 240))
    tone(tmp_path / "wave.wav", 1.0)
    video(tmp_path / "film.mp4", [BRIGHT] * 25, sound_s=1.0, size=(320, 240))
    (tmp_path / "broken.mp4").write_text("no film")
    return tmp_path


def actions(*elements: dict[str, object]) -> dict[str, str]:
    return {"custom_config": json.dumps(list(elements))}


async def shown(client: AvatarClient, low: float, high: float) -> float:
    """When the first picture of such a brightness arrives."""
    asked = time.monotonic()
    async with asyncio.timeout(20):
        while True:
            for arrival, _, luma in client.pictures[-50:]:
                if arrival >= asked and low <= float(luma.mean()) <= high:
                    return arrival
            await asyncio.sleep(0.01)


async def test_f5_a_clients_clip_is_seen_and_heard_and_ends(serving: Serve, tmp_path: Path) -> None:
    wave = {"audiotype": 2, "imgpath": "wave", "audiopath": "wave.wav"}
    film = {"audiotype": 3, "imgpath": "film.mp4"}
    async with (
        serving(avatar__clips_folder=str(files(tmp_path))) as server,
        AvatarClient(server.url, extra=actions(wave, film)) as client,
    ):
        await client.connect()
        for number in (2, 3):
            asked = time.monotonic()
            answer = await client.post("/set_audiotype", sessionid=client.session, audiotype=number, reinit=True)
            assert answer == {"code": 0, "msg": "ok"}
            began = await client.audible(asked)
            await shown(client, 200, 235)
            await client.silence(began, length=1.0)
            loud = [at for at, _, samples in client.sound if at >= began and loudness(samples) > AUDIBLE]
            assert 45 <= len(loud) <= 60, "packets of 20 ms"
            await shown(client, 30, 50)
            assert not (await client.post("/is_speaking", sessionid=client.session))["data"], "a clip is no answer"
        assert server.sessions.all()[0].media.status()["clip"] == ""


async def test_f5_the_audiotypes_of_livetalking(serving: Serve, tmp_path: Path) -> None:
    configured = json.dumps([{"audiotype": 7, "pictures": "wave", "name": "bright"}])
    async with (
        serving(avatar__clips_folder=str(files(tmp_path)), avatar__clips=configured) as server,
        AvatarClient(server.url, extra=actions({"audiotype": 2, "imgpath": "broken.mp4"})) as client,
    ):
        await client.connect()

        async def choose(audiotype: object) -> dict[str, object]:
            return await client.post("/set_audiotype", sessionid=client.session, audiotype=audiotype)

        assert (await choose("7"))["code"] == 0
        await shown(client, 200, 235)
        assert server.sessions.all()[0].media.status()["clip"] == "bright"
        assert (await choose(99))["code"] == 0
        broken = await choose(2)
        assert (broken["code"], broken["error"]) == (-1, "bad_clip")
        await shown(client, 200, 235)
        for nonsense in (None, "two", 2.5, True, [2]):
            assert (await choose(nonsense))["error"] == "bad_request"
        assert (await choose(1))["code"] == 0
        await shown(client, 30, 50)
        assert (await client.post("/set_audiotype", sessionid="1", audiotype=2))["error"] == "session_not_found"


async def test_f5_speech_is_shown_by_the_presenter_and_the_clip_comes_back(serving: Serve, tmp_path: Path) -> None:
    configured = json.dumps([{"audiotype": 2, "pictures": "wave"}])
    async with (
        serving(avatar__clips_folder=str(files(tmp_path)), avatar__clips=configured) as server,
        AvatarClient(server.url) as client,
    ):
        await client.connect()
        assert (await client.post("/set_audiotype", sessionid=client.session, audiotype=2))["code"] == 0
        await shown(client, 200, 235)
        asked = time.monotonic()
        await client.human("one two three four five")
        began = await client.audible(asked)
        ended = await client.silence(began)
        await shown(client, 200, 235)
        pictures = [float(luma.mean()) for at, _, luma in client.pictures if began + 0.5 < at < ended]
        assert float(np.median(pictures)) < 180, "the presenter, its mouth open"


async def test_f5_an_offer_with_a_wrong_custom_config_opens_nothing(serving: Serve, tmp_path: Path) -> None:
    async with serving(avatar__clips_folder=str(files(tmp_path))) as server:
        for config, said in (
            ('[{"audiotype":2,"imgpath":"../x"}]', "outside"),
            ('[{"audiotype":2,"imgpath":"x"}]', "no such file"),
            ("[", "JSON"),
        ):
            async with AvatarClient(server.url, extra={"custom_config": config}) as client:
                answer = await client.offer()
                assert (answer["code"], answer["error"]) == (-1, "bad_clip")
                assert said in answer["msg"]
        assert len(server.sessions) == 0
        async with AvatarClient(server.url, extra={"custom_config": ""}) as client:
            assert "sdp" in await client.offer()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"avatar.clips_folder": "/nowhere"}, "avatar.clips_folder: no such folder"),
        ({"avatar.clips": "[{audiotype: 2, pictures: /nowhere}]"}, "avatar.clips.0.pictures: no such file"),
        ({"avatar.clips": "[{audiotype: 1, pictures: x}]"}, "avatar.clips.0.audiotype"),
        ({"avatar.clips": "[{audiotype: 2, pictures: tests, sound: nope}]"}, "avatar.clips.0.sound"),
        ({"avatar.clips": "[{audiotype: 2, picture: x}]"}, "avatar.clips.0.picture"),
    ],
)
def test_clips_in_the_settings_are_checked_at_start(overrides: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        clip_shelf(load_settings(overrides={**FAKES, **overrides}, env={}))


async def test_f5_tags_in_a_text_act_on_the_face_and_are_in_no_message(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        stage = server.sessions.all()[0].media.stage  # type: ignore[attr-defined]
        await client.human("[happy] one two three [nod] four five")
        await client.message("reply", state="sentence")
        assert stage.cue(stage.position / 48_000).expression is Expression.HAPPY
        end = await client.message("reply", state="end")
        assert end["text"] == "one two three four five"
        cue = stage.cue(stage.position / 48_000)
        assert cue.gesture is Gesture.NOD
        said = [str(m.get("text", "")) + str(m.get("content", "")) for m in client.messages]
        assert not [text for text in said if "[" in text or "happy" in text]
        await client.human("[shake]")
        await client.message("reply", state="end", reply_id="r2", text="")
        assert stage.cue(stage.position / 48_000).gesture is Gesture.SHAKE
        assert not (await client.post("/is_speaking", sessionid=client.session))["data"]
