"""A8: the services share one base and know nothing of each other. And what the avatar's service does."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import BadRequest
from core.services.asr import ASRWebSocketService
from core.services.base import WebSocketServiceBase
from core.services.digital_human import DigitalHumanService
from core.services.wsa import WSAWebSocketService
from core.websocket_manager import UnifiedWebSocketManager
from tests.service_fakes import FewSessions, NotingEars, StringRecognizer
from tests.service_line import Office, office

SERVICES = {"asr": ASRWebSocketService, "digital_human": DigitalHumanService, "wsa": WSAWebSocketService}
FOLDER = Path(__file__).parent.parent / "core" / "services"


@pytest.mark.parametrize("name", SERVICES)
def test_a8_services_have_one_base_and_know_no_other(name: str) -> None:
    assert issubclass(SERVICES[name], WebSocketServiceBase)
    others = [other for other in SERVICES if other != name]
    for path in FOLDER.glob(f"{name}*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not any((node.module or "").startswith(f"core.services.{other}") for other in others), path.name


async def test_a8_every_type_has_one_service_and_two_for_one_type_are_refused() -> None:
    manager = UnifiedWebSocketManager()
    services = [
        WSAWebSocketService(manager, lambda session_id, token: None),
        DigitalHumanService(manager, FewSessions(), lambda session_id, kept: None),  # type: ignore[arg-type]
        ASRWebSocketService(manager, StringRecognizer(), FewSessions(), SimpleNamespace(), timeout_s=1, max_turn_s=1),  # type: ignore[arg-type]
    ]
    types = [message_type for service in services for message_type in service.handlers]
    assert len(types) == len(set(types)) == 9
    assert all(manager.handler(message_type) is not None for message_type in types)
    with pytest.raises(ValueError, match="has a handler already"):
        WSAWebSocketService(manager, lambda session_id, token: None)


async def test_a8_a_service_that_did_not_ask_takes_no_binary_frame() -> None:
    service = WSAWebSocketService(UnifiedWebSocketManager(), lambda session_id, token: None)
    with pytest.raises(BadRequest):
        await service.binary(SimpleNamespace(), b"")  # type: ignore[arg-type]


class Avatar:
    """The service of the avatar, with session 7 alive."""

    def __init__(self) -> None:
        self.manager = UnifiedWebSocketManager()
        self.ears = NotingEars()
        sessions = FewSessions()
        sessions.live["7"] = self.ears
        self.kept: list[tuple[str, bool]] = []
        self.service = DigitalHumanService(
            self.manager,
            sessions,
            lambda session_id, kept: self.kept.append((session_id, kept)),  # type: ignore[arg-type]
        )
        self.office: Office = None  # type: ignore[assignment]


@pytest.fixture
async def avatar() -> AsyncIterator[Avatar]:
    avatar = Avatar()
    async with office(avatar.manager, [avatar.service]) as avatar.office:
        yield avatar


async def test_g2_the_storage_switch_reaches_the_history(avatar: Avatar) -> None:
    line = await avatar.office.line(7)
    for enabled in (False, True):
        await line.send("storage", enabled=enabled)
    assert await line.quiet()
    assert avatar.kept == [("7", False), ("7", True)]


@pytest.mark.parametrize("fields", [{}, {"enabled": "yes"}, {"enabled": 0}, {"enabled": None}], ids=repr)
async def test_g2_a_storage_switch_that_says_nothing_changes_nothing(avatar: Avatar, fields: dict[str, object]) -> None:
    answer = await (await avatar.office.line(7)).ask("storage", **fields)
    assert (answer["type"], answer["code"], answer["ref"]) == ("wsa_error", "bad_message", "storage")
    assert avatar.kept == []


async def test_e1_listening_modes_and_the_talk_key_reach_the_own_session_s_ears(avatar: Avatar) -> None:
    line = await avatar.office.line(7)
    await line.send("listen", mode="push_to_talk", state="start")
    await line.send("listen", state="stop")
    assert await line.quiet()
    assert avatar.ears.calls == ["push_to_talk", True, False]
    stranger = await avatar.office.line(8)
    assert (await stranger.ask("listen", mode="off", session_id="7"))["code"] == "bad_message"
    assert len(avatar.ears.calls) == 3
