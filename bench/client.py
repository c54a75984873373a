"""A WebRTC client that measures: it offers like a browser and times what arrives."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from bench.rtp import Recording, Sound

AUDIBLE = 0.01
"""RMS (of full scale) above which 20 ms of received sound count as audible."""
PACKET_S = 0.02
_HEARTBEAT_S = 20.0


@dataclass(frozen=True, slots=True)
class Connected:
    """Seconds from sending the offer to the answer and to the first packet of each kind."""

    answer_s: float
    video_s: float
    audio_s: float


class Client:
    """One browser-like client. `async with` closes it."""

    def __init__(self, url: str, *, microphone: MediaStreamTrack | None = None, keep_video: bool = False) -> None:
        self.url = url
        self.messages: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {}
        self._microphone = microphone
        self._keep_video = keep_video
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._http = aiohttp.ClientSession()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.voice: Recording
        self.video: Recording
        self.sound: Sound

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def session(self) -> str:
        """The session's id."""
        return str(self.answer["sessionid"])

    async def connect(self, timeout: float = 30.0, **wishes: Any) -> Connected:
        """Offer (with these further fields), apply the answer, wait for the first packets.

        Raises `RuntimeError` when refused, `TimeoutError`.
        """
        pc = self._pc
        audio = pc.addTransceiver(self._microphone or "audio", direction="sendrecv" if self._microphone else "recvonly")
        video = pc.addTransceiver("video", direction="recvonly")
        self.voice = Recording("audio", audio.receiver)
        self.video = Recording("video", video.receiver, keep=self._keep_video)
        self.sound = Sound(self.voice)
        await pc.setLocalDescription(await pc.createOffer())
        offered = time.monotonic()
        self.answer = await self.post("/offer", sdp=pc.localDescription.sdp, type="offer", **wishes)
        answered = time.monotonic()
        if "sdp" not in self.answer:
            raise RuntimeError(f"the offer was refused: {self.answer}")
        await pc.setRemoteDescription(RTCSessionDescription(self.answer["sdp"], "answer"))
        async with asyncio.timeout(timeout):
            while not (self.voice.arrivals and self.video.arrivals):
                await asyncio.sleep(0.002)
        first = self.video.arrivals[0].at, self.voice.arrivals[0].at
        return Connected(answered - offered, first[0] - offered, first[1] - offered)

    async def login(self) -> None:
        """Open the WebSocket; its messages are collected in `messages`, stamped with their arrival under `at`."""
        self._socket = await self._http.ws_connect(self.url.replace("http", "ws") + "/ws")
        await self._socket.send_json({"type": "login", "session_id": self.session, "token": self.answer.get("token")})
        self._tasks = [asyncio.create_task(work(self._socket)) for work in (self._collect, self._beat)]
        await self.message("login_success")

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        """POST JSON, return the JSON answer."""
        async with self._http.post(self.url + path, json=body) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            return answer

    async def say(self, text: str, kind: str = "echo") -> float:
        """Have a text spoken (`echo`) or answered (`chat`); returns when it was sent. Raises `RuntimeError`."""
        sent = time.monotonic()
        answer = await self.post("/human", sessionid=self.session, text=text, type=kind)
        if answer.get("code") != 0:
            raise RuntimeError(f"/human was refused: {answer}")
        return sent

    async def upload(self, wav: bytes) -> float:
        """Have a WAV file spoken; returns when it was sent. Raises `RuntimeError`."""
        form = aiohttp.FormData()
        form.add_field("sessionid", self.session)
        form.add_field("file", wav, filename="sound.wav", content_type="audio/wav")
        sent = time.monotonic()
        async with self._http.post(self.url + "/humanaudio", data=form) as response:
            answer = await response.json(content_type=None)
        if answer.get("code") != 0:
            raise RuntimeError(f"/humanaudio was refused: {answer}")
        return sent

    async def message(self, kind: str, since: float = 0.0, timeout: float = 20.0, **fields: Any) -> dict[str, Any]:
        """Wait for the first message that arrived after `since` with this type and these fields."""
        async with asyncio.timeout(timeout):
            while True:
                for message in self.messages:
                    matches = message.get("type") == kind and message["at"] >= since
                    if matches and all(message.get(key) == value for key, value in fields.items()):
                        return message
                await asyncio.sleep(0.005)

    async def audible(self, since: float, timeout: float = 20.0) -> float:
        """Arrival of the first audible packet after `since`. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            while not (loud := self.sound.loud(since, AUDIBLE)):
                await asyncio.sleep(0.01)
        return loud[0]

    async def silence(self, since: float, length: float = 0.5, timeout: float = 60.0) -> float:
        """When the last audible packet after `since` ended, once `length` s of silence followed; else `since`."""
        async with asyncio.timeout(timeout):
            while True:
                loud = self.sound.loud(since, AUDIBLE)
                last = loud[-1] + PACKET_S if loud else since
                if time.monotonic() - last >= length:
                    return last
                await asyncio.sleep(0.02)

    async def hang_up(self) -> None:
        """End the session as a closing page does."""
        await self.post("/api/hangup", sessionid=self.session, token=self.answer.get("token"))

    async def close(self) -> None:
        """Leave."""
        for task in self._tasks:
            task.cancel()
        if self._socket is not None:
            await self._socket.close()
        await self._pc.close()
        await self._http.close()

    async def _collect(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.messages.append({**message.json(), "at": time.monotonic()})

    async def _beat(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """A socket that says nothing is closed by the server."""
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            await socket.send_json({"type": "heartbeat"})


class Lag:
    """How late this client's own event loop was: figures finer than this are not the server's. `async with`."""

    def __init__(self) -> None:
        self.worst_ms = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Lag:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        while True:
            due = time.monotonic() + 0.005
            await asyncio.sleep(0.005)
            self.worst_ms = max(self.worst_ms, (time.monotonic() - due) * 1000)


async def sessions_of(url: str) -> list[dict[str, Any]]:
    """The server's live sessions."""
    async with aiohttp.ClientSession() as http, http.get(url + "/api/admin/sessions") as response:
        body = await response.json()
    listed: list[dict[str, Any]] = body["data"]["sessions"]
    return listed
