"""How long a packet of a voice service takes: to the avatar's stage, and out again to a client's socket."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from avatar.opus.packets import PacketDecoder
from avatar.resampler import Resampler
from bench.remote_voice import RemoteVoice, Talker, inside, led_server
from bench.result import Options, pinnable
from bench.voice_service import PACKET_S, Programme, voice_packets
from core.frames import MEDIA_RATE
from tests.simulators.xiaozhi import DOWN

REPLY_S = 10.0
_LATE_MS = 10
"""On the reply's clock the service's sound begins so much after zero (`SpeechStage._place`)."""


@dataclass(slots=True)
class Downlink:
    """Milliseconds, one per packet."""

    to_stage: list[float] = field(default_factory=list)
    to_socket: list[float] = field(default_factory=list)
    left_out: int = 0
    """Replies that ran dry, so that nothing is known of where their packets are."""
    lost: int = 0
    """Packets whose sound never came."""
    hop_ms: float = 0.0
    """Half of a heartbeat's way there and back, at rest."""
    cpu: float = 0.0
    """Cores that the server used."""
    complaints: list[str] = field(default_factory=list)


async def downlink(service: RemoteVoice, options: Options, clients: int, seconds: float) -> Downlink:
    """`clients` conversations at once, each with replies of `REPLY_S`, one after the other."""
    found = Downlink()
    async with led_server(service, pinned=pinnable(options)) as server:
        talkers = [Talker(server.url, f"{clients}-{number}") for number in range(clients)]
        try:
            for talker in talkers:
                await talker.begin()
            await asyncio.gather(*(_warm(talker) for talker in talkers))
            for _ in range(50):
                await talkers[0].beat()
            found.hop_ms = float(np.median(talkers[0].hops)) * 500
            await inside(server.url)
            began, busy = time.monotonic(), server.tree.cpu_seconds()
            # as people do, they don't begin in the same moment
            starts = np.random.default_rng(3).uniform(0, 2.0, clients)
            counts = await asyncio.gather(*(
                _talk(talker, float(start), seconds) for talker, start in zip(talkers, starts, strict=True)
            ))  # fmt: skip
            found.cpu = (server.tree.cpu_seconds() - busy) / (time.monotonic() - began)
            found.to_stage = [1000 * took for took in (await inside(server.url))["took"]]
            for talker, count in zip(talkers, counts, strict=True):
                for number in range(count):
                    told = await service.told("spoke", name=f"{talker.name}-{number}")
                    _match(talker, f"r{number + 2}", told["times"], found)
            found.complaints = server.complaints()
        finally:
            await asyncio.gather(*(talker.close() for talker in talkers))
    return found


async def _warm(talker: Talker) -> None:
    asked = await talker.ask(Programme(f"{talker.name}-warm"))
    await talker.after(asked, "reply", state="end")


async def _talk(talker: Talker, after: float, seconds: float) -> int:
    """Replies one after the other for so long; how many."""
    await asyncio.sleep(after)
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        asked = await talker.ask(Programme(f"{talker.name}-{count}", min(REPLY_S, seconds)))
        await talker.after(asked, "reply", state="end", timeout=4 * REPLY_S)
        count += 1
    return count


def _match(talker: Talker, reply: str, sent: list[float], found: Downlink) -> None:
    """Each packet with the first message that holds its first sample."""
    frames = [frame for frame in talker.frames if frame.reply == reply]
    length_ms = 1000 * PACKET_S * len(sent) + _LATE_MS
    if not frames or abs(frames[-1].end_ms - length_ms) > 21:  # whole frames of 20 ms
        found.left_out += 1
        return
    for number, at in enumerate(sent):
        place = 1000 * PACKET_S * number + _LATE_MS + 1  # the resampler's own delay is less than that
        arrivals = [frame.arrival for frame in frames if frame.at_ms <= place < frame.end_ms]
        if arrivals:
            found.to_socket.append(1000 * (arrivals[0] - at))
        else:
            found.lost += 1


def packet_ms(count: int) -> list[float]:
    """Milliseconds to decode and resample one packet, alone: nobody can do it in less."""
    packets = voice_packets(6.0)
    decoder, resampler = PacketDecoder(DOWN), Resampler(DOWN, MEDIA_RATE)
    took = []
    for number in range(count):
        began = time.perf_counter()
        resampler.feed(decoder.decode(packets[number % len(packets)]).samples)
        took.append(1000 * (time.perf_counter() - began))
    return took


def details(found: Downlink) -> dict[str, Any]:
    """As JSON."""
    return {
        "replies_left_out": found.left_out,
        "packets_lost": found.lost,
        "hop_ms": round(found.hop_ms, 3),
        "server_cores": round(found.cpu, 3),
        "complaints": found.complaints,
    }
