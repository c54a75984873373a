"""What a session is made of: its conversation, and the contracts of the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from core.clips import Clip
from core.conversation import Conversation
from core.frames import FaceChoice, LinkState, Samples
from core.recording import Recording
from core.stages import SoundSink


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
        self,
        sink: SoundSink,
        ahead_s: float = 0.5,
        dropped: Callable[[], None] = lambda: None,
        delay: Callable[[], float] = lambda: 0.0,
    ) -> Callable[[], None]:
        """Hand `sink` what the avatar plays; returns what ends it (idempotent). `dropped`: it raised, and is out.

        While a WebRTC connection plays, in real time. Else, where speech is queued, up to `ahead_s` (0 to 1; the least
        of all who listen) before it is due: a client's buffer is filled as fast as speech is made, and an interruption
        takes back what is not due (`SoundSink.cleared`). With nobody who listens and no connection speech waits.

        `delay()`: seconds, up to 2, from the arrival of a reply's first sound to its being heard; 0: nobody knows. What
        was heard of a reply, and when the avatar's voice may come back through the microphone, is that much later.
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
