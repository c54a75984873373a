"""`/ws` of the real server: sessions, pages and the avatar behind it. The channel itself: test_websocket_router.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest

from tests.avatar_client import AvatarClient, WavMicrophone
from tests.conftest import Serve
from tests.hub import Client
from tests.offers import Api
from tests.speech import flite


@pytest.fixture
async def api(serving: Serve) -> AsyncIterator[Api]:
    async with serving() as server, Api(server) as api:
        yield api


async def connect(api: Api) -> Client:
    return Client(await api.http.ws_connect(api.url.replace("http", "ws") + "/ws"))


async def silent(client: Client) -> bool:
    """Whether nothing has been sent to it."""
    return await client.settled() == []


def refused(answer: dict[str, Any], code: str) -> None:
    assert answer["type"] == "wsa_error"
    assert answer["code"] == code
    assert answer["message"]
    assert isinstance(answer["timestamp"], int)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "listen", "mode": "off"},
        {"type": "storage", "enabled": True},
        {"type": "wsa_register_web", "username": "User_1"},
        {"type": "wsa_register_human", "username": "User_1"},
        {"type": "wsa_unregister_web", "username": "User_1"},
        {"type": "wsa_unregister_human", "username": "User_1"},
        {"type": "start_asr_recognition", "session_id": "1"},
        {"type": "asr_audio_data", "session_id": "1", "audio": ""},
        {"type": "stop_asr_recognition", "session_id": "1"},
    ],
    ids=lambda message: message["type"],
)
async def test_a8_nothing_works_before_login(api: Api, message: dict[str, Any]) -> None:
    ws = await connect(api)
    answer = await ws.ask(**message)
    refused(answer, "not_logged_in")
    assert answer["ref"] == message["type"]


WRONG = {
    "listen mode": {"type": "listen", "mode": "loud"},
    "listen state": {"type": "listen", "state": 1},
    "listen without a session": {"type": "listen", "mode": "off"},
    "username": {"type": "wsa_register_web", "username": 7},
    "no username": {"type": "wsa_register_web"},
    "storage": {"type": "storage", "enabled": "perhaps"},
    "audio": {"type": "asr_audio_data", "session_id": "404", "audio": 5},
    "unknown": {"type": "dance"},
}


async def test_a8_wrong_fields_get_a_typed_refusal_and_the_socket_lives_on(api: Api) -> None:
    ws = await connect(api)
    await ws.login("404")
    for name, message in WRONG.items():
        answer = await ws.ask(**message)
        assert (answer["type"], answer["ref"]) == ("wsa_error", message["type"]), name
        assert answer["code"] in ("bad_message", "bad_username", "unknown_type"), name
    await ws.ws.send_bytes(b"\0\1\2")
    refused(await ws.next(), "bad_message")
    assert (await ws.ask(type="heartbeat"))["type"] == "heartbeat_response"


async def test_listen_for_a_session_that_does_not_exist_is_refused(api: Api) -> None:
    ws = await connect(api)
    await ws.login("404")
    answer = await ws.ask(type="listen", mode="off")
    refused(answer, "bad_message")
    assert "session not found" in answer["message"]


async def test_a4_all_sockets_of_a_session_and_no_others_get_its_messages(api: Api) -> None:
    await api.open_session()
    mine = [await connect(api) for _ in range(2)]
    stranger, nobody = await connect(api), await connect(api)
    for ws in mine:
        await ws.login(int(api.id))
    await stranger.login("12345")
    assert (await api.human("what is up", kind="chat"))["code"] == 0
    for ws in mine:
        seen = [await ws.next() for _ in range(2)]
        assert {"type": "chat_message", "sender": "user", "content": "what is up"}.items() <= seen[0].items()
        assert seen[1]["type"] == "status_update"
        assert seen[1]["status"] == "thinking"
    assert await silent(stranger)
    assert await silent(nobody)


async def test_b7_a_page_that_logs_in_later_gets_what_was_said_since_the_offer(api: Api) -> None:
    await api.open_session()
    assert (await api.human("before anybody listened", kind="chat"))["code"] == 0
    ws = await connect(api)
    answer = await ws.login(api.id, last_seq=0)
    assert answer["resumed"] is True
    assert answer["missed"] >= 1
    said = await ws.next()
    while said["type"] != "chat_message":
        said = await ws.next()
    assert said["content"] == "before anybody listened"


async def test_a2_one_socket_that_logs_in_twice_gets_every_message_once(api: Api) -> None:
    await api.open_session()
    ws = await connect(api)
    for session_id in ("1", api.id, api.id):
        assert (await ws.login(session_id))["session_id"] == session_id
    assert api.server.sockets.all_ids() == [api.id]
    api.server.sockets.broadcast_to_session("1", "note", "not for you any more")
    assert api.server.sockets.broadcast_to_session(int(api.id), "note", "hello", metadata={"a": 1}) == 1
    assert (await ws.next())["content"] == "hello"
    assert await silent(ws)


async def test_a6_a_socket_without_any_message_expires_and_any_message_keeps_it(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        quiet, chatty = await connect(api), await connect(api)
        await quiet.login("1")
        await chatty.login("2")
        for session_id in ("1", "2"):
            (session,) = server.sockets.get_sessions_by_id(session_id)
            session.last_frame -= 91
        await chatty.ws.send_str("even nonsense shows that somebody is there")
        refused(await chatty.next(), "bad_message")
        closing = await quiet.ws.receive(timeout=3)
        assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 1001)
        assert server.sockets.all_ids() == ["2"]


async def test_the_talk_key_begins_and_ends_the_turn(serving: Serve) -> None:
    microphone = WavMicrophone()
    async with (
        serving(turn__endpoint_silence_ms="5000") as server,
        AvatarClient(server.url, microphone=microphone, video=False) as client,
    ):
        await client.connect()
        await client.login()
        await client.send(type="listen", mode="push_to_talk")
        await asyncio.sleep(0.2)
        speech = flite("what is seven times six")
        microphone.say(np.concatenate([speech, np.zeros(48_000 * 20, np.int16)]))
        await asyncio.sleep(len(speech) / 48_000 + 0.3)
        assert [m for m in client.messages if m["type"] == "asr_result"] == []  # not without the key
        await client.send(type="listen", state="start")
        microphone.say(np.concatenate([speech, np.zeros(48_000 * 20, np.int16)]))
        await client.message("status_update", status="listening")
        await asyncio.sleep(len(speech) / 48_000 + 0.1)
        released = time.monotonic()
        await client.send(type="listen", state="stop")
        final = await client.message("asr_result", is_final=True)
        assert time.monotonic() - released < 1.5  # silence alone would have taken five seconds
        assert abs(float(final["text"].split()[0]) - len(speech) / 48_000) < 0.8
        await client.message("reply", state="end")
