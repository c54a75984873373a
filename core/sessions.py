"""The live sessions: admitting, finding, resuming, letting go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from core.clips import Clip
from core.conversation import Conversation
from core.errors import Refused, ServerFull, SessionNotFound
from core.frames import FaceChoice, LinkKind, LinkState, Samples, Utterance
from core.identity import new_session_id, session_id_of
from core.log import bound
from core.recording import Recording
from core.stages import SoundSink

logger = logging.getLogger(__name__)

RELOAD_SHARE = 6
"""A cleanly closed session without a socket is kept for this fraction of `resume_s`: enough to reload the page."""

_AS_SET = FaceChoice()
"""The face of the settings."""


class Media(Protocol):
    """The media side of a session: the avatar and its connection to the browser."""

    async def connect(self, sdp: str, taking: Callable[[], None], face: FaceChoice | None = None) -> str:
        """Answer an SDP offer, replacing an earlier connection. Raises `BadRequest`, holding nothing.

        `taking` is called when the offer has proved good, before the earlier connection is closed. `face`, where
        given, is shown from then on.
        """

    async def attend(self, taking: Callable[[], None], face: FaceChoice | None = None) -> None:
        """Be without a connection from now on, for who listens: an earlier one is closed. As `connect` otherwise."""

    def listen(
        self, sink: SoundSink, ahead_s: float = 0.5, dropped: Callable[[], None] = lambda: None
    ) -> Callable[[], None]:
        """Hand `sink` what the avatar plays; returns what ends it (idempotent). `dropped`: it raised, and is out.

        While a WebRTC connection plays, in real time. Else, where speech is queued, up to `ahead_s` (0 to 1; the least
        of all who listen) before it is due: a client's buffer is filled as fast as speech is made, and an interruption
        takes back what is not due (`SoundSink.cleared`). With nobody who listens and no connection speech waits.
        """

    async def disconnect(self) -> None:
        """Close the connection; the avatar stays."""

    def stock(self, clips: Sequence[Clip]) -> None:
        """The client's own clips for `perform`, in place of its earlier ones; with none everything stays."""

    async def perform(self, audiotype: int) -> bool:
        """Show a clip, or the presenter again (0, 1). False when there is no such clip. Raises `BadRequest`."""

    async def close(self) -> None:
        """Free everything. Idempotent."""

    def link(self) -> LinkState:
        """State of the current connection."""

    async def last_heard(self) -> float:
        """When a packet last came from the browser (monotonic seconds)."""

    def status(self) -> dict[str, Any]:
        """Figures for operators: frames sent, skipped, …"""

    async def network(self) -> dict[str, float | None]:
        """What RTCP tells of the way to the browser: `rtt_ms`, `loss_percent`, `jitter_ms`; None while unknown."""


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


class FileEars(Protocol):
    """Listens to files that the user speaks by."""

    async def ask(self, recording: Recording, /) -> str:
        """Take a file over; returns the upload's id. Raises `BadRequest`, `Refused`; the file is closed then."""

    def interrupt(self) -> bool:
        """Stop, and drop what waits. False when there was nothing."""

    async def run(self) -> None:
        """Listen until cancelled."""


class Running(Protocol):
    """Something that goes on as long as the session."""

    async def run(self) -> None:
        """Until cancelled."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a session is made of."""

    conversation: Conversation
    media: Media
    ears: Ears
    transcriber: FileEars
    line: Running | None = None
    """To the voice service, where it has one."""


@dataclass(frozen=True, slots=True)
class LifecycleLimits:
    """See `lifecycle` in config/default.yaml."""

    max_sessions: int
    handshake_timeout_s: float
    vanish_s: float
    resume_s: float


class Session:
    """One user's session. Its background work runs in one task group, ended by `close`."""

    def __init__(self, session_id: str, parts: Parts, face: FaceChoice = _AS_SET) -> None:
        self.id = session_id
        self.face = face
        """Which face is shown."""
        self.page = ""
        """The page that shows the avatar, by the name it gave itself; "" when it gave none."""
        self.device = ""
        """The device that leads the conversation, "" for none: its microphone is heard, pages watch and type."""
        self.storage = True
        """Whether the user lets the conversation be kept."""
        self.conversation = parts.conversation
        self.media = parts.media
        self.ears = parts.ears
        self.transcriber = parts.transcriber
        self.line = parts.line
        self.created_at = time.monotonic()
        self.offered_at = self.created_at
        self.detached_at: float | None = None
        """When the browser was last heard, once it has vanished; None while it is there."""
        self.left = False
        """It did not vanish: it closed its connection."""
        self.unheard_since: float | None = None
        """When the last one who listened went; None before anybody did, and while somebody does."""
        self._kind = LinkKind.WEBRTC
        self._listeners: set[object] = set()
        self._task = asyncio.create_task(self._run(), name=f"session {session_id}")

    async def connect(
        self, sdp: str | None, page: str, moved: Callable[[str, str], None], face: FaceChoice | None = None
    ) -> str:
        """Answer an offer; also re-attaches a browser that comes back. `moved`: see `Sessions`; `face`: another one.

        Without `sdp` it goes without WebRTC: whoever comes is to `listen`, and the answer is empty.
        """
        another = face if face is not None and face != self.face else None

        def taking() -> None:
            self.page = page
            self.face = another or self.face
            moved(self.id, page)

        answer = ""
        if sdp is not None:
            answer = await self.media.connect(sdp, taking, another)
        else:
            await self.media.attend(taking, another)
            self._kind = LinkKind.WEBSOCKET
        self.ears.rest()  # what an earlier connection's microphone was saying has no end
        self.offered_at = time.monotonic()
        self.detached_at = self.unheard_since = None
        self.left = False
        return answer

    def listen(self, sink: SoundSink, ahead_s: float = 0.5) -> Callable[[], None]:
        """Hand `sink` what the avatar plays (see `Media.listen`) until what is returned is called (idempotent).

        While anybody listens the session lives, with a WebRTC connection or without.
        """

        def end() -> None:
            stop()
            if listener in self._listeners:
                self._listeners.remove(listener)
                self.unheard_since = None if self._listeners else time.monotonic()
                self.left = self.left and not self._listeners

        listener = object()
        stop = self.media.listen(sink, ahead_s, end)
        self._listeners.add(listener)
        self.detached_at = self.unheard_since = None
        self.left = False
        return end

    @property
    def listened(self) -> bool:
        """Whether somebody takes its sound beside WebRTC."""
        return bool(self._listeners)

    @property
    def link(self) -> LinkState:
        """Whether it is heard: over WebRTC, or by who listens."""
        return LinkState.CONNECTED if self._listeners else self.media.link()

    @property
    def link_kind(self) -> LinkKind:
        """How its page gets the sound, or was to get it last."""
        if self.media.link() is not LinkState.NEW:
            return LinkKind.WEBRTC
        return LinkKind.WEBSOCKET if self._listeners else self._kind

    async def detach(self, heard_at: float, *, left: bool = False) -> None:
        """The browser is gone: free its connection, keep the conversation for a while; whoever listens goes on."""
        if self._listeners:
            # who leaves without WebRTC is one of those who listen, and its socket goes next
            self.left = left and self.media.link() is LinkState.NEW
            await self.media.disconnect()
        elif self.detached_at is None:
            self.detached_at = heard_at
            self.left = left
            self.ears.rest()
            self.interrupt()
            await self.media.disconnect()

    def interrupt(self) -> bool:
        """Silence now: what is spoken, what waits and files that are listened to. False when there was nothing."""
        stopped = self.transcriber.interrupt()
        return self.conversation.interrupt() or stopped

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
                    group.create_task(self.transcriber.run())
                    if self.line is not None:
                        group.create_task(self.line.run())
            except Exception:
                # a session ends here; the reaper frees it, the others live on
                logger.exception("session %s broke", self.id)

    @property
    def broken(self) -> bool:
        """Its background work ended by itself."""
        return self._task.done()


class Sessions:
    """All live sessions. `build(session_id, face, voice)` makes the parts of a new one; `voice`: whether the voice
    service is to lead it, None for what the settings say.

    `on_moved(session_id, page)` is called when a page gets the avatar's media, before another one loses it;
    `on_gone(session_id)` when a session has ended; `watched(session_id)` tells whether a page has a socket for it.
    """

    def __init__(
        self,
        build: Callable[[str, FaceChoice, bool | None], Parts],
        limits: LifecycleLimits,
        on_moved: Callable[[str, str], None] = lambda session_id, page: None,
        on_gone: Callable[[str], None] = lambda session_id: None,
        watched: Callable[[str], bool] = lambda session_id: False,
    ) -> None:
        self._build = build
        self._limits = limits
        self._on_moved = on_moved
        self._on_gone = on_gone
        self._watched = watched
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
        face: FaceChoice = _AS_SET,
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
            session = Session(session_id, self._build(session_id, face, voice), face)
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
                self._on_gone(session.id)
            finally:
                del self._closing[session.id]
                over.set()
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
