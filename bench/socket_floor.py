"""The least that an aiohttp WebSocket server costs: it answers every text frame with a constant.

`python -m bench.socket_floor` prints its URL and serves `/ws` until interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal

import uvloop
from aiohttp import WSMsgType, web

LOGIN, BEAT = '{"type":"login_success"}', '{"type":"heartbeat_response"}'


async def answer(request: web.Request) -> web.WebSocketResponse:
    """One socket."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for frame in socket:
        if frame.type is WSMsgType.TEXT:
            await socket.send_str(LOGIN if '"login"' in frame.data else BEAT)
    return socket


async def main() -> None:
    """Serve until SIGINT."""
    application = web.Application()
    application.add_routes([web.get("/ws", answer)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await stop.wait()
    with contextlib.suppress(asyncio.CancelledError):
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main())
