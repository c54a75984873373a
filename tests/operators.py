"""What tests of the operators' side share: sessions whose figures a test sets, and everything that looks at them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.conversation import Conversation
from core.events import Failed, ReplyState, Timed
from core.frames import FaceChoice, LinkState, Samples
from core.metrics import Metrics
from core.monitor import Identity, Monitor, SoundFigures, Sources
from core.parts import Parts
from core.pictures import PictureTally
from core.process import ProcessMeter
from core.readiness import Readiness
from core.session import Session
from core.sessions import LifecycleLimits, Sessions
from tests.fakes import DeafToFiles, ScriptedDialogue, ToneSynthesizer

ADAPTERS = {"asr": "echo", "dialogue": "scripted", "tts": "tone", "lipsync": "phonemes", "face": "grey"}


class WatchedMedia:
    """Media with figures that a test sets. `gate`: `network` answers when it is set."""

    def __init__(self) -> None:
        self.state = LinkState.CONNECTED
        self.figures: dict[str, Any] = {
            "speaking": False, "queued_seconds": 0.0, "underruns": 0, "clock_resyncs": 0,
            "pictures_sent": 0, "pictures_skipped": 0, "pictures_failed": 0,
        }  # fmt: skip
        self.way: dict[str, float | None] = {"rtt_ms": 20.0, "loss_percent": 0.5, "jitter_ms": 1.5}
        self.gate: asyncio.Event | None = None
        self.network_error: Exception | None = None
        self.asked = 0

    async def connect(self, sdp: str, taking: Callable[[], None] = lambda: None, face: FaceChoice | None = None) -> str:
        taking()
        return "answer"

    async def disconnect(self) -> None:
        self.state = LinkState.NEW

    async def close(self) -> None:
        self.state = LinkState.CLOSED

    def link(self) -> LinkState:
        return self.state

    async def last_heard(self) -> float:
        return 0.0

    def status(self) -> dict[str, Any]:
        return self.figures

    async def network(self) -> dict[str, float | None]:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.network_error is not None:
            raise self.network_error
        return self.way


class DeafEars:
    """Ears that hear nothing."""

    def hear(self, samples: Samples) -> None: ...

    def set_mode(self, mode: str) -> None: ...

    def talk_key(self, down: bool) -> None: ...

    def rest(self) -> None: ...

    async def run(self) -> None:
        await asyncio.Event().wait()


@dataclass
class ListedSocket:
    """A socket as far as operators are concerned."""

    session_id: str
    queued: int


class SocketList:
    """Sockets as a test lists them."""

    def __init__(self) -> None:
        self.rows: list[ListedSocket] = []
        self.dropped = 0
        self.described = 0

    def add(self, session_id: str, queued: int = 0) -> None:
        self.rows.append(ListedSocket(session_id, queued))

    def sockets(self) -> Sequence[ListedSocket]:
        return self.rows

    def describe(self, sockets: Iterable[ListedSocket] | None = None) -> list[dict[str, Any]]:
        chosen = self.rows if sockets is None else list(sockets)
        self.described += len(chosen)
        return [
            {
                "connection": f"c{number}", "session_id": row.session_id, "age_s": 2.0, "idle_s": 1.0,
                "queued": row.queued, "alive": True, "roles": {"web": f"User_{row.session_id}"},
            }
            for number, row in enumerate(chosen)
        ]  # fmt: skip


class Observatory:
    """Monitor and metrics over sessions with fakes."""

    def __init__(self) -> None:
        self.media: list[WatchedMedia] = []
        limits = LifecycleLimits(max_sessions=8, handshake_timeout_s=30, vanish_s=8, resume_s=30)
        self.sessions = Sessions(self._build, limits, on_gone=self._gone)
        self.sockets = SocketList()
        self.recognised: list[dict[str, Any]] = []
        self.conflicts = 0
        self.sound = SoundFigures()
        self.sources = Sources(
            identity=Identity("1.2.3", ADAPTERS, "mira", 8),
            sessions=self.sessions,
            sockets=self.sockets,
            process=ProcessMeter(),
            pictures=PictureTally(self.sessions),
            readiness=Readiness(ADAPTERS),
            recognitions=lambda limit: self.recognised[-limit:],
            username_conflicts=lambda: self.conflicts,
            sockets_dropped=lambda: self.sockets.dropped,
            sound=lambda: self.sound,
        )
        self.monitor = Monitor(self.sources)
        self.metrics = Metrics(self.sources)

    def _build(self, session_id: str, face: FaceChoice, voice: bool | None = None) -> Parts:
        self.media.append(WatchedMedia())
        conversation = Conversation(
            dialogue=ScriptedDialogue(), synthesizer=ToneSynthesizer(), emit=lambda event: None, show=lambda doing: None
        )
        return Parts(conversation, self.media[-1], DeafEars(), DeafToFiles())

    def _gone(self, session_id: str) -> None:
        self.monitor.forget(session_id)

    async def open(self) -> tuple[Session, WatchedMedia]:
        session, _ = await self.sessions.open("sdp")
        return session, self.media[-1]

    def record(self, session_id: str, event: Timed | Failed) -> None:
        self.monitor.record(session_id, event)
        self.metrics.record(session_id, event)


@contextlib.asynccontextmanager
async def observatory() -> AsyncIterator[Observatory]:
    """Measures its process, but looks at sessions only when a test says so."""
    watch = Observatory()
    await watch.sources.process.start()
    try:
        yield watch
    finally:
        await watch.sessions.close_all()
        await watch.monitor.close()
        await watch.sources.process.close()


def turn(number: int = 1, source: str = "speech", outcome: ReplyState = ReplyState.END, **marks: int | None) -> Timed:
    """An answer that is over."""
    times = {"transcript_ms": 180, "first_token_ms": 182, "first_audio_ms": 205, "on_wire_ms": 221, **marks}
    return Timed(f"r{number}", source, outcome, "demo", **times)
