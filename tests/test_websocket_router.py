"""`/ws` frame by frame: what is refused and how, who may in, what closes a socket and what never does."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import uvloop

from core.errors import BadRequest, RecognizerError
from core.websocket_manager import UnifiedWebSocketManager
from core.websocket_router import MAX_FRAME, MAX_MESSAGE, WebSocketRouter
from core.websocket_session import QUEUE_SIZE, WebSocketSession
from tests.hub import Client, Hub, hub, raw_login


class Recorder:
    """A service: `work` is noted, `fail` raises the error that it names, `sound` asks for binary frames."""

    name = "recorder"

    def __init__(self, manager: UnifiedWebSocketManager) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.sound: list[bytes] = []
        self.left: list[str] = []
        manager.register_message_handler("work", self._work)
        manager.register_message_handler("fail", self._fail)
        manager.register_message_handler("sound", self._ask)

    async def _work(self, session: WebSocketSession, data: dict[str, Any]) -> None:
        self.seen.append((session.session_id, data))

    async def _fail(self, session: WebSocketSession, data: dict[str, Any]) -> None:
        raise {"recognizer": RecognizerError("no ears"), "username": BadRequest("whose?", code="bad_username")}.get(
            data["error"], BadRequest("not like this")
        )

    async def _ask(self, session: WebSocketSession, data: dict[str, Any]) -> None:
        session.binary_to = self
        session.registrations["web"] = "User_x"

    async def binary(self, session: WebSocketSession, data: bytes) -> None:
        if data == b"bad":
            raise BadRequest("no sound")
        self.sound.append(data)

    def closed(self, session: WebSocketSession) -> None:
        self.left.append(session.session_id)


class Desk:
    """A hub and the service on it."""

    def __init__(self, line: Hub, service: Recorder) -> None:
        self.line = line
        self.service = service


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    manager = UnifiedWebSocketManager()
    service = Recorder(manager)
    async with hub([service], manager) as line:
        yield Desk(line, service)


@pytest.fixture
def line(desk: Desk) -> Hub:
    return desk.line


def refused(answer: dict[str, Any], code: str, ref: str | None = None) -> None:
    assert set(answer) == {"type", "code", "message", "ref", "timestamp"}
    assert (answer["type"], answer["code"]) == ("wsa_error", code)
    assert answer["message"]
    assert isinstance(answer["timestamp"], int)
    assert ref is None or answer["ref"] == ref


async def lives(client: Client) -> None:
    assert (await client.ask(type="heartbeat"))["type"] == "heartbeat_response"


# -- login (A3, B8)


@pytest.mark.parametrize("key", ["session_id", "sessionid"])
@pytest.mark.parametrize("value", [204346, "204346", " 204346 "], ids=repr)
async def test_a3_login_takes_the_id_as_number_and_as_text(line: Hub, key: str, value: object) -> None:
    client = await line.connect()
    answer = await client.ask(type="login", **{key: value})
    assert isinstance(answer.pop("timestamp"), int)
    assert answer == {"type": "login_success", "session_id": "204346", "username": "User_204346"}
    assert line.manager.all_ids() == ["204346"]
    assert line.manager.broadcast_to_session(204346, "note", "x") == 1


@pytest.mark.parametrize("name", ["User_77", "user_77", "  USER_77 "])
async def test_b1_login_by_username(line: Hub, name: str) -> None:
    assert (await (await line.connect()).ask(type="login", username=name))["session_id"] == "77"


@pytest.mark.parametrize("message", [{}, {"session_id": None}, {"username": ""}], ids=repr)
async def test_a3_login_without_an_id_is_the_current_unix_time(line: Hub, message: dict[str, Any]) -> None:
    before = int(time.time())
    answer = await (await line.connect()).ask(type="login", **message)
    assert before <= int(answer["session_id"]) <= time.time()
    assert line.manager.broadcast_to_all({"type": "note"}).reached == 1


@pytest.mark.parametrize(
    "message",
    [
        {"session_id": ""}, {"session_id": True}, {"session_id": 1.5}, {"session_id": [1]}, {"session_id": "x" * 65},
        {"session_id": "a\nb"}, {"sessionid": {}}, {"session_id": "1", "token": 5}, {"username": 7},
        {"session_id": "1", "role": []},
    ],
    ids=repr,
)  # fmt: skip
async def test_a8_a_login_with_wrong_fields_is_refused_and_the_socket_lives_on(
    line: Hub, message: dict[str, Any]
) -> None:
    client = await line.connect()
    refused(await client.ask(type="login", **message), "bad_message", "login")
    await client.login("1")


async def test_b8_a_login_that_may_not_is_told_so_and_may_try_again(line: Hub) -> None:
    line.door.refused = {"7"}
    client = await line.connect()
    refused(await client.ask(type="login", session_id=7, token="wrong"), "auth_failed", "login")
    assert line.door.logins == [("7", "wrong")]
    assert line.manager.all_ids() == []
    await client.login("8")
    refused(await client.ask(type="login", session_id="7"), "auth_failed")
    assert line.manager.all_ids() == ["8"]  # it stays where it was


async def test_k4_a_page_of_a_foreign_origin_is_not_connected(line: Hub) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await line.connect(headers={"Origin": "http://foreign.example"})
    assert refusal.value.status == 403


async def test_a6_a_socket_that_does_not_log_in_is_closed_with_1008() -> None:
    async with hub(login_timeout_s=0.1) as line:
        silent, chatty, good = [await line.connect() for _ in range(3)]
        await good.login("1")
        refused(await chatty.ask(type="work"), "unknown_type")
        assert await silent.closed() == 1008
        assert await chatty.closed() == 1008
        await lives(good)


# -- A8: bad messages


FRAMES = {
    "empty": ("", "bad_message"),
    "words": ("hello", "bad_message"),
    "half": ('{"type": ', "bad_message"),
    "list": ("[]", "bad_message"),
    "number": ("1", "bad_message"),
    "null": ("null", "bad_message"),
    "nan": ('{"type": "heartbeat", "timestamp": NaN}', "bad_message"),
    "huge number": ('{"type": "heartbeat", "timestamp": ' + "9" * 5000 + "}", "bad_message"),
    "nested": ("[" * 200_000, "bad_message"),
    "no type": ("{}", "bad_message"),
    "type is no text": ('{"type": 5}', "bad_message"),
    "type is a list": ('{"type": ["login"]}', "bad_message"),
    "unknown": ('{"type": "dance"}', "unknown_type"),
    "long type": (json.dumps({"type": "x" * 5000}), "unknown_type"),
    "odd type": ('{"type": "\\ud800"}', "unknown_type"),
    "empty type": ('{"type": ""}', "unknown_type"),
    "too large": (json.dumps({"type": "work", "x": "x" * MAX_MESSAGE}), "bad_message"),
}


@pytest.mark.parametrize("logged_in", [False, True])
async def test_a8_every_bad_frame_gets_a_typed_refusal_and_the_socket_lives_on(desk: Desk, logged_in: bool) -> None:
    client = await (desk.line.client("1") if logged_in else desk.line.connect())
    for name, (frame, code) in FRAMES.items():
        await client.ws.send_str(frame)
        answer = await client.next()
        refused(answer, code)
        assert len(json.dumps(answer)) < 1000, name
    for data in (b"", b"\0\1\2", bytes(MAX_MESSAGE + 1)):
        await client.ws.send_bytes(data)
        refused(await client.next(), "bad_message" if logged_in or len(data) > MAX_MESSAGE else "not_logged_in")
    await lives(client)
    assert desk.service.seen == []


async def test_a8_nothing_works_before_login(desk: Desk) -> None:
    client = await desk.line.connect()
    refused(await client.ask(type="work"), "not_logged_in", "work")
    await client.login("1")
    await client.ws.send_json({"type": "work", "x": 1})
    await lives(client)
    assert desk.service.seen == [("1", {"type": "work", "x": 1})]


async def test_a8_what_a_service_refuses_is_answered_with_its_code(line: Hub) -> None:
    client = await line.client("1")
    refused(await client.ask(type="fail", error="username"), "bad_username", "fail")
    refused(await client.ask(type="fail", error="recognizer"), "asr_failed", "fail")
    refused(await client.ask(type="fail", error="other"), "bad_message", "fail")


async def test_a8_a_frame_over_the_hard_limit_closes_that_socket_with_1009_and_no_other(line: Hub) -> None:
    other, big = await line.client("1"), await raw_login(line.port, "1")
    await line.count("1", 2)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(big, b"\x81\xff" + MAX_FRAME.to_bytes(8, "big") + bytes(4))  # its head is enough
    received = b""
    while data := await asyncio.wait_for(loop.sock_recv(big, 4096), 3):
        received += data
    assert int.from_bytes(received.rpartition(b"\x88")[2][1:3], "big") == 1009
    big.close()
    await lives(other)
    await line.count("1", 1)


async def test_a8_text_that_is_no_utf8_closes_that_socket_with_1007(line: Hub) -> None:
    client, other = await line.client("1"), await line.client("1")
    await client.ws.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
    assert await client.closed() == 1007
    await lives(other)


async def test_a8_binary_frames_go_to_the_service_that_asked_until_the_socket_leaves(desk: Desk) -> None:
    client = await desk.line.client("1")
    await client.ws.send_json({"type": "sound"})
    await client.ws.send_bytes(b"pcm")
    await client.ws.send_bytes(b"bad")
    refused(await client.next(), "bad_message")
    assert desk.service.sound == [b"pcm"]
    desk.line.door.allowance = 2  # sound is not counted: a login and a heartbeat are
    for _ in range(100):
        await client.ws.send_bytes(b"more")
    await client.login("2")
    assert len(desk.service.sound) == 101
    desk.line.door.allowance = 10
    await client.ws.send_bytes(b"not any more")
    refused(await client.next(), "bad_message")


async def test_k4_over_the_rate_limit_is_said_and_the_socket_lives_on(desk: Desk) -> None:
    client = await desk.line.client("1")
    desk.line.door.allowance = 1
    await lives(client)
    for _ in range(3):
        refused(await client.ask(type="work"), "rate_limited")
    assert desk.service.seen == []
    desk.line.door.allowance = 10
    await lives(client)


@pytest.mark.parametrize("kind", ["heartbeat", "ping"])
@pytest.mark.parametrize("logged_in", [False, True])
async def test_a6_heartbeats_are_answered_also_before_login(line: Hub, kind: str, logged_in: bool) -> None:
    client = await (line.client("1") if logged_in else line.connect())
    answer = await client.ask(type=kind, timestamp=1)
    assert set(answer) == {"type", "timestamp"}
    assert answer["type"] == "heartbeat_response"


@pytest.mark.parametrize("logged_in", [False, True])
async def test_a6_a_ping_frame_is_answered_with_its_own_bytes(line: Hub, logged_in: bool) -> None:
    client = Client(await line.http.ws_connect(f"http://127.0.0.1:{line.port}/ws", autoping=False))
    if logged_in:
        await client.login("1")
    await client.ws.ping(b"are you there")
    frame = await client.ws.receive(timeout=3)
    assert (frame.type, frame.data) == (aiohttp.WSMsgType.PONG, b"are you there")


# -- leaving


async def test_b2_who_closes_or_moves_leaves_every_service(desk: Desk) -> None:
    client = await desk.line.client("1")
    await client.ws.send_json({"type": "sound"})
    await client.login("2")
    (session,) = desk.line.manager.get_sessions_by_id("2")
    assert desk.service.left == ["1"]
    assert (session.registrations, session.binary_to) == ({}, None)
    await client.ws.close()
    await desk.line.count("2", 0)
    assert desk.service.left == ["1", "2"]


async def test_a6_closing_from_both_sides_at_once_is_quiet(line: Hub, caplog: pytest.LogCaptureFixture) -> None:
    client = await line.client("3")
    (session,) = line.manager.get_sessions_by_id("3")
    await asyncio.gather(session.close(), session.close(), client.ws.close())
    await line.count("3", 0)
    assert not session.send_message({"type": "note"})
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def resets(line: Hub) -> None:
    """A peer that vanishes with a reset while it is being written to, three times."""
    await (await line.connect()).ws.close()
    tasks = len(asyncio.all_tasks())
    for _ in range(3):
        raw = await raw_login(line.port, "77")
        await line.count("77", 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends a reset
        raw.close()
        for _ in range(5):
            line.manager.broadcast_to_session("77", "note", "anybody there?")
            await asyncio.sleep(0)
    await line.count("77", 0)
    async with asyncio.timeout(3):
        while len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.01)


async def stops_reading(line: Hub) -> None:
    """A reader that stops, beside a good one."""
    raw, good = await raw_login(line.port, "5"), await line.client("5")
    await line.count("5", 2)
    text, reached = "x" * 100_000, 2
    for number in range(QUEUE_SIZE + 200):
        reached = line.manager.broadcast_to_session("5", "note", text, metadata={"number": number})
        assert (await good.next())["metadata"] == {"number": number}
        if reached == 1:
            break
    assert reached == 1
    await line.count("5", 1)
    assert line.manager.dropped == 1
    await lives(good)
    raw.close()


def problems(records: list[Any]) -> list[str]:
    return [record.getMessage() for record in records if record.levelname == "ERROR" or record.exc_info]


async def test_a7_a_reset_by_the_peer_is_no_error_and_leaves_nothing(
    line: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    await resets(line)
    assert line.manager.all_ids() == []
    assert problems(caplog.records) == []


async def test_a4_a_reader_that_stops_is_dropped_and_the_others_are_served(
    line: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    await stops_reading(line)
    assert problems(caplog.records) == []


def test_a7_all_of_it_on_the_loop_that_the_server_runs_on(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with hub() as line:
            await resets(line)
            await stops_reading(line)

    uvloop.run(run())
    assert problems(caplog.records) == []


async def test_a4_a_client_that_asks_faster_than_it_reads_is_slowed_down_not_dropped(line: Hub) -> None:
    raw = await raw_login(line.port, "1")
    await line.count("1", 1)
    (session,) = line.manager.get_sessions_by_id("1")
    session.websocket.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    loop = asyncio.get_running_loop()
    ping, count = b"\x81\x8f" + bytes(4) + b'{"type":"ping"}', 20 * QUEUE_SIZE
    asking = asyncio.create_task(loop.sock_sendall(raw, ping * count))
    async with asyncio.timeout(5):
        while session.queued <= QUEUE_SIZE // 2:  # it does not read: its answers pile up, but only so far
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    assert session.alive
    assert session.queued < QUEUE_SIZE
    received = b""
    async with asyncio.timeout(10):
        while received.count(b"heartbeat_response") < count:
            received += await loop.sock_recv(raw, 1 << 16)
    await asking
    assert line.manager.dropped == 0
    raw.close()


async def test_a4_nothing_is_compressed_so_that_a_socket_costs_little(line: Hub) -> None:
    client = await line.connect(compress=15)
    assert client.ws.compress == 0


async def test_a6_every_socket_hears_when_the_server_stops(line: Hub) -> None:
    clients = [await line.client("1"), await line.client("2")]
    await line.manager.close_all()
    assert [await client.closed() for client in clients] == [1001, 1001]
    assert line.manager.all_ids() == []


async def test_a4_half_a_character_does_not_silence_a_socket(line: Hub) -> None:
    client = await line.client("9")
    for content in ("\ud83d", "after"):
        line.manager.broadcast_to_session("9", "note", content)
    assert [message["content"] for message in await client.settled()] == ["?", "after"]


async def test_a10_no_token_reaches_the_log(line: Hub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    line.door.refused = {"2"}
    client = await line.connect()
    await client.ask(type="login", session_id="2", token="TOPSECRET")
    await client.login("1", token="TOPSECRET")
    await client.settled()
    assert not re.search("TOPSECRET", caplog.text)


async def test_a5_the_router_pushes_to_a_session_as_the_manager_does() -> None:
    async with hub() as line:
        client = await line.client("7")
        router = WebSocketRouter(line.manager, services=(), access=line.door)
        assert router.send_raw_to_session(7, {"type": "note", "x": 1}) == 1
        assert router.send_raw_to_session("8", {"type": "note", "x": 2}) == 0
        assert await client.settled() == [{"type": "note", "x": 1}]
