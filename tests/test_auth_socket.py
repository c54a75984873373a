"""Tokens, origins and limits on real WebSockets, against the real application."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from core.identity import Tokens, username_of
from tests.conftest import FAKES, Serve
from tests.offers import Api

SECRET = FAKES["auth.secret"]
KEY = "key-of-a-program-0001"
ADMIN = "the-admins-own-token"
ON = {"auth__enabled": "true"}


class Line:
    """One WebSocket; answers are read until the awaited one comes."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []

    async def ask(self, *kinds: str, **message: Any) -> dict[str, Any]:
        """Send a message and give the first answer of one of these types; what came before it is in `seen`."""
        await self.socket.send_json(message)
        return await self.next(*kinds)

    async def next(self, *kinds: str) -> dict[str, Any]:
        while True:
            message: dict[str, Any] = await self.socket.receive_json(timeout=5)
            self.seen.append(message)
            if message["type"] in kinds:
                return message

    async def login(self, session_id: object, **more: Any) -> str:
        """The type of the answer, or the code of a refusal."""
        answer = await self.ask("login_success", "wsa_error", type="login", session_id=session_id, **more)
        return str(answer.get("code", answer["type"]))


async def open_line(api: Api, path: str = "/ws", **headers: str) -> Line:
    return Line(await api.http.ws_connect(api.url + path, headers={k.replace("_", "-"): v for k, v in headers.items()}))


async def handshake(api: Api, path: str, headers: dict[str, str]) -> int:
    """The HTTP status of an attempt to open a socket."""
    try:
        socket = await api.http.ws_connect(api.url + path, headers=headers)
    except aiohttp.WSServerHandshakeError as error:
        return error.status
    await socket.close()
    return 101


async def test_k1_with_auth_on_a_socket_logs_in_with_the_sessions_token_only(serving: Serve) -> None:
    async with serving(**ON) as server, Api(server) as api, Api(server) as other:
        await api.open_session()
        await other.open_session()
        line = await open_line(api)
        expired = Tokens(SECRET, 60, clock=lambda: time.time() - 3600).issue(api.id)
        visitor = Tokens(SECRET, 60).issue_visitor(60)
        for wrong in (None, "", other.token, expired, visitor, "x", "é🔑", "A" * 4000):
            assert await line.login(api.id, token=wrong) == "auth_failed"
        assert await line.login(api.id) == "auth_failed"
        assert await line.login(other.id, token=api.token) == "auth_failed"
        for wrong in (1, True, [], {}, 1.5):
            assert await line.login(api.id, token=wrong) == "bad_message"
        assert (await line.ask("wsa_error", type="wsa_register_web", username=username_of(api.id)))[
            "code"
        ] == "not_logged_in"
        for message in line.seen:
            assert not any(secret in str(message) for secret in (SECRET, api.token, other.token))
        assert await line.login(int(api.id), token=api.token) == "login_success"


async def test_k1_with_auth_on_nobody_logs_in_without_an_id_or_under_a_made_up_one(serving: Serve) -> None:
    async with serving(**ON) as server, Api(server) as api:
        line = await open_line(api)
        for more in ({}, {"username": "User_0"}, {"session_id": "0"}, {"session_id": 12345}, {"sessionid": "x"}):
            answer = await line.ask("login_success", "wsa_error", type="login", **more)
            assert answer.get("code") in ("auth_failed", "bad_message"), more


async def test_k1_a_socket_can_not_move_to_a_session_that_is_not_its_own(serving: Serve) -> None:
    async with serving(**ON) as server, Api(server) as api, Api(server) as other:
        await api.open_session()
        await other.open_session()
        line = await open_line(api)
        assert await line.login(api.id, token=api.token) == "login_success"
        assert await line.login(other.id, token=api.token) == "auth_failed"
        assert await line.login(other.id) == "auth_failed"
        server.sockets.broadcast_raw_message_to_session(other.id, {"type": "secret"})
        server.sockets.broadcast_raw_message_to_session(api.id, {"type": "mine"})
        await line.next("mine")  # it is where it was, and heard nothing of the other
        assert "secret" not in [message["type"] for message in line.seen]
        assert await line.login(other.id, token=other.token) == "login_success"


async def test_k1_a_message_that_names_another_session_does_nothing_to_it(serving: Serve) -> None:
    async with serving(**ON) as server, Api(server) as api, Api(server) as other:
        await api.open_session()
        await other.open_session()
        line, watcher = await open_line(api), await open_line(other)
        assert await line.login(api.id, token=api.token) == "login_success"
        assert await watcher.login(other.id, token=other.token) == "login_success"
        for message in (
            {"type": "wsa_register_web", "username": username_of(other.id)},
            {"type": "wsa_register_human", "username": username_of(other.id), "token": api.token},
            {"type": "start_asr_recognition", "session_id": other.id},
            {"type": "asr_audio_data", "session_id": other.id, "audio": "AAAA"},
            {"type": "listen", "session_id": other.id, "mode": "nonsense"},
        ):
            assert (await line.ask("wsa_error", **message))["code"] in ("auth_failed", "bad_message"), message
        await line.socket.send_json({"type": "storage", "enabled": False, "session_id": other.id})
        await line.ask("heartbeat_response", type="heartbeat")
        assert server.sessions.find(other.id).storage
        await watcher.ask("heartbeat_response", type="heartbeat")
        assert {message["type"] for message in watcher.seen} <= {"login_success", "sync", "heartbeat_response"}


async def test_b8_a_token_proves_the_claim_to_another_sessions_username(serving: Serve) -> None:
    async with serving(**ON) as server, Api(server) as api, Api(server) as other:
        await api.open_session()
        await other.open_session()
        line = await open_line(api)
        assert await line.login(api.id, token=api.token) == "login_success"
        name = {"type": "wsa_register_human", "username": username_of(other.id)}
        assert (await line.ask("wsa_registered", "wsa_error", **name))["code"] == "auth_failed"
        assert (await line.ask("wsa_registered", "wsa_error", **name, token=other.token))["type"] == "wsa_registered"
        assert server.wsa.conflicts == 0


async def test_b8_two_sessions_with_one_username_are_counted_and_warned_about(
    serving: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server, Api(server) as api, Api(server) as other:
        await api.open_session()
        await other.open_session()
        lines = await open_line(api), await open_line(other)
        for line, mine in zip(lines, (api, other), strict=True):
            assert await line.login(mine.id) == "login_success"
            spelled = {"type": "wsa_register_web", "username": f"uSER_{api.id}"}
            answer = await line.ask("wsa_registered", "wsa_error", **spelled)
            assert answer["username"] == f"uSER_{api.id}"
        assert server.wsa.conflicts == 1
        assert sum(username_of(api.id) in record.getMessage() for record in caplog.records) == 1


async def test_k1_with_auth_off_a_socket_needs_no_token_but_a_wrong_one_is_refused(serving: Serve) -> None:
    async with serving() as server, Api(server) as api, Api(server) as other:
        await api.open_session()
        await other.open_session()
        line = await open_line(api)
        assert await line.login(api.id, token=other.token) == "auth_failed"
        assert await line.login(int(api.id)) == "login_success"
        assert await line.login(api.id, token=api.token) == "login_success"
        answer = await line.ask("wsa_registered", "wsa_error", type="wsa_register_web", username=username_of(api.id))
        assert answer["type"] == "wsa_registered"


async def test_k1_an_api_key_logs_in_to_every_session(serving: Serve) -> None:
    async with serving(auth__api_keys=f"[{KEY}]", **ON) as server, Api(server) as api:
        line = await open_line(api)
        assert await line.login("204346", token=KEY) == "login_success"
        assert await line.login("204347", token=KEY + "x") == "auth_failed"


@pytest.mark.parametrize("path", ["/ws", "/api/admin/live"])
async def test_k1_pages_of_other_origins_open_no_socket(serving: Serve, path: str) -> None:
    async with serving() as server, Api(server) as api:
        port = server.url.rpartition(":")[2]
        for origin in (
            "https://evil.example",
            "null",
            "http://localhost:3000",
            f"https://127.0.0.1.evil.example:{port}",
        ):
            assert await handshake(api, path, {"Origin": origin}) == 403
        rebound = {"Origin": f"http://evil.example:{port}", "Host": f"evil.example:{port}"}
        assert await handshake(api, path, rebound) == 403
        for host in ("127.0.0.1", "localhost"):
            own = {"Origin": f"http://{host}:{port}", "Host": f"{host}:{port}"}
            assert await handshake(api, path, own) == 101
        assert await handshake(api, path, {}) == 101


async def test_k1_listed_origins_open_sockets(serving: Serve) -> None:
    async with serving(server__allowed_origins='["https://friend.example/"]') as server, Api(server) as api:
        assert await handshake(api, "/ws", {"Origin": "https://friend.example"}) == 101
        assert await handshake(api, "/ws", {"Origin": "https://other.example"}) == 403


async def test_k1_the_dashboards_socket_is_for_the_admin(serving: Serve) -> None:
    async def told(api: Api, headers: dict[str, str], token: str) -> str:
        async with api.http.ws_connect(api.url + "/api/admin/live", headers=headers) as socket:
            await socket.send_json({"type": "login", "token": token})
            answer = await socket.receive_json(timeout=5)
            if answer["type"] == "error":
                assert (await socket.receive(timeout=5)).data == 1008
            return str(answer.get("code", answer["type"]))

    away = {"X-Forwarded-For": "203.0.113.7"}
    async with serving() as server, Api(server) as api:
        assert await told(api, {}, "") == "snapshot"
        assert await told(api, away, "") == "auth_failed"
        assert await told(api, {}, "guess") == "auth_failed"
    async with serving(auth__admin_token=ADMIN) as server, Api(server) as api:
        assert await told(api, away, ADMIN) == "snapshot"
        for wrong in ("", "guess", ADMIN[:-1]):
            assert await told(api, {}, wrong) == "auth_failed"
    async with serving(compat__livetalking="true") as server, Api(server) as api:  # it shows what is said
        assert await told(api, away, "") == "auth_failed"
        assert await told(api, {"Origin": "https://evil.example"}, "") == "auth_failed"


async def test_k1_who_sends_too_much_is_told_stays_connected_and_recovers(serving: Serve) -> None:
    async with serving(limits__messages_per_second="5") as server, Api(server) as api:
        line = await open_line(api)
        assert await line.login("204346") == "login_success"
        for _ in range(40):
            await line.socket.send_json({"type": "heartbeat"})
        answers = [await line.next("heartbeat_response", "wsa_error") for _ in range(40)]
        limited = [answer for answer in answers if answer["type"] == "wsa_error"]
        assert {answer["code"] for answer in limited} == {"rate_limited"}
        assert 20 <= len(limited) <= 31
        second = await open_line(api)  # the limit is the address's: another socket does not help
        assert await second.login("204347") == "rate_limited"
        deadline = time.monotonic() + 10
        while (await line.ask("heartbeat_response", "wsa_error", type="heartbeat"))["type"] == "wsa_error":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        assert not line.socket.closed
