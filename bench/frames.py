"""Frame rate and inter-arrival times of one session that speaks."""

from __future__ import annotations

import asyncio
import time

from bench.client import Client, Lag, sessions_of
from bench.processes import ServerProcess
from bench.result import NOMINAL, Figure, Options, Result, pinnable
from bench.sounds import Microphone, long_text


async def measure(options: Options) -> Result:
    """See the module."""
    seconds = options.duration(60, 6)
    async with ServerProcess(pinned=pinnable(options)) as server, Lag() as lag:
        async with Client(server.url, microphone=Microphone()) as client:
            await client.connect()
            await asyncio.sleep(2.0)
            await client.audible(await client.say(long_text(seconds + 10)))
            since = time.monotonic()
            await asyncio.sleep(seconds)
            until = time.monotonic()
            status = await sessions_of(server.url)
        complaints = server.complaints()
    pictures, packets = client.video.gaps_ms(since, until), client.voice.gaps_ms(since, until)
    rate = 1000 / float(pictures.mean())
    return Result(
        "frames",
        "Frame rate and inter-arrival, one session speaking",
        [
            Figure("pictures received", "1/s", [rate], goal=24.9, at_least=True, floor=25, floor_note=NOMINAL),
            Figure("inter-arrival of pictures", "ms", pictures.tolist(), "p99", goal=60, floor=40, floor_note=NOMINAL),
            Figure("inter-arrival of sound packets", "ms", packets.tolist(), "p99", floor=20, floor_note=NOMINAL),
        ],
        {"seconds": seconds, "codec": "VP8", "size": "512x512", "microphone": "open, room noise"},
        {"packets_lost": client.video.lost + client.voice.lost, "server_status": status,
         "client_lag_max_ms": round(lag.worst_ms, 1), "complaints": complaints},
    )  # fmt: skip
