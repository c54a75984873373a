"""A strict xiaozhi device: refuses whatever breaks the protocol or its small buffers. Shares no code with the product.

It has its own framing, and FFmpeg's Opus. `Rules` judges what a server sends, and when; `XiaozhiDevice` is the box with
microphone and loudspeaker around it: it listens, speaks and falls silent as the ESP32 firmware does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

DEVICE, CLIENT = "02:00:00:ab:cd:ef", "0d6f3c0e-6c5e-4b0a-9f3e-0d6b1c2a3f44"
UP, DOWN = 16000, 24000
EMOTIONS = frozenset(
    {
        "neutral", "happy", "laughing", "funny", "sad", "angry", "crying", "loving", "embarrassed", "surprised",
        "shocked", "thinking", "winking", "cool", "relaxed", "delicious", "kissy", "confident", "sleepy", "silly",
        "confused",
    }
)  # fmt: skip
AHEAD_S = 0.42
"""A server may be 5 packets ahead, and the network bring 2 at once."""
EARLY_S = 0.05
"""`tts stop` may come so long before the last sound has been played."""
ABORT_S = 1.0
FIELDS = {
    "stt": {"text"},
    "llm": {"emotion", "text"},
    "alert": {"status", "message", "emotion"},
    "pong": {"timestamp"},
    "goodbye": set(),
}


class Refusal(Exception):
    """What the server did wrong."""


@dataclass
class Rules:
    """What a server may send. Times are seconds of any clock."""

    version: int = 1
    session_id: str = ""
    frame_ms: int = 0
    speaking: bool = False
    mode: str = ""
    pinged: int = 0
    slack_s: float = 0.0
    """By so much what came was seen late: the machine was busy."""
    may_cut: bool = False
    """The user interrupts, or has just done so: a reply may end before it was played."""
    aborted_at: float | None = None
    played_until: float = 0.0
    underruns: list[float] = field(default_factory=list)
    """Seconds of silence each time when sound ran out in the middle of speaking."""
    decoder: av.AudioCodecContext = field(default_factory=lambda: opus_decoder())

    def text(self, text: str, now: float) -> dict[str, Any]:
        """A text message. Raises `Refusal`."""
        message = parsed(text)
        kind = message["type"]
        if kind == "hello":
            self._hello(message)
            return message
        if not self.session_id:
            raise Refusal(f"{kind} before hello")
        if message.get("session_id") != self.session_id:
            raise Refusal(f"{kind}: session_id is not that of the hello")
        if kind == "tts":
            self._tts(message, now)
        elif kind in FIELDS:
            self._plain(message)
        else:
            raise Refusal(f"type {kind!r} is unknown")
        return message

    def sound(self, data: bytes, now: float) -> NDArray[np.int16]:
        """A binary message: its sound at 48 kHz. Raises `Refusal`."""
        packet = unframed(data, self.version)
        if not self.session_id:
            raise Refusal("sound before hello")
        if not self.speaking:
            raise Refusal("sound outside of tts start and stop: a device drops it")
        samples = decoded(self.decoder, packet)
        if len(samples) != 48 * self.frame_ms:
            raise Refusal(f"a packet of {len(samples) / 48:g} ms, {self.frame_ms} were announced")
        if self.played_until and now > self.played_until:
            self.underruns.append(now - self.played_until)
        self.played_until = max(self.played_until, now) + self.frame_ms / 1000
        if self.played_until - now > AHEAD_S + self.slack_s:
            raise Refusal(f"{self.played_until - now:.2f} s ahead of what is played")
        return samples

    def aborted(self, now: float) -> None:
        """The device sent `abort`."""
        self.aborted_at, self.may_cut = now, True

    def tick(self, now: float) -> None:
        """Time passes. Raises `Refusal`."""
        if self.aborted_at is not None and now - self.aborted_at > ABORT_S + self.slack_s:
            raise Refusal("no tts stop after abort")

    def _hello(self, message: dict[str, Any]) -> None:
        if self.session_id:
            raise Refusal("a second hello")
        if message.get("transport") != "websocket":
            raise Refusal("hello: transport is not websocket")
        session_id, params = message.get("session_id"), message.get("audio_params")
        if not isinstance(session_id, str) or not session_id:
            raise Refusal("hello: session_id")
        if not isinstance(params, dict) or (params.get("format"), params.get("channels")) != ("opus", 1):
            raise Refusal("hello: audio_params is not mono Opus")
        if params.get("sample_rate") != DOWN or params.get("frame_duration") not in (20, 40, 60):
            raise Refusal("hello: sample_rate or frame_duration")
        self.session_id, self.frame_ms = session_id, params["frame_duration"]

    def _tts(self, message: dict[str, Any], now: float) -> None:
        match message.get("state"):
            case "start":
                fields(message, {"state"})
                if self.speaking:
                    raise Refusal("tts start twice")
                if self.aborted_at is not None:
                    raise Refusal("tts start before the stop that answers an abort")
                self.speaking, self.played_until, self.may_cut = True, 0.0, False
            case "sentence_start":
                fields(message, {"state", "text"})
                if not self.speaking:
                    raise Refusal("a sentence outside of tts start and stop")
                if not isinstance(message["text"], str) or not message["text"]:
                    raise Refusal("a sentence without text")
            case "stop":
                fields(message, {"state"})
                if not self.speaking and self.aborted_at is None:
                    raise Refusal("tts stop without start")
                if self.speaking and not self.may_cut and self.played_until - now > EARLY_S + self.slack_s:
                    raise Refusal(f"tts stop {self.played_until - now:.2f} s before the end was played")
                self.speaking, self.aborted_at, self.may_cut = False, None, False
            case state:
                raise Refusal(f"tts: state {state!r}")

    def _plain(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        fields(message, FIELDS[kind])
        empty = [
            name for name in FIELDS[kind] - {"timestamp"} if not isinstance(message[name], str) or not message[name]
        ]
        if empty:
            raise Refusal(f"{kind}: {empty[0]} is empty")
        if kind == "llm" and message["emotion"] not in EMOTIONS:
            raise Refusal("llm: emotion is unknown")
        if kind == "stt" and self.speaking and self.mode != "realtime" and not self.may_cut:
            raise Refusal("stt while the server speaks")
        if kind == "pong":
            if not self.pinged:
                raise Refusal("a pong that nobody asked for")
            self.pinged -= 1


class XiaozhiDevice:
    """`async with XiaozhiDevice(url) as device:` has said hello. Leaving it raises the first `Refusal`.

    `hello`: fields that replace those of the hello; None leaves one out. `headers`, `query`: as they are sent.
    """

    def __init__(
        self,
        url: str,
        *,
        version: int = 1,
        frame_ms: int = 60,
        device_id: str = DEVICE,
        client_id: str = CLIENT,
        token: str = "",
        headers: dict[str, str] | None = None,
        hello: dict[str, Any] | None = None,
        empty_ids: bool = False,
    ) -> None:
        self.url = url
        self.frame_ms = frame_ms
        self.rules = Rules(version)
        self.headers = {"Device-Id": device_id, "Client-Id": client_id, "Protocol-Version": str(version)}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        if headers is not None:
            self.headers = headers
        params = {"format": "opus", "sample_rate": UP, "channels": 1, "frame_duration": frame_ms}
        whole = {
            "type": "hello", "version": version, "features": {"mcp": True}, "transport": "websocket",
            "audio_params": params, **(hello or {}),
        }  # fmt: skip
        self.hello = {key: value for key, value in whole.items() if value is not None}
        self.empty_ids = empty_ids
        self.keeps_listening = True
        """In auto mode it listens again after each reply, as soon as it has been played."""
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.heard: list[tuple[float, NDArray[np.int16]]] = []
        """(arrival, sound at 48 kHz) of every packet."""
        self.sent = 0
        """Packets."""
        self.refusal: Refusal | None = None
        self.code: int | None = None
        self._listening = False
        self._speech: deque[NDArray[np.int16]] = deque()
        self.spoken_at = 0.0
        """When the last of what was said had been sent."""
        self._encoder = opus_encoder(UP, frame_ms)
        self._pts = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.socket: ClientConnection | None = None

    async def __aenter__(self) -> XiaozhiDevice:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
        if self.refusal is not None:
            raise self.refusal

    async def open(self) -> None:
        """Connect, say hello, wait 10 s for the answer."""
        await self.plug()
        await self.send(**self.hello)
        await self.message("hello", timeout=10)

    async def plug(self) -> None:
        """Connect only."""
        self.socket = await connect(
            self.url, additional_headers=self.headers, compression=None, ping_interval=None, close_timeout=1
        )
        self._tasks = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._speak()),
            asyncio.create_task(self._doze()),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.socket is not None:
            await self.socket.close()

    def vanish(self) -> None:
        """The power goes."""
        assert self.socket is not None
        for task in self._tasks:
            task.cancel()
        self.socket.transport.abort()

    def freeze(self) -> None:
        """The connection stays, but nothing is read or said any more."""
        assert self.socket is not None
        for task in self._tasks:
            task.cancel()
        self.socket.transport.pause_reading()  # type: ignore[attr-defined]

    # -- what it does

    async def listen(self, mode: str) -> None:
        self.rules.mode = mode
        if self.rules.speaking:
            self.rules.may_cut = True
        await self.send(type="listen", state="start", mode=mode)
        self._listening = True

    async def stop(self) -> None:
        self._listening = False
        await self.send(type="listen", state="stop")

    async def detect(self, text: str) -> None:
        self.rules.may_cut = True
        await self.send(type="listen", state="detect", text=text)

    async def abort(self, **more: Any) -> float:
        now = time.monotonic()
        self.rules.aborted(now)
        await self.send(type="abort", **more)
        return now

    async def ping(self) -> None:
        self.rules.pinged += 1
        await self.send(type="ping")

    def say(self, samples: NDArray[np.int16]) -> None:
        """Speak into its microphone: mono int16 at 16 kHz, from the next packet on."""
        size = UP * self.frame_ms // 1000
        padded = np.pad(samples, (0, -len(samples) % size))
        self._speech.extend(padded.reshape(-1, size))
        self.rules.may_cut = self.rules.may_cut or self.rules.mode == "realtime"

    async def send(self, **message: Any) -> None:
        assert self.socket is not None
        ids = {} if message["type"] == "hello" else {"session_id": "" if self.empty_ids else self.rules.session_id}
        await self.socket.send(json.dumps({**ids, **message}))

    async def send_packet(self, packet: bytes) -> None:
        assert self.socket is not None
        await self.socket.send(framed(packet, self.rules.version))

    # -- what it was sent

    def said(self, kind: str, since: float = 0.0, **more: Any) -> list[tuple[float, dict[str, Any]]]:
        return [
            (at, message)
            for at, message in self.messages
            if at >= since and message["type"] == kind and all(message.get(k) == v for k, v in more.items())
        ]

    async def message(self, kind: str, timeout: float = 20.0, since: float = 0.0, **more: Any) -> dict[str, Any]:
        """The first message of this kind. Raises the refusal, if there is one."""
        async with asyncio.timeout(timeout):
            while not (found := self.said(kind, since, **more)):
                self._complain()
                await asyncio.sleep(0.005)
        return found[0][1]

    async def when(self, kind: str, timeout: float = 20.0, since: float = 0.0, **more: Any) -> float:
        """When it came."""
        await self.message(kind, timeout, since, **more)
        return self.said(kind, since, **more)[0][0]

    async def closed(self, timeout: float = 10.0) -> int | None:
        """The code with which the server closes."""
        assert self.socket is not None
        async with asyncio.timeout(timeout):
            await self.socket.wait_closed()
            await asyncio.gather(*self._tasks[:1], return_exceptions=True)
        return self.socket.close_code

    # -- inside

    def _complain(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def _read(self) -> None:
        assert self.socket is not None
        with contextlib.suppress(ConnectionClosed):
            async for item in self.socket:
                now = time.monotonic()
                try:
                    self.rules.tick(now)
                    if isinstance(item, bytes):
                        self.heard.append((now, self.rules.sound(item, now)))
                    else:
                        self._take(self.rules.text(item, now), now)
                except Refusal as refusal:
                    self.refusal = self.refusal or refusal
        self.code = self.socket.close_code

    def _take(self, message: dict[str, Any], now: float) -> None:
        self.messages.append((now, message))
        if message["type"] != "tts":
            return
        if message["state"] == "start" and self.rules.mode == "auto":
            self._listening = False
        elif message["state"] == "stop" and self.rules.mode == "auto" and self.keeps_listening:
            self._tasks.append(asyncio.create_task(self._listen_again(self.rules.played_until - now)))

    async def _listen_again(self, wait: float) -> None:
        await asyncio.sleep(max(0.0, wait))
        with contextlib.suppress(ConnectionClosed):
            await self.listen("auto")

    async def _doze(self) -> None:
        """How late this process sees things."""
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            self.rules.slack_s = max(self.rules.slack_s, time.monotonic() - due)

    async def _speak(self) -> None:
        """The microphone: what is said, or a quiet room; sent while the device listens."""
        noise = np.random.default_rng(1)
        size = UP * self.frame_ms // 1000
        due = time.monotonic()
        with contextlib.suppress(ConnectionClosed):
            while True:
                due += self.frame_ms / 1000
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if not self._listening:
                    continue
                speaks = bool(self._speech)
                samples = self._speech.popleft() if speaks else noise.normal(0, 20, size).astype(np.int16)
                for packet in self._encoded(samples):
                    await self.send_packet(packet)
                    self.sent += 1
                if speaks and not self._speech:
                    self.spoken_at = time.monotonic()

    def _encoded(self, samples: NDArray[np.int16]) -> list[bytes]:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], "s16", "mono")
        frame.sample_rate, frame.pts = UP, self._pts
        self._pts += len(samples)
        return [bytes(packet) for packet in self._encoder.encode(frame)]


def parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError:
        raise Refusal("no JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Refusal("no JSON object with a type")
    return message


def fields(message: dict[str, Any], needed: set[str]) -> None:
    there = set(message) - {"type", "session_id"}
    if missing := needed - there:
        raise Refusal(f"{message['type']}: {min(missing)} is missing")
    if extra := there - needed:
        raise Refusal(f"{message['type']}: {min(extra)} is unknown")


def framed(packet: bytes, version: int) -> bytes:
    if version == 2:
        return struct.pack("!HHLLL", 2, 0, 0, 0, len(packet)) + packet
    return packet if version == 1 else b"\0\0" + len(packet).to_bytes(2, "big") + packet


def unframed(data: bytes, version: int) -> bytes:
    payload = data
    if version == 2:
        payload = data[16:]
        if len(data) < 16 or struct.unpack_from("!HHL", data) != (2, 0, 0) or data[12:16] != size4(payload):
            raise Refusal("a wrong header of version 2")
    elif version == 3:
        payload = data[4:]
        if len(data) < 4 or data[:2] != b"\0\0" or data[2:4] != size4(payload)[2:]:
            raise Refusal("a wrong header of version 3")
    if not payload:
        raise Refusal("an empty packet")
    return payload


def size4(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big")


def opus_decoder() -> av.AudioCodecContext:
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = 48000, "mono"
    return decoder


def opus_encoder(rate: int, frame_ms: int) -> av.AudioCodecContext:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", "s16"
    encoder.time_base = Fraction(1, rate)
    encoder.options = {"frame_duration": str(frame_ms), "application": "voip"}
    return encoder


def decoded(decoder: av.AudioCodecContext, packet: bytes) -> NDArray[np.int16]:
    try:
        frames = [frame.to_ndarray().reshape(-1) for frame in decoder.decode(av.Packet(packet))]
    except av.FFmpegError:
        raise Refusal("no Opus packet") from None
    sound = np.concatenate([*frames, np.zeros(0, frames[0].dtype if frames else np.int16)])
    return np.asarray(sound * 32767 if sound.dtype.kind == "f" else sound, np.int16)


def tone_packets(rate: int, frame_ms: int, count: int, pitch: float = 300.0) -> list[bytes]:
    """A tone in so many packets."""
    encoder, size, packets = opus_encoder(rate, frame_ms), rate * frame_ms // 1000, []
    for number in range(count):
        wave = 8000 * np.sin(2 * np.pi * pitch * np.arange(number * size, (number + 1) * size) / rate)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], "s16", "mono")
        frame.sample_rate, frame.pts = rate, number * size
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets
