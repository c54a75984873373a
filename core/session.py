"""One user's session: its parts at work, and who gets its sound."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from core.frames import FaceChoice, LinkKind, LinkState, Samples
from core.log import bound
from core.microphones import Microphone, MicrophoneKind, Microphones
from core.parts import Parts
from core.stages import SoundSink

logger = logging.getLogger(__name__)

AS_SET = FaceChoice()
"""The face of the settings."""


class Session:
    """One user's session. Its background work runs in one task group, ended by `close`."""

    def __init__(
        self,
        session_id: str,
        parts: Parts,
        face: FaceChoice = AS_SET,
        told: Callable[[bool, str], None] = lambda heard, by: None,
    ) -> None:
        """`told`: for the microphone that comes over WebRTC, see `Microphones.open`."""
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
        self.microphones = Microphones(parts.ears)
        self._microphone: Microphone | None = None
        """Of its WebRTC connection, once it has been heard from."""
        self._told = told
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
        self._disconnected()
        self.offered_at = time.monotonic()
        self.detached_at = self.unheard_since = None
        self.left = False
        return answer

    def hear(self, samples: Samples) -> None:
        """The microphone of its WebRTC connection: int16, shape (n,), 16 kHz."""
        if self._microphone is None:
            self._microphone = self.microphones.open(MicrophoneKind.WEBRTC, self._told)
        self._microphone.hear(samples)

    def _disconnected(self) -> None:
        """What a connection's microphone was saying has no end."""
        microphone, self._microphone = self._microphone, None
        if microphone is not None:
            microphone.close()

    def listen(
        self, sink: SoundSink, ahead_s: float = 0.5, delay: Callable[[], float] = lambda: 0.0
    ) -> Callable[[], None]:
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
        stop = self.media.listen(sink, ahead_s, end, delay)
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
            self._disconnected()
        elif self.detached_at is None:
            self.detached_at = heard_at
            self.left = left
            self._disconnected()
            self.interrupt()
            await self.media.disconnect()
            self._disconnected()  # the last packets came meanwhile

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
