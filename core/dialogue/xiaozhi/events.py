"""What a xiaozhi client tells its owner, in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass

from core.dialogue.xiaozhi.failure import Reason
from core.errors import DialogueError
from core.frames import Pcm


@dataclass(frozen=True, slots=True)
class Connected:
    """A new session: the server knows nothing of what was going on in the one before."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The session is over. `normal`: the server ended it in order. The client connects again by itself, or after it was
    `Failed`, not."""

    reason: Reason
    normal: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """No connection, and why. `error.retryable`: the client goes on trying."""

    error: DialogueError


@dataclass(frozen=True, slots=True)
class UserText:
    """What the user said, as the server understood it."""

    text: str


@dataclass(frozen=True, slots=True)
class SpeakingStarted:
    """Reply number `reply` begins; numbers grow and are never used again."""

    reply: int


@dataclass(frozen=True, slots=True)
class ReplyText:
    """A sentence of the reply; its sound follows."""

    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """The next piece of the reply's sound: one packet. `arrived`: monotonic seconds."""

    reply: int
    pcm: Pcm
    arrived: float | None = None


@dataclass(frozen=True, slots=True)
class SpeakingStopped:
    """The reply is over. `complete` is False when it was aborted or the connection ended."""

    reply: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Emotion:
    """A mood by its name ("happy"), with an emoji."""

    name: str
    emoji: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """The server wants this shown."""

    status: str
    message: str
    emotion: str


Event = (
    Connected | Disconnected | Failed | UserText | SpeakingStarted | ReplyText | ReplyAudio | SpeakingStopped | Emotion
    | Notice
)  # fmt: skip
