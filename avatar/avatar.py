"""The avatar of one session: stage, face and the connection that shows them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from aiortc import RTCIceServer

from avatar.choreography import Choreography
from avatar.ice import IceServers
from avatar.painter import Painter
from avatar.peer import Peer
from avatar.played import MOST_AHEAD_S
from avatar.pump import Pump
from avatar.speaker import Speaker
from avatar.stage import SpeechStage
from avatar.tracks import FaceTrack, VoiceTrack
from core.clips import Clip
from core.clock import MediaClock
from core.errors import SessionNotFound
from core.frames import FaceChoice, LinkState, Samples
from core.stages import LipSync, SoundSink, StageListener

_FIGURES = ("clock_resyncs", "pictures_sent", "pictures_skipped")


@dataclass(frozen=True, slots=True)
class _Link:
    """One connection and what it shows."""

    peer: Peer
    clock: MediaClock
    voice: VoiceTrack
    face: FaceTrack

    def figures(self) -> Counter[str]:
        """What was counted so far."""
        return Counter(
            clock_resyncs=self.clock.resyncs,
            pictures_sent=self.face.sent,
            pictures_skipped=self.face.skipped,
        )


class Avatar:
    """Implements `core.parts.Media`. The stage outlives connections, so a browser can come back to it."""

    def __init__(
        self,
        *,
        listener: StageListener,
        lipsync: LipSync,
        painter: Callable[[FaceChoice], Painter],
        face: FaceChoice,
        choreography: Choreography,
        ice: IceServers,
        codec: str,
        speech: Executor,
        on_audio: Callable[[Samples], None],
        took: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`took`: see `avatar.speaker.Speaker`."""
        self.stage = SpeechStage(listener)
        self.stage.use_backing(choreography)
        self.speaker = Speaker(self.stage, lipsync, speech, took)
        self._new_painter = painter
        self._painter = painter(face)
        self._choreography = choreography
        self._ice = ice
        self._codec = codec
        self._on_audio = on_audio
        self._link: _Link | None = None
        self._pump = Pump(self.stage)
        self.stage.heard_later(self._late)
        self._ahead: dict[object, float] = {}
        """Of each who listens: how many seconds before it is due sound may come."""
        self._delays: dict[object, Callable[[], float]] = {}
        """Of each who listens: how many seconds after its arrival sound is heard; 0 when nobody knows."""
        self._earlier: Counter[str] = Counter()
        """Figures of the connections before this one: what was sent stays sent."""
        self._answering = asyncio.Lock()
        self._closed = False

    async def connect(self, sdp: str, taking: Callable[[], None] = lambda: None, face: FaceChoice | None = None) -> str:
        """See `core.parts.Media`."""
        async with self._answering:
            painter = self._painter if face is None else self._new_painter(face)
            link, answer = await self._answer(sdp, painter)
            # a useless offer has raised by now: only a good one replaces the connection that there is
            taking()
            earlier, self._link = self._link, link
            self._take_over(painter)
            await self._retire(earlier)
            if self._closed:
                await self.disconnect()
                raise SessionNotFound("the session has ended")
            return answer

    async def attend(self, taking: Callable[[], None], face: FaceChoice | None = None) -> None:
        """See `core.parts.Media`."""
        async with self._answering:
            painter = self._painter if face is None else self._new_painter(face)
            taking()
            earlier, self._link = self._link, None
            self._take_over(painter)
            await self._retire(earlier)
            if self._closed:
                raise SessionNotFound("the session has ended")

    def listen(
        self,
        sink: SoundSink,
        ahead_s: float = 0.5,
        dropped: Callable[[], None] = lambda: None,
        delay: Callable[[], float] = lambda: 0.0,
    ) -> Callable[[], None]:
        """See `core.parts.Media`."""
        if not 0 <= ahead_s <= MOST_AHEAD_S:
            raise ValueError(f"ahead_s must be 0 to {MOST_AHEAD_S}")

        def end() -> None:
            untap()
            self._ahead.pop(key, None)
            self._delays.pop(key, None)
            self._arrange()

        def out() -> None:
            end()
            dropped()

        key = object()
        untap = self.stage.tap(sink, out)
        self._ahead[key] = ahead_s
        self._delays[key] = delay
        self._arrange()
        return end

    def _late(self) -> float:
        """Of those who told, the first who hears it; a connection's buffer is not known."""
        if not self._pump.running:
            return 0.0
        told = (delay() for delay in self._delays.values())
        return min((seconds for seconds in told if seconds > 0), default=0.0)

    def _arrange(self) -> None:
        """Let the pump pull the stage while somebody listens, and no track pulls it."""
        pulled = self._link is not None and self._link.voice.pulls
        if self._ahead and not pulled and not self._closed:
            self._pump.start(min(self._ahead.values()))
        else:
            self._pump.stop()

    def _pulled(self) -> int:
        """The track takes over, at the sound that is due."""
        self._arrange()
        return self.stage.position

    async def _retire(self, link: _Link | None) -> None:
        """Whoever listens goes on without this connection."""
        if link is not None:
            self._earlier += link.figures()
            link.voice.stop()
            self._arrange()
            await link.peer.close()

    def _lost(self, link: _Link) -> None:
        link.voice.stop()
        self._arrange()

    def _take_over(self, painter: Painter) -> None:
        if painter is not self._painter:
            painter.guard.count_on(self._painter.guard)
            self._painter = painter

    async def _answer(self, sdp: str, painter: Painter) -> tuple[_Link, str]:
        servers = self._ice.usable()
        link = self._new_link(servers, painter)
        try:
            async with asyncio.timeout(self._ice.patience_s(servers)):
                return link, await link.peer.answer(sdp, link.voice, link.face)
        except TimeoutError:
            # one of them died since it was last asked; host candidates do not wait for it
            self._ice.distrust()
            link = self._new_link([], painter)
            return link, await link.peer.answer(sdp, link.voice, link.face)

    def _new_link(self, servers: list[RTCIceServer], painter: Painter) -> _Link:
        clock = MediaClock()
        link = _Link(
            peer=Peer(servers, codec=self._codec, on_audio=self._on_audio, on_over=lambda: self._lost(link)),
            clock=clock,
            voice=VoiceTrack(self.stage, clock),
            face=FaceTrack(self.stage, painter, clock),
        )
        link.voice.begin(self._pulled)
        link.face.begin(self.stage.picture_due)
        return link

    def stock(self, clips: Sequence[Clip]) -> None:
        """See `core.parts.Media`."""
        self._choreography.stock(clips)

    async def perform(self, audiotype: int) -> bool:
        """See `core.parts.Media`."""
        shown = await self._choreography.perform(audiotype)
        self._pump.wake()
        return shown

    async def disconnect(self) -> None:
        """See `core.parts.Media`."""
        link, self._link = self._link, None
        await self._retire(link)

    async def close(self) -> None:
        """See `core.parts.Media`."""
        self._closed = True
        self._arrange()
        self.stage.clear()
        self._choreography.close()
        await self.disconnect()

    def link(self) -> LinkState:
        """See `core.parts.Media`."""
        if self._link is None:
            return LinkState.NEW
        match self._link.peer.state:
            case "connected":
                return LinkState.CONNECTED
            case "failed" | "closed":
                return LinkState.CLOSED
            case _:
                return LinkState.CONNECTING

    async def last_heard(self) -> float:
        """See `core.parts.Media`."""
        return await self._link.peer.last_heard() if self._link is not None else 0.0

    async def network(self) -> dict[str, float | None]:
        """See `core.parts.Media`."""
        return await self._link.peer.network() if self._link is not None else {}

    def status(self) -> dict[str, Any]:
        """See `core.parts.Media`."""
        figures = self._earlier + self._link.figures() if self._link is not None else Counter(self._earlier)
        figures["clock_resyncs"] += self._pump.resyncs
        return {
            "speaking": self.stage.speaking,
            "queued_seconds": round(self.stage.queued_seconds, 2),
            "underruns": self.stage.underruns,
            "clip": self._choreography.playing,
            **{key: figures[key] for key in _FIGURES},
            "listeners": len(self._ahead),
            "pictures_failed": self._painter.guard.failed,
            "pictures_repaired": self._painter.guard.repaired,
        }
