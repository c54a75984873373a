"""`/ws`: login, refusals that keep the socket alive, delivery to every socket of one session and to no other."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest

from app import Server
from core.websocket_manager import QUEUE_SIZE
from tests.avatar_client import AvatarClient, WavMicrophone
from tests.conftest import Serve
from tests.offers import Api
from tests.speech import flite


class Socket:
    """One WebSocket, spoken to frame by frame."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def ask(self, **message: Any) -> dict[str, Any]:
        await self.ws.send_json(message)
        return await self.next()

    async def next(self, timeout: float = 3.0) -> dict[str, Any]:
        answer: dict[str, Any] = await self.ws.receive_json(timeout=timeout)
        return answer

    async def login(self, session_id: object) -> dict[str, Any]:
        return await self.ask(type="login", session_id=session_id)

    async def silent(self, seconds: float = 0.1) -> bool:
        """Whether nothing arrives."""
        try:
            await self.next(seconds)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def api(serving: Serve) -> AsyncIterator[Api]:
    async with serving() as server, Api(server) as api:
        yield api


async def connect(api: Api) -> Socket:
    return Socket(await api.http.ws_connect(api.url.replace("http", "ws") + "/ws"))


def refused(answer: dict[str, Any], code: str) -> None:
    assert answer["type"] == "wsa_error"
    assert answer["code"] == code
    assert answer["message"]
    assert isinstance(answer["timestamp"], int)


@pytest.mark.parametrize("key", ["session_id", "sessionid"])
@pytest.mark.parametrize("value", [204346, "204346", " 204346 "], ids=repr)
async def test_login_takes_the_id_as_number_and_as_text(api: Api, key: str, value: object) -> None:
    ws = await connect(api)
    answer = await ws.ask(type="login", **{key: value})
    assert answer["type"] == "login_success"
    assert answer["session_id"] == "204346"
    assert answer["username"] == "User_204346"
    assert abs(answer["timestamp"] / 1000 - time.time()) < 5
    assert api.server.sockets.all_ids() == ["204346"]


async def test_login_by_username_alone(api: Api) -> None:
    assert (await (await connect(api)).ask(type="login", username="user_204346"))["session_id"] == "204346"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"session_id": None},
        {"session_id": ""},
        {"session_id": True},
        {"session_id": 1.5},
        {"session_id": []},
        {"session_id": {"a": 1}},
        {"session_id": "x" * 65},
        {"session_id": "a\nb"},
        {"session_id": "\ud800"},
        {"session_id": "1", "token": 5},
        {"session_id": "1", "username": ["x"]},
        {"username": "User_"},
    ],
    ids=repr,
)
async def test_a_login_that_names_no_session_is_refused(api: Api, message: dict[str, Any]) -> None:
    ws = await connect(api)
    refused(await ws.ask(type="login", **message), "bad_message")
    assert (await ws.login("1"))["type"] == "login_success"  # the socket lives on


@pytest.mark.parametrize(
    "message",
    [
        {"type": "listen", "mode": "off"},
        {"type": "wsa_register_web", "username": "User_1"},
        {"type": "wsa_register_human", "username": "User_1"},
        {"type": "wsa_unregister_web", "username": "User_1"},
        {"type": "wsa_unregister_human", "username": "User_1"},
    ],
    ids=lambda message: message["type"],
)
async def test_nothing_works_before_login(api: Api, message: dict[str, Any]) -> None:
    ws = await connect(api)
    answer = await ws.ask(**message)
    refused(answer, "not_logged_in")
    assert answer["ref"] == message["type"]


FRAMES = {
    "empty": ("", "bad_message"),
    "words": ("hello", "bad_message"),
    "half": ('{"type": ', "bad_message"),
    "list": ("[]", "bad_message"),
    "number": ("1", "bad_message"),
    "null": ("null", "bad_message"),
    "nan": ('{"type": "heartbeat", "timestamp": NaN}', "bad_message"),
    "nested": ("[" * 200_000, "bad_message"),
    "no type": ("{}", "bad_message"),
    "type is no text": ('{"type": 5}', "bad_message"),
    "type is a list": ('{"type": ["login"]}', "bad_message"),
    "unknown": ('{"type": "dance"}', "unknown_type"),
    "long type": (json.dumps({"type": "x" * 5000}), "unknown_type"),
    "odd type": ('{"type": "\\ud800"}', "unknown_type"),
    "empty type": ('{"type": ""}', "unknown_type"),
    "listen mode": ('{"type": "listen", "mode": "loud"}', "bad_message"),
    "listen state": ('{"type": "listen", "state": 1}', "bad_message"),
    "username": ('{"type": "wsa_register_web", "username": 7}', "bad_message"),
    "no username": ('{"type": "wsa_register_web"}', "bad_message"),
}


@pytest.mark.parametrize("logged_in", [False, True])
async def test_every_bad_frame_gets_a_typed_refusal_and_the_socket_lives_on(api: Api, logged_in: bool) -> None:
    await api.open_session()
    ws = await connect(api)
    if logged_in:
        await ws.login(api.id)
    for name, (frame, code) in FRAMES.items():
        await ws.ws.send_str(frame)
        answer = await ws.next()
        assert answer["type"] == "wsa_error", name
        early = not logged_in and answer["code"] == "not_logged_in"
        assert early or answer["code"] == code, name
        assert len(json.dumps(answer)) < 1000, name
    await ws.ws.send_bytes(b"\0\1\2")
    refused(await ws.next(), "bad_message")
    assert (await ws.ask(type="heartbeat"))["type"] == "heartbeat_response"


async def test_listen_for_a_session_that_does_not_exist_is_refused(api: Api) -> None:
    ws = await connect(api)
    await ws.login("404")
    answer = await ws.ask(type="listen", mode="off")
    refused(answer, "bad_message")
    assert "session not found" in answer["message"]


async def test_a_frame_over_one_mebibyte_closes_the_socket_with_1009_and_no_other(api: Api) -> None:
    big, other = await connect(api), await connect(api)
    await big.login("1")
    await other.login("1")
    await big.ws.send_str("x" * (1 << 20))
    closing = await big.ws.receive(timeout=3)
    assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 1009)
    assert (await other.ask(type="ping"))["type"] == "heartbeat_response"
    await gone(api.server, "1", left=1)


async def raw_login(api: Api, session_id: str) -> socket.socket:
    """A logged-in WebSocket that does nothing by itself, not even read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", int(api.url.rsplit(":", 1)[1])))
    upgrade = (
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await loop.sock_sendall(raw, upgrade)
    await loop.sock_recv(raw, 4096)
    login = json.dumps({"type": "login", "session_id": session_id}).encode()
    await loop.sock_sendall(raw, b"\x81" + bytes([0x80 | len(login)]) + b"\0\0\0\0" + login)
    await gone(api.server, session_id, left=1)
    return raw


async def gone(server: Server, session_id: str, left: int = 0) -> None:
    async with asyncio.timeout(3):
        while len(server.sockets.get_sessions_by_id(session_id)) != left:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["heartbeat", "ping"])
async def test_heartbeats_are_answered_also_before_login(api: Api, kind: str) -> None:
    ws = await connect(api)
    answer = await ws.ask(type=kind, timestamp=1)
    assert set(answer) == {"type", "timestamp"}
    assert answer["type"] == "heartbeat_response"


async def test_registration_is_idempotent_and_echoes_the_spelling(api: Api) -> None:
    ws = await connect(api)
    await ws.login("7")
    for _ in range(2):
        answer = await ws.ask(type="wsa_register_web", username="user_7", timestamp=1)
        assert answer["type"] == "wsa_registered"
        assert (answer["role"], answer["username"], answer["connections"]) == ("web", "user_7", 1)
    refused(await ws.ask(type="wsa_register_human", username="\ud800 x"), "bad_message")
    status = await ws.ask(type="wsa_unregister_web", username="user_7")
    assert (status["type"], status["connected"], status["username"]) == ("wsa_status", False, "User_7")


async def test_all_sockets_of_a_session_and_no_others_get_its_messages(api: Api) -> None:
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
    assert await stranger.silent()
    assert await nobody.silent()


async def test_half_a_character_does_not_silence_a_socket(api: Api) -> None:
    ws = await connect(api)
    await ws.login("9")
    for content in ("\ud83d", "after"):
        api.server.sockets.broadcast_to_session("9", "note", content)
    assert [(await ws.next())["content"] for _ in range(2)] == ["?", "after"]


async def test_one_socket_that_logs_in_twice_gets_every_message_once(api: Api) -> None:
    await api.open_session()
    ws = await connect(api)
    for session_id in ("1", api.id, api.id):
        assert (await ws.login(session_id))["session_id"] == session_id
    assert api.server.sockets.all_ids() == [api.id]
    api.server.sockets.broadcast_to_session("1", "note", "not for you any more")
    assert api.server.sockets.broadcast_to_session(int(api.id), "note", "hello", metadata={"a": 1}) == 1
    note = await ws.next()
    assert {**note, "timestamp": 0} == {
        "type": "note",
        "content": "hello",
        "source": "系统",
        "session_id": api.id,
        "metadata": {"a": 1},
        "timestamp": 0,
    }
    assert await ws.silent()


async def test_a_reader_that_stops_is_dropped_and_the_others_are_served(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    raw = await raw_login(api, "5")
    good = await connect(api)
    await good.login("5")
    text = "x" * 100_000
    for number in range(QUEUE_SIZE + 100):
        reached = api.server.sockets.broadcast_to_session("5", "note", text, metadata={"number": number})
        assert (await good.next())["metadata"] == {"number": number}
        if reached == 1:
            break
    assert reached == 1
    await gone(api.server, "5", left=1)
    assert (await good.ask(type="ping"))["type"] == "heartbeat_response"
    assert "reads too slowly" in caplog.text
    raw.close()


async def test_a_reset_by_the_peer_is_no_error_and_leaves_nothing(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    await (await connect(api)).ws.close()
    tasks = len(asyncio.all_tasks())
    for _ in range(3):
        raw = await raw_login(api, "77")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends a reset
        raw.close()
        for _ in range(5):
            api.server.sockets.broadcast_to_session("77", "note", "anybody there?")
            await asyncio.sleep(0)
    await gone(api.server, "77")
    assert api.server.sockets.all_ids() == []
    assert [record.message for record in caplog.records if record.levelname == "ERROR" or record.exc_info] == []
    async with asyncio.timeout(3):
        while len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.01)


async def test_closing_twice_from_both_sides_is_quiet(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    ws = await connect(api)
    await ws.login("3")
    (session,) = api.server.sockets.get_sessions_by_id("3")
    assert await asyncio.gather(session.close(), session.close(), ws.ws.close()) is not None
    await session.close()
    await ws.ws.close()
    await gone(api.server, "3")
    assert not session.send_message({"type": "note"})
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_socket_without_any_frame_expires_and_any_frame_keeps_it(serving: Serve) -> None:
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
