"""The voice service contract over every adapter of the table, and what is the xiaozhi adapter's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from core.dialogue import VOICES
from core.dialogue.xiaozhi.voice import MOODS, XiaozhiVoice
from core.errors import DialogueError
from core.frames import Expression
from core.stages import VoiceService
from core.voice_events import (
    Announcement,
    LineDown,
    LineFailed,
    LineUp,
    ReplyEnded,
    ReplyMood,
    ReplySound,
    Turns,
    UserSaid,
)
from tests.contracts_voice_service import SITES, Caller, Site, VoiceServiceContract, load
from tests.simulators.xiaozhi import CLIENT, DEVICE, TOKEN, Close, Say, Sentence, Trouble, XiaozhiServer
from tests.xiaozhi_talk import poll, tone

URL = "ws://127.0.0.1:1/xiaozhi/v1/"


@pytest.fixture(params=sorted(VOICES))
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def site(adapter: str) -> AsyncIterator[Site]:
    async with SITES[adapter]() as site:
        yield site


@pytest.fixture
async def service(adapter: str, site: Site) -> AsyncIterator[VoiceService]:
    made: VoiceService = load(adapter)(**site.options)
    await made.start()
    yield made
    await made.close()
    await made.close()


class TestEveryVoiceService(VoiceServiceContract):
    """All of the contract."""


def options(server: XiaozhiServer, **more: Any) -> dict[str, Any]:
    return {"url": server.url, "token": TOKEN, "device_id": DEVICE, "client_id": CLIENT, **more}


async def calling(server: XiaozhiServer, **more: Any) -> Caller:
    service = XiaozhiVoice(**options(server, **more))
    await service.start()
    return Caller(service.open("1"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "either url"),
        ({"url": URL, "ota_url": "http://x/"}, "either url"),
        ({"url": "http://x"}, "ws://"),
        ({"ota_url": "ws://x"}, "http://"),
        ({"url": URL, "mode": "both"}, "mode"),
        ({"url": URL, "frame_ms": 50}, "frame_ms"),
        ({"url": URL, "version": 4}, "version"),
        ({"url": URL, "device_id": "me"}, "device_id"),
        ({"url": URL, "token": " x"}, "token"),
    ],
)
async def test_h1_wrong_settings_are_refused_at_the_start(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DialogueError, match=said) as caught:
        await XiaozhiVoice(**wrong).start()
    assert caught.value.code == "xiaozhi_settings"


async def test_h1_who_we_are_is_made_up_once_for_this_machine() -> None:
    async with XiaozhiServer() as server:
        for _ in range(2):
            caller = await calling(server, device_id="", client_id="")
            await caller.until(LineUp)
            await caller.close()
        one, other = ((v.headers["Device-Id"], v.headers["Client-Id"]) for v in server.visits)
        assert one == other
        assert one[0].startswith("02:")


def test_h1_modes_are_whose_turns_they_are() -> None:
    turns = [XiaozhiVoice(url=URL, mode=mode).turns for mode in ("manual", "auto", "realtime")]
    assert turns == [Turns.OURS, Turns.SERVICE, Turns.OPEN]


@pytest.mark.parametrize("mode", ["auto", "realtime"])
async def test_h1_the_service_ends_the_turn_itself(mode: str) -> None:
    async with XiaozhiServer(turn_packets=5) as server:
        caller = await calling(server, mode=mode)
        await caller.until(LineUp)
        caller.call.listen(until_finish=False)
        caller.call.push(tone(0.5))
        await caller.until(ReplyEnded)
        assert len(caller.all(UserSaid)) == 1
        assert server.visits[0].messages[1]["mode"] == mode
        await caller.close()
        assert server.visits[0].refusal == ""


def test_e1_every_emotion_of_the_reference_has_a_face() -> None:
    reference = (
        "neutral happy laughing funny sad angry crying loving embarrassed surprised shocked thinking winking cool "
        "relaxed delicious kissy confident sleepy silly confused"
    )
    assert set(reference.split()) == set(MOODS)
    assert set(MOODS.values()) == set(Expression)


async def test_e1_emotions_and_alerts_are_told() -> None:
    said = ('{"type":"llm","emotion":"SAD"}', '{"type":"llm","emotion":"purple"}',
            '{"type":"alert","status":"Battery","message":"low","emotion":"sad"}')  # fmt: skip
    async with XiaozhiServer(troubles={0: Trouble("hello", Say(said))}) as server:
        caller = await calling(server)
        assert await caller.until(Announcement) == Announcement("Battery: low")
        assert caller.all(ReplyMood) == [ReplyMood(Expression.SAD)]
        await caller.close()


async def test_h1_a_normal_end_has_no_error() -> None:
    async with XiaozhiServer(troubles={0: Trouble("hello", Close(None))}) as server:
        caller = await calling(server)
        assert await caller.until(LineDown) == LineDown(None)
        await caller.close()


async def test_h1_what_was_refused_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.dialogue.xiaozhi.voice.RETRY_S", 0.1)
    async with XiaozhiServer(statuses=[401, 401]) as server:
        caller = await calling(server)
        await caller.until(LineUp)
        errors = [event.error for event in caller.all(LineFailed)]
        assert [(error.code, error.retryable) for error in errors] == [("xiaozhi_refused", False)] * 2
        await caller.close()


async def test_h1_closed_while_it_waits_to_try_again() -> None:
    async with XiaozhiServer(statuses=[401]) as server:
        before = asyncio.all_tasks()
        caller = await calling(server)
        await caller.until(LineFailed)
        await caller.close()
        await poll(lambda: not asyncio.all_tasks() - before)
        assert server.visits == []


async def test_h1_the_ota_address_tells_where_to_go_and_may_want_a_code_first() -> None:
    answers: list[dict[str, Any]] = []
    asked: list[str] = []

    async def ota(request: web.Request) -> web.Response:
        asked.append(request.headers["Device-Id"])
        return web.json_response(answers.pop(0) if len(answers) > 1 else answers[0])

    application = web.Application()
    application.add_routes([web.post("/xiaozhi/ota/", ota)])
    async with XiaozhiServer() as server, TestServer(application, host="127.0.0.1") as http:
        place = {"websocket": {"url": server.url, "token": TOKEN, "version": 3}}
        answers += [{**place, "activation": {"code": "123456", "message": "m"}}, {}, place]
        url = str(http.make_url("/xiaozhi/ota/"))
        caller = await calling(server, url="", ota_url=url, token="")
        failed = await caller.until(LineFailed)
        assert "123456" in str(failed.error)
        assert failed.error.retryable
        await poll(lambda: len(caller.all(LineFailed)) == 2 or caller.all(LineUp))
        assert caller.all(LineFailed)[1].error.code == "xiaozhi_ota_no_websocket"
        assert set(asked) == {DEVICE}
        await caller.close()


async def test_h1_found_by_ota_it_talks() -> None:
    async def ota(request: web.Request) -> web.Response:
        return web.json_response({"websocket": {"url": server.url, "token": TOKEN, "version": 3}})

    application = web.Application()
    application.add_routes([web.post("/xiaozhi/ota/", ota)])
    async with XiaozhiServer() as server, TestServer(application, host="127.0.0.1") as http:
        caller = await calling(server, url="", ota_url=str(http.make_url("/xiaozhi/ota/")), token="")
        await caller.until(LineUp)
        await caller.speak()
        assert (await caller.until(ReplyEnded)).complete
        assert server.visits[0].headers["Protocol-Version"] == "3"
        await caller.close()


async def test_h1_a_long_turn_does_not_hold_the_loop() -> None:
    """What was kept back is encoded piece by piece, and in order with what follows."""
    async with XiaozhiServer(reply=(Sentence("Yes.", 440.0, (60,)),)) as server:
        caller = await calling(server)
        await caller.until(LineUp)
        caller.call.listen()
        caller.call.push(tone(6.0))
        caller.call.finish()
        rounds = 0
        while not caller.all(UserSaid):
            await asyncio.sleep(0)
            rounds += 1
        assert rounds >= 100
        assert server.visits[0].turns == [100]
        await caller.until(ReplySound)
        await caller.close()
