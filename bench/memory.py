"""Memory of the server's processes with 0, 1, 4 and 8 speaking sessions."""

from __future__ import annotations

import asyncio
import contextlib

from bench.client import Client
from bench.processes import ServerProcess, usage_row
from bench.result import Figure, Options, Result, pinnable
from bench.sounds import Microphone, long_text

STEPS = (0, 1, 4, 8)
BASE_MB, SESSION_MB = 300.0, 35.0


async def measure(options: Options) -> Result:
    """See the module."""
    settle = options.duration(10, 2)
    result = Result("memory", "Memory", settings={"settle_s": settle, "resident": "summed over the process tree"})
    async with ServerProcess(pinned=pinnable(options)) as server, contextlib.AsyncExitStack() as stack:
        clients: list[Client] = []
        for step in STEPS:
            while len(clients) < step:
                client = await stack.enter_async_context(Client(server.url, microphone=Microphone(len(clients))))
                await client.connect()
                await client.say(long_text(60))
                clients.append(client)
            await asyncio.sleep(settle)
            usage = server.tree.usage()
            result.details[f"{step} sessions"] = usage_row(usage)
            goal = BASE_MB + SESSION_MB * step
            result.figures.append(
                Figure(f"resident memory, sessions: {step}", "MB", [usage.rss_mb], "max", goal=goal,
                       note=f"proportional (shared pages once): {usage.pss_mb} MB, {usage.processes} processes")
            )  # fmt: skip
        result.details["complaints"] = server.complaints()
    first, last = result.figures[1].value, result.figures[-1].value
    result.figures.append(
        Figure("memory per further session", "MB", [(last - first) / (STEPS[-1] - STEPS[1])], goal=SESSION_MB, floor=20,
               floor_note="a minimal aiortc server: 15 to 25 MB per session (codecs, sockets, threads)")
    )  # fmt: skip
    return result
