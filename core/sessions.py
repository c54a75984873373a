"""The live sessions: admitting, finding, resuming, letting go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from core.errors import Refused, ServerFull, SessionNotFound
from core.frames import FaceChoice, LinkState, Utterance
from core.identity import new_session_id, session_id_of
from core.log import bound
from core.parts import Parts
from core.session import AS_SET, Session

logger = logging.getLogger(__name__)

RELOAD_SHARE = 6
"""A cleanly closed session without a socket is kept for this fraction of `resume_s`: enough to reload the page."""


@dataclass(frozen=True, slots=True)
class LifecycleLimits:
    """See `lifecycle` in config/default.yaml."""

    max_sessions: int
    handshake_timeout_s: float
    vanish_s: float
    resume_s: float


class Sessions:
    """All live sessions. `build(session_id, face, voice)` makes the parts of a new one; `voice`: whether the voice
    service is to lead it, None for what the settings say.

    `on_moved(session_id, page)` is called when a page gets the avatar's media, before another one loses it;
    `on_microphone(session_id, heard, by)` when the microphone of its WebRTC connection is heard again, or not;
    `on_gone(session_id)` when a session has ended; `watched(session_id)` tells whether a page has a socket for it.
    """

    def __init__(
        self,
        build: Callable[[str, FaceChoice, bool | None], Parts],
        limits: LifecycleLimits,
        on_moved: Callable[[str, str], None] = lambda session_id, page: None,
        on_gone: Callable[[str], None] = lambda session_id: None,
        watched: Callable[[str], bool] = lambda session_id: False,
        on_microphone: Callable[[str, bool, str], None] = lambda session_id, heard, by: None,
    ) -> None:
        self._build = build
        self._limits = limits
        self._on_moved = on_moved
        self._on_gone = on_gone
        self._watched = watched
        self._on_microphone = on_microphone
        self._sessions: dict[str, Session] = {}
        self._closing: dict[str, asyncio.Event] = {}
        """Ids of sessions that are being freed; set when that is done."""
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

    @property
    def stopping(self) -> bool:
        """Whether the server is shutting down."""
        return self._stopping

    def get(self, session_id: str) -> Session | None:
        """The live session of an id."""
        return self._sessions.get(session_id)

    def check_room(self) -> None:
        """Whether another session would be admitted now. Raises `ServerFull`, `Refused`."""
        if self._stopping:
            raise Refused("the server is stopping", code="stopping", retryable=True)
        if len(self._sessions) >= self._limits.max_sessions:
            limit = self._limits.max_sessions
            raise ServerFull(f"Maximum session limit reached ({len(self._sessions)}/{limit})")

    async def open(
        self,
        sdp: str | None,
        *,
        page: str = "",
        face: FaceChoice = AS_SET,
        session_id: str | None = None,
        memory: Sequence[Utterance] = (),
        voice: bool | None = None,
    ) -> tuple[Session, str]:
        """Admit a new session and answer its offer. Raises `ServerFull`, `Refused`, `BadRequest`; then nothing is held.

        `voice`: whether the voice service leads the conversation; None for what the settings say.
        Without `sdp` it is a session without WebRTC (`Session.listen`), and the answer is empty.
        `session_id` and `memory` open a session again that the server knew before it was restarted.
        """
        session_id = session_id or new_session_id()
        while (closing := self._closing.get(session_id)) is not None:  # `on_gone` is not to hit the new one
            await closing.wait()
        self.check_room()
        if session_id in self._sessions:
            raise Refused("the session is live", code="busy", retryable=True)
        with bound(session_id):
            told = partial(self._on_microphone, session_id)
            session = Session(session_id, self._build(session_id, face, voice), face, told)
            self._sessions[session_id] = session  # holds the slot while the offer is answered
            try:
                session.conversation.remember(memory)
                answer = await session.connect(sdp, page, self._on_moved)
            except BaseException:
                await self.close(session)
                raise
        logger.info("session %s opened (%d of %d)", session_id, len(self), self._limits.max_sessions)
        return session, answer

    async def resume(self, session: Session, sdp: str | None, *, page: str = "", face: FaceChoice | None = None) -> str:
        """Attach a new connection to a live session, or none without `sdp`; with another `face` if given.

        Raises `SessionNotFound`, `BadRequest`; the face that was shown then stays.
        """
        with bound(session.id):
            return await session.connect(sdp, page, self._on_moved, face)

    async def leave(self, session: Session) -> None:
        """The page says that it goes: free its connection, keep the session for a reload."""
        with bound(session.id):
            await session.detach(time.monotonic(), left=True)

    async def close(self, session: Session) -> None:
        """End a session and free its slot."""
        if self._sessions.pop(session.id, None) is not None:
            over = self._closing[session.id] = asyncio.Event()
            try:
                await session.close()
            finally:
                del self._closing[session.id]
                over.set()
                self._on_gone(session.id)
            logger.info("session %s closed (%d left)", session.id, len(self))

    async def close_all(self) -> None:
        """End all sessions at once and admit no others (server shutdown)."""
        self._stopping = True
        await asyncio.gather(*(self._free(session) for session in self.all()))

    async def reap(self) -> None:
        """One look at every session's clocks: detach what vanished, close what is over."""
        await asyncio.gather(*(self._look_at(session) for session in self.all()))

    async def _look_at(self, session: Session) -> None:
        with bound(session.id):
            try:
                over = await self._is_over(session)
            except Exception:
                # a session ends here: one that can't be looked at is freed, the others keep their clocks
                logger.exception("session %s broke while it was looked at", session.id)
                over = True
            if over:
                await self._free(session)

    async def _free(self, session: Session) -> None:
        """As `close`; what goes wrong ends with this session."""
        try:
            await self.close(session)
        except Exception:
            logger.exception("session %s broke while it was freed", session.id)

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
        elif session.unheard_since is not None and link is LinkState.NEW:
            if session.left or now - session.unheard_since > self._limits.vanish_s:
                logger.info("session %s: nobody listens any more", session.id)
                await session.detach(session.unheard_since, left=session.left)
        elif now - session.offered_at > self._limits.handshake_timeout_s:
            if not session.listened:
                logger.info("session %s: never connected", session.id)
                return True
            if link is LinkState.CONNECTING:
                await session.media.disconnect()
        return False

    def _patience(self, session: Session) -> float:
        # a page that closed its connection and has no socket either is being reloaded, or is gone for good
        if session.left and not self._watched(session.id):
            return self._limits.resume_s / RELOAD_SHARE
        return self._limits.resume_s
