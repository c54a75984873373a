"""What operators of a running server look at and do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.live.visitor import Installation


@asynccontextmanager
async def dashboard(installation: Installation, token: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The dashboard's socket, its token sent."""
    url = installation.url.replace("http", "ws", 1) + "/api/admin/live"
    async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0) as socket:
        await socket.send_json({"type": "login", "token": token})
        yield socket


async def test_a_wrong_token_is_shown_nothing(installation: Installation) -> None:
    async with dashboard(installation, "wrong") as socket:
        answer = await socket.receive_json(timeout=installation.patience)
        assert (answer["type"], answer["code"]) == ("error", "auth_failed")
    wrong = {"X-Admin-Token": "wrong", "Authorization": "Bearer wrong"}
    for path in ("/api/admin/config", "/api/admin/conversations", "/metrics"):
        assert (await installation.ask("GET", path, headers=wrong))[0] == 401, f"{path} is open to everybody"


async def test_the_dashboard_shows_a_visitor_and_the_times_of_its_answer(operator: Installation) -> None:
    async with operator.visit() as visitor, dashboard(operator, operator.admin_token) as socket:
        await visitor.human("how long did this take")
        seen: dict[str, Any] = {}
        turns: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(operator.patience):
                while not turns or not seen.get("fps"):
                    snapshot = await socket.receive_json()
                    assert snapshot["type"] == "snapshot", snapshot
                    seen = next((row for row in snapshot["sessions"] if row["sessionid"] == visitor.session), {})
                    turns = [turn for turn in snapshot["turns"] if turn["sessionid"] == visitor.session]
        except TimeoutError:
            raise AssertionError(f"the dashboard does not show the visitor: {seen}, {turns}") from None
        assert seen["link"] == "connected"
        assert 20 <= seen["fps"] <= 28, f"{seen['fps']} pictures per second: is the server too busy?"
        assert seen["sockets"], "its WebSocket is not shown"
        assert snapshot["server"]["ready"]
        assert snapshot["server"]["loop_lag_ms"] < 200, "the event loop is late: the machine is too small or too busy"
        marks = turns[-1]["marks"]
        assert 0 <= marks["first_audio"] <= marks["on_wire"]


async def test_an_operator_speaks_tells_and_stops(operator: Installation) -> None:
    async with operator.visit() as visitor:
        who, asked = {"sessionid": visitor.session}, time.monotonic()
        assert (await operator.admin("POST", "/api/admin/say", json={**who, "text": "good morning"}))[1]["code"] == 0
        await visitor.heard_after(asked, "a text of an operator")
        message = {**who, "text": "Back in five minutes"}
        assert (await operator.admin("POST", "/api/admin/message", json=message))[1]["data"]["reached"] == 1
        told = await visitor.told("an operator sent a message", "wsa_command")
        assert told["data"]["content"] == "Back in five minutes"
        assert (await operator.admin("POST", "/api/admin/stop", json=who))[1]["code"] == 0
        assert (await visitor.post("/is_speaking", **who))["error"] == "session_not_found"


async def test_metrics_count_and_settings_are_masked(operator: Installation) -> None:
    headers = {"X-Admin-Token": operator.admin_token} if operator.admin_token else {}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(operator.url + "/metrics") as response:
        figures = await response.text()
    assert "eman_ready 1.0" in figures.splitlines()
    assert "eman_turns_total{" in figures
    answer = str((await operator.admin("GET", "/api/admin/config"))[1])
    for secret in (operator.admin_token, operator.token):
        assert not secret or secret not in answer, "a secret is shown in /api/admin/config"
