"""B7: a client that counts as docs/websocket-api.md tells it to gets every message once, wherever its line breaks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.message_log import MAX_MESSAGES
from core.websocket_manager import UnifiedWebSocketManager
from core.websocket_session import WebSocketSession
from tests.hub import CHANNEL, FakeWebSocket, Hub, hub


class Page:
    """A client that loses its line after any frame and comes back. `got` are the session messages it ever saw."""

    def __init__(self, manager: UnifiedWebSocketManager) -> None:
        self.manager = manager
        self.seq: int | None = None
        self.got: list[int] = []
        self.resumed: list[bool] = []
        self.socket: FakeWebSocket | None = None
        self.session: WebSocketSession | None = None

    async def come(self) -> None:
        """Log in; as the router does it, without its frames."""
        self.socket = FakeWebSocket()
        self.session = self.manager.add_session("1", self.socket)
        if self.seq is not None:
            missed = self.manager.missed("1", self.seq)
            self.resumed.append(missed.complete)
            self.session.send_message({"type": "login_success"})
            self.session.replay(missed.messages)

    async def lose(self, frames_lost: int) -> None:
        """The line broke: the last frames that the server sent never arrived."""
        assert self.socket is not None
        assert self.session is not None
        await drained()
        for message in self.socket.sent[: max(0, len(self.socket.sent) - frames_lost)]:
            self.take(message)
        self.manager.remove_session(self.socket)
        await self.session.close()
        self.socket = self.session = None

    def take(self, message: dict[str, Any]) -> None:
        if message["type"] == "sync":
            self.seq = message["seq"]
        elif message["type"] not in CHANNEL:
            if self.seq is not None:
                self.seq += 1
            if message["type"] == "note":
                self.got.append(message["number"])


async def drained() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


STEPS = st.lists(
    st.one_of(
        st.just(("push", 0)),
        st.tuples(st.just("burst"), st.integers(2, 5)),
        st.just(("skip", 0)),  # a message of the session that is for other sockets
        st.just(("direct", 0)),  # a message for this socket only, with a type that clients count
        st.just(("channel", 0)),
        st.just(("breathe", 0)),  # the writer runs, so that the next message begins a batch
        st.tuples(st.just("lose"), st.integers(0, 6)),
        st.just(("come", 0)),
    ),
    max_size=60,
)


async def play(steps: list[tuple[str, int]]) -> tuple[list[int], Page]:
    manager = UnifiedWebSocketManager()
    manager.keep("1")
    page = Page(manager)
    await page.come()
    await drained()
    pushed: list[int] = []

    def push(wanted: bool = True) -> None:
        number = len(pushed)
        message = {"type": "note" if wanted else "not for pages", "number": number}
        pushed.append(number if wanted else -1)
        manager.deliver("1", message, wants=None if wanted else lambda session: False)

    for what, count in steps:
        session = page.session
        if what == "push":
            push()
        elif what == "burst":
            for _ in range(count):
                push()
        elif what == "skip" and session is not None:
            push(wanted=False)
        elif what == "direct" and session is not None:
            session.send_message({"type": "for this socket"})
        elif what == "channel" and session is not None:
            session.send_message({"type": "heartbeat_response"})
        elif what == "breathe":
            await drained()
        elif what == "lose" and session is not None and page.socket is not None:
            await drained()
            # the first sync is part of the login: without it there is no count to come back with
            await page.lose(min(count, len(page.socket.sent) - 1))
        elif what == "come" and session is None:
            await page.come()
    if page.session is None:
        await page.come()
    await page.lose(0)
    await manager.close_all()
    return [number for number in pushed if number >= 0], page


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_b7_nothing_is_lost_nothing_comes_twice_wherever_the_line_breaks(steps: list[tuple[str, int]]) -> None:
    pushed, page = asyncio.run(play(steps))
    assert page.got == pushed
    assert all(page.resumed)


# -- over a real socket


@pytest.fixture
async def line() -> Any:
    async with hub() as running:
        yield running


async def test_b7_login_tells_the_number_and_a_message_the_next(line: Hub) -> None:
    client = await line.client("1")
    assert client.seq is not None
    first = client.seq
    line.manager.broadcast_to_session("1", "note", "one")
    assert (await client.any())["content"] == "one"
    assert await client.any() == {"type": "sync", "seq": first + 1}


async def test_b7_a_socket_that_comes_back_gets_what_it_missed_in_order_then_sync_then_live(line: Hub) -> None:
    client = await line.client("1")
    line.manager.broadcast_to_session("1", "note", "seen")
    await client.settled()
    await client.ws.close()
    await line.count("1", 0)
    for word in ("a", "b", "c"):
        line.manager.broadcast_to_session("1", "note", word)
    back = await line.connect()
    answer = await back.login("1", last_seq=client.seq)
    assert (answer["resumed"], answer["missed"]) == (True, 3)
    line.manager.broadcast_to_session("1", "note", "live")
    seen = [await back.any() for _ in range(6)]
    assert [message.get("content", message["type"]) for message in seen if message["type"] != "sync"] == [
        "a", "b", "c", "live",
    ]  # fmt: skip
    assert back.seq == (client.seq or 0) + 4


async def test_b7_without_last_seq_nothing_old_comes(line: Hub) -> None:
    line.manager.keep("1")
    line.manager.broadcast_to_session("1", "note", "old")
    client = await line.connect()
    answer = await client.login("1")
    assert "resumed" not in answer
    assert "missed" not in answer
    assert await client.settled() == []


async def test_b7_zero_gives_a_second_tab_all_that_is_kept(line: Hub) -> None:
    first = await line.client("1")
    for word in ("a", "b"):
        line.manager.broadcast_to_session("1", "note", word)
    await first.settled()
    second = await line.connect()
    answer = await second.login("1", last_seq=0)
    assert (answer["resumed"], answer["missed"]) == (True, 2)
    assert [message["content"] for message in await second.settled()] == ["a", "b"]
    assert second.seq == first.seq


async def test_b7_more_than_is_kept_is_said(line: Hub) -> None:
    client = await line.client("1")
    await client.ws.close()
    await line.count("1", 0)
    for number in range(MAX_MESSAGES + 1):
        line.manager.broadcast_to_session("1", "note", str(number))
    back = await line.connect()
    answer = await back.login("1", last_seq=client.seq)
    assert (answer["resumed"], answer["missed"]) == (False, MAX_MESSAGES)
    assert [message["content"] for message in await back.settled()][:2] == ["1", "2"]


async def test_b7_logging_in_again_on_the_same_socket_repeats_nothing(line: Hub) -> None:
    client = await line.client("1")
    line.manager.broadcast_to_session("1", "note", "once")
    answer = await client.ask(type="login", session_id="1", last_seq=0)
    assert answer["content"] == "once"
    answer = await client.next()
    assert (answer["type"], answer["resumed"], answer["missed"]) == ("login_success", True, 0)
    assert await client.settled() == []


async def test_b7_a_socket_that_moves_gets_the_other_sessions_messages_and_count(line: Hub) -> None:
    line.manager.keep("2")
    line.manager.broadcast_to_session("2", "note", "of two")
    client, two = await line.client("1"), await line.client("2")
    line.manager.broadcast_to_session("1", "note", "of one")
    assert (await client.next())["content"] == "of one"
    answer = await client.login("2", last_seq=0)
    assert (answer["session_id"], answer["missed"]) == ("2", 1)
    assert [message["content"] for message in await client.settled()] == ["of two"]
    assert client.seq == two.seq


@pytest.mark.parametrize("last_seq", [-1, "5", 1.5, True, [1]])
async def test_b7_a_count_that_is_none_is_refused_and_the_socket_lives_on(line: Hub, last_seq: object) -> None:
    client = await line.connect()
    answer = await client.ask(type="login", session_id="1", last_seq=last_seq)
    assert (answer["type"], answer["code"], answer["ref"]) == ("wsa_error", "bad_message", "login")
    assert "last_seq" in answer["message"]
    await client.login("1")


@pytest.mark.parametrize("last_seq", [1, 10**18, 10**30])
async def test_b7_a_count_of_another_server_is_not_resumed(line: Hub, last_seq: int) -> None:
    line.manager.keep("1")
    line.manager.broadcast_to_session("1", "note", "kept")
    client = await line.connect()
    answer = await client.login("1", last_seq=last_seq)
    assert (answer["resumed"], answer["missed"]) == (False, 1)
    assert [message["content"] for message in await client.settled()] == ["kept"]
