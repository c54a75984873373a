"""What happens in a conversation, told to whoever watches it (WebSocket pages, SSE, metrics)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.frames import Activity, Transcript


@dataclass(frozen=True, slots=True)
class Heard:
    """The recogniser's newest hypothesis of what the user says; final once per turn."""

    transcript: Transcript


@dataclass(frozen=True, slots=True)
class Typed:
    """The user typed this."""

    text: str


@dataclass(frozen=True, slots=True)
class Doing:
    """The avatar's activity changed. `detail` is a message for the user when it is an error."""

    activity: Activity
    detail: str = ""


class ReplyState(StrEnum):
    """Life of an answer: start, sentence…, then exactly one of end, interrupted, error."""

    START = "start"
    SENTENCE = "sentence"
    END = "end"
    INTERRUPTED = "interrupted"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Replying:
    """The avatar's answer, as it is really heard."""

    reply_id: str
    state: ReplyState
    text: str = ""
    """sentence: its text; end: the whole answer; interrupted: what was heard; error: a message for the user."""
    at_ms: int = 0
    """Media time since the first sound of this answer."""
    latency_ms: int | None = None
    """start only: from the end of the user's speech (or the request) to the first sound."""
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Sounding:
    """One utterance begins or ends to sound. `info` is what the caller passed along (LiveTalking's `tts`)."""

    status: str
    """"start" or "end"."""
    text: str
    info: Mapping[str, Any] = field(default_factory=dict)


Event = Heard | Typed | Doing | Replying | Sounding
