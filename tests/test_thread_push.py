"""A9: a push from another thread is one call that keeps order, makes no task, gives up, and can't dead-lock."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.thread_push import ThreadPush
from core.websocket_manager import UnifiedWebSocketManager
from tests.hub import CHANNEL, FakeWebSocket


class Held:
    """A loop's thread that is busy until it is told to go on."""

    def __init__(self) -> None:
        self.busy = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> None:
        self.busy.set()
        assert self.go_on.wait(10)


async def in_thread(call: Callable[[], int]) -> int:
    return await asyncio.to_thread(call)


def note(number: int) -> dict[str, object]:
    return {"type": "note", "number": number}


def numbers(socket: FakeWebSocket) -> list[int]:
    return [message["number"] for message in socket.sent if message["type"] not in CHANNEL]


@pytest.fixture
async def manager() -> UnifiedWebSocketManager:
    manager = UnifiedWebSocketManager()
    await manager.start()
    return manager


async def test_a9_a_push_from_a_thread_reaches_all_sockets_and_says_how_many(manager: UnifiedWebSocketManager) -> None:
    sockets = [FakeWebSocket() for _ in range(3)]
    for socket in sockets:
        manager.add_session("1", socket)
    assert await in_thread(lambda: manager.push_from_thread(1, note(5))) == 3
    await asyncio.sleep(0)
    assert [numbers(socket) for socket in sockets] == [[5]] * 3


async def test_a9_every_thread_keeps_its_order_and_no_push_makes_a_task(manager: UnifiedWebSocketManager) -> None:
    socket = FakeWebSocket()
    manager.add_session("1", socket)
    await asyncio.sleep(0)
    tasks, made = asyncio.all_tasks(), set()

    def work(worker: int) -> int:
        return sum(manager.push_from_thread("1", note(worker * 1000 + step)) for step in range(100))

    with ThreadPoolExecutor(4) as threads:
        running = [asyncio.get_running_loop().run_in_executor(threads, work, worker) for worker in range(4)]
        while not all(future.done() for future in running):
            made |= asyncio.all_tasks() - tasks
            await asyncio.sleep(0)
    assert [future.result() for future in running] == [100] * 4
    await asyncio.sleep(0.01)
    assert len(numbers(socket)) == 400
    for worker in range(4):
        mine = [number for number in numbers(socket) if number // 1000 == worker]
        assert mine == [worker * 1000 + step for step in range(100)]
    assert made == set()


async def test_a9_one_wake_up_takes_everything_that_waits() -> None:
    pushes, order, wakes = ThreadPush(), [], []
    loop = asyncio.get_running_loop()

    class Counting:
        """The loop, as `ThreadPush` uses it."""

        def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
            wakes.append(1)
            loop.call_soon_threadsafe(callback)

    pushes.attach(Counting())  # type: ignore[arg-type]
    held = Held()
    loop.call_soon(held)

    def work() -> list[int]:
        assert held.busy.wait(10)
        with ThreadPoolExecutor(8) as threads:
            calls = [threads.submit(pushes.push, lambda n=n: order.append(n) or 1, 5.0) for n in range(8)]
            deadline = time.monotonic() + 5
            while pushes.waiting < 8 and time.monotonic() < deadline:
                time.sleep(0.001)
            held.go_on.set()
            return [call.result() for call in calls]

    assert await asyncio.to_thread(work) == [1] * 8
    assert sorted(order) == list(range(8))
    assert len(wakes) == 1


async def test_a9_on_the_loops_own_thread_it_delivers_at_once(manager: UnifiedWebSocketManager) -> None:
    manager.add_session("1", FakeWebSocket())
    assert manager.push_from_thread("1", note(1)) == 1


async def test_a9_what_was_given_up_is_never_delivered(
    manager: UnifiedWebSocketManager, caplog: pytest.LogCaptureFixture
) -> None:
    socket = FakeWebSocket()
    manager.add_session("1", socket)
    await asyncio.sleep(0)
    held = Held()

    def work() -> int:
        assert held.busy.wait(10)
        try:
            return manager.push_from_thread("1", note(1), timeout_s=0.05)
        finally:
            held.go_on.set()

    waiting = asyncio.get_running_loop().run_in_executor(None, work)
    asyncio.get_running_loop().call_soon(held)
    assert await waiting == 0
    assert await in_thread(lambda: manager.push_from_thread("1", note(2))) == 1
    await asyncio.sleep(0)
    assert numbers(socket) == [2]
    assert "not taken" in caplog.text


async def test_a9_a_loop_that_waits_for_the_pushing_thread_is_no_dead_lock(manager: UnifiedWebSocketManager) -> None:
    manager.add_session("1", FakeWebSocket())
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(manager.push_from_thread("1", note(1), timeout_s=0.05)))
    thread.start()
    thread.join(10)  # the loop stands still: what a careless caller does
    assert not thread.is_alive()
    assert results == [0]


async def test_a9_nobody_connected_is_a_log_line(
    manager: UnifiedWebSocketManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "core")
    secret = {"type": "note", "content": "SECRET"}
    assert await in_thread(lambda: manager.push_from_thread("1", secret)) == 0
    assert "no socket of session 1" in caplog.text
    assert "SECRET" not in caplog.text


def test_a9_before_the_server_runs_it_is_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    assert UnifiedWebSocketManager().push_from_thread("1", note(1)) == 0
    assert "not running" in caplog.text


def test_a9_after_the_server_stopped_it_is_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    manager = UnifiedWebSocketManager()

    async def run() -> None:
        await manager.start()
        await manager.close_all()

    asyncio.run(run())
    assert manager.push_from_thread("1", note(1)) == 0
    assert "not running" in caplog.text


def test_a9_a_loop_that_died_without_a_word_is_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    manager = UnifiedWebSocketManager()
    asyncio.run(manager.start())
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(manager.push_from_thread("1", note(1))))
    thread.start()
    thread.join(3)
    assert results == [0]
    assert "not running" in caplog.text


async def test_a9_who_waits_when_the_server_stops_is_told_at_once() -> None:
    pushes, delivered = ThreadPush(), []
    pushes.attach(asyncio.get_running_loop())
    held = Held()

    def stop() -> None:
        held()
        pushes.detach()

    def work() -> float:
        assert held.busy.wait(10)
        threading.Timer(0.05, held.go_on.set).start()
        began = time.monotonic()
        assert pushes.push(lambda: delivered.append(1) or 1, 30.0) == 0
        return time.monotonic() - began

    waiting = asyncio.get_running_loop().run_in_executor(None, work)
    asyncio.get_running_loop().call_soon(stop)
    assert await waiting < 10
    assert delivered == []


async def test_a9_a_message_that_json_cannot_hold_is_raised_in_the_thread(manager: UnifiedWebSocketManager) -> None:
    with pytest.raises(TypeError):
        await in_thread(lambda: manager.push_from_thread("1", {"type": "note", "x": object()}))


async def test_a9_what_a_delivery_raises_is_raised_in_the_thread_and_stops_nothing() -> None:
    pushes = ThreadPush()
    pushes.attach(asyncio.get_running_loop())

    def fail() -> int:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await in_thread(lambda: pushes.push(fail, 5.0))
    assert await in_thread(lambda: pushes.push(lambda: 7, 5.0)) == 7
