"""What happens in a conversation, told to whoever watches it (WebSocket pages, SSE, metrics)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.frames import Activity, Expression, Transcript


@dataclass(frozen=True, slots=True)
class Heard:
    """The recogniser's newest hypothesis of what the user says; final once per turn."""

    transcript: Transcript


class UploadState(StrEnum):
    """Of an uploaded file that is listened to: recognizing…, then exactly one of final, stopped, error."""

    RECOGNIZING = "recognizing"
    FINAL = "final"
    STOPPED = "stopped"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Uploaded:
    """How far the recognition of an uploaded file is; what was understood comes as `Heard`."""

    upload_id: str
    state: UploadState
    progress: float | None = None
    """recognizing only: the share that was listened to, 0..1; None while the file's length is unknown."""
    code: str = ""
    message: str = ""
    """error only: a word for programs and a message for the user."""


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
    """Media time since the first sound of this answer: where a sentence begins, where the last one ended (end)."""
    latency_ms: int | None = None
    """start only: from the end of the user's speech (or the request) to the first sound."""
    engine: str = ""
    heard: str = ""
    """error only: what was heard of the answer until then."""
    mood: Expression | None = None
    """sentence only: the first one that the face takes in it; None when it stays as it was."""


@dataclass(frozen=True, slots=True)
class Sounding:
    """One utterance begins or ends to sound. `info` is what the caller passed along (LiveTalking's `tts`)."""

    status: str
    """"start" or "end"."""
    text: str
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timed:
    """How one answer came about; sent once, when it is over.

    All times in milliseconds after the user stopped speaking (or the request arrived); None where it never came so far.
    """

    reply_id: str
    source: str
    """"speech", "text", "echo", "upload" or "push"."""
    outcome: ReplyState
    engine: str
    transcript_ms: int | None = None
    """The recogniser's final transcript; only of speech."""
    first_token_ms: int | None = None
    """The dialogue engine's first word."""
    first_audio_ms: int | None = None
    """The voice's first sound."""
    on_wire_ms: int | None = None
    """The first sound was handed to the WebRTC sender (encoding and pacing take a few milliseconds more)."""


class LineState(StrEnum):
    """Of the way to the voice service."""

    UP = "up"
    LOST = "lost"
    """It is being made again."""
    FAILED = "failed"
    """There is none, and `message` says why."""
    NOTICE = "notice"
    """No change: the service wants `message` shown."""


@dataclass(frozen=True, slots=True)
class LineChanged:
    """The session's line to its voice service; only of sessions that have one."""

    state: LineState
    engine: str
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Something went wrong in a stage. `message` is fit for users: no secrets, no transcripts."""

    stage: str
    """"asr", "dialogue", "tts", "lipsync" or "server"."""
    adapter: str
    code: str
    message: str


Event = Heard | Uploaded | Typed | Doing | Replying | Sounding | Timed | LineChanged | Failed
