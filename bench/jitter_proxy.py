"""A TCP proxy on loopback behind which a server's bytes arrive unevenly, as over a mobile network."""

from __future__ import annotations

import asyncio
import contextlib
import random
from urllib.parse import urlsplit


class JitterProxy:
    """`async with JitterProxy(url, 80) as proxy:` then use `proxy.url`.

    What the server sends is `jitter_ms` late on average, each piece up to `jitter_ms` more or less, in order.
    """

    def __init__(self, url: str, jitter_ms: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._jitter = jitter_ms / 1000
        self._rng = random.Random(5)
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> JitterProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://localhost:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)
        ways = (self._up(reader, server_writer), self._take(server_reader, pieces), self._give(pieces, writer))
        tasks = [asyncio.create_task(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for end in (server_writer, writer):
            end.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    async def _take(self, reader: asyncio.StreamReader, pieces: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop, latest = asyncio.get_running_loop(), 0.0
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                latest = max(latest, loop.time() + self._jitter + self._rng.uniform(-self._jitter, self._jitter))
                await pieces.put((latest, data))
        await pieces.join()

    async def _give(self, pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                due, data = await pieces.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                writer.write(data)
                await writer.drain()
                pieces.task_done()
