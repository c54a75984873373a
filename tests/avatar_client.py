"""A WebRTC client of the server: offers like a browser, records what it receives and when.

Times are monotonic seconds at which a decoded frame was taken from the track.
"""

from __future__ import annotations

import asyncio
import time
from fractions import Fraction
from typing import Any

import aiohttp
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame
from numpy.typing import NDArray

AUDIBLE = 0.01
"""RMS (of full scale) above which received sound counts as audible."""


class WavMicrophone(MediaStreamTrack):
    """Plays 48 kHz mono int16 PCM in real time, then room noise at about -62 dBFS."""

    kind = "audio"

    def __init__(self, samples: NDArray[np.int16] | None = None) -> None:
        super().__init__()
        self._samples = np.zeros(0, np.int16) if samples is None else samples
        self._noise = np.random.default_rng(1).normal(0, 26, 48_000).astype(np.int16)
        self._position = 0
        self._origin: float | None = None
        self.ended_at: float | None = None

    def say(self, samples: NDArray[np.int16]) -> None:
        """Speak now."""
        self._samples = samples
        self._start = self._position
        self.ended_at = None

    _start = 0

    def leak(self, echo: list[NDArray[np.int16]]) -> None:
        """Mix these packets into what is sent next, one each; they are taken from the list."""
        self._echo = echo

    _echo: list[NDArray[np.int16]] = []  # noqa: RUF012

    async def recv(self) -> AudioFrame:
        now = time.monotonic()
        if self._origin is None:
            self._origin = now
        due = self._origin + self._position / 48_000
        if due > now:
            await asyncio.sleep(due - now)
        lo = self._position - self._start
        chunk = self._noise[self._position % 47_000 :][:960].copy()
        speech = self._samples[lo : lo + 960]
        if len(speech):
            chunk[: len(speech)] = speech
            if lo + 960 >= len(self._samples):
                self.ended_at = time.monotonic()
        if self._echo:
            echo = self._echo.pop(0)
            chunk[: len(echo)] += echo[:960]
        frame = AudioFrame.from_ndarray(chunk[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._position, Fraction(1, 48_000)
        self._position += 960
        return frame


class AvatarClient:
    """One browser-like client. `async with` closes it."""

    def __init__(
        self,
        url: str,
        *,
        microphone: MediaStreamTrack | None = None,
        video: bool = True,
        extra: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.url = url
        self.extra = extra or {}
        self.microphone = microphone
        self.want_video = video
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.http = aiohttp.ClientSession(headers=headers)
        self.answer: dict[str, Any] = {}
        self.sound: list[tuple[float, int, NDArray[np.int16]]] = []
        """(arrival, pts at 48 kHz, mono samples) of every 20 ms."""
        self.pictures: list[tuple[float, float, NDArray[np.uint8]]] = []
        """(arrival, media time in seconds, luma plane) of every picture, luma only if `keep_pictures`."""
        self.keep_pictures = True
        self.chroma = 0.0
        """Mean of U in the last picture."""
        self.messages: list[dict[str, Any]] = []
        self.offered_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> AvatarClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def session(self) -> str:
        return str(self.answer["sessionid"])

    async def connect(self, *, wait: float = 10.0) -> dict[str, Any]:
        """Offer, apply the answer, wait for the first picture and sound. Returns the answer (or the refusal)."""
        answer = await self.offer()
        if "sdp" in answer:
            await self.accept(answer, wait=wait)
        return answer

    async def offer(self) -> dict[str, Any]:
        """Offer only."""
        if self.microphone is not None:
            self.pc.addTrack(self.microphone)
        else:
            self.pc.addTransceiver("audio", direction="recvonly")
        if self.want_video:
            self.pc.addTransceiver("video", direction="recvonly")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        self.offered_at = time.monotonic()
        self.answer = await self.post("/offer", sdp=self.pc.localDescription.sdp, type="offer", **self.extra)
        return self.answer

    async def accept(self, answer: dict[str, Any], *, wait: float = 10.0) -> None:
        """Apply the answer and wait for the first picture and sound."""
        await self.pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        for transceiver in self.pc.getTransceivers():
            read = self._hear if transceiver.kind == "audio" else self._watch
            self._tasks.append(asyncio.create_task(read(transceiver.receiver.track)))
        async with asyncio.timeout(wait):
            while not self.sound or (self.want_video and not self.pictures):
                await asyncio.sleep(0.002)

    async def login(self) -> None:
        """Open the WebSocket and log in; messages are collected in `messages`."""
        self._socket = await self.http.ws_connect(self.url.replace("http", "ws") + "/ws")
        await self.send(type="login", session_id=self.session, token=self.answer.get("token"))
        self._tasks.append(asyncio.create_task(self._collect(self._socket)))
        await self.message("login_success")

    async def send(self, **message: Any) -> None:
        assert self._socket is not None
        await self._socket.send_json(message)

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        async with self.http.post(self.url + path, json=body) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            return answer

    async def human(self, text: str, kind: str = "echo", **more: Any) -> dict[str, Any]:
        return await self.post("/human", sessionid=self.session, text=text, type=kind, **more)

    async def upload(self, data: bytes, name: str = "a.wav") -> dict[str, Any]:
        form = aiohttp.FormData()
        form.add_field("sessionid", self.session)
        form.add_field("token", self.answer["token"])
        form.add_field("file", data, filename=name)
        async with self.http.post(self.url + "/humanaudio", data=form) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            return answer

    async def message(self, kind: str, timeout: float = 15.0, **fields: Any) -> dict[str, Any]:
        """Wait for the first collected message with this type and these fields."""
        async with asyncio.timeout(timeout):
            while True:
                for message in self.messages:
                    if message.get("type") == kind and all(message.get(k) == v for k, v in fields.items()):
                        return message
                await asyncio.sleep(0.005)

    async def audible(self, since: float, timeout: float = 15.0) -> float:
        """Arrival of the first audible 20 ms after `since`."""
        async with asyncio.timeout(timeout):
            while True:
                for arrival, _, samples in self.sound[-200:]:
                    if arrival >= since and loudness(samples) > AUDIBLE:
                        return arrival
                await asyncio.sleep(0.002)

    async def silence(self, since: float, length: float = 0.3, timeout: float = 30.0) -> float:
        """Arrival of the last audible 20 ms once `length` seconds of silence followed; `since` if none was."""
        async with asyncio.timeout(timeout):
            while True:
                loud = [a for a, _, s in self.sound if a >= since and loudness(s) > AUDIBLE]
                last = loud[-1] if loud else since
                if self.sound and self.sound[-1][0] - last >= length:
                    return last
                await asyncio.sleep(0.01)

    def heard(self, since: float = 0.0) -> NDArray[np.int16]:
        """Everything received since, mono 48 kHz."""
        parts = [samples for arrival, _, samples in self.sound if arrival >= since]
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        await self.pc.close()
        await self.http.close()

    async def _hear(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                stereo = frame.to_ndarray().reshape(-1, 2)
                self.sound.append((time.monotonic(), frame.pts, stereo[:, 0].copy()))
        except MediaStreamError:
            return

    async def _watch(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                luma = np.zeros((0, 0), np.uint8)
                if self.keep_pictures:
                    plane = frame.planes[0]
                    luma = (
                        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : frame.width].copy()
                    )
                    self.chroma = float(np.frombuffer(frame.planes[1], np.uint8).mean())
                self.pictures.append((time.monotonic(), float(frame.pts * frame.time_base), luma))
        except MediaStreamError:
            return

    async def _collect(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            self.messages.append(message.json())


def loudness(samples: NDArray[np.int16]) -> float:
    """RMS as a share of full scale."""
    wide = samples.astype(np.float32) / 32768
    return float(np.sqrt(np.mean(wide * wide))) if len(wide) else 0.0
