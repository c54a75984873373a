"""Registering under usernames: who is told what, and what two sessions under one name lead to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.errors import Unauthorized
from core.services.wsa import WSAWebSocketService
from core.websocket_manager import UnifiedWebSocketManager
from tests.service_line import Line, Office, office


class Door:
    """Who may claim which session: with the token "key of <id>", or with none while it is open."""

    def __init__(self) -> None:
        self.open = True
        self.asked: list[tuple[str, str | None]] = []

    def may_claim(self, session_id: str, token: str | None) -> None:
        self.asked.append((session_id, token))
        if token != f"key of {session_id}" and not (self.open and token is None):
            raise Unauthorized("the session's token is missing or wrong")


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def wsa(door: Door) -> WSAWebSocketService:
    return WSAWebSocketService(UnifiedWebSocketManager(), door.may_claim)


@pytest.fixture
async def desk(wsa: WSAWebSocketService) -> AsyncIterator[Office]:
    async with office(wsa._manager, [wsa]) as desk:
        yield desk


async def status(line: Line) -> tuple[str, str, bool, int]:
    message = await line.next()
    assert message["type"] == "wsa_status"
    assert isinstance(message["timestamp"], int)
    return message["role"], message["username"], message["connected"], message["connections"]


def refused(answer: dict[str, Any], code: str, ref: str) -> None:
    assert (answer["type"], answer["code"], answer["ref"]) == ("wsa_error", code, ref)
    assert answer["message"]


@pytest.mark.parametrize("role", ["web", "human"])
async def test_b2_registering_is_answered_and_the_spelling_echoed(desk: Office, role: str) -> None:
    line = await desk.line(204346)
    answer = await line.ask(f"wsa_register_{role}", username=" uSER_204346 ", timestamp=1, output=True)
    assert isinstance(answer.pop("timestamp"), int)
    assert answer == {
        "type": "wsa_registered", "role": role, "username": " uSER_204346 ", "session_id": "204346", "connections": 1,
    }  # fmt: skip


async def test_b2_registering_again_changes_nothing_and_tells_nobody(desk: Office, wsa: WSAWebSocketService) -> None:
    other = await desk.line(7, "web")
    line = await desk.line(7, "web")
    assert await status(other) == ("web", "User_7", True, 2)
    for spelled in ("User_7", "user_7", " USER_7"):
        answer = await line.ask("wsa_register_web", username=spelled)
        assert (answer["type"], answer["connections"]) == ("wsa_registered", 2)
    assert await other.quiet()
    assert wsa.usernames("web") == ["User_7"]


async def test_b2_another_username_moves_the_socket(desk: Office, wsa: WSAWebSocketService) -> None:
    old, new = await desk.line(1, "web"), await desk.line(2, "human")
    line = await desk.line(1, "web")
    assert await status(old) == ("web", "User_1", True, 2)
    assert (await line.ask("wsa_register_web", username="User_2"))["connections"] == 1
    assert await status(old) == ("web", "User_1", True, 1)
    assert await status(new) == ("web", "User_2", True, 1)
    assert sorted(wsa.usernames("web")) == ["User_1", "User_2"]


async def test_b2_a_page_learns_when_its_digital_human_comes_and_goes(desk: Office) -> None:
    page, stranger = await desk.line(7, "web"), await desk.line(8, "web")
    human = await desk.line(7, "human")
    assert await status(page) == ("human", "User_7", True, 1)
    answer = await human.ask("wsa_unregister_human", username="user_7", timestamp=1)
    assert (answer["type"], answer["connected"], answer["connections"]) == ("wsa_status", False, 0)
    assert await status(page) == ("human", "User_7", False, 0)
    assert await stranger.quiet()


async def test_b2_a_closed_socket_is_unregistered(desk: Office, wsa: WSAWebSocketService) -> None:
    page = await desk.line(7, "web")
    both = await desk.line(7, "web", "human")
    assert [(await status(page))[:3] for _ in range(2)] == [("web", "User_7", True), ("human", "User_7", True)]
    await both.ws.close()
    assert [await status(page) for _ in range(2)] == [("web", "User_7", True, 1), ("human", "User_7", False, 0)]
    await page.ws.close()
    last = await desk.line(9, "web")
    assert await last.quiet()
    assert wsa.usernames("human") == []


async def test_a6_a_socket_that_fell_silent_is_unregistered_too() -> None:
    wsa = WSAWebSocketService(UnifiedWebSocketManager(heartbeat_timeout_s=0.0), lambda session_id, token: None)
    async with office(wsa._manager, [wsa]) as desk:
        line = await desk.line(7, "web", "human")
        await wsa._manager.close_expired()
        assert (await line.ws.receive(timeout=5)).data == 1001
        async with asyncio.timeout(5):
            while wsa.usernames("web") + wsa.usernames("human"):
                await asyncio.sleep(0.005)


async def test_b2_unregistering_what_was_not_registered_is_harmless(desk: Office, wsa: WSAWebSocketService) -> None:
    line = await desk.line(7, "web")
    for role, username in (("human", "User_7"), ("web", "User_8")):
        answer = await line.ask(f"wsa_unregister_{role}", username=username)
        assert (answer["type"], answer["connected"]) == ("wsa_status", False)
    assert wsa.is_connected("web", "User_7")


async def test_b2_a_socket_that_moves_to_another_session_leaves_its_names(
    desk: Office, wsa: WSAWebSocketService
) -> None:
    page, line = await desk.line(7, "human"), await desk.line(7, "web")
    await status(page)
    assert (await line.ask("login", session_id=8))["type"] == "login_success"
    assert await status(page) == ("web", "User_7", False, 0)
    assert not wsa.is_connected("web", "User_7")


@pytest.mark.parametrize(
    "name", ["", "   ", "User_", "user_ ", "User_\t5", "a\nb", "User_" + "5" * 65, "x" * 129, "User_ 5"]
)
async def test_b2_odd_names_are_refused_and_the_socket_lives_on(desk: Office, name: str) -> None:
    line = await desk.line(7)
    refused(await line.ask("wsa_register_web", username=name), "bad_username", "wsa_register_web")
    assert (await line.ask("wsa_register_web", username="User_7"))["type"] == "wsa_registered"


@pytest.mark.parametrize("fields", [{}, {"username": 7}, {"username": None}, {"username": "User_7", "token": 5}])
async def test_b2_wrong_fields_are_a_bad_message(desk: Office, fields: dict[str, Any]) -> None:
    line = await desk.line(7)
    refused(await line.ask("wsa_register_human", **fields), "bad_message", "wsa_register_human")


async def test_b8_the_own_session_is_claimed_without_being_asked(desk: Office, door: Door) -> None:
    door.open = False
    await desk.line(7, "web", "human")
    assert door.asked == []


async def test_b8_another_session_s_username_needs_its_token(
    desk: Office, door: Door, wsa: WSAWebSocketService
) -> None:
    door.open = False
    line = await desk.line(8)
    for token in (None, "key of 8"):
        answer = await line.ask("wsa_register_human", username="user_7", token=token)
        refused(answer, "auth_failed", "wsa_register_human")
    assert not wsa.is_connected("human", "User_7")
    answer = await line.ask("wsa_register_human", username="user_7", token="key of 7")
    assert answer["type"] == "wsa_registered"
    assert door.asked == [("7", None), ("7", "key of 8"), ("7", "key of 7")]


@pytest.mark.parametrize("first", ["7", "8"])
async def test_b8_two_sessions_under_one_username_are_counted_and_warned_about(
    desk: Office, wsa: WSAWebSocketService, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    second = {"7": "8", "8": "7"}[first]
    await desk.line(first, "web", username="User_7")
    assert wsa.conflicts == 0
    line = await desk.line(second, "web", "human", username="User_7")
    assert wsa.conflicts == 1
    await line.ask("wsa_register_web", username="user_7")
    assert wsa.conflicts == 1
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "User_7" in warning


async def test_b8_tabs_of_one_session_are_no_conflict(desk: Office, wsa: WSAWebSocketService) -> None:
    for _ in range(3):
        await desk.line(7, "web", "human")
    assert wsa.conflicts == 0


async def test_b8_a_claim_with_the_session_s_token_is_no_conflict(
    desk: Office, wsa: WSAWebSocketService, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.line(7, "web")
    line = await desk.line(8)
    assert (await line.ask("wsa_register_human", username="User_7", token="key of 7"))["type"] == "wsa_registered"
    assert wsa.conflicts == 0
    assert "key of 7" not in caplog.text


async def test_b1_pages_that_do_not_know_their_session_yet_share_a_name_and_nothing_else(
    desk: Office, wsa: WSAWebSocketService
) -> None:
    one = await desk.line(1, "web", username="User_0")
    await desk.line(2, "web", username="user_0")
    assert wsa.conflicts == 0
    assert await one.quiet()


async def test_b2_a_plain_label_is_a_username_without_a_session(desk: Office, door: Door) -> None:
    door.open = False
    line = await desk.line(7)
    answer = await line.ask("wsa_register_human", username="Lobby screen")
    assert (answer["type"], answer["username"]) == ("wsa_registered", "Lobby screen")
    assert door.asked == []


async def test_a10_roles_are_shown_to_operators(desk: Office, wsa: WSAWebSocketService) -> None:
    line = await desk.line(7, "web", "human")
    assert wsa._manager.describe()[0]["roles"] == {"web": "User_7", "human": "User_7"}
    await line.ask("wsa_unregister_web", username="User_7")
    assert wsa._manager.describe()[0]["roles"] == {"human": "User_7"}
