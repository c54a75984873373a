"""A client without WebRTC: offers of type "websocket", takes the avatar's sound over the socket, speaks over it.

Times are monotonic seconds at which a message was read.
"""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
from numpy.typing import NDArray

RATE = 24_000
LISTEN_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Heard:
    """One `audio_frame`."""

    arrival: float
    reply: str
    at_ms: int
    seq: int
    samples: NDArray[np.int16]

    @property
    def end_ms(self) -> float:
        return self.at_ms + 1000 * len(self.samples) / RATE


class SoundClient:
    """`messages`: all but the sound; `frames`: the sound; `clears`: with when they came. `async with` closes it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = aiohttp.ClientSession()
        self.answer: dict[str, Any] = {}
        self.messages: list[dict[str, Any]] = []
        self.arrivals: list[float] = []
        self.frames: list[Heard] = []
        self.clears: list[tuple[float, dict[str, Any]]] = []
        self.socket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SoundClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def session(self) -> str:
        return str(self.answer["sessionid"])

    async def offer(self, **more: Any) -> dict[str, Any]:
        """Offer only."""
        answer = await self.post("/offer", type="websocket", **more)
        if "sessionid" in answer:
            self.answer = answer
        return answer

    async def login(self) -> None:
        """Open the socket and log in."""
        self.socket = await self.http.ws_connect(self.url.replace("http", "ws") + "/ws")
        self._reader = asyncio.create_task(self._read(self.socket))
        await self.send(type="login", session_id=self.session, token=self.answer.get("token"))
        await self.message("login_success")

    async def open_audio(self, uplink: str = "none", **more: Any) -> dict[str, Any]:
        """Ask for the sound; the answer."""
        count = sum(message["type"] == "audio_opened" for message in self.messages)
        await self.send(type="open_audio", content={"uplink": uplink, **more})
        return await self.message("audio_opened", skip=count)

    async def start(self, uplink: str = "none", **more: Any) -> None:
        """All of it."""
        await self.offer()
        await self.login()
        await self.open_audio(uplink, **more)

    async def speak(
        self, samples: NDArray[np.int16], piece_s: float = 0.02, pad_s: float = 1.2, speed: float = 1.0
    ) -> None:
        """Send 16 kHz speech in real time (or so many times faster), and a quiet room after it."""
        room = np.random.default_rng(1).normal(0, 26, int(pad_s * LISTEN_RATE)).astype(np.int16)
        sound, size = np.concatenate([samples, room]), int(piece_s * LISTEN_RATE)
        assert self.socket is not None
        began = time.monotonic()
        for start in range(0, len(sound), size):
            await self.socket.send_bytes(sound[start : start + size].astype("<i2").tobytes())
            await asyncio.sleep(max(0.0, began + (start + size) / LISTEN_RATE / speed - time.monotonic()))

    async def leak(self, delay_s: float, share: float = 0.1) -> None:
        """A loudspeaker beside the microphone, in a quiet room: it plays `delay_s` after the first piece came."""
        assert self.socket is not None
        room = np.random.default_rng(1).normal(0, 26, 16_000).astype(np.int16)
        began, sent = time.monotonic(), 0
        while True:
            now = time.monotonic()
            count = min(int((now - began) * LISTEN_RATE) - sent, 15_000)
            sound = room[:count].astype(float)
            if self.frames:
                played = self.sound(self.frames[0].reply)
                place = began + (sent + np.arange(count)) / LISTEN_RATE - self.frames[0].arrival - delay_s
                at = (place * RATE).astype(int)
                inside = (place > 0) & (at < len(played))
                sound[inside] += share * played[at[inside]]
            if count:
                await self.socket.send_bytes(sound.astype("<i2").tobytes())
            sent += count
            await asyncio.sleep(0.02)

    async def send(self, **message: Any) -> None:
        assert self.socket is not None
        await self.socket.send_json(message)

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        async with self.http.post(self.url + path, json=body) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            return answer

    async def human(self, text: str, kind: str = "echo", **more: Any) -> dict[str, Any]:
        return await self.post("/human", sessionid=self.session, text=text, type=kind, **more)

    async def message(self, kind: str, timeout: float = 15.0, skip: int = 0, **fields: Any) -> dict[str, Any]:
        """Wait for the first message (after `skip`) with this type and these fields."""
        async with asyncio.timeout(timeout):
            while True:
                found = [m for m in self.messages if m.get("type") == kind and fields.items() <= m.items()]
                if len(found) > skip:
                    return found[skip]
                await asyncio.sleep(0.005)

    async def quiet(self) -> bool:
        """Whether no error came by the time that the server has answered a heartbeat."""
        errors = sum(message["type"] == "wsa_error" for message in self.messages)
        answers = sum(message["type"] == "heartbeat_response" for message in self.messages)
        await self.send(type="heartbeat")
        await self.message("heartbeat_response", skip=answers)
        return errors == sum(message["type"] == "wsa_error" for message in self.messages)

    async def heard_ms(self, reply: str, until_ms: float, timeout: float = 15.0) -> None:
        """Wait until the reply's sound has come as far."""
        async with asyncio.timeout(timeout):
            while not any(frame.reply == reply and frame.end_ms >= until_ms for frame in self.frames):
                await asyncio.sleep(0.005)

    def sound(self, reply: str) -> NDArray[np.int16]:
        """The reply as a client plays it: each piece at its place, silence between, what was cleared left out."""
        timeline = np.zeros(0, np.int16)
        events = [(frame.arrival, 1, frame) for frame in self.frames] + [(at, 0, clear) for at, clear in self.clears]
        for _, _, event in sorted(events, key=lambda item: item[:2]):
            if isinstance(event, Heard) and event.reply == reply:
                start, size = event.at_ms * RATE // 1000, len(event.samples)
                timeline = np.pad(timeline, (0, max(0, start + size - len(timeline))))
                timeline[start : start + size] = event.samples
            elif isinstance(event, dict) and event["reply"] == reply:
                timeline = timeline[: event["at_ms"] * RATE // 1000]
        return timeline

    async def hang_up(self) -> None:
        """Close the socket."""
        assert self.socket is not None
        assert self._reader is not None
        await self.socket.close()
        self._reader.cancel()
        await asyncio.wait({self._reader})

    async def close(self) -> None:
        if self._reader is not None:
            await self.hang_up()
        await self.http.close()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in socket:
            now, message = time.monotonic(), frame.json()
            if message["type"] == "audio_frame":
                samples = np.frombuffer(base64.b64decode(message["data"]), "<i2")
                self.frames.append(Heard(now, message["reply"], message["at_ms"], message["seq"], samples))
                continue
            if message["type"] == "audio_clear":
                self.clears.append((now, message))
            self.messages.append(message)
            self.arrivals.append(now)
