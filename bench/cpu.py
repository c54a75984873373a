"""Server CPU per speaking session with the microphone open, beside the same for a server that only sends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.client import Client
from bench.processes import ServerProcess, cpu_share
from bench.result import Figure, Options, Result, pinnable, rounded
from bench.sounds import Microphone, long_text

GOALS = {1: 16.0, 4: 12.0}
KNOWN_FLOORS = {1: 10.6, 4: 8.9}
"""% of a core: an earlier minimal server on an idle machine of this kind, without a microphone."""
_WINDOWS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """CPU of each window in % of a core per session, and the lowest frame rate any session received."""

    percent: Sequence[float]
    frame_rate: float


async def measure(options: Options) -> Result:
    """See the module."""
    seconds = options.duration(20, 3)
    pinned = pinnable(options)
    result = Result("cpu", "CPU per speaking session")
    for count, goal in GOALS.items():
        async with ServerProcess(command=["-m", "bench.floor"], pinned=pinned) as server:
            floor = await _load(server, count, seconds)
        async with ServerProcess(pinned=pinned) as server:
            ours = await _load(server, count, seconds)
            complaints = server.complaints()
        name = "1 session" if count == 1 else f"{count} sessions"
        figure = Figure(
            f"server CPU per speaking session, {name}", "% of a core", ours.percent, goal=goal,
            floor=Figure("", "", floor.percent).value,
            floor_note="a minimal aiortc server, aiortc's own encoders: silence, ready-made pictures, no microphone",
        )  # fmt: skip
        result.figures.append(figure)
        result.details[name] = {
            "ratio_to_floor": rounded(figure.value / figure.floor) if figure.floor else None,
            "earlier_floor": KNOWN_FLOORS[count],
            "floor_percent": [rounded(value) for value in floor.percent],
            "lowest_frame_rate": {"ours": rounded(ours.frame_rate), "floor": rounded(floor.frame_rate)},
            "complaints": complaints,
        }
    result.settings = {
        "seconds": seconds, "windows": _WINDOWS, "codec": "VP8", "size": "512x512", "microphone": "Opus, room noise",
        "client": "in its own process, decodes no pictures",
    }  # fmt: skip
    return result


async def _load(server: ServerProcess, count: int, seconds: float) -> Load:
    async with contextlib.AsyncExitStack() as stack:
        clients = [Client(server.url, microphone=Microphone(seed)) for seed in range(count)]
        for client in clients:
            await stack.enter_async_context(client)
            await client.connect()
        for client in clients:
            await client.say(long_text(_WINDOWS * seconds + 15))
        await asyncio.sleep(3.0)
        since = time.monotonic()
        percent = [100 * await cpu_share(server.tree, seconds) / count for _ in range(_WINDOWS)]
        until = time.monotonic()
        return Load(percent, min(len(c.video.frames(since, until)) for c in clients) / (until - since))
