"""What users say, with pauses of known length: pieces of real speech, spliced.

Synthesised pieces are flite's. Human ones are prompts of Debian's asterisk-core-sounds-en-gsm (telephone quality),
recorded as pieces that other pieces follow; they are left out where the package is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.sounds import spoken, trimmed
from core.frames import LISTEN_RATE
from tests.speech import load, resample

PROMPTS = Path("/usr/share/asterisk/sounds/en")
VOICES = ("slt", "rms")
LEAD_S, TAIL_S = 0.6, 2.4
ROOM = 26.0
"""Standard deviation of the room's noise, about -62 dBFS."""
LEVEL_DB = -26.0
"""RMS of what is said."""

CUED = (
    ("I would like a coffee and", "a piece of cake please"), ("please call my mother because", "it is her birthday"),
    ("I want to go to the", "museum of modern art"), ("can you tell me the", "weather for tomorrow"),
    ("my favorite color is blue but", "I also like green"), ("remind me to buy milk and", "bread this evening"),
    ("what is the capital of", "France"), ("play some music by", "the Beatles"),
    ("I think we should meet at", "nine in the morning"), ("turn on the light in the", "kitchen please"),
    ("she said that", "she would come later"), ("I am looking for a", "cheap hotel near the station"),
    ("how do I get to", "the train station"), ("send a message to my", "brother"),
    ("give me a recipe for", "chicken soup"), ("the reason is that I", "have no time today"),
)  # fmt: skip
"""The pause comes after a word that can't be the last."""
UNCUED = (
    ("tell me a story", "about a small dog"), ("what is the weather", "in Berlin tomorrow"),
    ("I was born in London", "and I live in Paris"), ("open the window", "it is very hot in here"),
    ("yesterday I went shopping", "with my sister"), ("the meeting was long", "so I am tired"),
)  # fmt: skip
"""The pause comes where the sentence could be over."""
PLAIN = (
    "what is seven times six", "hello how are you", "what time is it", "who are you", "tell me a joke",
    "what can you do", "what is nine plus eight", "good morning", "what is your name", "thank you very much",
    "what is twenty minus four", "how old are you", "I live in a small town", "my name is Peter",
    "the train leaves at seven", "I do not like this song", "that is a good idea", "please read the news to me",
)  # fmt: skip
"""Nothing more follows."""
HUMAN_CUED = (
    (("queue-thereare", "you are currently caller number"), ("digits/3", "three")),
    (("queue-holdtime", "the estimated hold time is currently"), ("digits/5", "five")),
    (("if-correct-press", "if this is correct press"), ("digits/1", "one")),
    (("conf-enteringno", "you are entering conference number"), ("digits/4", "four")),
    (("at-tone-time-exactly", "at the sound of the tone the time will be exactly"), ("digits/9", "nine")),
    (("queue-quantity1", "currently there are more than"), ("digits/10", "ten")),
    (("dir-pls-enter", "please enter the first"), ("digits/3", "three")),
    (("vm-youhave", "you have"), ("digits/7", "seven")),
    (("num-was-successfully", "the number was successfully"), ("added", "added")),
)
HUMAN_PLAIN = (
    ("conf-locked", "this conference is locked"), ("vm-goodbye", "goodbye"),
    ("please-try-call-later", "please try your call again later"),
    ("number-not-answering", "the number is not answering"),
    ("something-terribly-wrong", "something is terribly wrong"),
    ("feature-not-avail-line", "that feature is not available on this line"),
    ("all-circuits-busy-now", "all circuits are busy now"),
    ("demo-nomatch", "I'm sorry there are no matches for those keywords"),
    ("cannot-complete-as-dialed", "your call cannot be completed as dialed"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Piece:
    """Words, when they were said (seconds on the utterance's clock) and by whom."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """`samples`: int16 at 16 kHz, in a room, from `LEAD_S` before the first piece to `TAIL_S` after the last."""

    kind: str
    samples: NDArray[np.int16]
    pieces: tuple[Piece, ...]
    pause: float

    @property
    def end(self) -> float:
        """When the last word was over."""
        return self.pieces[-1].end


def utterances(quick: bool) -> Iterator[Utterance]:
    """All of them; pauses from 0.2 to 1.5 s, spread evenly over each kind."""
    kinds = {
        "cued": [[(text, _flite(text, voice)) for text in pair] for voice in VOICES for pair in (*CUED, *CUED)],
        "uncued": [[(text, _flite(text, voice)) for text in pair] for voice in VOICES for pair in (*UNCUED, *UNCUED)],
        "plain": [[(text, _flite(text, voice))] for voice in VOICES for text in PLAIN],
    }
    if PROMPTS.is_dir():
        kinds["cued, human"] = [[(t, _prompt(name)) for name, t in pair] for _ in range(3) for pair in HUMAN_CUED]
        kinds["plain, human"] = [[(text, _prompt(name))] for name, text in HUMAN_PLAIN]
    for kind, said in kinds.items():
        chosen = said[:: max(1, len(said) // 5)] if quick else said
        # a stride that shares no factor with the count: neighbours in the table differ in their pauses
        order = [n * 7 % len(chosen) if len(chosen) % 7 else n for n in range(len(chosen))]
        pauses = np.linspace(0.2, 1.5, len(chosen))
        yield from (spliced(kind, said, float(pauses[n])) for said, n in zip(chosen, order, strict=True))


def spliced(kind: str, said: Sequence[tuple[str, NDArray[np.int16]]], pause: float) -> Utterance:
    """Pieces with `pause` seconds between them, in a quiet room."""
    position, pieces, parts = LEAD_S, [], []
    for text, samples in said:
        pieces.append(Piece(text, position, position + len(samples) / LISTEN_RATE))
        parts.append((int(position * LISTEN_RATE), samples))
        position = pieces[-1].end + pause
    count = int((pieces[-1].end + TAIL_S) * LISTEN_RATE)
    noise = np.random.default_rng(count).normal(0, ROOM, count)
    for start, samples in parts:
        noise[start : start + len(samples)] += samples
    return Utterance(kind, noise.astype(np.int16), tuple(pieces), pause if len(pieces) > 1 else 0.0)


@cache
def _flite(text: str, voice: str) -> NDArray[np.int16]:
    return _levelled(resample(spoken(text, voice), 48_000, LISTEN_RATE))


@cache
def _prompt(name: str) -> NDArray[np.int16]:
    return _levelled(resample(trimmed(load(PROMPTS / f"{name}.gsm")), 48_000, LISTEN_RATE))


def _levelled(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    wide = samples.astype(np.float64)
    gain = 32768 * 10 ** (LEVEL_DB / 20) / np.sqrt(np.mean(wide**2))
    return np.clip(wide * gain, -32768, 32767).astype(np.int16)
