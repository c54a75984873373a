"""A8: whatever is thrown at `/ws` of the real server, nothing is logged as an error, no healthy socket is closed, and
nothing reaches a socket of another session."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.websocket_router import MAX_MESSAGE
from server import Server
from tests.conftest import serve
from tests.hub import CHANNEL, Client
from tests.offers import Api

TYPES = [
    "login", "heartbeat", "ping", "listen", "storage", "wsa_register_web", "wsa_register_human", "wsa_unregister_web",
    "wsa_unregister_human", "start_asr_recognition", "asr_audio_data", "stop_asr_recognition", "sync", "reply",
]  # fmt: skip
FIELDS = [
    "type", "session_id", "sessionid", "username", "token", "role", "last_seq", "timestamp", "mode", "state", "enabled",
    "output", "engine", "sample_rate", "format", "audio", "sequence", "content", "data",
]  # fmt: skip
PLAUSIBLE = ["open", "off", "push_to_talk", "start", "stop", "pcm", "User_404", "user_1", "User_0", "404", 404, 16000,
             "AAAA", "AAAAAAA=", True, 0, -1, 2**63, 1e308, "\ud800", "\0"]  # fmt: skip

texts = st.text(st.characters(), max_size=30)  # halves of surrogate pairs too
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(texts, v, max_size=4), max_leaves=12)
messages = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(TYPES) | texts,
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(PLAUSIBLE) | values, max_size=6),
)
frames = st.one_of(
    messages.map(json.dumps),
    messages.map(json.dumps),
    values.map(json.dumps),
    messages.map(json.dumps).flatmap(lambda text: st.integers(0, len(text)).map(lambda end: text[:end])),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    st.binary(max_size=2000),
    st.sampled_from(
        ["[" * 100_000, "9" * 10_000, '{"type":' * 5000, "x" * (MAX_MESSAGE + 1), b"\0" * (MAX_MESSAGE + 1)]
    ),
)


class Problems(logging.Handler):
    """Collects what must not be logged: errors and tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.found.append(self.format(record))


class World:
    """A server with three live sessions: one to be attacked from, two that watch."""

    def __init__(self, runner: asyncio.Runner, server: Server, problems: Problems) -> None:
        self.runner = runner
        self.server = server
        self.problems = problems

    async def open(self) -> None:
        self.api = Api(self.server)
        self.ids = [str((await self.api.open_session())["sessionid"]) for _ in range(3)]
        self.watchers = [await self.socket() for _ in range(2)]
        for watcher, session_id in zip(self.watchers, self.ids[1:], strict=True):
            await watcher.login(session_id)
            await watcher.settled()

    async def socket(self) -> Client:
        return Client(await self.api.http.ws_connect(self.api.url.replace("http", "ws") + "/ws", max_msg_size=0))

    async def attack(self, login: object, sent: list[str | bytes]) -> None:
        attacker = await self.socket()
        if login is not None:
            await attacker.login(login)
        for frame in sent:
            await (attacker.ws.send_str(frame) if isinstance(frame, str) else attacker.ws.send_bytes(frame))
        for session_id in self.ids:
            self.server.sockets.broadcast_to_session(session_id, "mark", session_id)
        received = await settled(attacker)  # it lives: its last heartbeat is answered
        assert all(isinstance(message["type"], str) for message in received)
        assert {message["content"] for message in received if message["type"] == "mark"} <= {self.ids[0]}
        assert {message["session_id"] for message in received if "session_id" in message} & set(self.ids[1:]) == set()
        for watcher, session_id in zip(self.watchers, self.ids[1:], strict=True):
            seen = await watcher.settled()
            assert [message for message in seen if message["type"] not in CHANNEL] == [
                {**seen[-1], "type": "mark", "content": session_id, "session_id": session_id}
            ]
        assert not attacker.ws.closed
        await attacker.ws.close()
        assert self.problems.found == []

    async def close(self) -> None:
        await self.api.http.close()


async def settled(client: Client) -> list[dict[str, Any]]:
    """As `Client.settled`, for a client some of whose frames were heartbeats themselves."""
    await client.ws.send_json({"type": "fuzz is over"})
    received = []
    while (message := await client.next(10))["code" if "code" in message else "type"] != "unknown_type" or (
        message["ref"] != "fuzz is over"
    ):
        received.append(message)
    return received


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    problems = Problems()
    logging.getLogger().addHandler(problems)
    running = serve(
        limits__messages_per_second="0", limits__offers_per_minute="0", lifecycle__handshake_timeout_s="3600"
    )
    with asyncio.Runner() as runner:
        world = World(runner, runner.run(running.__aenter__()), problems)
        runner.run(world.open())
        yield world
        runner.run(world.close())
        runner.run(running.__aexit__(None, None, None))
    logging.getLogger().removeHandler(problems)
    assert problems.found == []


HASTE = settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@HASTE
@given(sent=st.lists(frames, max_size=12))
def test_a8_before_login(world: World, sent: list[str | bytes]) -> None:
    world.runner.run(world.attack(None, sent))


@HASTE
@given(sent=st.lists(frames, max_size=12))
def test_a8_logged_in_under_an_id_without_a_session(world: World, sent: list[str | bytes]) -> None:
    world.runner.run(world.attack("404", sent))


@HASTE
@given(sent=st.lists(frames, max_size=12))
def test_a8_logged_in_to_a_live_session(world: World, sent: list[str | bytes]) -> None:
    world.runner.run(world.attack(world.ids[0], sent))
