"""Threads, files and memory after many connect, talk, disconnect."""

from __future__ import annotations

import asyncio

from bench.client import Client, sessions_of
from bench.processes import ServerProcess, Usage, usage_row
from bench.result import Figure, Options, Result, pinnable
from bench.sounds import Microphone

WARM_UP = 3
_ROOM = 6
_PATIENCE_S = 45


async def measure(options: Options) -> Result:
    """See the module."""
    cycles = options.count(30, 4)
    usages: list[Usage] = []
    async with ServerProcess(pinned=pinnable(options)) as server:
        await asyncio.sleep(1.0)
        start = server.tree.usage()
        for number in range(WARM_UP):
            await _cycle(server.url, hang_up=number % 2 == 0)
        await _free(server.url)
        warm = server.tree.usage()
        for number in range(cycles):
            await _cycle(server.url, hang_up=number % 3 != 0)
            usages.append(server.tree.usage())
        left = await _free(server.url)
        await asyncio.sleep(options.duration(10, 2))
        end = server.tree.usage()
        complaints = server.complaints()
    figures = [
        Figure("threads more than after the warm-up", "threads", [end.threads - warm.threads], "max", goal=0),
        Figure("open files more than after the warm-up", "files", [end.fds - warm.fds], "max", goal=0),
        Figure("growth of resident memory after the warm-up", "MB", [end.rss_mb - warm.rss_mb], "max", goal=20),
        Figure("sessions left over", "sessions", [left], "max", goal=0),
        Figure("threads more than at the start", "threads", [end.threads - start.threads], "max",
               note="pools of worker threads fill once"),
        Figure("growth of resident memory since the start", "MB", [end.rss_mb - start.rss_mb], "max"),
    ]  # fmt: skip
    rows = {"start": start, "warm": warm, "half": usages[len(usages) // 2], "end": end}
    return Result(
        "churn", f"{cycles} × connect, talk, disconnect", figures, {"cycles": cycles, "warm_up_cycles": WARM_UP},
        {**{name: usage_row(usage) for name, usage in rows.items()}, "rss_mb": [u.rss_mb for u in usages],
         "threads": [u.threads for u in usages], "complaints": complaints},
    )  # fmt: skip


async def _cycle(url: str, *, hang_up: bool) -> None:
    """Say good-bye as a closing page does, or just close the connection."""
    while len(await sessions_of(url)) > _ROOM:
        await asyncio.sleep(0.2)
    async with Client(url, microphone=Microphone()) as client:
        await client.connect()
        await client.audible(await client.say("hello"))
        if hang_up:
            await client.hang_up()


async def _free(url: str) -> int:
    """Wait until no session is left (one that only closed its connection can be resumed for a while)."""
    for _ in range(10 * _PATIENCE_S):
        if not (left := len(await sessions_of(url))):
            return 0
        await asyncio.sleep(0.1)
    return left
