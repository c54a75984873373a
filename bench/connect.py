"""Offer to first video packet received: a server's first session, later ones, and with a STUN server that is away."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

from bench.client import Client, Connected, Lag
from bench.processes import ServerProcess
from bench.result import Figure, Options, Result, pinnable

GOAL_MS = 500.0


async def measure(options: Options) -> Result:
    """See the module."""
    pinned = pinnable(options)
    servers, repeats = options.count(5, 1), options.count(15, 3)
    result = Result("connect", "Offer → first video packet received")
    async with Lag() as lag:
        cold: list[Connected] = []
        for _ in range(servers):
            async with ServerProcess("limits.max_sessions=50", pinned=pinned) as server:
                cold += await _connections(server.url, 1)
        async with ServerProcess("limits.max_sessions=50", pinned=pinned) as server:
            warm = (await _connections(server.url, repeats + 1))[1:]
        async with ServerProcess(command=["-m", "bench.floor"], pinned=pinned) as server:
            floor = Figure("", "ms", _video_ms((await _connections(server.url, repeats + 1))[1:])).value
        result.figures = [_figure("cold: first session of a server", cold, floor), _figure("warm", warm, floor)]
        for name, address in _silent_addresses():
            stun = f'ice.servers=[{{urls: "stun:{address}"}}]'
            async with ServerProcess(stun, "limits.max_sessions=50", pinned=pinned) as server:
                found = await _connections(server.url, options.count(10, 2))
            result.figures.append(_figure(f"STUN server that {name}", found, floor))
    result.settings = {"codec": "VP8", "size": "512x512", "client_microphone": "none"}
    result.details = {
        "answer_ms": {"cold": _answer_ms(cold), "warm": _answer_ms(warm)},
        "client_lag_max_ms": round(lag.worst_ms, 1),
    }
    return result


async def _connections(url: str, count: int) -> list[Connected]:
    found = []
    for _ in range(count):
        async with Client(url) as client:
            found.append(await client.connect())
        await asyncio.sleep(0.3)
    return found


def _figure(name: str, found: list[Connected], floor: float) -> Figure:
    return Figure(
        f"offer → first video, {name}", "ms", _video_ms(found), goal=GOAL_MS, floor=floor,
        floor_note="a minimal aiortc server between the same two processes: ICE, DTLS and a key frame",
    )  # fmt: skip


def _video_ms(found: list[Connected]) -> list[float]:
    return [connected.video_s * 1000 for connected in found]


def _answer_ms(found: list[Connected]) -> list[float]:
    return [round(connected.answer_s * 1000, 1) for connected in found]


@contextlib.contextmanager
def _bound() -> Iterator[str]:
    """The address of a UDP socket that receives and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{hole.getsockname()[1]}"


def _silent_addresses() -> Iterator[tuple[str, str]]:
    # discard's port: nothing listens there, the kernel answers with an ICMP error; nothing leaves the machine
    yield "refuses", "127.0.0.1:9"
    with _bound() as address:
        yield "never answers", address
