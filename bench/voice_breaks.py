"""A voice service that is gone at random moments, over and over: what the page notices, and what stays behind."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.processes import ServerProcess
from bench.remote_voice import RemoteVoice, Talker, inside, led_server
from bench.result import Options, pinnable
from bench.sounds import RATE, spoken
from bench.voice_service import SAID, Programme
from core.frames import LISTEN_RATE
from tests.speech import resample

FAULTS = ("drop", "1005", "1000", "1011", "goodbye")
WITHIN_S = 3.0
"""A fault comes so long after the question, at the latest: before, in and after the reply, or the recording."""
AWAY_S = (1.0, 4.0)
"""For so long nobody can connect, in every second round."""
STALL_PATIENCE_S = 150.0
"""A service that does not answer any more is given up after 120 s, by the product's own settings."""


@dataclass(slots=True)
class Break:
    """One disconnect. Seconds; None where it did not come about."""

    fault: str
    during: str
    told_s: float | None = None
    reconnected_s: float | None = None
    next_works: bool = False


@dataclass(frozen=True, slots=True)
class Inside:
    """What lives in the server."""

    tasks: dict[str, int]
    objects: dict[str, int]
    sockets: int
    """To the service."""
    fds: int


@dataclass(slots=True)
class Breaks:
    """All of them, and the server before, after, and when everybody had left."""

    breaks: list[Break] = field(default_factory=list)
    before: Inside | None = None
    after: Inside | None = None
    alone: Inside | None = None
    left: Inside | None = None
    complaints: list[str] = field(default_factory=list)

    def details(self) -> dict[str, Any]:
        """As JSON; breaks that were not as they should be one by one."""
        bad = [
            asdict(one) for one in self.breaks if one.told_s is None or one.reconnected_s is None or not one.next_works
        ]
        counts = {"before": self.before, "after": self.after, "alone": self.alone, "left": self.left}
        return {
            "faults": {fault: sum(one.fault == fault for one in self.breaks) for fault in (*FAULTS, "stall")},
            "not_as_they_should_be": bad,
            **{name: asdict(inside) for name, inside in counts.items() if inside is not None},
            "complaints": self.complaints,
        }


async def breaks(service: RemoteVoice, options: Options) -> Breaks:
    """`sessions` at once, each broken off once in each round; in one round the service only falls silent."""
    sessions, rounds = options.count(10, 2), options.count(19, 2)
    question = resample(spoken(SAID), RATE, LISTEN_RATE)
    found, rng = Breaks(), random.Random(7)
    async with led_server(service, pinned=pinnable(options)) as server:
        found.alone = await _inside(server, service)
        talkers = [Talker(server.url, f"b{number}") for number in range(sessions)]
        try:
            await asyncio.gather(*(talker.begin("pcm") for talker in talkers))
            assert all(await asyncio.gather(*(_recording(talker, question) for talker in talkers)))
            found.before = await _inside(server, service)
            for number in range(rounds):
                away = rng.uniform(*AWAY_S) if number % 2 else 0.0
                plans = [(rng.choice(FAULTS), rng.uniform(0, WITHIN_S), rng.random() < 0.5) for _ in talkers]
                found.breaks += await _round(service, talkers, number, plans, away, question)
            if not options.quick:
                stalls = [("stall", rng.uniform(0, WITHIN_S), False) for _ in talkers]
                found.breaks += await _round(service, talkers, rounds, stalls, 0.0, question)
            await asyncio.sleep(2.0)
            found.after = await _inside(server, service)
            for talker in talkers:
                await talker.leave()
        finally:
            await asyncio.gather(*(talker.close() for talker in talkers))
        await asyncio.sleep(3.0)
        found.left = await _inside(server, service)
        found.complaints = server.complaints()
    return found


async def _round(
    service: RemoteVoice,
    talkers: list[Talker],
    number: int,
    plans: list[tuple[str, float, bool]],
    away_s: float,
    question: NDArray[np.int16],
) -> list[Break]:
    back = asyncio.create_task(_go_away(service, away_s))
    return await asyncio.gather(*(
        _break(service, talker, f"{talker.name}-{number}", plan, back, question)
        for talker, plan in zip(talkers, plans, strict=True)
    ))  # fmt: skip


async def _go_away(service: RemoteVoice, seconds: float) -> float:
    """Let nobody connect for so long; when somebody could again."""
    if not seconds:
        return 0.0
    count = len(service.all("open"))
    service.order("close")
    await asyncio.sleep(seconds)
    service.order("open")
    return float((await service.told("open", count + 1))["t"])


async def _break(
    service: RemoteVoice,
    talker: Talker,
    name: str,
    plan: tuple[str, float, bool],
    back: asyncio.Task[float],
    question: NDArray[np.int16],
) -> Break:
    fault, after_s, speaks = plan
    one = Break(fault, "recording" if speaks else "reply")
    await talker.ask(Programme(name, 0.3 if speaks else 0.8 * WITHIN_S, fault=fault, after_s=after_s))
    speaking = asyncio.create_task(talker.speak(question, pad_s=0.8)) if speaks else None
    patience = STALL_PATIENCE_S if fault == "stall" else 15.0
    try:
        broke = float((await service.told("broke", name=name))["t"])
        told, _ = await talker.after(broke, "voice_line", state="lost", timeout=patience)
        one.told_s = told - broke
        up, _ = await talker.after(told, "voice_line", state="up", timeout=15.0)
        one.reconnected_s = up - max(told if fault == "stall" else broke, await back)
        if speaking is not None:
            await speaking
        await _idle(talker)
        one.next_works = await _recording(talker, question)
    except TimeoutError:
        pass
    finally:
        if speaking is not None:
            await asyncio.wait({speaking})
    return one


async def _idle(talker: Talker, timeout: float = 20.0) -> None:
    """Wait until the avatar has had nothing to do for a moment."""
    async with asyncio.timeout(timeout):
        while True:
            doings = [(at, m["status"]) for at, m in talker.since(0.0, "status_update")]
            at, doing = doings[-1] if doings else (0.0, "idle")
            if doing in ("idle", "error", "interrupted") and time.monotonic() - at > 0.7:
                return
            await asyncio.sleep(0.05)


async def _recording(talker: Talker, question: NDArray[np.int16]) -> bool:
    """Whether a question is understood, answered, and heard."""
    began = time.monotonic()
    await talker.speak(question, pad_s=1.0)
    try:
        heard, _ = await talker.after(began, "asr_result", is_final=True, text=SAID, timeout=10.0)
        await talker.after(heard, "reply", state="end", timeout=10.0)
    except TimeoutError:
        return False
    return any(frame.arrival > heard for frame in talker.frames)


async def _inside(server: ServerProcess, service: RemoteVoice) -> Inside:
    found = await inside(server.url)
    process = psutil.Process(server.pid)
    sockets = sum(bool(one.raddr) and one.raddr.port == service.port for one in process.net_connections("tcp"))
    return Inside(found["tasks"], found["objects"], sockets, process.num_fds())
