"""Text to the first audible sample received, and interruption to silence received."""

from __future__ import annotations

import asyncio
import time

from bench.client import AUDIBLE, PACKET_S, Client, Lag
from bench.processes import ServerProcess
from bench.result import Figure, Options, Result, pinnable
from bench.sounds import Microphone, hum

_NEXT = "a packet is due every 20 ms: on average half of that is waited for the next"
_FADE = _NEXT + ", and that one still sounds: it fades"
_TEXTS = ("hello there", "one two three", "good morning everybody", "I can hear you", "that is a nice question")


async def measure(options: Options) -> Result:
    """See the module."""
    async with ServerProcess(pinned=pinnable(options)) as server, Lag() as lag:
        async with Client(server.url, microphone=Microphone()) as client:
            await client.connect()
            await asyncio.sleep(1.0)
            texts = [await _to_sound(client, _TEXTS[i % len(_TEXTS)]) for i in range(options.count(25, 4))]
            uploads, silences = await _interruptions(client, options.count(20, 3))
        complaints = server.complaints()
    packet = 1000 * PACKET_S
    return Result(
        "latency",
        "Text → first sound, interruption → silence",
        [
            Figure("/human echo → first audible sample received", "ms", texts, goal=250, floor=packet / 2,
                   floor_note=_NEXT),
            Figure("/humanaudio (20 s, 44.1 kHz) → first audible sample received", "ms", uploads, goal=250,
                   floor=packet / 2, floor_note=_NEXT),
            Figure("/interrupt_talk → silence received", "ms", silences, goal=200, floor=packet / 2 + packet,
                   floor_note=_FADE),
        ],
        {"threshold_rms": AUDIBLE, "voice": "espeak", "microphone": "open, room noise"},
        {"client_lag_max_ms": round(lag.worst_ms, 1), "complaints": complaints},
    )  # fmt: skip


async def _to_sound(client: Client, text: str) -> float:
    """Milliseconds from the request to the first audible packet."""
    sent = await client.say(text)
    began = await client.audible(sent)
    await client.silence(began)
    # not in step with the 20 ms and 40 ms of the media clock
    await asyncio.sleep(0.3 + sent % 0.02)
    return (began - sent) * 1000


async def _interruptions(client: Client, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from upload to sound, and from interruption to the end of the last audible packet."""
    sound = hum(20.0)
    began_ms, silent_ms = [], []
    for _ in range(count):
        sent = await client.upload(sound)
        began_ms.append((await client.audible(sent) - sent) * 1000)
        await asyncio.sleep(1.0 + sent % 0.04)
        asked = time.monotonic()
        await client.post("/interrupt_talk", sessionid=client.session)
        silent_ms.append((await client.silence(asked) - asked) * 1000)
        await asyncio.sleep(0.3)
    return began_ms, silent_ms
