"""Cuts a stream of words into pieces for the synthesizer: an early first piece, then whole sentences."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from core.acts import MARKS, Act, Deed, weight
from core.markup import MarkupFilter

_FIRST_SENTENCE = 5
_FIRST_CLAUSE = 9
_SENTENCE = 10
_LONGEST = 220
_MOST_DEEDS = 16
"""Of one piece; a face could not show more."""
_WORDS_WAITED = 8
"""So many whole words without any punctuation are waited for before the first piece is cut among them."""

_ENDS_CJK = frozenset("。！？；")
_ENDS_LATIN = frozenset(".!?;…")
_ENDS = _ENDS_CJK | _ENDS_LATIN
_CLAUSES_CJK = frozenset("，、：")
_CLAUSES_LATIN = frozenset(",:—–")
_CLOSERS = frozenset("\"'”’)）」』】》]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TITLES = _words("dr mr mrs ms prof st vs e.g i.e cf fig gen col lt capt rev hon approx no nr vol pp ca")
_MAYBE_ENDS = _words("etc inc ltd co corp jr sr dept est a.m p.m ph.d b.c a.d")
_INITIALS = re.compile(r"(?:[a-z]\.)+[a-z]|[b-hj-z]", re.IGNORECASE)
_CONNECTIVES = _words(
    "and but because that which who so or when if with for to in of on at from by about as than then while"
)
_LOOSE_MARK = re.compile(r"\s+([.!?,;:，。！？；：、])(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Piece:
    """One utterance: what is said, and what the face does meanwhile, in order."""

    text: str
    acts: tuple[Act, ...] = ()


class SentenceCutter:
    """One answer. The pieces depend only on the text, never on how it was split into deltas, nor on its tags.

    Pieces are clean of markup (see `core.markup`), have no surrounding white space, hold at least one
    letter or digit and are at most about 220 columns long (an East Asian character counts as two).
    Acts after the last word come as a last piece without text.
    """

    def __init__(self) -> None:
        self._filter = MarkupFilter()
        self._text = ""
        self._deeds: list[tuple[int, Deed]] = []
        """With their places in the text."""
        self._width = 0
        self._first = True

    def feed(self, delta: str) -> list[Piece]:
        """Take the next piece of raw text, return the pieces that are now complete."""
        pieces: list[Piece] = []
        for char in self._filter.feed(delta):
            self._push(char, pieces)
        return pieces

    def finish(self) -> list[Piece]:
        """End of the answer: the remaining pieces."""
        pieces: list[Piece] = []
        for char in self._filter.finish():
            self._push(char, pieces)
        self._cut(len(self._text), pieces)
        if self._deeds:
            pieces.append(Piece("", tuple(Act(deed, 0.0) for _, deed in self._deeds)))
        return pieces

    def _push(self, char: str, pieces: list[Piece]) -> None:
        if char in MARKS:
            if len(self._deeds) < _MOST_DEEDS:
                self._deeds.append((len(self._text), MARKS[char]))
            return
        if char == "\n":
            if _speakable(self._text):
                self._cut(len(self._text), pieces)
            char = " "
        if char == " " and self._text[-1:] in ("", " "):
            return
        at = self._boundary(char)
        if at and _speakable(self._text[:at]):
            self._cut(at, pieces)
            if char == " " and not self._text:
                return
        self._text += char
        self._width += _columns(char)
        if self._width >= _LONGEST:
            self._shorten(pieces)

    def _shorten(self, pieces: list[Piece]) -> None:
        """The text has grown too long without a boundary; marks alone that long are not worth a piece."""
        if _speakable(self._text[: (at := _best_cut(self._text))]):
            self._cut(at, pieces)
        else:
            self._drop(at)

    def _cut(self, at: int, pieces: list[Piece]) -> None:
        """Emit the text up to `at`; marks without a word are kept for the next piece."""
        text = _LOOSE_MARK.sub(r"\1", self._text[:at].strip())
        if not _speakable(text):
            return
        whole = weight(self._text[:at])
        acts = [Act(deed, weight(self._text[:place]) / whole) for place, deed in self._deeds if place <= at]
        self._deeds = self._deeds[len(acts) :]
        pieces.append(Piece(text, tuple(acts)))
        self._drop(at)
        self._first = False

    def _drop(self, at: int) -> None:
        rest = self._text[at:].lstrip()
        gone = len(self._text) - len(rest)
        self._text = rest
        self._width = sum(map(_columns, rest))
        self._deeds = [(max(0, place - gone), deed) for place, deed in self._deeds]

    def _boundary(self, after: str) -> int:
        """Where to cut now that `after` is known to follow the text; 0 for nowhere."""
        stem = self._text.rstrip(" ")
        spaced = len(stem) < len(self._text)
        core = stem.rstrip("\"'”’)）」』】》]")
        if not core or (not spaced and (after in _CLOSERS or (after in _ENDS and core[-1] in _ENDS))):
            return 0
        if core[-1] in _ENDS:
            least = _FIRST_SENTENCE if self._first else _SENTENCE
            return len(stem) if self._width >= least and _ends(core, spaced, after) else 0
        if not self._first or spaced:
            return 0
        if self._width >= _FIRST_CLAUSE and _pauses(stem[-1], after):
            return len(stem)
        return self._among_words(stem) if after == " " else 0

    def _among_words(self, stem: str) -> int:
        """A place in an unpunctuated first sentence: before a connective word, else after the sixth word."""
        if stem.count(" ") + 1 != _WORDS_WAITED:
            return 0
        words = stem.split(" ")
        count = next((n for n in (6, 5, 4) if words[n].lower() in _CONNECTIVES), 6)
        while count > 4 and words[count - 1].lower() in _CONNECTIVES:
            count -= 1
        return len(" ".join(words[:count]))


def _ends(core: str, spaced: bool, after: str) -> bool:
    """Whether the mark that `core` ends with ends a sentence when `after` is the next character."""
    mark = core[-1]
    if mark in _ENDS_CJK:
        return True
    if mark == "." and not core.endswith(".."):
        token = re.split(r"[\s(（\"'“‘]", core[:-1])[-1].lower()
        if core[:-1].strip().isdecimal() and len(core.strip()) <= 4:
            return False
        if token in _TITLES and not (token == "no" and spaced and not after.isdecimal()):
            return False
        if token in _MAYBE_ENDS or _INITIALS.fullmatch(token):
            return spaced and after.isupper() and token in _MAYBE_ENDS
    return spaced or after.isspace() or _columns(after) == 2


def _pauses(mark: str, after: str) -> bool:
    return mark in _CLAUSES_CJK or (mark in _CLAUSES_LATIN and (after == " " or _columns(after) == 2))


def _best_cut(text: str) -> int:
    """The best place in a text that has grown too long: a clause mark, a space, else its end."""
    limit = len(text)
    for index in range(limit - 1, limit // 3, -1):
        if text[index - 1] in _ENDS_CJK | _CLAUSES_CJK or (
            text[index] == " " and text[index - 1] in _ENDS_LATIN | _CLAUSES_LATIN
        ):
            return index
    if (space := text.rstrip().rfind(" ")) > limit // 3:
        return space
    while limit > 1 and unicodedata.combining(text[limit - 1]):
        limit -= 1
    return limit


def _columns(char: str) -> int:
    return 2 if char > "\u2fff" and unicodedata.east_asian_width(char) in "WF" else 1


def _speakable(text: str) -> bool:
    return any(char.isalnum() for char in text)
