"""The registry of sockets: who is in it under which id, what reaches whom, what is left of those that went."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from aiohttp import WSMsgType

from core.message_log import MAX_BYTES, MAX_MESSAGES
from core.websocket_manager import MAX_ORPHAN_BYTES, MAX_ORPHANS, Delivery, UnifiedWebSocketManager
from core.websocket_session import QUEUE_BYTES, QUEUE_SIZE, WebSocketSession
from tests.hub import CHANNEL, FakeWebSocket

NOTE = {"type": "note", "content": "hello"}


@pytest.fixture
async def manager() -> UnifiedWebSocketManager:
    manager = UnifiedWebSocketManager()
    await manager.start()
    return manager


async def written(rounds: int = 10) -> None:
    """Let the writers run."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def notes(socket: FakeWebSocket) -> list[dict[str, Any]]:
    return [message for message in socket.sent if message["type"] not in CHANNEL]


# -- A1, A2, A3: who is who


async def test_a1_a_session_is_its_socket_and_nothing_else() -> None:
    socket, other = FakeWebSocket(), FakeWebSocket()
    first, again, another = WebSocketSession("1", socket), WebSocketSession("2", socket), WebSocketSession("1", other)
    assert first == again
    assert hash(first) == hash(again)
    assert first != another
    assert first != socket
    assert len({first, again, another}) == 2
    for session in (first, again, another):
        await session.close()


async def test_a2_adding_a_socket_twice_warns_and_delivers_once(
    manager: UnifiedWebSocketManager, caplog: pytest.LogCaptureFixture
) -> None:
    socket = FakeWebSocket()
    session = manager.add_session("1", socket)
    assert caplog.text == ""
    assert manager.add_session("1", socket) is session
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert manager.deliver("1", NOTE) == Delivery(1, 1)
    await written()
    assert notes(socket) == [NOTE]


async def test_a2_a_socket_that_logs_in_under_another_id_moves(manager: UnifiedWebSocketManager) -> None:
    socket, stays = FakeWebSocket(), FakeWebSocket()
    session = manager.add_session("1", socket)
    manager.add_session("1", stays)
    assert manager.add_session("2", socket) is session
    assert session.session_id == "2"
    assert (len(manager.get_sessions_by_id("1")), len(manager.get_sessions_by_id("2"))) == (1, 1)
    manager.deliver("1", {**NOTE, "content": "for 1"})
    manager.deliver("2", {**NOTE, "content": "for 2"})
    await written()
    assert [note["content"] for note in notes(socket)] == ["for 2"]
    assert [note["content"] for note in notes(stays)] == ["for 1"]
    assert manager.add_session("3", stays) in manager.get_sessions_by_id("3")
    assert set(manager.all_ids()) == {"2", "3"}


async def test_a3_an_id_is_the_same_as_number_and_as_text(manager: UnifiedWebSocketManager) -> None:
    socket = FakeWebSocket()
    session = manager.add_session(204346, socket)
    assert session.session_id == "204346"
    assert manager.add_session("204346", socket) is session
    for key in (204346, "204346"):
        assert manager.get_sessions_by_id(key) == {session}
        assert manager.deliver(key, NOTE).reached == 1
        assert manager.broadcast_to_session(key, "note", "x") == 1
        assert manager.broadcast_raw_message_to_session(key, NOTE) == 1
    assert manager.all_ids() == ["204346"]
    assert manager.remove_session(socket) is session
    assert manager.get_sessions_by_id(204346) == set()


# -- A4: reaching all of them


async def test_a4_a_push_reaches_every_socket_of_the_id_and_no_other(manager: UnifiedWebSocketManager) -> None:
    mine, stranger = [FakeWebSocket() for _ in range(50)], FakeWebSocket()
    for socket in mine:
        manager.add_session("1", socket)
    manager.add_session("10", stranger)
    assert manager.deliver("1", NOTE) == Delivery(50, 50)
    await written()
    assert all(notes(socket) == [NOTE] for socket in mine)
    assert notes(stranger) == []


async def test_a4_one_failing_socket_does_not_stop_the_others_and_the_sender_learns_it(
    manager: UnifiedWebSocketManager, caplog: pytest.LogCaptureFixture
) -> None:
    sockets = [FakeWebSocket() for _ in range(3)]
    for socket in sockets:
        manager.add_session("1", socket)
    sockets[1].fails = ConnectionResetError("reset by peer")
    await written()
    assert manager.deliver("1", NOTE) == Delivery(2, 3)
    await written()
    assert [len(notes(socket)) for socket in sockets] == [1, 0, 1]
    assert manager.broadcast_raw_message_to_session("1", NOTE) == 2
    assert [(r.levelname, r.exc_info) for r in caplog.records] == [("WARNING", None)]


async def test_a4_nobody_there_is_an_answer_too(manager: UnifiedWebSocketManager) -> None:
    assert manager.deliver("nobody", NOTE) == Delivery(0, 0)
    assert manager.broadcast_to_session("nobody", "note", "x") == 0
    manager.keep("away")
    assert manager.deliver("away", NOTE) == Delivery(0, 0)


async def test_a4_a_push_may_be_for_some_sockets_only(manager: UnifiedWebSocketManager) -> None:
    human, web = FakeWebSocket(), FakeWebSocket()
    manager.add_session("1", human).registrations["human"] = "User_1"
    manager.add_session("1", web).registrations["web"] = "User_1"
    delivery = manager.deliver("1", NOTE, wants=lambda session: "human" in session.registrations)
    assert delivery == Delivery(1, 1)
    await written()
    assert (notes(human), notes(web)) == ([NOTE], [])
    assert human.sent[-1] == web.sent[-1]  # both know the same number
    assert web.sent[-1]["type"] == "sync"


async def test_a4_everybody_gets_a_broadcast_once(manager: UnifiedWebSocketManager) -> None:
    sockets = [FakeWebSocket() for _ in range(6)]
    for index, socket in enumerate(sockets):
        manager.add_session(index // 2, socket)
    assert manager.broadcast_to_all(NOTE) == Delivery(6, 6)
    await written()
    assert all(notes(socket) == [NOTE] for socket in sockets)


async def test_a4_a_message_that_json_cannot_hold_is_the_senders_mistake_and_reaches_nobody(
    manager: UnifiedWebSocketManager,
) -> None:
    socket = FakeWebSocket()
    manager.add_session("1", socket)
    for bad in ({"type": "note", "x": object()}, {"type": "note", "x": float("nan")}):
        with pytest.raises((TypeError, ValueError)):
            manager.deliver("1", bad)
    await written()
    assert notes(socket) == []


# -- A5: the names that other code uses


async def test_a5_the_envelope_of_broadcast_to_session(manager: UnifiedWebSocketManager) -> None:
    socket = FakeWebSocket()
    manager.add_session("7", socket)
    assert manager.broadcast_to_session("7", "note", "hello") == 1
    assert manager.broadcast_to_session("7", "note", "hello", "someone", {"a": 1}) == 1
    await written()
    first, second = notes(socket)
    assert isinstance(first.pop("timestamp"), int)
    assert first == {"type": "note", "content": "hello", "source": "系统", "session_id": "7", "metadata": {}}
    assert (second["source"], second["metadata"]) == ("someone", {"a": 1})


async def test_a5_add_get_remove_and_list(manager: UnifiedWebSocketManager) -> None:
    socket = FakeWebSocket()
    assert manager.get_session(socket) is None
    session = manager.add_session("1", socket)
    assert manager.get_session(socket) is session
    assert manager.get_websocket_connections() == {"1": socket}
    assert manager.sockets() == [session]
    copy = manager.get_sessions_by_id("1")
    copy.clear()
    assert manager.get_sessions_by_id("1") == {session}
    assert manager.remove_session(socket) is session
    assert manager.remove_session(socket) is None
    assert socket.close_codes == []
    assert (manager.get_websocket_connections(), manager.all_ids(), manager.sockets()) == ({}, [], [])


async def test_a5_one_handler_for_each_type(manager: UnifiedWebSocketManager) -> None:
    async def handle(session: WebSocketSession, message: dict[str, Any]) -> None:
        """Nothing."""

    manager.register_message_handler("note", handle)
    assert manager.handler("note") is handle
    assert manager.handler("other") is None
    with pytest.raises(ValueError, match="note"):
        manager.register_message_handler("note", handle)


async def test_a5_describe_names_every_socket(manager: UnifiedWebSocketManager) -> None:
    session = manager.add_session("1", FakeWebSocket())
    manager.add_session("2", FakeWebSocket())
    session.registrations["web"] = "User_1"
    session.connected_at -= 60
    session.last_frame -= 3
    await written()
    first, second = manager.describe()
    assert {**first, "age_s": 60, "idle_s": 3} == {
        "connection": session.connection,
        "session_id": "1",
        "age_s": 60,
        "idle_s": 3,
        "queued": 0,
        "alive": True,
        "roles": {"web": "User_1"},
    }
    assert (60 <= first["age_s"] < 65, 3 <= first["idle_s"] < 8) == (True, True)
    assert (second["session_id"], second["roles"]) == ("2", {})
    assert first["connection"] != second["connection"]
    json.dumps(manager.describe())


# -- A6: heartbeat


async def test_a6_a_socket_without_a_message_for_the_timeout_is_closed_with_1001_and_forgotten() -> None:
    manager = UnifiedWebSocketManager(heartbeat_timeout_s=90)
    silent, ponging, busy = FakeWebSocket(), FakeWebSocket(), FakeWebSocket()
    for index, socket in enumerate((silent, ponging, busy)):
        manager.add_session(index, socket).last_frame -= 91
    manager.add_session(1, ponging).touch(pong=True)
    manager.add_session(2, busy).touch()
    assert {session.session_id for session in manager.get_expired_sessions()} == {"0", "1"}
    await manager.close_expired()
    assert (silent.close_codes, ponging.close_codes, busy.close_codes) == ([1001], [1001], [])
    assert manager.all_ids() == ["2"]
    await manager.close_expired()
    assert silent.close_codes == [1001]


async def test_a6_a_socket_whose_message_is_being_handled_is_not_silent(manager: UnifiedWebSocketManager) -> None:
    socket = FakeWebSocket()
    session = manager.add_session("1", socket)
    session.last_frame -= 1000
    session.last_sign -= 1000
    session.busy = True
    await manager.close_expired()
    await written()
    assert session.alive
    assert socket.control == []


async def test_a6_closing_is_idempotent(manager: UnifiedWebSocketManager) -> None:
    socket = FakeWebSocket()
    session = manager.add_session("1", socket)
    await asyncio.gather(session.close(), session.close(), session.close(1001))
    await session.close()
    assert socket.close_codes == [1000]
    assert not session.alive
    assert not session.send_message(NOTE)
    assert manager.deliver("1", NOTE) == Delivery(0, 1)


async def test_a6_a_quiet_socket_is_pinged_once_and_dropped_when_it_stays_quiet(
    manager: UnifiedWebSocketManager,
) -> None:
    socket = FakeWebSocket()
    session = manager.add_session("1", socket)
    await manager.close_expired()
    session.last_sign -= 21
    for _ in range(3):
        await manager.close_expired()
        await written()
    assert socket.control == [WSMsgType.PING]
    session.touch(pong=True)
    await manager.close_expired()
    session.last_sign -= 21
    await manager.close_expired()
    await written()
    assert socket.control == [WSMsgType.PING] * 2
    session.last_sign -= 10
    await manager.close_expired()
    assert not session.alive
    manager.remove_session(socket)
    assert manager.dropped == 1


# -- A7: peers that break off


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), ConnectionAbortedError("aborted"), BrokenPipeError()])
async def test_a7_a_broken_line_is_one_warning_without_a_traceback_and_leaves_nothing(
    manager: UnifiedWebSocketManager, caplog: pytest.LogCaptureFixture, error: ConnectionError
) -> None:
    tasks = asyncio.all_tasks()
    socket = FakeWebSocket()
    session = manager.add_session("1", socket)
    await written()
    socket.fails = error
    session.send_message(NOTE)
    await written()
    assert not session.alive
    manager.remove_session(socket)
    await session.close()
    assert [(r.levelname, r.exc_info) for r in caplog.records] == [("WARNING", None)]
    assert asyncio.all_tasks() == tasks
    assert (manager.all_ids(), session.queued) == ([], 0)


async def test_a7_an_abort_while_closing_is_a_warning(
    manager: UnifiedWebSocketManager, caplog: pytest.LogCaptureFixture
) -> None:
    socket = FakeWebSocket()
    session = manager.add_session("1", socket)
    await written()
    socket.fails = ConnectionResetError("reset")
    await session.close()
    await session.close()
    assert [(r.levelname, r.exc_info) for r in caplog.records] == [("WARNING", None)]


# -- slow readers


async def test_a4_a_reader_that_stopped_is_dropped_when_its_queue_is_full_and_the_others_get_everything(
    manager: UnifiedWebSocketManager, caplog: pytest.LogCaptureFixture
) -> None:
    slow, good = FakeWebSocket(), FakeWebSocket()
    manager.add_session("1", slow)
    manager.add_session("1", good)
    await written()
    slow.block()
    reached = []
    for number in range(QUEUE_SIZE + 2):
        reached.append(manager.deliver("1", {"type": "note", "number": number}).reached)
        await written(3)
    assert (reached[0], reached[-1]) == (2, 1)
    assert [note["number"] for note in notes(good)] == list(range(QUEUE_SIZE + 2))
    assert "reads too slowly" in caplog.text
    manager.remove_session(slow)
    assert manager.dropped == 1


async def test_a4_what_waits_for_a_socket_is_bounded_in_bytes_too(manager: UnifiedWebSocketManager) -> None:
    socket = FakeWebSocket()
    session = manager.add_session("1", socket)
    await written()
    socket.block()
    big = {"type": "note", "content": "x" * (QUEUE_BYTES // 4)}
    sent = 0
    while session.send_message(big):
        sent += 1
    assert sent in (3, 4)


async def test_a4_a_reader_that_takes_nothing_is_dropped_after_a_while() -> None:
    manager = UnifiedWebSocketManager(send_timeout_s=0.05)
    slow, good = FakeWebSocket(), FakeWebSocket()
    session = manager.add_session("1", slow)
    manager.add_session("1", good)
    slow.block()
    assert manager.deliver("1", NOTE) == Delivery(2, 2)
    async with asyncio.timeout(5):
        while session.alive:
            await asyncio.sleep(0.005)
    assert manager.deliver("1", NOTE) == Delivery(1, 2)
    await written()
    assert notes(good) == [NOTE] * 2
    manager.remove_session(slow)
    assert manager.dropped == 1


async def test_a4_a_reader_that_is_slow_but_reads_is_not_dropped() -> None:
    class Slow(FakeWebSocket):
        async def send_frame(self, message: bytes, opcode: WSMsgType, compress: int | None = None) -> None:
            await asyncio.sleep(0.05)
            await super().send_frame(message, opcode, compress)

    manager = UnifiedWebSocketManager(send_timeout_s=0.5)
    socket = Slow()
    session = manager.add_session("1", socket)
    for _ in range(15):
        manager.deliver("1", NOTE)
    async with asyncio.timeout(10):
        while session.queued:
            await asyncio.sleep(0.01)
    assert session.alive


# -- A10


async def test_a10_each_delivery_is_traceable(
    manager: UnifiedWebSocketManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "core")
    sockets = [FakeWebSocket() for _ in range(2)]
    sessions = [manager.add_session("1", socket) for socket in sockets]
    await sessions[1].close()
    sessions[0].connected_at -= 12
    manager.deliver("1", {"type": "note", "content": "SECRET WORDS"})
    lines = [record.message for record in caplog.records if record.levelno == logging.DEBUG]
    taken = next(line for line in lines if f"socket {sessions[0].connection}," in line)
    missed = next(line for line in lines if f"socket {sessions[1].connection}," in line)
    assert "note #" in taken
    assert "12.0 s old" in taken
    assert "alive" in taken
    assert "closed" in missed
    assert "not delivered" in missed
    assert any("1 of 2" in line for line in lines)
    assert "SECRET" not in caplog.text


async def test_a10_nothing_is_traced_when_nobody_looks(
    manager: UnifiedWebSocketManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "core")
    manager.add_session("1", FakeWebSocket())
    manager.deliver("1", NOTE)
    assert caplog.records == []


# -- logs of ids


async def test_b7_an_ids_messages_are_kept_while_its_session_lives_and_a_while_longer() -> None:
    manager = UnifiedWebSocketManager(resume_s=0)
    manager.keep("1")
    manager.deliver("1", NOTE)
    await manager.close_expired()
    assert len(manager.missed("1", 0).messages) == 1
    manager.release(1)
    await manager.close_expired()
    assert len(manager.missed("1", 0).messages) == 0


async def test_b7_an_ids_messages_outlive_its_last_socket_for_the_grace_period() -> None:
    manager = UnifiedWebSocketManager(resume_s=3600)
    socket = FakeWebSocket()
    manager.add_session("1", socket)
    manager.remove_session(socket)
    await manager.close_expired()
    assert manager.deliver("1", NOTE) == Delivery(0, 0)
    missed = manager.missed("1", 0)
    assert (len(missed.messages), missed.complete) == (1, True)


async def test_b7_a_new_log_begins_above_every_number_of_the_old_one() -> None:
    manager = UnifiedWebSocketManager(resume_s=0)
    manager.keep("1")
    for _ in range(MAX_MESSAGES * 3):  # more than milliseconds pass meanwhile
        manager.deliver("1", NOTE)
    socket = FakeWebSocket()
    session = manager.add_session("1", socket)
    await written()
    old = socket.sent[-1]["seq"]
    manager.remove_session(socket)
    await session.close()
    manager.release("1")
    await manager.close_expired()
    again = FakeWebSocket()
    manager.add_session("1", again)
    await written()
    assert again.sent[-1]["seq"] > old
    assert not manager.missed("1", old).complete


async def test_b7_logs_without_session_and_socket_hold_little() -> None:
    manager = UnifiedWebSocketManager(resume_s=3600)
    big = {"type": "note", "content": "x" * (MAX_BYTES - 100)}
    count = MAX_ORPHAN_BYTES // MAX_BYTES + 3
    for index in range(count):
        manager.keep(index)
        manager.deliver(index, big)
        manager.release(index)
    await manager.close_expired()
    left = [index for index in range(count) if manager.missed(index, 0).messages]
    assert left == list(range(3, count)) or left == list(range(2, count))


async def test_b7_logs_without_session_and_socket_are_few() -> None:
    manager = UnifiedWebSocketManager(resume_s=3600)
    for index in range(MAX_ORPHANS + 10):
        manager.keep(index)
        manager.release(index)
    manager.keep("kept")
    assert manager.deliver("0", NOTE) == Delivery(0, 0)
    assert len(manager.missed("0", 0).messages) == 0  # gone early
    manager.deliver(MAX_ORPHANS, NOTE)
    assert len(manager.missed(MAX_ORPHANS, 0).messages) == 1
