"""G3, K2: what operators ask and do over HTTP, the dashboards' socket, health."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import BaseTestServer, TestServer
from prometheus_client.parser import text_string_to_metric_families

from core import log
from core.admin_api import AdminApi
from core.admin_live import MAX_DASHBOARDS, Pace
from core.envelope import envelope_failures
from core.errors import Unauthorized
from core.messages import Message
from core.websocket_manager import Delivery
from server import Server
from tests.avatar_client import AvatarClient
from tests.conftest import Serve
from tests.offers import WRONG_IDS, Api, real_offer
from tests.operators import ADAPTERS, Observatory, observatory

ADMIN = "the-operators-own-token"
KEY = "a-programs-own-api-key"

UPGRADE = (
    b"GET /api/admin/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Pages:
    """Pushes to pages, noted."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str | None, Message]] = []

    def deliver(self, session_id: str, message: Message) -> Delivery:
        self.pushed.append((session_id, message))
        return Delivery(1, 2)

    def broadcast_to_all(self, message: Message) -> Delivery:
        self.pushed.append((None, message))
        return Delivery(3, 4)


class TokenAccess:
    """Who shows `ADMIN` may do everything."""

    def may_admin(self, request: web.Request) -> None:
        self.check_admin_token(request, request.headers.get("X-Admin-Token"))

    def may_read(self, request: web.Request, session_id: str, token: str | None) -> None:
        self.may_admin(request)

    def check_admin_token(self, request: web.Request, token: str | None) -> None:
        if token != ADMIN:
            raise Unauthorized("the admin token is missing or wrong")

    def admit(self, request: web.Request) -> str:
        return "127.0.0.1"


class Desk:
    """The operators' API over sessions with fakes, served on a free port."""

    def __init__(self, watch: Observatory, server: BaseTestServer, http: aiohttp.ClientSession, api: AdminApi) -> None:
        self.watch = watch
        self.api = api
        self.url = str(server.make_url("")).rstrip("/")
        self.http = http

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self.http.get(self.url + path) as response:
            return response.status, await response.json()

    async def live(self, first: str | bytes | None) -> aiohttp.ClientWebSocketResponse:
        """A dashboard's socket that has sent its first frame."""
        socket = await self.http.ws_connect(self.url + "/api/admin/live")
        if isinstance(first, str):
            await socket.send_str(first)
        elif first is not None:
            await socket.send_bytes(first)
        return socket

    async def dashboard(self) -> aiohttp.ClientWebSocketResponse:
        return await self.live(json.dumps({"type": "login", "token": ADMIN}))

    async def empty(self) -> None:
        """Wait until nothing of any dashboard is left."""
        async with asyncio.timeout(10):
            while len(self.api.live_view) or [t for t in asyncio.all_tasks() if "dashboard" in t.get_name()]:
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def desk(**pace: float) -> AsyncIterator[Desk]:
    """Not yet ready: no adapter has started."""
    async with observatory() as watch:
        config = {name: name for name in ("model", "avatar_id", "REF_FILE", "transport", "batch_size", "customopt")}
        api = AdminApi(
            watch.sources, watch.monitor, watch.metrics, access=TokenAccess(), sockets=Pages(), config=lambda: config,
            issue=lambda session: f"token of {session.id}", max_text_chars=100, pace=Pace(**pace),
        )  # fmt: skip
        application = web.Application(middlewares=[envelope_failures])
        application.add_routes(api.routes())
        async with TestServer(application) as server, aiohttp.ClientSession() as http:
            yield Desk(watch, server, http, api)
            await api.close()


@pytest.fixture
async def admin(serving: Serve) -> AsyncIterator[Api]:
    """A server that asks for the operators' token, which this client shows, with one session."""
    async with serving(auth__admin_token=ADMIN, auth__api_keys=f'["{KEY}"]') as server, Api(server) as api:
        await api.open_session()
        await api.http.close()
        api.http = aiohttp.ClientSession(headers={"X-Admin-Token": ADMIN})
        yield api


@pytest.fixture
def levels() -> Iterator[None]:
    """Puts our loggers' levels back."""
    before = {name: logging.getLogger(name).level for name in log.OURS}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


# -- who may

COMMANDS = ("stop", "watch", "say", "message", "log_level")


async def test_k_operators_routes_want_the_operators_token(admin: Api) -> None:
    server = admin.server
    for headers in ({}, {"X-Admin-Token": "wrong"}, {"Authorization": "Bearer wrong"}, {"X-API-Key": KEY}):
        async with aiohttp.ClientSession(headers=headers) as http:
            for path in ("/api/admin/config", "/api/admin/sessions"):
                async with http.get(server.url + path) as response:
                    assert (response.status, (await response.json())["error"]) == (401, "auth_failed")
            for command in COMMANDS:
                body = {"sessionid": admin.id, "text": "hello", "level": "debug"}
                async with http.post(f"{server.url}/api/admin/{command}", json=body) as response:
                    assert (response.status, (await response.json())["error"]) == (401, "auth_failed")
    assert len(server.sessions) == 1
    assert (await admin.raw("GET", "/api/admin/config"))[1]["code"] == 0


async def test_k_metrics_are_for_operators_and_programs(admin: Api) -> None:
    server = admin.server
    async with aiohttp.ClientSession() as http, http.get(server.url + "/metrics") as response:
        assert (response.status, (await response.json())["error"]) == (401, "auth_failed")
    for headers in ({"X-Admin-Token": ADMIN}, {"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
        async with aiohttp.ClientSession(headers=headers) as http, http.get(server.url + "/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=")
            families = {family.name for family in text_string_to_metric_families(await response.text())}
            assert {"eman_sessions", "eman_turns", "eman_turn_latency_seconds", "eman_pictures_late"} <= families


async def test_k_without_a_configured_token_this_machine_is_the_operator(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        assert (await api.raw("GET", "/api/admin/sessions"))[1]["code"] == 0
        async with api.http.get(server.url + "/metrics") as response:
            assert response.status == 200
        status, answer = await api.raw("GET", "/api/admin/sessions", headers={"X-Forwarded-For": "203.0.113.9"})
        assert (status, answer["error"]) == (401, "auth_failed")


# -- commands


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"17", b"\xff\xfe", b"[" * 100_000], ids=repr)
async def test_g3_a_command_that_is_no_json_object_is_refused(command: str, body: bytes) -> None:
    async with desk() as at:
        headers = {"X-Admin-Token": ADMIN, "Content-Type": "application/json"}
        async with at.http.post(f"{at.url}/api/admin/{command}", data=body, headers=headers) as response:
            assert (response.status, (await response.json())["error"]) == (200, "bad_request")


@pytest.mark.parametrize("wrong", WRONG_IDS, ids=repr)
async def test_g3_a_session_that_is_not_there_is_refused(admin: Api, wrong: object) -> None:
    for command in ("stop", "say"):
        answer = await admin.post(f"/api/admin/{command}", sessionid=wrong, text="hello")
        assert answer["error"] in ("session_not_found", "bad_request")
        assert (await admin.post(f"/api/admin/{command}", text="hello"))["error"] == "bad_request"
    assert len(admin.server.sessions) == 1


async def test_g3_stop_ends_the_session_and_tells_its_pages_first(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client:
        await client.connect()
        await client.login()
        assert await client.post("/api/admin/stop", sessionid=client.session) == {"code": 0, "msg": "ok"}
        command = await client.message("wsa_command")
        assert command["data"] == {"type": "control", "action": "hangup"}
        assert command["Username"] == f"User_{client.session}"
        assert len(server.sessions) == 0
        assert (await server.monitor.snapshot())["sessions"] == []
        assert (await client.post("/api/admin/stop", sessionid=client.session))["error"] == "session_not_found"


async def test_g3_say_speaks_or_answers(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client:
        await client.connect()
        await client.login()
        assert (await client.post("/api/admin/say", sessionid=client.session, text="one two"))["code"] == 0
        await client.message("reply", state="end", text="one two")
        await client.post("/api/admin/say", sessionid=client.session, text="what now", type="chat")
        await client.message("reply", state="end", text="One two three. Four five six.")
        await client.post("/api/admin/say", sessionid=client.session, text="long " * 60)
        await client.message("reply", state="sentence", reply_id="r3")
        await client.post("/api/admin/say", sessionid=client.session, text="short", interrupt=True)
        await client.message("reply", state="interrupted", reply_id="r3")
        await client.message("reply", state="end", text="short")


async def test_g3_texts_that_cannot_be_said_are_refused(admin: Api) -> None:
    for command in ("say", "message"):
        for text, error in (
            (None, "bad_request"),
            (17, "bad_request"),
            (" \n", "empty_text"),
            ("a" * 9999, "too_long"),
        ):
            answer = await admin.post(f"/api/admin/{command}", sessionid=admin.id, text=text)
            assert answer["error"] == error, (command, text)
    answer = await admin.post("/api/admin/say", sessionid=admin.id, text="hello", type="sing")
    assert answer["error"] == "bad_request"
    assert (await admin.is_speaking())["data"] is False


async def test_g3_a_message_reaches_the_pages_of_a_session_or_all(serving: Serve) -> None:
    async with (
        serving() as server,
        AvatarClient(server.url, video=False) as one,
        AvatarClient(server.url, video=False) as two,
    ):
        for client in (one, two):
            await client.connect()
            await client.login()
        answer = await one.post("/api/admin/message", sessionid=one.session, text="only you")
        assert answer["data"] == {"reached": 1, "sockets": 1}
        assert (await one.message("wsa_command"))["data"] == {"type": "broadcast", "content": "only you"}
        assert (await one.post("/api/admin/message", text="all of you"))["data"] == {"reached": 2, "sockets": 2}
        assert (await two.message("wsa_command"))["data"]["content"] == "all of you"  # and nothing before
        answer = await one.post("/api/admin/message", sessionid="404", text="nobody")
        assert answer["data"] == {"reached": 0, "sockets": 0}


async def test_k2_the_log_level_changes_while_it_runs(admin: Api, levels: None) -> None:
    for level in ("debug", "error", "info"):
        assert await admin.post("/api/admin/log_level", level=level) == {
            "code": 0,
            "msg": "ok",
            "data": {"level": level},
        }
        assert logging.getLogger("core.sessions").isEnabledFor(logging.DEBUG) == (level == "debug")
        assert (await admin.server.monitor.snapshot())["server"]["log_level"] == level
    wrongs: list[object] = [None, 10, "loud", "DEBUG", [], {}]
    for wrong in wrongs:
        assert (await admin.post("/api/admin/log_level", level=wrong))["error"] == "bad_request"
    assert log.level() == "info"


# -- health


async def test_k2_health_and_readiness_are_open_to_all() -> None:
    async with desk() as at:
        assert await at.get("/healthz") == (200, {"status": "ok"})
        assert await at.get("/readyz") == (503, {"status": "starting", "missing": list(ADAPTERS)})
        for stage in [*ADAPTERS][1:]:
            at.watch.sources.readiness.arrived(stage)
        assert await at.get("/readyz") == (503, {"status": "starting", "missing": ["asr"]})
        at.watch.sources.readiness.arrived("asr")
        assert await at.get("/readyz") == (200, {"status": "ready", "missing": []})
        at.watch.sources.readiness.stop()
        assert await at.get("/readyz") == (503, {"status": "stopping", "missing": []})
        assert await at.get("/healthz") == (200, {"status": "ok"})


async def test_k2_a_running_server_is_ready(serving: Serve) -> None:
    async with serving(auth__enabled="true", auth__admin_token=ADMIN) as server, Api(server) as api:
        assert await api.raw("GET", "/readyz") == (200, {"status": "ready", "missing": []})
        assert await api.raw("GET", "/healthz") == (200, {"status": "ok"})


# -- the dashboards' socket


async def test_g3_a_dashboard_gets_a_snapshot_at_once_and_every_second(serving: Serve) -> None:
    async with serving(auth__admin_token=ADMIN) as server, Api(server) as api:
        await api.open_session()
        async with api.http.ws_connect(server.url + "/api/admin/live") as socket:
            await socket.send_json({"type": "login", "token": ADMIN})
            first = await socket.receive_json(timeout=5)
            second = await socket.receive_json(timeout=5)
    assert first["type"] == second["type"] == "snapshot"
    assert 500 < second["at"] - first["at"] < 4000
    assert first["sessions"][0]["sessionid"] == api.id
    assert api.token not in json.dumps(first)


@pytest.mark.parametrize(
    "first",
    [
        '{"type": "login", "token": "wrong"}',
        '{"type": "login"}',
        '{"type": "login", "token": 17}',
        '{"type": "snapshot"}',
        "no json",
        "[]",
        b"\xff\xfe",
        "[" * 2000,
    ],
    ids=repr,
)
async def test_g3_who_is_no_operator_is_told_so_and_closed(first: str | bytes) -> None:
    async with desk() as at:
        socket = await at.live(first)
        told = await socket.receive_json(timeout=5)
        assert set(told) == {"type", "code", "message"}
        assert told["type"] == "error"
        assert told["code"] in ("auth_failed", "bad_request")
        closed = await socket.receive(timeout=5)
        assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1008)
        await at.empty()


async def test_g3_a_frame_too_large_closes_the_socket() -> None:
    async with desk() as at:
        socket = await at.live("x" * 100_000)
        assert (await socket.receive(timeout=5)).data == 1009
        await at.empty()


async def test_g3_a_dashboard_that_says_nothing_is_closed() -> None:
    async with desk(login_timeout_s=0.1) as at:
        socket = await at.live(None)
        assert (await socket.receive_json(timeout=5))["code"] == "auth_failed"
        assert (await socket.receive(timeout=5)).data == 1008
        await at.empty()


async def test_g3_a_page_of_another_site_gets_no_dashboard(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await api.http.ws_connect(server.url + "/api/admin/live", headers={"Origin": "https://evil.example"})
        assert refusal.value.status == 403


async def test_g3_dashboards_are_bounded_and_leave_nothing() -> None:
    async with desk() as at:
        sockets = [await at.dashboard() for _ in range(MAX_DASHBOARDS)]
        for socket in sockets:
            assert (await socket.receive_json(timeout=10))["type"] == "snapshot"
        one_too_many = await at.dashboard()
        assert (await one_too_many.receive_json(timeout=5))["code"] == "busy"
        assert (await one_too_many.receive(timeout=5)).data == 1013
        await sockets.pop().close()
        async with asyncio.timeout(5):
            while len(at.api.live_view) == MAX_DASHBOARDS:
                await asyncio.sleep(0.01)
        sockets.append(await at.dashboard())
        assert (await sockets[-1].receive_json(timeout=5))["type"] == "snapshot"
        for number, socket in enumerate(sockets):
            if number % 2:
                await socket.close()
            else:
                assert socket._response.connection is not None
                transport = socket._response.connection.transport
                assert transport is not None
                transport.abort()
        await at.empty()


async def test_g3_a_dashboard_that_does_not_read_is_dropped_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with desk(interval_s=0.02, send_timeout_s=0.3) as at:
        at.watch.recognised = [{"text": "x" * 100_000} for _ in range(10)]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(at.url.rsplit(":", 1)[1]), limit=1024)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        login = json.dumps({"type": "login", "token": ADMIN}).encode()
        writer.write(bytes([0x81, 0x80 | len(login), 0, 0, 0, 0]) + login)  # and then it reads nothing
        good = await at.dashboard()
        async with asyncio.timeout(20):
            while len(at.api.live_view) < 2:
                await good.receive_json()
            while len(at.api.live_view) > 1:
                assert (await good.receive_json())["type"] == "snapshot"
        await good.close()
        writer.close()
        await at.empty()
    assert "dashboard dropped" in caplog.text


async def test_g3_a_stopping_server_sends_dashboards_away(serving: Serve) -> None:
    async with serving() as server, aiohttp.ClientSession() as http:
        socket = await http.ws_connect(server.url + "/api/admin/live")
        await socket.send_json({"type": "login"})
        await socket.receive_json(timeout=5)
        closing = asyncio.create_task(server.stop())
        async with asyncio.timeout(10):
            while (message := await socket.receive()).type is WSMsgType.TEXT:
                pass
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
        await closing


async def test_g3_who_comes_while_the_server_stops_is_sent_away_and_still_gets_figures() -> None:
    async with desk() as at:
        await at.api.close()
        await at.watch.sources.process.close()
        socket = await at.dashboard()
        assert (await socket.receive(timeout=5)).data == 1001
        async with at.http.get(at.url + "/metrics", headers={"X-Admin-Token": ADMIN}) as response:
            assert response.status == 200
        await at.empty()


async def test_g3_a_snapshot_that_breaks_is_logged_and_the_dashboards_come_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with desk(interval_s=0.02) as at:
        _, media = await at.watch.open()
        socket = await at.dashboard()
        assert (await socket.receive_json(timeout=5))["type"] == "snapshot"
        figures, media.figures = media.figures, {}
        async with asyncio.timeout(5):
            while (message := await socket.receive()).type is WSMsgType.TEXT:
                pass
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1011)
        assert "KeyError" in caplog.text
        await at.empty()
        media.figures = figures
        again = await at.dashboard()
        assert (await again.receive_json(timeout=5))["sessions"]


# -- LiveTalking's


async def test_livetalkings_admin_answers_are_unchanged(serving: Serve) -> None:
    async with serving(compat__livetalking="true") as server, Api(server) as api:
        await api.open_session()
        config = (await api.raw("GET", "/api/admin/config"))[1]
        assert set(config) == {"code", "msg", "data"}
        assert {"fps", "model", "avatar_id", "max_session", "listenport", "settings"} <= set(config["data"]["config"])
        sessions = (await api.raw("GET", "/api/admin/sessions"))[1]
        (row,) = sessions["data"]["sessions"]
        livetalking = {"sessionid", "speaking", "recording", "model", "avatar_id", "REF_FILE", "transport"}
        assert livetalking | {"batch_size", "customopt", "link", "activity", "pictures_sent"} <= set(row)


async def test_every_route_of_operators_is_served_once(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        assert isinstance(server, Server)
        for path in ("/api/admin/config", "/api/admin/sessions", "/metrics", "/healthz", "/readyz"):
            async with api.http.get(server.url + path) as response:
                assert response.status == 200, path
        body = {"sdp": await real_offer(), "type": "offer"}
        assert "sessionid" in (await api.raw("POST", "/offer", json=body))[1]
