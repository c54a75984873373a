"""What is said in the xiaozhi protocol, both directions: the messages as values.

Source: docs/websocket.md and docs/mcp-protocol.md of https://github.com/78/xiaozhi-esp32
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

UPLINK_RATE = 16_000
"""Samples per second of what a client sends."""
DOWNLINK_RATE = 24_000
"""Of what a server sends, unless its hello announces another rate."""
FRAME_MS = 60
"""Length of a packet where a hello does not tell."""

Json = dict[str, Any]


class Mode(StrEnum):
    """Who ends the user's turn."""

    AUTO = "auto"
    """The server hears when the user has ended; nothing is sent while it speaks."""
    MANUAL = "manual"
    """The client says so: push to talk."""
    REALTIME = "realtime"
    """As auto, with the microphone open while the server speaks (needs echo cancellation)."""


@dataclass(frozen=True, slots=True)
class AudioParams:
    """What a side sends: mono Opus at `sample_rate`, usually in packets of `frame_ms`."""

    sample_rate: int = UPLINK_RATE
    frame_ms: int = FRAME_MS


@dataclass(frozen=True, slots=True)
class ClientHello:
    """A client introduces itself. `version` of the binary messages."""

    version: int = 1
    audio: AudioParams = field(default_factory=AudioParams)
    mcp: bool = False
    aec: bool = False


@dataclass(frozen=True, slots=True)
class ServerHello:
    """The server's answer; `audio` is what it will send."""

    session_id: str = ""
    audio: AudioParams = field(default_factory=lambda: AudioParams(DOWNLINK_RATE))


@dataclass(frozen=True, slots=True)
class ListenStart:
    """Audio follows."""

    mode: Mode = Mode.AUTO


@dataclass(frozen=True, slots=True)
class ListenStop:
    """The user's turn is over."""


@dataclass(frozen=True, slots=True)
class ListenDetect:
    """A wake word, or what the user typed."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Abort:
    """No more of this reply. `reason` "" is the user's interruption."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stt:
    """What the user said."""

    text: str


@dataclass(frozen=True, slots=True)
class Llm:
    """A mood: its name, and an emoji."""

    emotion: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class TtsStart:
    """The server speaks from here on."""


@dataclass(frozen=True, slots=True)
class TtsSentence:
    """A sentence begins (or, rarely told, ends)."""

    text: str
    ends: bool = False


@dataclass(frozen=True, slots=True)
class TtsStop:
    """The server has spoken."""


@dataclass(frozen=True, slots=True)
class Mcp:
    """JSON-RPC 2.0, for tools; either direction."""

    payload: Json


@dataclass(frozen=True, slots=True)
class Iot:
    """Tools of old devices: descriptors and states up, commands down."""

    content: Json


@dataclass(frozen=True, slots=True)
class System:
    """A command to the device: "reboot"."""

    command: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to show."""

    status: str
    message: str
    emotion: str


@dataclass(frozen=True, slots=True)
class Custom:
    """Whatever a server and its devices agreed on."""

    payload: Json


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The session ends."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there?"""


@dataclass(frozen=True, slots=True)
class Pong:
    """I am."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A type that is not known here; to be ignored. The name is cut to 40 characters."""

    type: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """Nothing that can be used, and why."""

    reason: str


ClientMessage = (
    ClientHello | ListenStart | ListenStop | ListenDetect | Abort | Mcp | Iot | Goodbye | Ping | Unknown | Malformed
)
ServerMessage = (
    ServerHello | Stt | Llm | TtsStart | TtsSentence | TtsStop | Mcp | Iot | System | Alert | Custom | Goodbye | Pong
    | Unknown | Malformed
)  # fmt: skip
