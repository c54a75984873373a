"""A client with a listener, for tests: what it was told, and waiting for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import numpy as np

from avatar.opus.packets import PacketEncoder
from core.dialogue.xiaozhi.client import XiaozhiClient
from core.dialogue.xiaozhi.endpoint import Endpoint, Options
from core.dialogue.xiaozhi.events import Event, ReplyAudio
from core.dialogue.xiaozhi.failure import Backoff
from core.dialogue.xiaozhi.tools import Tools
from core.frames import Samples
from tests.simulators.xiaozhi import CLIENT, DEVICE, TOKEN, XiaozhiServer

WAIT_S = 30.0

_Kind = TypeVar("_Kind")


def tone(seconds: float, pitch: float = 300.0, rate: int = 16000) -> Samples:
    return np.asarray(8000 * np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate), np.int16)


def spoken(count: int, frame_ms: int = 60, pitch: float = 300.0) -> list[bytes]:
    """So many packets of what a user says."""
    return PacketEncoder(16000, frame_ms).encode(tone(count * frame_ms / 1000, pitch))


def pitch_of(samples: Samples, rate: int = 24000) -> float:
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(power) * rate / len(samples))


class Impatient(Backoff):
    """Pauses a tenth as long."""

    def pause(self) -> float:
        return super().pause() / 10


class Talk:
    """The client and everything that it told, as `events`."""

    def __init__(self, client: XiaozhiClient) -> None:
        self.client = client
        self.events: list[Event] = []
        self._more = asyncio.Condition()

    async def listen(self) -> None:
        async for event in self.client.events():
            async with self._more:
                self.events.append(event)
                self._more.notify_all()

    async def until(self, true: Callable[[], Any]) -> None:
        """Wait until something is so, looking after every event."""
        async with asyncio.timeout(WAIT_S), self._more:
            await self._more.wait_for(true)

    async def told(self, kind: type[_Kind], count: int = 1) -> _Kind:
        """The event number `count` of a kind, as soon as it was told."""
        await self.until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]

    def all(self, kind: type[_Kind]) -> list[_Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    def sound(self, reply: int) -> Samples:
        pieces = [event.pcm.samples for event in self.all(ReplyAudio) if event.reply == reply]
        return np.concatenate([*pieces, np.zeros(0, np.int16)])

    async def turn(self, packets: list[bytes], mode: str = "manual") -> list[bool]:
        """One recording."""
        done = [await self.client.send_start_listening(mode)]
        done += [await self.client.send_audio(packet) for packet in packets]
        return [*done, await self.client.send_stop_listening()] if mode == "manual" else done


async def poll(true: Callable[[], Any]) -> None:
    """Wait until something is so that no event tells."""
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def talking(
    server: XiaozhiServer,
    options: Options | None = None,
    *,
    version: int = 1,
    token: str = TOKEN,
    tools: Tools | None = None,
    backoff: Backoff | None = None,
    listens: bool = True,
) -> AsyncIterator[Talk]:
    """A client of a server that runs, or will."""
    endpoint = Endpoint(server.url, DEVICE, CLIENT, token, version)
    talk = Talk(XiaozhiClient(endpoint, options, tools=tools, backoff=backoff or Impatient()))
    listener = asyncio.create_task(talk.listen()) if listens else None
    try:
        await talk.client.connect()
        yield talk
    finally:
        await talk.client.close()
        if listener is not None:
            await asyncio.wait_for(listener, WAIT_S)  # it ends with the events
