"""What is to be done for a device: the state machine's decisions. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from core.devices.messages import Json
from core.turn_events import ListenMode


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the device, behind what waits."""

    message: Json


@dataclass(frozen=True, slots=True)
class Subtitle:
    """Tell the device about what is heard now; dropped with the sound."""

    message: Json


@dataclass(frozen=True, slots=True)
class Hello:
    """Answer the device's hello."""


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer a `ping` message."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """More sound follows what is being played."""


@dataclass(frozen=True, slots=True)
class Hush:
    """Drop the sound that waits to be sent."""


@dataclass(frozen=True, slots=True)
class EndReply:
    """Tell the device that the reply is over, once all was played."""


@dataclass(frozen=True, slots=True)
class Open:
    """The ears listen in this mode."""

    mode: ListenMode


@dataclass(frozen=True, slots=True)
class Key:
    """The talk key of the ears goes down or up."""

    down: bool


@dataclass(frozen=True, slots=True)
class Rest:
    """The ears hear no more of what the user was saying."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The user typed this."""

    text: str


@dataclass(frozen=True, slots=True)
class Greet:
    """The device was called by its wake word."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Silence the avatar."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The device goes."""


Effect = Say | Subtitle | Hello | Pong | GoOn | Hush | EndReply | Open | Key | Rest | Ask | Greet | Interrupt | Leave
