"""The avatar of one session: stage, face and the connection that shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from avatar.ice import IceServers
from avatar.peer import Peer
from avatar.speaker import Speaker
from avatar.stage import SpeechStage
from avatar.tracks import FaceTrack, VoiceTrack
from core.clock import MediaClock
from core.errors import SessionNotFound
from core.frames import LinkState, Samples
from core.stages import FaceStream, LipSync, StageListener


class Avatar:
    """Implements `core.sessions.Media`. The stage outlives connections, so a browser can come back to it."""

    def __init__(
        self,
        *,
        listener: StageListener,
        lipsync: LipSync,
        face: FaceStream,
        ice: IceServers,
        codec: str,
        speech: Executor,
        pictures: Executor,
        on_audio: Callable[[Samples], None],
    ) -> None:
        self.stage = SpeechStage(listener)
        self.speaker = Speaker(self.stage, lipsync, speech)
        self._face = face
        self._ice = ice
        self._codec = codec
        self._pictures = pictures
        self._on_audio = on_audio
        self._peer: Peer | None = None
        self._video: FaceTrack | None = None
        self._clock = MediaClock()
        self._answering = asyncio.Lock()
        self._closed = False

    async def connect(self, sdp: str) -> str:
        """See `core.sessions.Media`."""
        async with self._answering:
            clock = MediaClock()
            voice = VoiceTrack(self.stage, clock)
            video = FaceTrack(self.stage, self._face, clock, self._pictures)
            peer = Peer(self._ice.usable(), codec=self._codec, on_audio=self._on_audio)
            answer = await peer.answer(sdp, voice, video)
            # a useless offer has raised by now: only a good one replaces the connection that there is
            earlier, self._peer, self._video, self._clock = self._peer, peer, video, clock
            if earlier is not None:
                await earlier.close()
            if self._closed:
                await self.disconnect()
                raise SessionNotFound("the session has ended")
            for track in (voice, video):
                track.begin(self.stage.next_position())
            return answer

    async def disconnect(self) -> None:
        """See `core.sessions.Media`."""
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()

    async def close(self) -> None:
        """See `core.sessions.Media`."""
        self._closed = True
        self.stage.clear()
        await self.disconnect()

    def link(self) -> LinkState:
        """See `core.sessions.Media`."""
        if self._peer is None:
            return LinkState.NEW
        match self._peer.state:
            case "connected":
                return LinkState.CONNECTED
            case "failed" | "closed":
                return LinkState.CLOSED
            case _:
                return LinkState.CONNECTING

    async def last_heard(self) -> float:
        """See `core.sessions.Media`."""
        return await self._peer.last_heard() if self._peer is not None else 0.0

    def status(self) -> dict[str, Any]:
        """See `core.sessions.Media`."""
        video = self._video
        return {
            "speaking": self.stage.speaking,
            "queued_seconds": round(self.stage.queued_seconds, 2),
            "underruns": self.stage.underruns,
            "clock_resyncs": self._clock.resyncs,
            "pictures_sent": video.sent if video else 0,
            "pictures_skipped": video.skipped if video else 0,
            "pictures_failed": video.failed if video else 0,
        }
