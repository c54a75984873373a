"""When turn-taking decides that the user has finished: too early, too late.

Spliced utterances of known end (bench/utterances.py) run through voice activity and turn-taking as fast as they can,
on the clock of their own samples. Two rates, over the same utterances for every way to decide:

* cut off: share of the utterances during which a turn was ended before the last word was over;
* dead air: mean time from the end of the last word to the decision, over all utterances, cut off or not.

Partial transcripts come from the embedded recogniser (its own decoder, at most five times a second, each 100 ms after
the sound that it covers), or from one that gets every word right 300 ms after it was said, as a good server does.
A user who pauses where the sentence could be over can't be told from one who has finished: those are reported apart.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from asr.pocketsphinx_model import load_decoder
from asr.pocketsphinx_wire import HEADER, Kind, unpack_header
from asr.pocketsphinx_worker import Worker
from asr.vad import VoiceActivity
from bench.result import Figure, Options, Result
from bench.utterances import Utterance, utterances
from core.frames import LISTEN_RATE, Samples
from core.prosody import WINDOW_S, hesitates
from core.recent_audio import RecentAudio
from core.turn import TurnDetector
from core.turn_events import EndOfTurn, SpeechDiscarded, SpeechStarted, TurnSettings

FIXED_MS = 500
FIXED = TurnSettings(endpoint_shortest_ms=FIXED_MS, endpoint_silence_ms=FIXED_MS, endpoint_longest_ms=FIXED_MS)
ADAPTIVE = TurnSettings()
BLOCK = LISTEN_RATE // 50
DECODED_S = 0.1
PARTIALS_S = 0.2
SERVER_S = 0.3


class Words(Protocol):
    """Where partial transcripts come from."""

    def begin(self, utterance: Utterance, start: float, sound: Samples) -> None:
        """A turn begins at `start` with this sound."""

    def hear(self, sound: Samples, now: float) -> str:
        """More sound; the newest partial that is there `now`, "" if there is none."""

    def end(self) -> None:
        """The turn is over."""


class NoWords:
    """A recogniser that gives no partials."""

    def begin(self, utterance: Utterance, start: float, sound: Samples) -> None:
        """Nothing."""

    def hear(self, sound: Samples, now: float) -> str:
        """Nothing."""
        return ""

    def end(self) -> None:
        """Nothing."""


class ExactWords(NoWords):
    """Every word of the turn, `SERVER_S` after it was said."""

    def begin(self, utterance: Utterance, start: float, sound: Samples) -> None:
        """See `Words`."""
        self._words = [pair for piece in utterance.pieces for pair in _timed(piece.text, piece.start, piece.end)]
        self._words = [(word, at) for word, at in self._words if at > start]

    def hear(self, sound: Samples, now: float) -> str:
        """See `Words`."""
        return " ".join(word for word, at in self._words if at + SERVER_S <= now)


class EmbeddedWords(NoWords):
    """The embedded recogniser's decoder, on the utterance's clock instead of the wall's."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._worker = Worker(load_decoder(20_000), self._out, 0.0)
        self._number = 0
        self._due: list[tuple[float, str]] = []
        self._told = 0.0
        self._text = ""

    def begin(self, utterance: Utterance, start: float, sound: Samples) -> None:
        """See `Words`."""
        self._number += 1
        self._due, self._told, self._text = [], 0.0, ""
        self._worker.receive(Kind.OPEN, self._number, b"")
        self._worker.receive(Kind.AUDIO, self._number, sound.tobytes())

    def hear(self, sound: Samples, now: float) -> str:
        """See `Words`."""
        self._worker.receive(Kind.AUDIO, self._number, sound.tobytes())
        while self._worker.step():
            pass
        for text in self._partials():
            self._due.append((max(now + DECODED_S, self._told + PARTIALS_S), text))
            self._told = self._due[-1][0]
        while self._due and self._due[0][0] <= now:
            self._text = self._due.pop(0)[1]
        return self._text

    def end(self) -> None:
        """See `Words`."""
        self._worker.receive(Kind.CANCEL, self._number, b"")
        self._partials()

    def _partials(self) -> list[str]:
        data, position, found = self._out.getvalue(), 0, []
        while position < len(data):
            length, kind, _ = unpack_header(data[position : position + HEADER.size])
            position += HEADER.size + length
            if kind is Kind.PARTIAL:
                found.append(str(json.loads(data[position - length : position])["text"]))
        self._out.seek(0)
        self._out.truncate()
        return found[-1:]


@dataclass(slots=True)
class Outcome:
    """Of one utterance: when turns were ended, and on what words."""

    utterance: Utterance
    ends: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def cut(self) -> bool:
        """Whether a turn was ended while the user had more to say."""
        return any(end < self.utterance.end for end in self.ends)

    @property
    def dead_air(self) -> float | None:
        """Seconds from the last word to the decision; None if there was none."""
        return next((end - self.utterance.end for end in self.ends if end >= self.utterance.end), None)


async def measure(options: Options) -> Result:
    """See the module."""
    said = list(utterances(options.quick))
    ways: dict[str, tuple[TurnSettings, Callable[[], Words]]] = {
        f"fixed {FIXED_MS} ms": (FIXED, NoWords),
        "adaptive, embedded recogniser": (ADAPTIVE, EmbeddedWords),
        "adaptive, exact words": (ADAPTIVE, ExactWords),
        "adaptive, no words": (ADAPTIVE, NoWords),
    }
    found: dict[str, list[Outcome]] = {}
    for name, (settings, words) in ways.items():
        found[name] = await asyncio.to_thread(decide_all, said, settings, words())
    return _result(found)


def decide_all(said: Iterable[Utterance], settings: TurnSettings, words: Words) -> list[Outcome]:
    """Every utterance, in a session of its own."""
    return [decide(utterance, settings, words) for utterance in said]


def decide(utterance: Utterance, settings: TurnSettings, words: Words) -> Outcome:
    """One utterance through voice activity and turn-taking, as the listener wires them."""
    outcome, recent, activity = Outcome(utterance), RecentAudio(2.0), VoiceActivity()
    detector, listening, text, looked = TurnDetector(settings), False, "", None
    for position in range(0, len(utterance.samples), BLOCK):
        sound = utterance.samples[position : position + BLOCK]
        recent.add(sound)
        if listening and (newer := words.hear(sound, recent.now)) != text:
            text = newer
            detector.on_words(recent.now, text)
        for frame in activity.push(sound):
            for event in detector.on_frame(frame.time, frame.probability, frame.level_db):
                if isinstance(event, SpeechStarted):
                    words.begin(utterance, event.preroll_start, recent.between(event.preroll_start))
                    listening, text = True, ""
                elif isinstance(event, SpeechDiscarded | EndOfTurn):
                    words.end()
                    listening = False
                if isinstance(event, EndOfTurn):
                    outcome.ends.append(event.time)
                    outcome.texts.append(text)
        if (paused := detector.paused_at) is not None and paused != looked:
            looked = paused
            detector.on_pause(paused, hesitating=hesitates(recent.between(paused - WINDOW_S, paused)))
    return outcome


def _timed(text: str, start: float, end: float) -> list[tuple[str, float]]:
    """Each word with the moment at which it was over, by its share of the letters."""
    words = text.split()
    reached = np.cumsum([len(word) + 1 for word in words])
    return [
        (word, start + (end - start) * float(at) / float(reached[-1])) for word, at in zip(words, reached, strict=True)
    ]


def cut_rate(outcomes: Sequence[Outcome]) -> float:
    """Percent of the utterances."""
    return 100 * sum(outcome.cut for outcome in outcomes) / max(1, len(outcomes))


def dead_ms(outcomes: Sequence[Outcome]) -> list[float]:
    """Milliseconds of every utterance that was decided."""
    return [outcome.dead_air * 1000 for outcome in outcomes if outcome.dead_air is not None]


def _result(found: dict[str, list[Outcome]]) -> Result:
    baseline = next(iter(found.values()))
    figures, details = [], {}
    for name, outcomes in found.items():
        beats = name in ("adaptive, embedded recogniser", "adaptive, exact words")
        waits = dead_ms(outcomes)
        figures += [
            Figure(f"users cut off, {name}", "%", [cut_rate(outcomes)], goal=cut_rate(baseline) if beats else None),
            Figure(f"dead air, mean, {name}", "ms", [float(np.mean(waits))],
                   goal=float(np.mean(dead_ms(baseline))) if beats else None),
            Figure(f"dead air, {name}", "ms", waits),
            Figure(f"utterances never decided, {name}", "", [sum(o.dead_air is None for o in outcomes)]),
        ]  # fmt: skip
        details[name] = _by_kind(outcomes)
    details["utterances"] = [
        {"said": " | ".join(piece.text for piece in outcome.utterance.pieces), "kind": outcome.utterance.kind,
         "pause_s": round(outcome.utterance.pause, 2), "cut": outcome.cut, "words": outcome.texts,
         "dead_air_ms": None if outcome.dead_air is None else round(outcome.dead_air * 1000)}
        for outcome in found["adaptive, embedded recogniser"]
    ]  # fmt: skip
    settings = {
        "fixed_ms": FIXED_MS,
        "adaptive_ms": [ADAPTIVE.endpoint_shortest_ms, ADAPTIVE.endpoint_silence_ms, ADAPTIVE.endpoint_longest_ms],
        "utterances": len(baseline),
    }
    return Result("endpointing", "End of the user's turn: cut off, dead air", figures, settings, details)


def _by_kind(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    table = {}
    for kind in dict.fromkeys(outcome.utterance.kind for outcome in outcomes):
        of_kind = [outcome for outcome in outcomes if outcome.utterance.kind == kind]
        mean = float(np.mean(dead_ms(of_kind) or [float("nan")]))
        table[kind] = {"n": len(of_kind), "cut_percent": round(cut_rate(of_kind), 1), "dead_air_ms": round(mean)}
    return table
