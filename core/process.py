"""What this process costs: processor time and memory of its whole tree, and how late its event loop runs.

Worker processes (the recogniser's) count too: an operator pays for all of them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil

LAG_INTERVAL_S = 0.1
LAG_WINDOW = 10
"""Measurements of which the worst is told: one second."""
FRESH_S = 0.9
"""A sample that is younger is told again."""


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One measurement of the process and its children."""

    at: float
    """Monotonic seconds."""
    cpu_s: float
    """Processor seconds used since the meter was started; never falls, also when a child ends."""
    cpu_percent: float
    """Since the sample before; 100 = one core."""
    rss_bytes: int
    """Resident memory; pages that processes share count once for each."""


class ProcessMeter:
    """Measures on demand, in a thread of its own: reading /proc takes milliseconds."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()
        self._process = psutil.Process(os.getpid())
        self._executor = ThreadPoolExecutor(1, "meter")
        self._lags: deque[float] = deque(maxlen=LAG_WINDOW)
        self._used: dict[int, float] = {}
        self._sample = ProcessSample(self.started_at, 0.0, 0.0, 0)
        self._sampling: asyncio.Task[ProcessSample] | None = None
        self._lag_task: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Begin to watch the loop; the first sample is the base of the next."""
        self._lag_task = asyncio.create_task(self._watch_loop(), name="loop lag")
        await self._take()

    async def close(self) -> None:
        """Stop; from now on the last sample is told. Idempotent."""
        self._closed = True
        if self._lag_task is not None:
            self._lag_task.cancel()
            await asyncio.wait({self._lag_task})
        if self._sampling is not None:
            await asyncio.wait({self._sampling})
        self._executor.shutdown(wait=False)

    @property
    def loop_lag_s(self) -> float:
        """How late the loop woke us, at the worst, within the last second."""
        return max(self._lags, default=0.0)

    @property
    def uptime_s(self) -> float:
        """Since this meter was made."""
        return time.monotonic() - self.started_at

    @property
    def latest(self) -> ProcessSample:
        """The newest sample, without measuring."""
        return self._sample

    async def sample(self) -> ProcessSample:
        """A sample that is at most a second old; callers at the same time share one measurement."""
        if self._closed or time.monotonic() - self._sample.at < FRESH_S:
            return self._sample
        if self._sampling is None:
            self._sampling = asyncio.create_task(self._take(), name="process sample")
            self._sampling.add_done_callback(self._sampled)
        return await asyncio.shield(self._sampling)

    def _sampled(self, task: asyncio.Task[ProcessSample]) -> None:
        self._sampling = None

    async def _take(self) -> ProcessSample:
        used, rss = await asyncio.get_running_loop().run_in_executor(self._executor, self._read)
        now, last = time.monotonic(), self._sample
        # a child that has ended took its seconds with it, a new one brings what it used so far
        spent = sum(max(0.0, seconds - self._used.get(pid, 0.0)) for pid, seconds in used.items())
        if not self._used:
            spent = 0.0
        self._used = used
        percent = 100 * spent / max(0.001, now - last.at)
        self._sample = ProcessSample(now, last.cpu_s + spent, percent, rss)
        return self._sample

    def _read(self) -> tuple[dict[int, float], int]:
        """In the meter's thread: processor seconds by process id, and resident bytes of all."""
        used, rss = {}, 0
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    rss += process.memory_info().rss
            except psutil.Error:
                continue  # it ended meanwhile
            used[process.pid] = times.user + times.system
        return used, rss

    async def _watch_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_S
            await asyncio.sleep(LAG_INTERVAL_S)
            self._lags.append(max(0.0, loop.time() - due))
