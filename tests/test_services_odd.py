"""Anything may come in: over the socket, from code that hands over messages, in any order. Nothing breaks."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.tracker import RecognitionResultTracker
from core.events import Heard
from core.frames import Transcript
from core.messages import CHANNEL_TYPES
from core.services.asr import ASRWebSocketService
from core.services.asr_audio import PcmReader
from core.services.digital_human import DigitalHumanService
from core.services.registrations import Claim, Registrations
from core.services.wsa import WSAWebSocketService
from core.services.wsa_message import SECRET_KEYS, addressed, checked, is_command, username_in
from core.websocket_manager import UnifiedWebSocketManager
from tests.service_fakes import FewSessions, NotingEars, StringRecognizer
from tests.service_line import office

KEYS = ["type", "sender", "content", "Username", "model_info", "status", "data", "token", "API_key", "x"]
VALUES = [
    "chat_message",
    "status_update",
    "control",
    "wsa_command",
    "sync",
    "user_7",
    "idle",
    "聆听中...",
    "\ud800",
    "",
]
ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(VALUES) | st.text(max_size=5)
ANYTHING = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.integers(), inner, max_size=5)
    ),
    max_leaves=12,
)
MESSAGES = st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=8)


def keys_of(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(keys_of, value)) if value else set()
    if isinstance(value, dict):
        return {key.lower() for key in value}.union(*map(keys_of, value.values()))
    return set()


@given(ANYTHING | MESSAGES)
@settings(max_examples=300)
def test_b5_whatever_is_handed_over_is_refused_or_fit_to_be_sent(content: Any) -> None:
    message = checked(content)
    if message is None:
        return
    assert message["type"] not in CHANNEL_TYPES
    assert not keys_of(message) & SECRET_KEYS
    sent = addressed(message, username_in(message) or "User_1")
    json.dumps(sent, allow_nan=False)
    assert sent["type"] == ("wsa_command" if is_command(message) else message["type"])
    five = {"type", "sender", "content", "Username", "model_info"}
    if sent["type"] == "chat_message":
        assert set(sent) == five
    if sent["type"] == "status_update":
        assert set(sent) == five | {"status"}


SERVICE_TYPES = [
    "wsa_register_web", "wsa_register_human", "wsa_unregister_web", "wsa_unregister_human", "listen", "storage",
    "start_asr_recognition", "asr_audio_data", "stop_asr_recognition",
]  # fmt: skip
FIELDS = {
    "username": st.sampled_from(["User_7", "user_8", "User_0", "", " ", "x"]) | ANYTHING,
    "token": st.none() | st.text(max_size=5) | ANYTHING,
    "session_id": st.sampled_from(["7", 7, "8"]) | ANYTHING,
    "audio": st.binary(max_size=9).map(lambda data: base64.b64encode(data).decode()) | ANYTHING,
    "sequence": st.integers(-1, 5) | ANYTHING,
    "sample_rate": st.sampled_from([16000, "16000", 8000]) | ANYTHING,
    "format": st.sampled_from(["pcm", "opus"]) | ANYTHING,
    "mode": st.sampled_from(["open", "off"]) | ANYTHING,
    "state": st.sampled_from(["start", "stop"]) | ANYTHING,
    "enabled": st.booleans() | ANYTHING,
}
FRAMES = st.lists(
    st.binary(max_size=9) | st.fixed_dictionaries({"type": st.sampled_from(SERVICE_TYPES)}, optional=FIELDS),
    max_size=15,
)


async def send_all(frames: list[Any], *, live: bool) -> None:
    manager, sessions = UnifiedWebSocketManager(), FewSessions()
    if live:
        sessions.live["7"] = NotingEars()
    services = [
        WSAWebSocketService(manager, lambda session_id, token: None),
        DigitalHumanService(manager, sessions, lambda session_id, kept: None),  # type: ignore[arg-type]
        ASRWebSocketService(
            manager,
            StringRecognizer(),
            sessions,
            RecognitionResultTracker(),
            timeout_s=5.0,
            max_turn_s=1.0,  # type: ignore[arg-type]
        ),
    ]
    async with office(manager, services) as desk:
        line, neighbour = await desk.line(7), await desk.line(9)
        for frame in frames:
            if isinstance(frame, bytes):
                await line.ws.send_bytes(frame)
            else:
                await line.ws.send_str(json.dumps(frame))
        while (await line.ask("heartbeat"))["type"] != "heartbeat_response":
            pass
        assert await neighbour.quiet()
        await line.ws.close()


@pytest.mark.parametrize("live", [False, True])
def test_a8_any_frames_leave_the_socket_alive_and_the_neighbour_in_peace(
    live: bool, caplog: pytest.LogCaptureFixture
) -> None:
    @given(FRAMES)
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def check(frames: list[Any]) -> None:
        asyncio.run(send_all(frames, live=live))
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []

    check()


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_e1_sound_is_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    reader, heard = PcmReader(), b""
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        heard += reader.take(data[start:end]).astype("<i2").tobytes()
    assert heard == data[: len(data) & ~1]


@given(
    st.lists(
        st.tuples(st.sampled_from("pd"), st.sampled_from(["web", "human"]), st.sampled_from("abc"), st.integers(0, 3))
    )
)
def test_b2_registrations_agree_with_a_simple_list(steps: list[tuple[str, str, str, int]]) -> None:
    registrations: Registrations[int] = Registrations()
    simple: dict[tuple[str, int], str] = {}
    for step, role, name, socket in steps:
        before = registrations.drop(role, socket)
        assert before == simple.pop((role, socket), None)
        if step == "p":
            registrations.put(role, name, socket, Claim(str(socket), True))
            simple[role, socket] = name
    for role in ("web", "human"):
        assert set(registrations.usernames(role)) == {name for (held, _), name in simple.items() if held == role}
        for name in "abc":
            expected = {socket for (held, socket), other in simple.items() if (held, other) == (role, name)}
            assert set(registrations.claims(role, name)) == expected
    for socket in range(4):
        assert registrations.names(socket) == {held: name for (held, other), name in simple.items() if other == socket}


@given(st.lists(st.tuples(st.sampled_from("12"), st.booleans(), st.sampled_from(["", "a", "bc"]))))
def test_e2_a_final_follows_its_own_turn_s_partials_and_nothing_else(events: list[tuple[str, bool, str]]) -> None:
    tracker = RecognitionResultTracker()
    for session_id, final, text in events:
        tracker.record(session_id, Heard(Transcript(text, final=final)))
    for session_id in "12":
        results = tracker.session_results(session_id)
        assert [result["sequence"] for result in results] == sorted(result["sequence"] for result in results)
        for result in results:
            if result["stage"] == "final":
                partials = [r for r in results if r["sequence"] == result["sequence"] and r is not result]
                assert result["predecessors"] == [partial["result_id"] for partial in partials]
                assert all(partial["stage"] == "partial" for partial in partials)
