"""The least that a Python WebRTC server costs: silence and ready-made pictures, the microphone read and dropped.

`python -m bench.floor` prints its URL and answers `/offer` and `/human` (which does nothing) until interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import time
from fractions import Fraction
from typing import Any

import numpy as np
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame

from avatar.face.vector import VectorFace
from core.frames import Activity, FaceCue, MouthShape, Picture

_RATE, _BLOCK, _FPS = 48_000, 960, 25


class Metronome:
    """Both tracks of a session wait on it."""

    def __init__(self) -> None:
        self._origin: float | None = None

    async def wait(self, seconds: float) -> None:
        """Until `seconds` after the first call."""
        now = time.monotonic()
        if self._origin is None:
            self._origin = now
        await asyncio.sleep(max(0.0, self._origin + seconds - now))


class Silence(MediaStreamTrack):
    """20 ms of silence per `recv`."""

    kind = "audio"

    def __init__(self, metronome: Metronome) -> None:
        super().__init__()
        self._metronome = metronome
        self._position = 0
        self._samples = np.zeros((1, _BLOCK), np.int16)

    async def recv(self) -> AudioFrame:
        """The next block, when due."""
        await self._metronome.wait(self._position / _RATE)
        frame = AudioFrame.from_ndarray(self._samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = _RATE, self._position, Fraction(1, _RATE)
        self._position += _BLOCK
        return frame


class Pictures(MediaStreamTrack):
    """Ready-made pictures, 25 per second."""

    kind = "video"

    def __init__(self, metronome: Metronome, pictures: list[VideoFrame]) -> None:
        super().__init__()
        self._metronome = metronome
        self._pictures = itertools.cycle(pictures)
        self._index = 0

    async def recv(self) -> VideoFrame:
        """The next picture, when due."""
        await self._metronome.wait(self._index / _FPS)
        frame = next(self._pictures)
        frame.pts, frame.time_base = self._index, Fraction(1, _FPS)
        self._index += 1
        return frame


async def talking_pictures(seconds: float = 4.0) -> list[Picture]:
    """The product's own face talking, so that the encoder has the same work; shape of each as `Picture`."""
    face = VectorFace()
    await face.start()
    stream = face.open(512, 512, seed=1)
    pictures = []
    for index in range(int(seconds * _FPS)):
        jaw = 0.25 + 0.25 * float(np.sin(2 * np.pi * 4 * index / _FPS))
        cue = FaceCue(time=index / _FPS, mouth=MouthShape(jaw_open=jaw), activity=Activity.SPEAKING, loudness=jaw / 4)
        pictures.append(stream.draw(cue))
    await face.close()
    return pictures


class FloorServer:
    """Answers offers; keeps nothing else."""

    def __init__(self, pictures: list[Picture]) -> None:
        self._pictures = [VideoFrame.from_ndarray(picture, format="yuv420p") for picture in pictures]
        self._connections: list[RTCPeerConnection] = []
        self._readers: list[asyncio.Task[None]] = []

    def application(self) -> web.Application:
        """Its routes."""
        application = web.Application()
        application.add_routes([web.post("/offer", self._offer), web.post("/human", self._human)])
        return application

    async def close(self) -> None:
        """Hang up."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*(connection.close() for connection in self._connections))

    async def _offer(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connections.append(connection)
        connection.on("track", self._arrived)
        metronome = Metronome()
        connection.addTransceiver(Silence(metronome), direction="sendrecv")
        # every session its own list: a frame carries its session's timestamp
        video = connection.addTransceiver(Pictures(metronome, list(self._pictures)), direction="sendonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        video.setCodecPreferences(sorted(codecs, key=lambda codec: codec.mimeType.lower() != "video/vp8"))
        await connection.setRemoteDescription(RTCSessionDescription(sdp=body["sdp"], type="offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        number = str(len(self._connections))
        return web.json_response({"sdp": connection.localDescription.sdp, "type": "answer", "sessionid": number})

    async def _human(self, request: web.Request) -> web.Response:
        return web.json_response({"code": 0, "msg": "ok"})

    def _arrived(self, track: MediaStreamTrack) -> None:
        self._readers.append(asyncio.create_task(_drop(track)))


async def _drop(track: MediaStreamTrack) -> None:
    with contextlib.suppress(MediaStreamError):
        while True:
            await track.recv()


async def main() -> None:
    """Serve until SIGINT."""
    server = FloorServer(await talking_pictures())
    runner = web.AppRunner(server.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await stop.wait()
    await server.close()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
