"""What turn-taking is told and what it decides: its settings and its events. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ListenMode(StrEnum):
    """Who decides when the user speaks."""

    OPEN = "open"
    """The microphone is open: voice activity decides."""
    PUSH_TO_TALK = "push_to_talk"
    """`force_start` and `force_end` decide."""
    OFF = "off"
    """Nobody listens."""


class Duplex(StrEnum):
    """Whether the avatar can hear while it speaks."""

    FULL = "full"
    """It hears, and can be interrupted by voice."""
    HALF = "half"
    """It is deaf while it sounds: for loudspeakers without echo cancellation. Keys and typing still interrupt."""


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """Limits of turn-taking."""

    start_probability: float = 0.5
    """A frame at or above it begins a turn."""
    stop_probability: float = 0.35
    """Within a turn, a frame at or above it still counts as speech."""
    min_speech_ms: float = 120
    """A turn with less speech than this was a click or a cough."""
    endpoint_silence_ms: float = 500
    """Silence that ends a turn of which nothing else is known."""
    endpoint_shortest_ms: float = 300
    """Silence that ends what sounds finished."""
    endpoint_longest_ms: float = 1500
    """Silence that ends what sounds unfinished."""
    discard_silence_ms: float = 250
    """Silence after which a turn that is still below `min_speech_ms` is given up."""
    preroll_ms: float = 300
    """Audio before the first speech frame that belongs to the turn (soft onsets)."""
    barge_in_ms: float = 250
    """Speech over the avatar's voice that holds it."""
    barge_in_level_db: float = -50
    """Level (dBFS) that speech over the avatar needs to count."""
    barge_in_words: int = 1
    """Recognised words, other than back-channel ones, that make it an interruption."""
    barge_in_certain_ms: float = 1000
    """Speech over the avatar that interrupts it although no words were recognised yet."""
    max_turn_s: float = 30
    """A turn is cut here; what follows is a new turn."""
    duplex: Duplex = Duplex.FULL
    """Whether the avatar hears while it speaks."""
    echo_tail_ms: float = 300
    """How long the avatar's voice may still come back through the microphone after it was sent."""
    echo_coupling_db: float = -20
    """The loudest echo to expect, relative to the avatar's own level; lowered when less is observed."""
    echo_margin_db: float = 6
    """How far above the expected echo the microphone must be to count as the user."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Begin to recognise, with the audio since `preroll_start`."""

    time: float
    preroll_start: float


@dataclass(frozen=True, slots=True)
class SpeechDiscarded:
    """It was no turn: drop the recognition."""

    time: float
    reason: str
    """"too_short", "under_avatar" (too little to interrupt the avatar with) or "mode" (listening switched)."""


@dataclass(frozen=True, slots=True)
class PossibleBargeIn:
    """The user speaks over the avatar: hold its voice until it is known whether they mean it."""

    time: float


@dataclass(frozen=True, slots=True)
class BargeIn:
    """The user speaks over the avatar and means it: stop the avatar."""

    time: float


@dataclass(frozen=True, slots=True)
class TurnTooLong:
    """The turn reached its limit; `EndOfTurn` follows at once."""

    time: float


@dataclass(frozen=True, slots=True)
class EndOfTurn:
    """The user has finished: speech from `start` to `end`, decided at `time`."""

    time: float
    start: float
    end: float
    undecided: bool = False
    """The avatar is held and the words so far do not interrupt it: the final transcript decides."""


TurnEvent = SpeechStarted | SpeechDiscarded | PossibleBargeIn | BargeIn | TurnTooLong | EndOfTurn
