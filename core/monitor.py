"""What operators see: the sessions, the last answers with their times, errors, what was heard.

`Monitor` is a watcher of events; `snapshot()` is the message that the dashboard draws (docs/operations.md).
Everything it keeps is bounded, and nothing of a session but its last turns and errors outlives it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from core import log
from core.events import Event, Failed, Timed
from core.identity import username_of
from core.messages import now_ms
from core.pictures import PictureTally
from core.process import ProcessMeter
from core.readiness import Readiness
from core.session import Session
from core.sessions import Sessions

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
NETWORK_TIMEOUT_S = 0.1
TURNS = 50
ERRORS = 50
RECOGNITIONS = 50
OTHER_SOCKETS = 200
"""Sockets without a media session that are listed; all are counted."""
MESSAGE_CHARS = 300
UNKNOWN_NETWORK: Mapping[str, float | None] = {"rtt_ms": None, "loss_percent": None, "jitter_ms": None}


class Sockets(Protocol):
    """The registry of WebSockets. Thousands may be there: only those that are shown are described."""

    def sockets(self) -> Sequence[Any]:
        """All of them; each has `session_id` and `queued`."""

    def describe(self, sockets: Iterable[Any] | None = None) -> list[dict[str, Any]]:
        """One dict per socket: connection, session_id, age_s, idle_s, queued, alive, roles."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change while the server runs."""

    version: str
    adapters: Mapping[str, str]
    """Stage ("asr", "dialogue", "tts", "lipsync", "face") → name of its adapter."""
    avatar: str
    """The presenter that sessions show."""
    max_sessions: int


class SoundFigures(NamedTuple):
    """Sound over WebSockets."""

    sockets: int = 0
    """Those that get it now."""
    frames_sent: int = 0
    frames_dropped: int = 0
    """Not sent, as a socket read too slowly; both so far."""


class DeviceFigures(NamedTuple):
    """Devices of the xiaozhi protocol."""

    connected: int = 0
    """Those that have a session now."""
    unusable: int = 0
    """Packets of their microphones that were none, so far."""
    early: int = 0
    """Those that came much faster than they were spoken."""
    unread: int = 0
    """Packets that they read too slowly to get."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where monitor and metrics look."""

    identity: Identity
    sessions: Sessions
    sockets: Sockets
    process: ProcessMeter
    pictures: PictureTally
    readiness: Readiness
    recognitions: Callable[[int], Sequence[Mapping[str, Any]]] = lambda limit: ()
    """The newest results of the recogniser, as the snapshot has them, newest last."""
    username_conflicts: Callable[[], int] = lambda: 0
    """Usernames that sockets of different sessions claimed, so far."""
    keeping: Callable[[], bool] = lambda: True
    """Whether conversations are kept at all."""
    sockets_dropped: Callable[[], int] = lambda: 0
    """Sockets that were dropped because they read too slowly or gave no sign of life, so far."""
    sound: Callable[[], SoundFigures] = SoundFigures
    devices: Callable[[], DeviceFigures] = DeviceFigures


@dataclass(slots=True)
class _ErrorGroup:
    """Errors that are alike; the newest message and session stand for all."""

    count: int
    first_at: int
    last_at: int
    message: str
    session_id: str


@dataclass(slots=True)
class _Notes:
    """What is remembered of a live session."""

    turns: int = 0
    network: Mapping[str, float | None] = field(default_factory=lambda: UNKNOWN_NETWORK)
    asking: asyncio.Task[None] | None = None


class Monitor:
    """`start`, `record` as a watcher, `forget` when a session has ended, `close`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._notes: dict[str, _Notes] = {}
        self._turns: deque[dict[str, Any]] = deque(maxlen=TURNS)
        self._errors: dict[tuple[str, str, str], _ErrorGroup] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look at the sessions once a second."""
        self._task = asyncio.create_task(self._look(), name="monitor")

    async def close(self) -> None:
        """Stop looking. Idempotent."""
        tasks = {task for task in (self._task, *(n.asking for n in self._notes.values())) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def record(self, session_id: str, event: Event) -> None:
        """Watch one event of a session."""
        if isinstance(event, Timed):
            self._record_turn(session_id, event)
        elif isinstance(event, Failed):
            self._record_error(session_id, event)

    def forget(self, session_id: str) -> None:
        """A session has ended; its last turns and errors stay to be looked at."""
        self._sources.pictures.forget(session_id)
        notes = self._notes.pop(session_id, None)
        if notes is not None and notes.asking is not None:
            notes.asking.cancel()

    async def snapshot(self) -> dict[str, Any]:
        """Everything at this moment; takes `NETWORK_TIMEOUT_S` at the most."""
        sources = self._sources
        sample = await sources.process.sample()
        await self._ask_networks()
        sessions, sockets = sources.sessions.all(), sources.sockets.sockets()
        groups: dict[str, list[Any]] = {session.id: [] for session in sessions}
        others: list[Any] = []
        for socket in sockets:
            groups.get(socket.session_id, others).append(socket)
        return {
            "type": "snapshot",
            "at": now_ms(),
            "server": {
                **self._server(len(sockets)),
                "cpu_percent": round(sample.cpu_percent, 1),
                "rss_mb": round(sample.rss_bytes / 2**20, 1),
            },
            "sessions": [self._session(session, sources.sockets.describe(groups[session.id])) for session in sessions],
            "other_sockets": sources.sockets.describe(others[:OTHER_SOCKETS]),
            "turns": list(self._turns),
            "errors": [_error(key, group) for key, group in self._errors.items()],
            "recognitions": [dict(result) for result in sources.recognitions(RECOGNITIONS)],
        }

    # -- inside

    async def _look(self) -> None:
        try:
            while True:
                self._sources.pictures.look()
                await asyncio.sleep(LOOK_INTERVAL_S)
        except Exception:
            # the looking ends here, not the sessions: they are shown without their rates
            logger.exception("the monitor can't look at the sessions any more")

    def _record_turn(self, session_id: str, event: Timed) -> None:
        if self._sources.sessions.get(session_id) is not None:  # one that is ending is not remembered anew
            self._notes.setdefault(session_id, _Notes()).turns += 1
        self._turns.append(
            {
                "sessionid": session_id,
                "reply_id": event.reply_id,
                "at": now_ms(),
                "source": event.source,
                "outcome": event.outcome.value,
                "engine": event.engine,
                "marks": {
                    "transcript": event.transcript_ms,
                    "first_token": event.first_token_ms,
                    "first_audio": event.first_audio_ms,
                    "on_wire": event.on_wire_ms,
                },
            }
        )

    def _record_error(self, session_id: str, event: Failed) -> None:
        key, now = (event.stage, event.adapter, event.code), now_ms()
        group = self._errors.pop(key, None) or _ErrorGroup(0, now, now, "", "")
        group.count += 1
        group.last_at, group.message, group.session_id = now, event.message[:MESSAGE_CHARS], session_id
        self._errors[key] = group  # at the end: the first is the one that was not seen for the longest time
        while len(self._errors) > ERRORS:
            del self._errors[next(iter(self._errors))]

    def _server(self, sockets: int) -> dict[str, Any]:
        sources = self._sources
        return {
            "version": sources.identity.version,
            "uptime_s": round(sources.process.uptime_s, 1),
            "loop_lag_ms": round(sources.process.loop_lag_s * 1000, 1),
            "log_level": log.level(),
            "sessions": len(sources.sessions),
            "max_sessions": sources.identity.max_sessions,
            "sockets": sockets,
            "sound_sockets": sources.sound().sockets,
            "username_conflicts": sources.username_conflicts(),
            "ready": sources.readiness.ready,
            "adapters": dict(sources.identity.adapters),
        }

    def _session(self, session: Session, sockets: list[dict[str, Any]]) -> dict[str, Any]:
        status = session.media.status()
        notes = self._notes.setdefault(session.id, _Notes())
        return {
            "sessionid": session.id,
            "username": username_of(session.id),
            "link": session.link.value,
            "link_kind": session.link_kind.value,
            "activity": session.conversation.activity.value,
            "speaking": bool(status["speaking"]),
            "age_s": round(time.monotonic() - session.created_at, 1),
            "device": session.device,
            "avatar": session.face.presenter or self._sources.identity.avatar,
            "turns": notes.turns,
            "storage": session.storage and self._sources.keeping(),
            "pictures_sent": status["pictures_sent"],
            "pictures_skipped": status["pictures_skipped"],
            "pictures_failed": status["pictures_failed"],
            "fps": round(self._sources.pictures.fps(session.id), 1),
            "underruns": status["underruns"],
            "clock_resyncs": status["clock_resyncs"],
            "network": dict(notes.network),
            "queues": {
                "replies": session.conversation.waiting,
                "speech_s": status["queued_seconds"],
                "messages": sum(socket["queued"] for socket in sockets),
            },
            "sockets": [{key: value for key, value in socket.items() if key != "session_id"} for socket in sockets],
        }

    async def _ask_networks(self) -> None:
        """Newer figures of every connection; one that does not answer in time keeps its last ones."""
        asked = set()
        for session in self._sources.sessions.all():
            notes = self._notes.setdefault(session.id, _Notes())
            if notes.asking is None or notes.asking.done():
                notes.asking = asyncio.create_task(_ask(session, notes), name=f"network of {session.id}")
                notes.asking.add_done_callback(_answered)
                asked.add(notes.asking)
        if asked:
            await asyncio.wait(asked, timeout=NETWORK_TIMEOUT_S)


async def _ask(session: Session, notes: _Notes) -> None:
    notes.network = {**UNKNOWN_NETWORK, **await session.media.network()}


def _answered(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("%s: %r", task.get_name(), error)


def _error(key: tuple[str, str, str], group: _ErrorGroup) -> dict[str, Any]:
    stage, adapter, code = key
    return {
        "stage": stage,
        "adapter": adapter,
        "code": code,
        "message": group.message,
        "count": group.count,
        "first_at": group.first_at,
        "last_at": group.last_at,
        "sessionid": group.session_id,
    }
