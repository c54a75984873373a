"""The server under measurement, and what processes cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.result import ROOT

SERVER_CORE, CLIENT_CORE = 0, 1
_UNLIMITED = tuple(f"limits.{name}=0" for name in ("offers_per_minute", "uploads_per_minute", "messages_per_second"))
_ADDRESS = re.compile(r"http://\S+")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process tree. Memory in MB (2**20); `pss_mb` counts shared pages once, None where unreadable."""

    rss_mb: float
    pss_mb: float | None
    threads: int
    fds: int
    processes: int


class Tree:
    """A process and its descendants."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def cpu_seconds(self) -> float:
        """User and system time of all that live, and of the ended children that were waited for."""
        total = 0.0
        for process in self._all():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def usage(self) -> Usage:
        """Now."""
        rss = 0.0
        pss: float | None = 0.0
        threads = fds = count = 0
        for process in self._all():
            with contextlib.suppress(psutil.Error):
                rss += process.memory_info().rss / 2**20
                share = _pss_mb(process.pid)
                pss = None if pss is None or share is None else pss + share
                threads += process.num_threads()
                fds += process.num_fds()
                count += 1
        return Usage(round(rss, 1), None if pss is None else round(pss, 1), threads, fds, count)

    def _all(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return []


class Others:
    """How much of the machine somebody else uses meanwhile: a busy machine makes no figures."""

    def __init__(self) -> None:
        self._own = Tree(os.getpid())
        self._start = self._sample()

    def share(self) -> float:
        """Cores used by others since construction (1.0 is one whole core)."""
        passed, busy = (now - then for now, then in zip(self._sample(), self._start, strict=True))
        return max(0.0, busy / passed) if passed > 0 else 0.0

    def _sample(self) -> tuple[float, float]:
        times = psutil.cpu_times()
        busy = sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
        return time.monotonic(), busy - self._own.cpu_seconds()


class ServerProcess:
    """`async with ServerProcess("media.codec=h264") as server:` runs app.py with these settings on a free port.

    Neither config/local.yaml nor EMAN_… variables reach it, and it keeps nothing in the user's folders. One address
    plays all clients here, so there are no limits per address. `command` runs something else that prints its URL.
    """

    def __init__(self, *settings: str, command: Sequence[str] = (), pinned: bool = True) -> None:
        plain = [str(ROOT / "app.py"), "--port", "0", "--config", os.devnull]
        chosen = [*settings] if command else [*_UNLIMITED, *settings]
        self._command = [sys.executable, *(command or plain), *(part for item in chosen for part in ("--set", item))]
        self._pinned = pinned
        self._process: asyncio.subprocess.Process | None = None
        self._data = tempfile.TemporaryDirectory()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __aexit__
        self.url = ""
        self.pid = 0

    async def __aenter__(self) -> ServerProcess:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("EMAN_")}
        environment["XDG_DATA_HOME"] = self._data.name
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=self._log,
            preexec_fn=pin_to(SERVER_CORE) if self._pinned else None, start_new_session=True,
        )  # fmt: skip
        self.pid = self._process.pid
        try:
            async with asyncio.timeout(60):
                self.url = await self._address()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._log.close()
        self._data.cleanup()

    @property
    def tree(self) -> Tree:
        """Its processes."""
        return Tree(self.pid)

    def complaints(self) -> list[str]:
        """Warnings and errors it logged so far, the last twenty."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        return [line[:200] for line in lines if re.search(r"WARN|ERROR|Traceback|Error:", line)][-20:]

    async def _address(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if found := _ADDRESS.search(line.decode()):
                return found.group().replace("localhost", "127.0.0.1")
        self._log.seek(0)
        raise RuntimeError(f"the server ended at once: {self._log.read().decode()[-2000:]}")


def pin_to(core: int) -> Callable[[], None]:
    """A function that keeps the calling process (and what it starts) on one core."""

    def pin() -> None:
        os.sched_setaffinity(0, {core})

    return pin


@contextlib.contextmanager
def all_cores() -> Iterator[None]:
    """What is started in this block, from this thread, runs on every core, as it does for its users."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def cpu_share(tree: Tree, seconds: float) -> float:
    """Cores used by a process tree over the next `seconds`."""
    loop = asyncio.get_running_loop()
    then, before = loop.time(), tree.cpu_seconds()
    await asyncio.sleep(seconds)
    return (tree.cpu_seconds() - before) / (loop.time() - then)


def _pss_mb(pid: int) -> float | None:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) / 1024 if found else None


def usage_row(usage: Usage) -> dict[str, Any]:
    """As JSON."""
    return {name: getattr(usage, name) for name in ("rss_mb", "pss_mb", "threads", "fds", "processes")}
