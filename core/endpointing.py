"""How long to wait after the last speech, and what a few words over the avatar's voice mean. Pure.

The wait follows how complete the words sound that were recognised so far: `completion` reads the newest partial
transcript, a semantic end-of-turn model may give its own probability, and a voice that hangs on a sound
(`core.prosody`) is still looking for words. No partial, no model, no hanging voice: the wait is the fixed one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from core.phrases import (
    BACK_CHANNELS,
    BACK_CHANNELS_ZH,
    CLOSED_ENDS_ZH,
    CLOSING_PHRASES,
    COMMANDS,
    FILLERS,
    LEAD_INS,
    LEANING_ENDS_ZH,
    LEANING_WORDS,
    OPEN_ENDS_ZH,
    OPEN_PHRASES,
    OPEN_WORDS,
    QUESTION_STARTS,
    STRANDED,
    WHOLE,
)

UNKNOWN = 0.5
"""Completion of words that tell nothing either way."""
_OPEN, _LEANING, _PAUSE = 0.0, 0.3, 0.1
_CLOSED = 0.7
"""Of some words whose last one does not lead on."""
_SOME_WORDS, _SOME_CHARACTERS = 2, 4
_HESITATING = 0.15
_DECIDED = 0.2
"""Text that is open below this outvotes the semantic model, which can't spell."""
_LONGEST_BACK_CHANNEL = 40
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_ENDS_IN_HAN = re.compile(f"[{_HAN}]$")
_UNITS = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+(?:['’][^\W_{_HAN}]+)*")
_BREAKS = re.compile(r"(\.{2,}|…+|[—–]+|-+|[,，、;；:：])$")
_STOPS = re.compile(r"[.。?？!！]+$")


@dataclass(frozen=True, slots=True)
class Waits:
    """Silence that ends a turn, in milliseconds: `fixed` when nothing is known, else between the bounds."""

    shortest: float = 300
    fixed: float = 500
    longest: float = 1500

    def after(self, completion: float) -> float:
        """For words that are complete with this probability: 0 waits longest, 0.5 the fixed time, 1 shortest."""
        if completion <= UNKNOWN:
            return self.longest + (self.fixed - self.longest) * max(0.0, completion) / UNKNOWN
        return self.fixed + (self.shortest - self.fixed) * min(1.0, completion * 2 - 1)


def judged(words: float | None, model: float | None, *, hesitating: bool) -> float:
    """One completion of several opinions (None: has none). What is plainly unfinished stays so."""
    completion = UNKNOWN if words is None else words
    if model is not None and completion >= _DECIDED:
        completion = model
    return min(completion, _HESITATING) if hesitating else completion


def completion(text: str) -> float:
    """How finished `text` sounds: 0 (open: "and", "因为") .. 1 (a question mark); `UNKNOWN` if it tells nothing."""
    text = unicodedata.normalize("NFKC", text).strip().lower()
    if _BREAKS.search(text):
        return _OPEN if text[-1] in ".…—–-" else _PAUSE
    stop = _STOPS.search(text)
    bare = _STOPS.sub("", text).strip()
    if not bare:
        return UNKNOWN
    by_words = _chinese(bare) if _ENDS_IN_HAN.search(bare) else _english(_UNITS.findall(bare))
    if stop is None:
        return by_words
    if "?" in stop.group() or "!" in stop.group():
        return 1.0
    return _PAUSE if by_words == _OPEN else max(by_words, 0.9)  # recognisers set full stops in mid-sentence


def count_words(text: str) -> int:
    """Words in `text`; a Chinese character counts as one."""
    return len(_UNITS.findall(unicodedata.normalize("NFKC", text)))


def is_back_channel(text: str) -> bool:
    """Whether `text` is only what a listener says while listening ("mm-hm", "yeah right", "嗯", "对对对")."""
    units = _UNITS.findall(unicodedata.normalize("NFKC", text).lower())
    if not units or len("".join(units)) > _LONGEST_BACK_CHANNEL:
        return False
    english = " ".join(unit for unit in units if not _ENDS_IN_HAN.search(unit))
    chinese = "".join(unit for unit in units if _ENDS_IN_HAN.search(unit))
    return _made_of(english.split(), _LISTENING) and _made_of(list(chinese), _LISTENING_ZH)


def _made_of(units: list[str], phrases: frozenset[tuple[str, ...]]) -> bool:
    """Whether the units are phrases of the table, one after the other."""
    reached = {0}
    for start in range(len(units)):
        if start in reached:
            reached |= {start + n for n in range(1, _MOST_UNITS + 1) if tuple(units[start : start + n]) in phrases}
    return len(units) in reached


def _table(phrases: Iterable[Iterable[str]]) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(phrase) for phrase in phrases)


_LISTENING = _table(phrase.split() for phrase in BACK_CHANNELS)
_LISTENING_ZH = _table(BACK_CHANNELS_ZH)
_FUNCTION_WORDS = OPEN_WORDS | LEANING_WORDS | QUESTION_STARTS
_MOST_UNITS = max(len(phrase) for phrase in _LISTENING | _LISTENING_ZH)


def _english(words: list[str]) -> float:
    words = [word.replace("’", "'") for word in words]
    if not words:
        return UNKNOWN
    text = " ".join(words)
    if text in WHOLE:
        return 0.95
    if words[-1] in FILLERS or words[-1] in OPEN_WORDS or _ends(text, OPEN_PHRASES):
        return _OPEN
    core = words
    while len(core) > 1 and core[0] in LEAD_INS:
        core = core[1:]
    question = core[0] in QUESTION_STARTS
    if _ends(text, CLOSING_PHRASES) and len(core) >= 2:
        return 0.95
    if words[-1] in LEANING_WORDS and not (question and len(core) >= 4 and words[-1] in STRANDED):
        return _LEANING
    if " ".join(core) in WHOLE:
        return 0.9
    if question and len(core) >= 3:
        return 0.9
    if core[0] in COMMANDS and len(core) >= 3:
        return 0.85
    english = not _FUNCTION_WORDS.isdisjoint(words)  # of other languages nothing is known
    return _CLOSED if english and len(core) >= _SOME_WORDS else UNKNOWN


def _chinese(text: str) -> float:
    longest = max((*OPEN_ENDS_ZH, *LEANING_ENDS_ZH, *CLOSED_ENDS_ZH), key=lambda end: len(end) * text.endswith(end))
    if not text.endswith(longest):
        return _CLOSED if len(text) >= _SOME_CHARACTERS else UNKNOWN
    if longest in CLOSED_ENDS_ZH:
        return 0.9
    return _OPEN if longest in OPEN_ENDS_ZH else _LEANING


def _ends(text: str, phrases: Iterable[str]) -> bool:
    return any(text == phrase or text.endswith(" " + phrase) for phrase in phrases)
