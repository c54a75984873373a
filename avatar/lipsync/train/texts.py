"""Sentences to be spoken: quotations from Debian's fortune packages and strings of words from its dictionaries."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.errors import LipSyncError

_FORTUNES = Path("/usr/share/games/fortunes")
_DICTIONARIES = Path("/usr/share/hunspell")
_QUOTED = {
    "en": ("literature", "wisdom", "science", "people", "work", "kids", "platitudes", "cookie", "sports", "law"),
    "de": ("de/*",),
    "es": ("es/*",),
    "it": ("it/*",),
    "cs": ("cs/*",),
    "ru": ("ru/*",),
    "pl": ("pl/*",),
    "pt": ("brasil",),
    "zh": ("chinese", "tang300", "song100"),
}
_WORDS = {
    "en": "", "de": "de_DE", "fr": "fr", "es": "es_ES", "it": "it_IT", "pt": "pt_BR", "nl": "nl", "sv": "sv_SE",
    "ru": "ru_RU", "cs": "cs_CZ", "hu": "hu_HU", "ro": "ro_RO", "tr": "tr_TR", "el": "el_GR", "hi": "hi_IN",
    "pl": "pl_PL", "id": "id_ID", "uk": "uk_UA", "vi": "vi_VN", "ca": "ca",
}  # fmt: skip
_ENCODINGS = {"el": "iso8859-7", "pl": "iso8859-2", "id": "latin-1"}
_KANA = (
    "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわがぎぐげござじずぜぞ"
    "だでどばびぶべぼぱぴぷぺぽ"
)
_FINNISH_ONSETS = ("", "p", "t", "k", "s", "h", "m", "n", "l", "r", "j", "v", "p", "m", "v")
_FINNISH_VOWELS = (
    ("a", "o", "u", "aa", "uo", "e", "i", "ei", "ai", "uu", "oi"),
    ("ä", "ö", "y", "ää", "yö", "e", "i", "ie", "äi", "yy"),
)
_FINNISH_CODAS = ("", "", "", "n", "s", "t", "l", "r", "m")
_SENTENCE = re.compile(r"[^.!?。！？\n]{12,150}[.!?。！？]")
_SHORTEST, _LONGEST = 4, 22


def sentences(language: str, count: int, rng: np.random.Generator) -> list[str]:
    """`count` texts of a language (primary tag): quotations where there are some, else strings of words.

    Mandarin comes in Han. Raises `LipSyncError` when the Debian package of its dictionary is missing.
    """
    quoted = _quotations(language)
    return [
        str(quoted[rng.integers(len(quoted))]) if quoted and rng.random() < 0.6 else _string(language, rng)
        for _ in range(count)
    ]


def _string(language: str, rng: np.random.Generator) -> str:
    """4 to 10 words that don't belong together, with a comma now and then."""
    if language == "zh":
        quoted = _quotations("zh")
        return str(quoted[rng.integers(len(quoted))])
    words = [_word(language, rng) for _ in range(rng.integers(4, 11))]
    if rng.random() < 0.4:
        words[len(words) // 2] += ","
    return " ".join(words).capitalize() + str(rng.choice([".", ".", ".", "?", "!"]))


def _word(language: str, rng: np.random.Generator) -> str:
    if language == "ja":
        return "".join(_KANA[rng.integers(len(_KANA))] for _ in range(rng.integers(2, 6)))
    if language == "ko":
        return "".join(_hangul(rng) for _ in range(rng.integers(1, 5)))
    if language == "fi":
        vowels = _FINNISH_VOWELS[rng.integers(2)]
        return "".join(
            str(rng.choice(_FINNISH_ONSETS)) + str(rng.choice(vowels)) + str(rng.choice(_FINNISH_CODAS))
            for _ in range(rng.integers(2, 5))
        )
    words = _dictionary(language)
    return words[rng.integers(len(words))]


def _hangul(rng: np.random.Generator) -> str:
    coda = int(rng.choice([0, 0, 0, 1, 4, 8, 16, 17, 21]))
    return chr(0xAC00 + (int(rng.integers(19)) * 21 + int(rng.integers(21))) * 28 + coda)


@lru_cache
def _dictionary(language: str) -> tuple[str, ...]:
    if language == "en":
        return _english()
    path = _DICTIONARIES / f"{_WORDS[language]}.dic"
    if not path.exists():
        raise LipSyncError(f"{path} is missing: install Debian's hunspell dictionary of {language!r}")
    lines = path.read_text(_ENCODINGS.get(language, "utf-8"), "ignore").splitlines()[1:]
    words = (re.split(r"[/\s]", line)[0] for line in lines)
    return tuple(word for word in words if 1 < len(word) < 14 and all(map(_is_letter, word)) and not word[0].isupper())


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LM"


@lru_cache
def _english() -> tuple[str, ...]:
    """The words of the fortunes, each as often as it occurs up to 8 times: common words, but not only these."""
    counts: dict[str, int] = {}
    for text in _quotations("en"):
        for word in re.findall(r"[a-z]{2,12}", text.lower()):
            counts[word] = min(8, counts.get(word, 0) + 1)
    return tuple(word for word, times in sorted(counts.items()) for _ in range(times))


@lru_cache
def _quotations(language: str) -> tuple[str, ...]:
    found: set[str] = set()
    for pattern in _QUOTED.get(language, ()):
        for path in sorted(_FORTUNES.glob(pattern)):
            if path.suffix in (".dat", ".u8") or not path.is_file():
                continue
            text = path.read_text("utf-8", "ignore")
            for piece in re.split(r"\n%\n", text):
                quotation = re.split(r"\n\s*(?:--|―|—)", re.sub(r"\x1b\[\d+m", "", piece))[0]
                separator = "" if language == "zh" else " "
                flat = separator.join(line.strip() for line in quotation.splitlines())
                found.update(match.strip() for match in _SENTENCE.findall(flat) if _speakable(match, language))
    if language in ("en", "zh") and not found:
        raise LipSyncError("install Debian's fortunes, fortunes-min and fortunes-zh: they are the texts")
    return tuple(sorted(found))


def _speakable(text: str, language: str) -> bool:
    """Words of letters with plain punctuation; no numbers, capitals, markup, names of programs."""
    if not all(_is_letter(char) or char in " ,.;:!?'’-，。！？、；：" for char in text.strip()):
        return False
    if language == "zh":
        han = sum("\u4e00" <= char <= "\u9fff" for char in text)
        return han >= 5 and not re.search("[A-Za-z]", text)
    words = text.split()
    return _SHORTEST <= len(words) <= _LONGEST and not any(word.isupper() and len(word) > 1 for word in words)
