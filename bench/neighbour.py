"""What a session notices while another one connects, talks, uploads, misbehaves and leaves.

The other one lives in a process of its own, so that its work is not taken for the server's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from os import nice

from bench.client import Client, Lag, sessions_of
from bench.processes import CLIENT_CORE, ServerProcess, pin_to
from bench.result import NOMINAL, Figure, Options, Result, pinnable
from bench.sounds import Microphone, hum, long_text

GOAL_MS = 60.0
_SETTLE_S = 1.5
PHASES = ("quiet", "connect", "talk", "upload", "bad offer", "disconnect")


@dataclass(frozen=True, slots=True)
class Phase:
    """What the neighbour did in a span of monotonic time (s), and what it was answered."""

    name: str
    began: float
    ended: float
    answer: str = ""


async def measure(options: Options) -> Result:
    """See the module."""
    rounds = options.count(8, 2)
    async with ServerProcess(pinned=pinnable(options)) as server, Lag() as lag:
        async with Client(server.url, microphone=Microphone()) as watcher:
            await watcher.connect()
            await watcher.say(long_text(230))
            await asyncio.sleep(3.0)
            with ProcessPoolExecutor(1, get_context("spawn"), _be_modest, (pinnable(options),)) as neighbour:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(neighbour, time.monotonic)  # starting a process delays this one
                lag.worst_ms = 0.0
                phases = await loop.run_in_executor(neighbour, _visit, server.url, rounds)
            worst_lag = lag.worst_ms
            freed_s = await _freed(server.url)
        complaints = server.complaints()
    figures = []
    for name in PHASES:
        spans = [phase for phase in phases if phase.name == name]
        for kind, recording, nominal in (("picture", watcher.video, 40), ("sound packet", watcher.voice, 20)):
            worst = [float(recording.gaps_ms(p.began - 0.1, p.ended).max(initial=0.0)) for p in spans]
            figures.append(
                Figure(f"latest {kind} of a session while its neighbour: {name}", "ms", worst, "max", goal=GOAL_MS,
                       floor=nominal, floor_note=NOMINAL)
            )  # fmt: skip
    figures.append(
        Figure("until nothing of the neighbour is held, its connection just closed", "s", [freed_s], "max", goal=45,
               note="it can be resumed meanwhile")
    )  # fmt: skip
    return Result(
        "neighbour", "What a neighbour's doings cost another session", figures,
        {"rounds": rounds, "upload": "60 s, 44.1 kHz mono WAV", "neighbour": "own process", "settle_s": _SETTLE_S},
        {"answers": sorted({f"{p.name}: {p.answer}" for p in phases if p.answer}), "packets_lost": watcher.video.lost,
         "client_lag_max_ms": round(worst_lag, 1), "complaints": complaints},
    )  # fmt: skip


async def _freed(url: str) -> float:
    """Seconds until the watcher's session is the only one; infinite after a minute."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < 60:
        if len(await sessions_of(url)) == 1:
            return passed
        await asyncio.sleep(0.2)
    return float("inf")


def _be_modest(pinned: bool) -> None:
    """The neighbour shares its core with the watcher and must not delay it."""
    nice(10)
    if pinned:
        pin_to(CLIENT_CORE)()


def _visit(url: str, rounds: int) -> list[Phase]:
    return asyncio.run(_visits(url, rounds, hum(60.0)))


async def _visits(url: str, rounds: int, wav: bytes) -> list[Phase]:
    phases: list[Phase] = []

    async def phase(name: str, doing: Callable[[], Awaitable[object]]) -> None:
        began = time.monotonic()
        answer = await doing()
        await asyncio.sleep(_SETTLE_S)
        phases.append(Phase(name, began, time.monotonic(), answer if isinstance(answer, str) else ""))

    for _ in range(rounds):
        await phase("quiet", lambda: asyncio.sleep(_SETTLE_S))
        client = Client(url, microphone=Microphone(2))
        await phase("connect", client.connect)
        await phase("talk", lambda: client.say("good morning, how are you today"))  # noqa: B023 - called at once
        await phase("upload", lambda: client.upload(wav))  # noqa: B023
        await client.post("/interrupt_talk", sessionid=client.session)
        await phase("bad offer", lambda: _bad_offers(client))  # noqa: B023
        await phase("disconnect", client.close)
    return phases


async def _bad_offers(client: Client) -> str:
    """Offers that can't be used, of four kinds; returns the last answer."""
    answer = {}
    for sdp in (
        "",
        "nonsense",
        "v=0\r\nnonsense\r\n",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 X 0\r\n",
    ):
        answer = await client.post("/offer", sdp=sdp, type="offer")
    return str(answer.get("error", answer))[:160]
