"""Time per picture of the embedded face, I420 included: every presenter and size, steady speech, one thread."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from avatar.face.art import built_in
from avatar.face.vector import VectorFace, VectorStream
from bench.result import Figure, Options, Result, rounded
from core.frames import Activity, FaceChoice, FaceCue, MouthShape

SIZES = (256, 512, 720, 1080)
GOALS_MS = {512: 1.5, 1080: 8.0}
P99_MS = {512: 3.0}
_COLD = np.zeros(6 * 2**20, np.uint8)
"""Walked through before a picture that is drawn with cold caches."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Milliseconds of each picture: on the clock, and of the thread's own CPU."""

    wall: Sequence[float]
    cpu: Sequence[float]


async def measure(options: Options) -> Result:
    """See the module."""
    return await asyncio.to_thread(_measure, options)


def _measure(options: Options) -> Result:
    count = options.count(500, 20)
    result = Result("face", "Time per picture of the embedded face")
    face = VectorFace()
    began = time.perf_counter()
    asyncio.run(face.start())
    result.details["start_ms"] = round((time.perf_counter() - began) * 1e3)
    for presenter in built_in():
        opened = {}
        for size in SIZES:
            began = time.perf_counter()
            stream = face.open(size, size, seed=1, choice=FaceChoice(presenter))
            opened[f"{size}"] = round((time.perf_counter() - began) * 1e3)
            _figures(result, f"{presenter} {size}×{size}", size, drawn(stream, count, speech))
        result.details[f"{presenter}: first of a size, ms"] = opened
    _extra(result, face, count)
    result.settings = {"pictures": count, "threads": 1}
    return result


def _figures(result: Result, name: str, size: int, found: Drawn) -> None:
    result.figures.append(Figure(f"{name}, speaking", "ms", found.wall, "median", goal=GOALS_MS.get(size)))
    if size in P99_MS:
        result.figures.append(Figure(f"{name}, speaking, slowest", "ms", found.wall, "p99", goal=P99_MS[size]))
    cpu = float(np.mean(found.cpu))
    result.details[f"{name}: CPU of a core at 25 pictures per second, %"] = rounded(cpu * 2.5)


def _extra(result: Result, face: VectorFace, count: int) -> None:
    """Other things that one picture at 512×512 may be asked for."""
    for name, cues, background, cold in (
        ("idle", idle, "", False),
        ("speaking, transparent", speech, "transparent", False),
        ("speaking, cold caches", speech, "", True),
    ):
        stream = face.open(512, 512, seed=1, choice=FaceChoice(background=background))
        result.figures.append(Figure(f"mira 512×512, {name}", "ms", drawn(stream, count, cues, cold=cold).wall))


def speech(index: int) -> FaceCue:
    """The cue of the index-th picture of endless talk: loudness and mouth differ in every picture."""
    mouth = MouthShape(
        jaw_open=0.4 + 0.4 * math.sin(index / 2.3),
        close=max(0.0, math.sin(index / 5.1)) ** 8,
        pucker=max(0.0, math.sin(index / 7.7)) ** 2,
        stretch=max(0.0, math.sin(index / 6.1)) ** 2,
        teeth=0.3,
    )
    return FaceCue(index * 0.04, mouth, Activity.SPEAKING, 0.1 + 0.1 * math.sin(index / 1.7))


def idle(index: int) -> FaceCue:
    """Nothing to do."""
    return FaceCue(index * 0.04)


def drawn(stream: VectorStream, count: int, cues: Callable[[int], FaceCue], cold: bool = False) -> Drawn:
    """Time of `count` pictures after a second of warming up."""
    wall, cpu = [], []
    for index in range(25 + count):
        cue = cues(index)
        if cold:
            _COLD[:] += 1
        clock, used = time.perf_counter(), time.thread_time()
        stream.draw(cue)
        if index >= 25:
            wall.append((time.perf_counter() - clock) * 1e3)
            cpu.append((time.thread_time() - used) * 1e3)
    return Drawn(wall, cpu)
