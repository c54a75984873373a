"""The live sessions: admitting, finding, resuming, letting go."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from core.conversation import Conversation
from core.errors import Refused, ServerFull, SessionNotFound, Unauthorized
from core.frames import LinkState, Samples
from core.identity import new_session_id, new_token, session_id_of
from core.log import bound

logger = logging.getLogger(__name__)

RELOAD_SHARE = 6
"""A cleanly closed session without a socket is kept for this fraction of `resume_s`: enough to reload the page."""


class Media(Protocol):
    """The media side of a session: the avatar and its connection to the browser."""

    async def connect(self, sdp: str) -> str:
        """Answer an SDP offer, replacing an earlier connection. Raises `BadRequest`, holding nothing."""

    async def disconnect(self) -> None:
        """Close the connection; the avatar stays."""

    async def close(self) -> None:
        """Free everything. Idempotent."""

    def link(self) -> LinkState:
        """State of the current connection."""

    async def last_heard(self) -> float:
        """When a packet last came from the browser (monotonic seconds)."""

    def status(self) -> dict[str, Any]:
        """Figures for operators: frames sent, skipped, …"""


class Ears(Protocol):
    """The listening side of a session."""

    def hear(self, samples: Samples) -> None:
        """Audio from the microphone: int16, shape (n,), 16 kHz."""

    def set_mode(self, mode: str) -> None:
        """open, push_to_talk or off."""

    def talk_key(self, down: bool) -> None:
        """The push-to-talk key."""

    def rest(self) -> None:
        """The microphone went away."""

    async def run(self) -> None:
        """Listen until cancelled."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a session is made of."""

    conversation: Conversation
    media: Media
    ears: Ears


@dataclass(frozen=True, slots=True)
class LifecycleLimits:
    """See `lifecycle` in config/default.yaml."""

    max_sessions: int
    handshake_timeout_s: float
    vanish_s: float
    resume_s: float


class Session:
    """One user's session. Its background work runs in one task group, ended by `close`."""

    def __init__(self, session_id: str, parts: Parts) -> None:
        self.id = session_id
        self.token = new_token()
        self.conversation = parts.conversation
        self.media = parts.media
        self.ears = parts.ears
        self.created_at = time.monotonic()
        self.offered_at = self.created_at
        self.detached_at: float | None = None
        """When the browser was last heard, once it has vanished; None while it is there."""
        self.left = False
        """It did not vanish: it closed its connection."""
        self._task = asyncio.create_task(self._run(), name=f"session {session_id}")

    async def connect(self, sdp: str) -> str:
        """Answer an offer; also re-attaches a browser that comes back."""
        answer = await self.media.connect(sdp)
        self.ears.rest()  # what an earlier connection's microphone was saying has no end
        self.offered_at = time.monotonic()
        self.detached_at = None
        self.left = False
        return answer

    async def detach(self, heard_at: float, *, left: bool = False) -> None:
        """The browser is gone: free its connection, keep the conversation for a while."""
        if self.detached_at is None:
            self.detached_at = heard_at
            self.left = left
            self.ears.rest()
            self.conversation.interrupt()
            await self.media.disconnect()

    async def close(self) -> None:
        """End everything that belongs to the session. Idempotent."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await self.media.close()

    async def _run(self) -> None:
        with bound(self.id):
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.conversation.run())
                    group.create_task(self.ears.run())
            except Exception:
                # a session ends here; the reaper frees it, the others live on
                logger.exception("session %s broke", self.id)

    @property
    def broken(self) -> bool:
        """Its background work ended by itself."""
        return self._task.done()


class Sessions:
    """All live sessions. `build(session_id)` makes the parts of a new one.

    `on_gone(session_id)` is called when one has ended; `watched(session_id)` tells whether a page still has
    a socket for it.
    """

    def __init__(
        self,
        build: Callable[[str], Parts],
        limits: LifecycleLimits,
        on_gone: Callable[[str], None] = lambda session_id: None,
        watched: Callable[[str], bool] = lambda session_id: False,
    ) -> None:
        self._build = build
        self._limits = limits
        self._on_gone = on_gone
        self._watched = watched
        self._sessions: dict[str, Session] = {}
        self._stopping = False

    def __len__(self) -> int:
        return len(self._sessions)

    def all(self) -> list[Session]:
        """The live sessions, oldest first."""
        return list(self._sessions.values())

    def find(self, session_id: object) -> Session:
        """The session of an id as it came from the wire. Raises `SessionNotFound`, `BadRequest`."""
        session = self._sessions.get(session_id_of(session_id))
        if session is None:
            raise SessionNotFound("session not found")
        return session

    async def open(self, sdp: str) -> tuple[Session, str]:
        """Admit a new session and answer its offer. Raises `ServerFull`, `BadRequest`; then nothing is held."""
        if self._stopping:
            raise Refused("the server is stopping", code="stopping", retryable=True)
        if len(self._sessions) >= self._limits.max_sessions:
            limit = self._limits.max_sessions
            raise ServerFull(f"Maximum session limit reached ({len(self._sessions)}/{limit})")
        session_id = new_session_id()
        with bound(session_id):
            session = Session(session_id, self._build(session_id))
            self._sessions[session_id] = session  # holds the slot while the offer is answered
            try:
                answer = await session.connect(sdp)
            except BaseException:
                await self.close(session)
                raise
        logger.info("session %s opened (%d of %d)", session_id, len(self), self._limits.max_sessions)
        return session, answer

    async def resume(self, session_id: object, token: str | None, sdp: str) -> tuple[Session, str]:
        """Attach a new connection to a live session. Raises `SessionNotFound`, `Unauthorized`, `BadRequest`."""
        session = self.find(session_id)
        self.check_token(session, token)
        with bound(session.id):
            return session, await session.connect(sdp)

    def check_token(self, session: Session, token: str | None) -> None:
        """Raises `Unauthorized` unless `token` is the session's."""
        if not secrets.compare_digest((token or "").encode(), session.token.encode()):
            raise Unauthorized("the session's token is missing or wrong")

    async def close(self, session: Session) -> None:
        """End a session and free its slot."""
        if self._sessions.pop(session.id, None) is not None:
            await session.close()
            self._on_gone(session.id)
            logger.info("session %s closed (%d left)", session.id, len(self))

    async def close_all(self) -> None:
        """End all sessions at once and admit no others (server shutdown)."""
        self._stopping = True
        await asyncio.gather(*(self.close(session) for session in self.all()))

    async def reap(self) -> None:
        """One look at every session's clocks: detach what vanished, close what is over."""
        await asyncio.gather(*(self._look_at(session) for session in self.all()))

    async def _look_at(self, session: Session) -> None:
        try:
            with bound(session.id):
                if await self._is_over(session):
                    await self.close(session)
        except Exception:
            # a session ends here: one that can't be looked at is freed, the others keep their clocks
            logger.exception("session %s broke while it was looked at", session.id)
            self._sessions.pop(session.id, None)
            self._on_gone(session.id)

    async def _is_over(self, session: Session) -> bool:
        now = time.monotonic()
        if session.broken:
            return True
        if session.detached_at is not None:
            return now - session.detached_at > self._patience(session)
        link = session.media.link()
        if link is LinkState.CONNECTED:
            heard_at = await session.media.last_heard()
            if now - heard_at > self._limits.vanish_s:
                logger.info("session %s: browser vanished", session.id)
                await session.detach(heard_at)
        elif link is LinkState.CLOSED:
            logger.info("session %s: browser closed the connection", session.id)
            await session.detach(now, left=True)
        elif now - session.offered_at > self._limits.handshake_timeout_s:
            logger.info("session %s: never connected", session.id)
            return True
        return False

    def _patience(self, session: Session) -> float:
        # a page that closed its connection and has no socket either is being reloaded, or is gone for good
        if session.left and not self._watched(session.id):
            return self._limits.resume_s / RELOAD_SHARE
        return self._limits.resume_s
