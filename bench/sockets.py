"""WebSockets: how many, how fast, each message once, nothing left behind."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import count

import aiohttp

from bench.crowd import Crowd
from bench.processes import ServerProcess
from bench.result import Figure, Options, Result, pinnable, statistic

HEARTBEAT_S = 20.0
WARM_UP_VISITS = 2000
AT_ONCE = 10
_TABS = 50
_FLOOR = ("-m", "bench.socket_floor")
_FLOOR_NOTE = "an aiohttp server that answers every frame with a constant, in the same run"


async def measure(options: Options) -> Result:
    """See the module."""
    pinned = pinnable(options)
    crowd_size, thousand = options.count(5000, 200), options.count(1000, 100)
    async with ServerProcess(command=_FLOOR, pinned=pinned) as floor:
        floor_joins, floor_hops = await _hops(floor.url, thousand, options.duration(10, 2))
    async with ServerProcess(pinned=pinned) as server:
        joins, hops = await _hops(server.url, thousand, options.duration(20, 2))
        wrong, deliveries = await _broadcast(server.url, options.count(200, 10))
        crowd = await _crowd(server, crowd_size, options.duration(90, 4))
        complaints = server.complaints()
    async with ServerProcess(pinned=pinned) as server:
        growth, per_socket = await _churn(server, options.count(20_000, 300), options.count(WARM_UP_VISITS, 100))
        complaints += server.complaints()
    figures = [
        Figure("sockets at once, logged in and heart-beating", "sockets", [crowd["alive"]], "min",
               goal=crowd_size, at_least=True),
        Figure("of these dropped, or with a heartbeat unanswered", "sockets", [crowd["dropped"] + crowd["unanswered"]],
               "max", goal=0),
        Figure(f"connect + login, {thousand:,} sockets, {AT_ONCE} at a time", "ms", joins, "p99", goal=100,
               floor=statistic(floor_joins, "p99"), floor_note=_FLOOR_NOTE),
        Figure(f"message and answer, {thousand:,} sockets, {thousand:,} messages/s", "ms", hops, "p99", goal=20,
               floor=statistic(floor_hops, "p99"), floor_note=_FLOOR_NOTE,
               note="both ways, so an upper bound of one hop"),
        Figure(f"broadcast to {_TABS} sockets of one id: missing, doubled or out of order", "deliveries", [wrong],
               "max", goal=0, note=f"{deliveries:,} deliveries"),
        Figure("growth of memory over connect, login, disconnect", "MB", [growth], "max", goal=10,
               note=f"{options.count(20_000, 300):,} times, after {options.count(WARM_UP_VISITS, 100):,} to warm up"),
        Figure("memory per socket", "KB", [crowd["kb_per_socket"]], "max"),
        Figure("CPU with all of them heart-beating", "% of a core", [crowd["cpu_percent"]], "max"),
    ]  # fmt: skip
    settings = {"heartbeat_s": HEARTBEAT_S, "held_s": options.duration(90, 4)}
    return Result("sockets", "WebSockets", figures, settings, {"crowd": crowd, **per_socket, "complaints": complaints})


async def _hops(url: str, sockets: int, seconds: float) -> tuple[list[float], list[float]]:
    """Milliseconds of each connect + login, and of each heartbeat with its answer, one per socket a second."""
    async with Crowd(url) as crowd:
        joins = await crowd.join([str(10_000 + n) for n in range(sockets)], AT_ONCE)
        sent_at: dict[int, float] = {}
        hops: list[float] = []
        for number, caller in enumerate(crowd.callers):

            def answered(message: dict[str, object], number: int = number) -> None:
                if message["type"] == "heartbeat_response":
                    hops.append(time.perf_counter() - sent_at[number])

            caller.on_message = answered
        began = time.perf_counter()
        for number in count():
            due = began + number / sockets
            if due > began + seconds:
                break
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent_at[number % sockets] = time.perf_counter()
            await crowd.callers[number % sockets].send({"type": "heartbeat"})
        await asyncio.sleep(1.0)
        if len(hops) < number:
            raise RuntimeError(f"{number - len(hops)} of {number} messages were not answered")
    return [1000 * took for took in joins], [1000 * took for took in hops[sockets:]]


async def _broadcast(url: str, messages: int) -> tuple[int, int]:
    """Deliveries that are missing, doubled or out of order; and how many there should be."""
    async with Crowd(url) as crowd, aiohttp.ClientSession() as http:
        await crowd.join(["4711"] * _TABS, AT_ONCE)
        got: list[list[str]] = [[] for _ in crowd.callers]
        for caller, texts in zip(crowd.callers, got, strict=True):

            def received(message: dict[str, object], texts: list[str] = texts) -> None:
                if message["type"] == "wsa_command":
                    texts.append(str(message["data"]["content"]))  # type: ignore[index]

            caller.on_message = received
        wanted = [f"message {number}" for number in range(messages)]
        for text in wanted:
            async with http.post(f"{url}/api/admin/message", json={"sessionid": "4711", "text": text}) as response:
                if (await response.json())["code"] != 0:
                    raise RuntimeError("a broadcast was refused")
        await asyncio.sleep(1.0)
    return sum(_faults(texts, wanted) for texts in got), messages * _TABS


def _faults(got: list[str], wanted: list[str]) -> int:
    missing, extra = Counter(wanted) - Counter(got), Counter(got) - Counter(wanted)
    return missing.total() + extra.total() or sum(a != b for a, b in zip(got, wanted, strict=True))


async def _crowd(server: ServerProcess, sockets: int, seconds: float) -> dict[str, float]:
    before = server.tree.usage().rss_mb
    async with Crowd(server.url) as crowd:
        await crowd.join([str(100_000 + n) for n in range(sockets)], AT_ONCE)
        answers = [0] * sockets
        for number, caller in enumerate(crowd.callers):

            def answered(message: dict[str, object], number: int = number) -> None:
                answers[number] += message["type"] == "heartbeat_response"

            caller.on_message = answered
        filled = server.tree.usage().rss_mb
        began, busy = time.perf_counter(), server.tree.cpu_seconds()
        beats = max(1, int(seconds / HEARTBEAT_S))
        pause = min(seconds, HEARTBEAT_S) / sockets
        for beat in range(beats):
            for number, caller in enumerate(crowd.callers):
                due = began + (beat * sockets + number) * pause
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await caller.send({"type": "heartbeat"})
        took = time.perf_counter() - began
        cpu = (server.tree.cpu_seconds() - busy) / took
        await asyncio.sleep(2.0)
        return {
            "alive": sockets - crowd.lost,
            "dropped": crowd.lost,
            "unanswered": sum(got != beats for got in answers),
            "kb_per_socket": round(1024 * (filled - before) / sockets, 1),
            "cpu_percent": round(100 * cpu, 1),
        }


async def _churn(server: ServerProcess, visits: int, warm_up: int) -> tuple[float, dict[str, object]]:
    """MB grown, and the memory at a few moments."""
    numbers = count(1_000_000)
    rss = []
    async with Crowd(server.url) as crowd:

        async def some(total: int) -> None:
            for _ in range(0, total, AT_ONCE):
                await asyncio.gather(*(crowd.visit(str(next(numbers))) for _ in range(AT_ONCE)))

        await some(warm_up)
        await asyncio.sleep(2.0)
        rss.append(server.tree.usage().rss_mb)
        for _ in range(10):
            await some(visits // 10)
            rss.append(server.tree.usage().rss_mb)
        await asyncio.sleep(2.0)
        rss.append(server.tree.usage().rss_mb)
    return round(rss[-1] - rss[0], 1), {"rss_mb": rss}
