"""The parties of the voice back end's measurements: the service as a process, and a client of our server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from typing import Any

import aiohttp

from bench.processes import ServerProcess
from bench.result import ROOT
from bench.voice_service import Programme
from tests.simulators.xiaozhi import CLIENT, DEVICE, TOKEN
from tests.sound_client import SoundClient

_HEARTBEAT_S = 15.0
_LONGEST_LINE = 1 << 22


class RemoteVoice:
    """`async with RemoteVoice() as service:` runs bench/voice_service.py; `events` is what it told so far."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> RemoteVoice:
        pipe = asyncio.subprocess.PIPE
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.voice_service", cwd=ROOT, stdin=pipe, stdout=pipe, limit=_LONGEST_LINE,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(60):
            self.url = (await process.stdout.readline()).decode().strip()
        self._reader = asyncio.create_task(self._read(process.stdout))
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._reader is not None:
            await asyncio.wait({self._reader})

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rsplit(":", 1)[1].partition("/")[0])

    def order(self, word: str) -> None:
        """`close` or `open`."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())

    def all(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """What it told of this kind."""
        return [told for told in self.events if told["event"] == event and fields.items() <= told.items()]

    async def told(self, event: str, count: int = 1, timeout: float = 30.0, **fields: Any) -> dict[str, Any]:
        """Wait for number `count` of these."""
        async with asyncio.timeout(timeout):
            while len(found := self.all(event, **fields)) < count:
                await asyncio.sleep(0.01)
        return found[count - 1]

    async def _read(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            self.events.append(json.loads(line))


def led_server(service: RemoteVoice, *settings: str, pinned: bool) -> ServerProcess:
    """Our server with a look inside (bench/open_server.py); `service` leads its conversations."""
    plain = ("-m", "bench.open_server", "--port", "0", "--config", os.devnull)
    limits = ("offers_per_minute", "uploads_per_minute", "messages_per_second")
    return ServerProcess(
        *(f"limits.{name}=0" for name in limits), "limits.max_sessions=20", "voice.engine=xiaozhi",
        f"voice.xiaozhi.url={service.url}", f"voice.xiaozhi.token={TOKEN}", f"voice.xiaozhi.device_id={DEVICE}",
        f"voice.xiaozhi.client_id={CLIENT}", *settings, command=plain, pinned=pinned,
    )  # fmt: skip


async def inside(url: str) -> dict[str, Any]:
    """See bench/open_server.py."""
    async with aiohttp.ClientSession() as http, http.get(url + "/bench") as response:
        found: dict[str, Any] = await response.json()
    return found


class Talker(SoundClient):
    """A client without WebRTC, with its sound open, that goes on sending heartbeats."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url)
        self.name = name
        self._beat: asyncio.Task[None] | None = None
        self.hops: list[float] = []
        """Seconds of each heartbeat until it was answered."""

    async def begin(self, uplink: str = "none", ahead_ms: int = 500) -> None:
        """Be there, and wait until the service can be asked."""
        await self.offer()
        await self.login()
        await self.open_audio(uplink, ahead_ms=ahead_ms)
        self._beat = asyncio.create_task(self._keep_up())

    async def ask(self, programme: Programme) -> float:
        """Have it said; returns when it was asked. Raises `RuntimeError`."""
        asked = time.monotonic()
        answer = await self.human(programme.text(), kind="chat")
        if answer.get("code") != 0:
            raise RuntimeError(f"/human was refused: {answer}")
        return asked

    def since(self, moment: float, kind: str, **fields: Any) -> list[tuple[float, dict[str, Any]]]:
        """Messages that came after `moment`, with when."""
        both = zip(self.arrivals, self.messages, strict=False)
        return [(at, m) for at, m in both if at >= moment and m["type"] == kind and fields.items() <= m.items()]

    async def after(
        self, moment: float, kind: str, timeout: float = 30.0, **fields: Any
    ) -> tuple[float, dict[str, Any]]:
        """Wait for the first message after `moment` of this kind."""
        async with asyncio.timeout(timeout):
            while not (found := self.since(moment, kind, **fields)):
                await asyncio.sleep(0.005)
        return found[0]

    async def beat(self) -> None:
        """One heartbeat, timed."""
        sent = time.monotonic()
        await self.send(type="heartbeat")
        self.hops.append((await self.after(sent, "heartbeat_response"))[0] - sent)

    async def close(self) -> None:
        """Leave."""
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.wait({self._beat})
        await super().close()

    async def leave(self) -> None:
        """End the session as a closing page does."""
        with contextlib.suppress(TimeoutError):
            await self.post("/api/hangup", sessionid=self.session, token=self.answer.get("token"))

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            await self.send(type="heartbeat")
