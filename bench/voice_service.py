"""A remote voice service: the tests' strict xiaozhi server, with a voice that never pauses and a timetable.

`python -m bench.voice_service` prints its URL, then a JSON object in a line of its own for whatever happens; `t` is
monotonic time, which all processes of a machine share. What it says, and how, comes as typed text, a `Programme` in
JSON; speech is answered with the last one. Lines on standard input: `close` (nobody can connect any more), `open`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
import uvloop
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed

from tests.simulators.xiaozhi import (
    DOWN,
    Close,
    Conversation,
    Drop,
    Fault,
    Say,
    Stall,
    Trouble,
    XiaozhiServer,
    opus_encoder,
)

PACKET_S = 0.06
BURST = 5
"""Packets that come at once, as the usual servers do it; then one per `PACKET_S`."""
SAID = "what is seven times six"
_LOOP_S = 30
_SENTENCE_S = 5.0
FAULTS: dict[str, Fault] = {
    "drop": Drop(),
    "1005": Close(None),
    "1000": Close(1000),
    "1011": Close(1011),
    "goodbye": Say(('{"type":"goodbye"}',)),
    "stall": Stall(),
}
"""How a conversation can be broken off."""


@dataclass(frozen=True, slots=True)
class Programme:
    """`seconds` of speech, each packet up to `jitter_ms` sooner or later than it should come, never out of order.

    `fault` happens `after_s` after the text came, whatever is going on then; "" for none.
    """

    name: str = ""
    seconds: float = 1.2
    jitter_ms: float = 0.0
    fault: str = ""
    after_s: float = 0.0

    def text(self) -> str:
        """As it is typed."""
        return json.dumps(asdict(self))


def voice(seconds: float) -> NDArray[np.int16]:
    """A voice-like sound at 24 kHz that is never silent, shape (n,)."""
    time_s = np.arange(int(seconds * DOWN)) / DOWN
    tone = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 8))
    tone = tone * (0.7 + 0.3 * np.sin(2 * np.pi * 4 * time_s))
    return np.asarray(tone / np.abs(tone).max() * 12_000, np.int16)


def voice_packets(seconds: float) -> list[bytes]:
    """The same in Opus, packets of `PACKET_S`."""
    encoder, sound, size = opus_encoder(DOWN, round(1000 * PACKET_S)), voice(seconds), round(PACKET_S * DOWN)
    packets = []
    for start in range(0, len(sound) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(sound[start : start + size][None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = DOWN, start, Fraction(1, DOWN)
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def timetable(count: int, jitter_s: float, rng: random.Random) -> list[float]:
    """When each packet is to be sent, seconds after the first one could be; never out of order."""
    due, latest = [], 0.0
    for number in range(count):
        ideal = max(0, number - BURST + 1) * PACKET_S
        latest = max(latest, ideal + jitter_s + rng.uniform(-jitter_s, jitter_s))
        due.append(latest)
    return due


def tell(event: str, **more: Any) -> None:
    """Print what happened."""
    print(json.dumps({"event": event, "t": time.monotonic(), **more}), flush=True)


class Talker(Conversation):
    """Says what the programme says. A conversation that was broken off says nothing more."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.programme = Programme()
        self.breaking: asyncio.Task[None] | None = None
        self.silent = False

    async def take(self, message: dict[str, Any]) -> bool:
        """See `Conversation`."""
        if message["type"] == "abort":
            tell("abort", name=self.programme.name)
        if message["type"] == "listen" and message.get("state") == "detect":
            self.programme = Programme(**json.loads(message["text"]))
            if self.programme.fault:
                self.breaking = asyncio.create_task(self.break_off(self.programme))
        return await super().take(message)

    async def speak(self) -> None:
        """See `Conversation`."""
        programme, server = self.programme, self.server
        assert isinstance(server, Service)
        times: list[float] = []
        late = 0.0
        count = round(programme.seconds / PACKET_S)
        due = timetable(count, programme.jitter_ms / 1000, server.rng)
        per_sentence = round(_SENTENCE_S / PACKET_S)
        try:
            await self.say(type="stt", text=SAID)
            await self.say(type="tts", state="start")
            origin = time.monotonic()
            for number in range(count):
                await asyncio.sleep(max(0.0, origin + due[number] - time.monotonic()))
                if self.silent:
                    return
                if number % per_sentence == 0:
                    await self.say(type="tts", state="sentence_start", text=f"Sentence {number // per_sentence}.")
                late = max(late, time.monotonic() - origin - due[number])
                packet = self.framed(server.packets[number % len(server.packets)])
                times.append(time.monotonic())
                await self.socket.send(packet)
            await self.say(type="tts", state="stop")
        except ConnectionClosed:
            pass
        finally:
            tell("spoke", name=programme.name, times=[round(at, 5) for at in times], late_ms=round(1000 * late))

    async def break_off(self, programme: Programme) -> None:
        """Have the fault."""
        await asyncio.sleep(programme.after_s)
        with contextlib.suppress(ConnectionClosed):
            tell("broke", name=programme.name, fault=programme.fault)
            self.trouble = Trouble("now", FAULTS[programme.fault])
            self.silent = programme.fault == "stall"
            await self.misbehave("now")


@dataclass
class Service(XiaozhiServer):
    """The tests' server with this voice."""

    conversation: type[Conversation] | None = Talker
    packets: list[bytes] = field(default_factory=lambda: voice_packets(_LOOP_S))
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    async def _talk(self, socket: Any) -> None:
        number = len(self.visits)
        try:
            await super()._talk(socket)
        finally:
            if self.visits[number].refusal:
                tell("refused", why=self.visits[number].refusal)

    def close(self) -> None:
        """Nobody can connect any more; conversations go on."""
        assert self._server is not None
        self._server.close(close_connections=False)


async def main() -> None:
    """Serve until standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    service = Service()
    await service.start()
    print(service.url, flush=True)
    while line := (await reader.readline()).decode().strip():
        if line == "close":
            service.close()
        else:
            await service.start()
        tell(line)


if __name__ == "__main__":
    uvloop.run(main())
