"""When does the user's turn begin and end, and when may it interrupt the avatar. Pure: no I/O, no clock.

Time comes in with the data, in seconds on the session's listening clock. Every input returns the events it
caused, in order. Events of one turn always read

    SpeechStarted  BargeIn*  [TurnTooLong]  (EndOfTurn | SpeechDiscarded)

and a turn never overlaps another one. BargeIn comes at most once per utterance of the avatar.
"""

from __future__ import annotations

import math
from collections import deque
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
    """Silence that ends a turn."""
    discard_silence_ms: float = 250
    """Silence after which a turn that is still below `min_speech_ms` is given up."""
    preroll_ms: float = 300
    """Audio before the first speech frame that belongs to the turn (soft onsets)."""
    barge_in_ms: float = 250
    """Speech over the avatar's voice that interrupts it."""
    max_turn_s: float = 30
    """A turn is cut here; what follows is a new turn."""
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


TurnEvent = SpeechStarted | SpeechDiscarded | BargeIn | TurnTooLong | EndOfTurn


class EchoGuard:
    """Tells the user's voice from the avatar's own, coming back through the microphone.

    The expected echo is the loudest the avatar was during the last `echo_tail_ms`, plus the coupling. The
    coupling starts at the configured worst case and follows what is observed: once the avatar has sounded for
    longer than any echo takes, a frame without voice shows how weak the echo is at most, and a voice that is
    just below the threshold how strong it is.
    """

    _LOUD_DB = -45.0
    _LOWEST_COUPLING_DB = -50.0
    _LEARN = 0.03
    _LONGEST_DELAY = 1.0
    _NOW = 0.1

    def __init__(self, settings: TurnSettings) -> None:
        self._settings = settings
        self._levels: deque[tuple[float, float]] = deque()
        self._since = 0.0
        self._coupling = settings.echo_coupling_db

    def hear_avatar(self, time_s: float, level_db: float) -> None:
        """The avatar plays at `level_db` (dBFS) now."""
        self._forget(time_s)
        if not self._levels:
            self._since = time_s
        self._levels.append((time_s, level_db))

    def is_user(self, time_s: float, probability: float, level_db: float) -> bool:
        """Whether a frame of the microphone may be the user's; learns from it."""
        self._forget(time_s)
        if not self._levels:
            return True
        loudest = max(level for _, level in self._levels)
        mine = level_db > loudest + self._coupling + self._settings.echo_margin_db
        still_sounds = time_s - self._levels[-1][0] < self._NOW
        if still_sounds and time_s - self._since > self._LONGEST_DELAY:
            self._learn(probability, level_db, loudest, mine)
        return mine

    def _forget(self, time_s: float) -> None:
        while self._levels and self._levels[0][0] < time_s - self._settings.echo_tail_ms / 1000:
            self._levels.popleft()

    def _learn(self, probability: float, level_db: float, loudest: float, mine: bool) -> None:
        quietest = min(level for _, level in self._levels)
        if quietest < self._LOUD_DB:
            return  # a pause of the avatar teaches nothing
        voice = probability >= self._settings.stop_probability
        seen = level_db - (loudest if voice else quietest)
        seen = min(max(seen, self._LOWEST_COUPLING_DB), self._settings.echo_coupling_db)
        if not voice or (not mine and seen > self._coupling):
            self._coupling += self._LEARN * (seen - self._coupling)


@dataclass(slots=True)
class _Turn:
    """The turn that is going on."""

    start: float
    last_voice: float
    forced: bool
    speech: float = 0.0
    """Seconds of speech."""
    clear: float = 0.0
    """Seconds of it while the avatar was silent."""
    over: float = 0.0
    """Seconds of confident speech over the avatar's voice."""
    barged: bool = False


class TurnDetector:
    """Turn-taking of one session."""

    _LONGEST_FRAME = 0.1

    def __init__(self, config: TurnSettings | None = None, mode: ListenMode = ListenMode.OPEN) -> None:
        self.settings = config or TurnSettings()
        self._mode = mode
        self._guard = EchoGuard(self.settings)
        self._turn: _Turn | None = None
        self._now = 0.0
        self._last_end = 0.0
        self._avatar_speaks = False
        self._avatar_until = -math.inf

    @property
    def mode(self) -> ListenMode:
        """Who decides when the user speaks."""
        return self._mode

    @property
    def in_turn(self) -> bool:
        """Whether a turn has started and not ended."""
        return self._turn is not None

    def on_frame(self, time_s: float, probability: float, level_db: float) -> list[TurnEvent]:
        """A frame of voice activity that ends at `time_s`; its length is the time since the frame before."""
        if not (math.isfinite(time_s) and math.isfinite(probability)):
            return []
        length = min(max(0.0, time_s - self._now), self._LONGEST_FRAME)
        self._advance(time_s)
        mine = self._guard.is_user(self._now, probability, level_db)
        threshold = self.settings.start_probability if self._turn is None else self.settings.stop_probability
        voice = mine and length > 0 and probability >= threshold
        events: list[TurnEvent] = []
        if self._turn is None and voice and self._mode is ListenMode.OPEN:
            events += self._begin(self._now - length, forced=False)
        if self._turn is not None and voice:
            events += self._voice(self._turn, length, probability)
        if self._turn is not None:
            events += self._judge(self._turn)
        return events

    def on_avatar_level(self, time_s: float, level_db: float) -> None:
        """The avatar's own sound has this level (dBFS) at `time_s`; needed for the echo guard only."""
        if math.isfinite(time_s) and not math.isnan(level_db):
            self._guard.hear_avatar(time_s, level_db)

    def avatar_speaking(self, speaking: bool, time_s: float) -> None:
        """The avatar begins or ceases to be audible."""
        self._advance(time_s)
        if speaking and not self._avatar_speaks and self._turn is not None:
            self._turn.over, self._turn.barged = 0.0, False
        if self._avatar_speaks and not speaking:
            self._avatar_until = self._now + self.settings.echo_tail_ms / 1000
        self._avatar_speaks = speaking

    def force_start(self, time_s: float) -> list[TurnEvent]:
        """The user presses the talk button: a turn begins, and interrupts the avatar. It ends by `force_end`."""
        self._advance(time_s)
        if self._mode is ListenMode.OFF:
            return []
        events: list[TurnEvent] = []
        if self._turn is None:
            events += self._begin(self._now, forced=True)
        turn = self._turn
        assert turn is not None
        turn.forced = True
        if self._avatar_speaks and not turn.barged:
            turn.barged = True
            events.append(BargeIn(self._now))
        return events

    def force_end(self, time_s: float) -> list[TurnEvent]:
        """The user releases the talk button, or the microphone went away: the turn ends now."""
        self._advance(time_s)
        if self._turn is None:
            return []
        if self._turn.forced:
            self._turn.last_voice = self._now
            self._turn.speech = self._turn.clear = self._now - self._turn.start
        return self._finish(self._turn)

    def set_mode(self, mode: ListenMode, time_s: float) -> list[TurnEvent]:
        """Switch who decides. A turn that is going on is dropped, unless the mode stays the same."""
        self._advance(time_s)
        if mode is self._mode:
            return []
        self._mode = mode
        return self._discard("mode") if self._turn is not None else []

    def _advance(self, time_s: float) -> None:
        if math.isfinite(time_s):
            self._now = max(self._now, time_s)

    @property
    def _sounding(self) -> bool:
        return self._avatar_speaks or self._now <= self._avatar_until

    def _begin(self, start: float, *, forced: bool) -> list[TurnEvent]:
        start = max(start, self._last_end)
        self._turn = _Turn(start=start, last_voice=start, forced=forced)
        return [SpeechStarted(self._now, max(self._last_end, start - self.settings.preroll_ms / 1000))]

    def _voice(self, turn: _Turn, length: float, probability: float) -> list[TurnEvent]:
        turn.last_voice = self._now
        turn.speech += length
        if not self._sounding:
            turn.clear += length
        elif probability >= self.settings.start_probability:
            turn.over += length
        if self._avatar_speaks and not turn.barged and turn.over * 1000 >= self.settings.barge_in_ms - 1e-6:
            turn.barged = True
            return [BargeIn(self._now)]
        return []

    def _judge(self, turn: _Turn) -> list[TurnEvent]:
        if self._now - turn.start >= self.settings.max_turn_s:
            return [TurnTooLong(self._now), *self._finish(turn)]
        if turn.forced:
            return []
        silence = (self._now - turn.last_voice) * 1000 + 1e-6
        if turn.speech * 1000 < self.settings.min_speech_ms and silence >= self.settings.discard_silence_ms:
            return self._discard("too_short")
        return self._finish(turn) if silence >= self.settings.endpoint_silence_ms else []

    def _finish(self, turn: _Turn) -> list[TurnEvent]:
        if turn.speech * 1000 < self.settings.min_speech_ms:
            return self._discard("too_short")
        if not turn.barged and not turn.forced and turn.clear * 1000 < self.settings.min_speech_ms:
            return self._discard("under_avatar")
        self._turn, self._last_end = None, self._now
        return [EndOfTurn(self._now, turn.start, turn.last_voice)]

    def _discard(self, reason: str) -> list[TurnEvent]:
        self._turn = None  # a pre-roll may reach back into what was discarded: it may have been a soft onset
        return [SpeechDiscarded(self._now, reason)]
