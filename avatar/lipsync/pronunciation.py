"""How a text is pronounced: words of IPA symbols. espeak-ng reads every language but Mandarin (`pinyin`)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from avatar.espeak.library import EspeakLibrary, espeak_library
from avatar.espeak.text import clean, pieces
from avatar.language import language_of
from avatar.lipsync import pinyin
from core.errors import LipSyncError, SynthesizerError

_log = logging.getLogger(__name__)

LONGEST = 4000
"""Characters of a text that are pronounced: about five minutes of speech; utterances are sentences."""
CLAUSE_END, WORD_END, SYLLABLE_END = 0.6, 0.03, 0.01
"""How likely a pause is after a clause, a word, a syllable of Mandarin."""
_VOICES = {"en": "en-us"}
_NO_SPEAKER = frozenset({"th"})
"""espeak-ng has a voice for these, but spells the letters."""
_RUNS = re.compile(rf"[{pinyin.HAN}]+|[^{pinyin.HAN}]+")
_HAN = re.compile(f"[{pinyin.HAN}]")
_MARK = re.compile(r"[,.!?;:，。！？；：、…—]")
_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Word:
    """One word, or one syllable of Mandarin: its IPA symbols, and how likely a pause follows (0..1)."""

    symbols: tuple[str, ...]
    pause: float = WORD_END


class Pronouncer:
    """Pronounces texts. Safe to use from any thread; takes the engine's lock for some 50 µs per sentence."""

    def __init__(self, library: str = "", data: str = "") -> None:
        """`library` and `data` replace the espeak-ng of the wheel."""
        self._paths = (library, data)
        self._engine: EspeakLibrary | None = None

    def load(self) -> None:
        """Load engine and dictionaries; a text loads them otherwise. Blocks. Raises `LipSyncError`."""
        self._espeak()
        pinyin.load()

    def words(self, text: str, language: str = "") -> tuple[Word, ...]:
        """The words of `text` in order, empty when its writing can't be read; "" judges the language by the text.

        Raises `LipSyncError`.
        """
        cleaned = clean(text[:LONGEST])
        language = language or language_of(cleaned)
        if language == "zh":
            return tuple(self._mandarin(pinyin.with_numbers_read(cleaned)))
        if language in _NO_SPEAKER or _HAN.search(cleaned):
            return ()
        return tuple(self._by_espeak(cleaned, language))

    def _mandarin(self, text: str) -> list[Word]:
        """Han by its readings, what stands between it by espeak: names, English words."""
        words: list[Word] = []
        for run in _RUNS.findall(text):
            if _HAN.match(run):
                words += [Word(tuple(symbols), SYLLABLE_END) for symbols in pinyin.readings(run) if symbols]
                continue
            if words and _MARK.match(run.lstrip()):
                words[-1] = replace(words[-1], pause=CLAUSE_END)
            if _WORD.search(run):
                words += self._by_espeak(run, language_of(run))
                if not _MARK.match(run.rstrip()[-1]):
                    words[-1:] = [replace(word, pause=WORD_END) for word in words[-1:]]
        return words

    def _by_espeak(self, text: str, language: str) -> Iterator[Word]:
        voice = _VOICES.get(language, language)
        try:
            for piece in pieces(text):
                for clause in self._espeak().pronounce(piece, voice):
                    words = [Word(tuple(symbols)) for symbols in clause if symbols]
                    yield from words[:-1]
                    if words:
                        yield Word(words[-1].symbols, CLAUSE_END)
        except SynthesizerError as error:
            if error.code != "unknown_voice":
                raise LipSyncError(f"the text can't be pronounced: {error}", adapter="aligned") from error
            _log.debug("espeak-ng does not speak %s", language)

    def _espeak(self) -> EspeakLibrary:
        if self._engine is None:
            self._engine = espeak_library(*self._paths)
        return self._engine
