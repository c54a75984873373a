"""When does the user's turn begin and end, and when may it interrupt the avatar. Pure: no I/O, no clock.

Time comes in with the data, in seconds on the session's listening clock. Every input returns the events it
caused, in order. Events of one turn always read

    SpeechStarted  (PossibleBargeIn | BargeIn)*  [TurnTooLong]  (EndOfTurn | SpeechDiscarded)

and a turn never overlaps another one. Over one utterance of the avatar, PossibleBargeIn and BargeIn come at most once
each, in this order. After a PossibleBargeIn the avatar is held until BargeIn, SpeechDiscarded or EndOfTurn; an
EndOfTurn that is `undecided` leaves the decision to the final transcript.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.bands import Levels, bounded
from core.echo_guard import EchoGuard
from core.endpointing import UNKNOWN, Waits, completion, count_words, is_back_channel, judged
from core.turn_events import (
    BargeIn,
    Duplex,
    EndOfTurn,
    ListenMode,
    PossibleBargeIn,
    SpeechDiscarded,
    SpeechStarted,
    TurnEvent,
    TurnSettings,
    TurnTooLong,
)

PAUSE_S = 0.1
"""Silence within a turn that is worth a look at how the voice broke off."""
_BRIDGE_S = 0.064
"""After a frame clearly above the echo, any of the same voice counts with it: words have soft sounds."""
_GAP_S = 0.2
"""For this long after it, all that is not below the echo counts; so do gaps of this length."""
_ONSET_S = 0.15
"""A word may begin this long before it is clearly a voice, if there was a trace of it."""
_ROUNDING_MS = 1e-6
"""Sums of blocks are a hair too small."""
_STALE_S = 0.4
"""Words say nothing about how a turn ends once this much speech followed them."""
_SURE = 2
"""Only back-channel words, and yet speech goes on for this many times the certain length: the words are old."""


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
    over_at: float = -math.inf
    """When there was last some."""
    held: bool = False
    """The avatar waits for the decision."""
    barged: bool = False
    text: str = ""
    """The newest partial transcript."""
    text_at: float = 0.0
    completion: float | None = None
    """How finished `text` sounds."""
    model: float | None = None
    """How finished the semantic model finds the last pause."""
    hesitating: bool = False
    """Whether the voice broke off on a held sound."""


class TurnDetector:
    """Turn-taking of one session."""

    _LONGEST_FRAME = 0.1

    def __init__(self, config: TurnSettings | None = None, mode: ListenMode = ListenMode.OPEN) -> None:
        self.settings = config = config or TurnSettings()
        self._mode = mode
        self._waits = Waits(config.endpoint_shortest_ms, config.endpoint_silence_ms, config.endpoint_longest_ms)
        self._guard = EchoGuard(
            tail_s=config.echo_tail_ms / 1000,
            coupling_db=config.echo_coupling_db,
            margin_db=config.echo_margin_db,
            voice=config.stop_probability,
        )
        self._turn: _Turn | None = None
        self._now = 0.0
        self._heard = 0.0
        self._last_end = 0.0
        self._mine_at = -math.inf
        self._trace_since = 0.0
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

    @property
    def holding(self) -> bool:
        """Whether the turn that is going on holds the avatar's voice, undecided."""
        return self._turn is not None and self._turn.held and not self._turn.barged

    @property
    def expects_echo(self) -> bool:
        """Whether the avatar's voice may still come back through the microphone."""
        return self._guard.expects_echo

    def hurries(self, probability: float) -> bool:
        """Whether a frame with this probability of voice may cause something: in a turn, or as its beginning."""
        return self._turn is not None or not probability < self.settings.start_probability

    @property
    def paused_at(self) -> float | None:
        """When the voice broke off, once the user pauses within a turn that voice activity will end; else None."""
        turn = self._turn
        if turn is None or turn.forced or self._now - turn.last_voice < PAUSE_S:
            return None
        return turn.last_voice

    @property
    def wait_ms(self) -> float:
        """Silence that would end the turn as it is known now, milliseconds."""
        return self._wait_ms(self._turn) if self._turn is not None else self.settings.endpoint_silence_ms

    # -- inputs

    def on_frame(
        self, time_s: float, probability: float, level_db: float, bands: Levels | None = None
    ) -> list[TurnEvent]:
        """A frame of voice activity that ends at `time_s`; its length is the time since the one before.

        `bands`: its levels by band (`core.bands`), for the echo guard; without them it goes by the level.
        """
        if not (math.isfinite(time_s) and math.isfinite(probability)):
            return []
        length = min(max(0.0, time_s - self._heard), self._LONGEST_FRAME)
        self._heard = max(self._heard, time_s)
        self._advance(time_s)
        if self._deaf:
            return self._hear_nothing()
        threshold = self.settings.start_probability if self._turn is None else self.settings.stop_probability
        mine = self._is_user(length, probability, bounded(np.array([level_db]) if bands is None else bands))
        voice = mine and length > 0 and probability >= threshold
        events: list[TurnEvent] = []
        if self._turn is None and voice and self._mode is ListenMode.OPEN:
            events += self._begin(self._now - length, forced=False)
        if self._turn is not None and voice:
            events += self._voice(self._turn, length, probability, level_db)
        if self._turn is not None:
            events += self._judge(self._turn)
        return events

    def on_words(self, time_s: float, text: str) -> list[TurnEvent]:
        """A partial transcript of the turn that is going on."""
        self._advance(time_s)
        turn = self._turn
        if turn is None or not text:
            return []
        turn.text, turn.text_at, turn.completion = text, self._now, completion(text)
        return self._confirm(turn)

    def on_pause(self, paused_at: float, *, hesitating: bool = False, model: float | None = None) -> None:
        """How the voice broke off at `paused_at`: on a held sound, and how finished a model finds it (0..1)."""
        turn = self._turn
        if turn is not None and turn.last_voice == paused_at:
            turn.hesitating |= hesitating
            turn.model = model if model is not None else turn.model

    def on_avatar_level(self, time_s: float, level: float | Levels) -> None:
        """The avatar's own sound has this level at `time_s`: dBFS, or by band as in `on_frame`; for the echo guard."""
        if math.isfinite(time_s):
            self._guard.hear_avatar(time_s, bounded(np.atleast_1d(np.asarray(level, float))))

    def avatar_speaking(self, speaking: bool, time_s: float) -> None:
        """The avatar begins or ceases to be audible; one that is held still speaks."""
        self._advance(time_s)
        if speaking and not self._avatar_speaks and self._turn is not None:
            self._turn.over, self._turn.over_at = 0.0, -math.inf
            self._turn.held = self._turn.barged = False
        if speaking and not self._avatar_speaks:
            self._trace_since = self._now
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

    # -- inside

    def _advance(self, time_s: float) -> None:
        if math.isfinite(time_s):
            self._now = max(self._now, time_s)

    @property
    def _sounding(self) -> bool:
        return self._avatar_speaks or self._now <= self._avatar_until

    @property
    def _deaf(self) -> bool:
        forced = self._turn is not None and self._turn.forced
        return self.settings.duplex == Duplex.HALF and self._sounding and not forced

    def _hear_nothing(self) -> list[TurnEvent]:
        events = self._finish(self._turn) if self._turn is not None else []
        self._last_end = self._now  # no pre-roll may reach into the avatar's own voice
        return events

    def _is_user(self, length: float, probability: float, levels: Levels) -> bool:
        heard = self._guard.hear(self._now, length, probability, levels)
        if not heard.trace:
            self._trace_since = self._now
        if heard.clear and probability >= self.settings.start_probability:
            self._mine_at = self._now
        if heard.clear or self._turn is None:
            return heard.clear
        since = self._now - self._mine_at
        return since <= _BRIDGE_S or (since <= _GAP_S and heard.trace)

    def _begin(self, start: float, *, forced: bool) -> list[TurnEvent]:
        start = max(start, self._last_end)
        self._turn = _Turn(start=start, last_voice=start, forced=forced)
        return [SpeechStarted(self._now, max(self._last_end, start - self.settings.preroll_ms / 1000))]

    def _voice(self, turn: _Turn, length: float, probability: float, level_db: float) -> list[TurnEvent]:
        turn.last_voice = self._now
        turn.speech += length
        turn.hesitating, turn.model = False, None  # they told of the pause before
        if not self._sounding:
            turn.clear += length
        elif probability >= self.settings.start_probability and level_db >= self.settings.barge_in_level_db:
            self._count_over(turn, length)
        events: list[TurnEvent] = []
        long_enough = turn.over * 1000 >= self.settings.barge_in_ms - 1e-6
        if self._avatar_speaks and not (turn.held or turn.barged) and long_enough and not self._is_echo(turn):
            turn.held = True
            events.append(PossibleBargeIn(self._now))
        return events + self._confirm(turn)

    def _is_echo(self, turn: _Turn) -> bool:
        """Whether all that was an echo that comes back sooner or later than before; it counts no more."""
        if not self._guard.has_moved(self._now - turn.over):
            return False
        turn.over, turn.over_at = 0.0, -math.inf
        self._trace_since = self._now
        return True

    def _count_over(self, turn: _Turn, length: float) -> None:
        """Speech over the avatar counts from its onset and through short gaps, however much of it the echo drowns."""
        since = self._now - length
        onset = min(since, max(self._trace_since, since - _ONSET_S))
        since = turn.over_at if since - turn.over_at <= _GAP_S else onset
        turn.over += self._now - since
        turn.over_at = self._now

    def _confirm(self, turn: _Turn) -> list[TurnEvent]:
        """Whether speech that holds the avatar is meant to interrupt it."""
        if not turn.held or turn.barged or not self._avatar_speaks:
            return []
        certain = turn.over * 1000 >= self.settings.barge_in_certain_ms * (_SURE if turn.text else 1)
        if not certain and not self._meant(turn.text):
            return []
        turn.barged = True
        return [BargeIn(self._now)]

    def _meant(self, text: str) -> bool:
        return means_to_interrupt(text, self.settings.barge_in_words)

    def _wait_ms(self, turn: _Turn) -> float:
        if turn.held and not turn.barged and is_back_channel(turn.text):
            return self._waits.shortest
        fresh = turn.last_voice - turn.text_at <= _STALE_S
        words = turn.completion if fresh else UNKNOWN
        return self._waits.after(judged(words, turn.model, hesitating=turn.hesitating))

    def _judge(self, turn: _Turn) -> list[TurnEvent]:
        if self._now - turn.start >= self.settings.max_turn_s:
            return [TurnTooLong(self._now), *self._finish(turn)]
        if turn.forced:
            return []
        silence = (self._now - turn.last_voice) * 1000 + _ROUNDING_MS
        if self._short(turn.speech) and silence >= self.settings.discard_silence_ms:
            return self._discard("too_short")
        return self._finish(turn) if silence >= self._wait_ms(turn) else []

    def _finish(self, turn: _Turn) -> list[TurnEvent]:
        if self._short(turn.speech):
            return self._discard("too_short")
        holding = turn.held and not turn.barged and self._avatar_speaks
        if not (turn.barged or turn.forced or turn.held) and self._short(turn.clear):
            return self._discard("under_avatar")
        self._turn, self._last_end = None, self._now
        return [EndOfTurn(self._now, turn.start, turn.last_voice, undecided=holding)]

    def _short(self, speech: float) -> bool:
        return speech * 1000 + _ROUNDING_MS < self.settings.min_speech_ms

    def _discard(self, reason: str) -> list[TurnEvent]:
        self._turn = None  # a pre-roll may reach back into what was discarded: it may have been a soft onset
        return [SpeechDiscarded(self._now, reason)]


def means_to_interrupt(text: str, words: int) -> bool:
    """Whether `text`, said over the avatar, takes the turn: at least `words` words, not only back-channel ones."""
    return count_words(text) >= max(1, words) and not is_back_channel(text)
