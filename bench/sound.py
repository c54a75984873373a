"""Sound over the WebSocket: server CPU per session, silent and speaking; text to first sound; interrupt to clear."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator

import aiohttp
import numpy as np

from bench.processes import ServerProcess, cpu_share
from bench.result import Figure, Options, Result, pinnable, rounded
from bench.sounds import long_text

_WINDOWS = 3
_COUNTS = (1, 8)
_ROOM = 640
"""Bytes of 20 ms of microphone."""
_SHORT = "Good morning to you all."


class Listener:
    """One session without WebRTC: its microphone sends room noise, what it hears is counted."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http
        self._tasks: list[asyncio.Task[None]] = []
        self.id = self.token = ""
        self.first: asyncio.Future[float] | None = None
        self.cleared: asyncio.Future[float] | None = None
        self.bytes = 0

    async def start(self) -> None:
        """Offer, log in, open the sound, begin to send."""
        answer = await self._post("/offer", type="websocket")
        self.id, self.token = answer["sessionid"], answer["token"]
        self._socket = await self._http.ws_connect(self._url.replace("http", "ws") + "/ws")
        await self._socket.send_json({"type": "login", "session_id": self.id, "token": self.token})
        await self._socket.send_json({"type": "open_audio", "content": {"uplink": "pcm"}})
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._talk())]

    async def say(self, text: str) -> None:
        """Have it speak."""
        await self._post("/human", sessionid=self.id, token=self.token, text=text, type="echo")

    async def interrupt(self) -> None:
        """Silence it."""
        await self._post("/interrupt_talk", sessionid=self.id, token=self.token)

    async def close(self) -> None:
        """Hang up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._post("/api/hangup", sessionid=self.id, token=self.token)
        await self._socket.close()

    async def _post(self, path: str, **body: object) -> dict[str, str]:
        async with self._http.post(self._url + path, json=body) as response:
            return dict(await response.json(content_type=None))

    async def _read(self) -> None:
        async for frame in self._socket:
            if '"audio_frame"' in frame.data[:32]:
                self.bytes += len(base64.b64decode(frame.json()["data"]))
                _settle(self.first)
            elif '"audio_clear"' in frame.data[:32]:
                _settle(self.cleared)

    async def _talk(self) -> None:
        noise = np.random.default_rng(1).normal(0, 26, 16_000).astype("<i2").tobytes()
        began, sent = time.monotonic(), 0
        while True:
            await self._socket.send_bytes(noise[sent % 31_360 :][:_ROOM])
            sent += _ROOM
            await asyncio.sleep(max(0.0, began + sent / 32_000 - time.monotonic()))


def _settle(future: asyncio.Future[float] | None) -> None:
    if future is not None and not future.done():
        future.set_result(time.monotonic())


@contextlib.asynccontextmanager
async def _listeners(url: str, count: int) -> AsyncIterator[list[Listener]]:
    async with aiohttp.ClientSession() as http:
        listeners = [Listener(url, http) for _ in range(count)]
        for listener in listeners:
            await listener.start()
        try:
            yield listeners
        finally:
            for listener in listeners:
                await listener.close()


async def measure(options: Options) -> Result:
    """See the module."""
    seconds = options.duration(20, 3)
    result = Result("sound", "Sound over the WebSocket")
    async with ServerProcess("limits.max_sessions=64", pinned=pinnable(options)) as server:
        for count in _COUNTS:
            async with _listeners(server.url, count) as listeners:
                await asyncio.sleep(2.0)
                silent = [100 * await cpu_share(server.tree, seconds) / count for _ in range(_WINDOWS)]
                for listener in listeners:
                    await listener.say(long_text(_WINDOWS * seconds + 15))
                await asyncio.sleep(3.0)
                before = sum(listener.bytes for listener in listeners)
                speaking = [100 * await cpu_share(server.tree, seconds) / count for _ in range(_WINDOWS)]
                heard = (sum(listener.bytes for listener in listeners) - before) / 48_000 / count
            name = "1 session" if count == 1 else f"{count} sessions"
            result.figures += [
                Figure(f"server CPU per silent session, microphone open, {name}", "% of a core", silent),
                Figure(f"server CPU per speaking session, microphone open, {name}", "% of a core", speaking),
            ]
            result.details[name] = {"seconds_of_sound_received": rounded(heard)}
        async with _listeners(server.url, 1) as (listener,):
            first, cleared = await _reactions(listener, options.count(30, 3))
        result.figures += [
            Figure("text to first audio_frame", "ms", first),
            Figure("interrupt to audio_clear", "ms", cleared),
        ]
        result.details["complaints"] = server.complaints()
    result.settings = {"seconds": seconds, "windows": _WINDOWS, "microphone": "PCM, room noise"}
    return result


async def _reactions(listener: Listener, count: int) -> tuple[list[float], list[float]]:
    first, cleared = [], []
    loop = asyncio.get_running_loop()
    for _ in range(count):
        listener.first, listener.cleared = loop.create_future(), loop.create_future()
        asked = time.monotonic()
        await listener.say(_SHORT)
        first.append(1000 * (await asyncio.wait_for(listener.first, 10) - asked))
        await asyncio.sleep(0.3)
        asked = time.monotonic()
        await listener.interrupt()
        cleared.append(1000 * (await asyncio.wait_for(listener.cleared, 10) - asked))
        await asyncio.sleep(0.2)
    return first, cleared
