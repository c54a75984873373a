"""What a remote voice service tells while a session's line to it is open, in the order in which it happened.

Replies are numbered by the line: numbers grow and are never used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.errors import DialogueError
from core.frames import Expression, Pcm


class Turns(StrEnum):
    """Who tells when the user has spoken."""

    OURS = "ours"
    """We do, with our own turn-taking."""
    SERVICE = "service"
    """The service does; it gets no sound while it speaks."""
    OPEN = "open"
    """The service does, and hears everything all the time: it must not hear itself."""


@dataclass(frozen=True, slots=True)
class LineUp:
    """The service is there. It knows nothing of what went on before the line was last down."""


@dataclass(frozen=True, slots=True)
class LineDown:
    """The connection is over, and is being made again. `error`: why, unless the service ended it in order."""

    error: DialogueError | None = None


@dataclass(frozen=True, slots=True)
class LineFailed:
    """No connection, and why. `error.retryable`: it is tried again at once; else turns fail until `LineUp`, if ever."""

    error: DialogueError


@dataclass(frozen=True, slots=True)
class UserSaid:
    """What the service understood."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyBegan:
    """The service speaks: an answer, or something of its own accord."""

    reply: int


@dataclass(frozen=True, slots=True)
class ReplySentence:
    """What is said next; its sound follows."""

    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplySound:
    """The next piece of sound. `arrived`: when it came (monotonic seconds), where that is known."""

    reply: int
    pcm: Pcm
    arrived: float | None = None


@dataclass(frozen=True, slots=True)
class ReplyMood:
    """How the face looks from the next sentence on."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """Nothing more comes. Not `complete`: it was aborted, or the connection broke off."""

    reply: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Announcement:
    """The service wants this shown."""

    text: str


VoiceEvent = (
    LineUp | LineDown | LineFailed | UserSaid | ReplyBegan | ReplySentence | ReplySound | ReplyMood | ReplyEnded
    | Announcement
)  # fmt: skip
