"""Mandarin: from Han characters to IPA, through the readings that pypinyin knows (phrases decide between several).

The readings come in Zhuyin, which writes a syllable as initial, glide and final: one table of 37 signs holds all of
them. A pronunciation by espeak-ng's voices would get -iong and the suffix -r wrong (it reads them as English).
"""

from __future__ import annotations

import re

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff〇"

_INITIALS = {
    "ㄅ": "p", "ㄆ": "pʰ", "ㄇ": "m", "ㄈ": "f", "ㄉ": "t", "ㄊ": "tʰ", "ㄋ": "n", "ㄌ": "l", "ㄍ": "k", "ㄎ": "kʰ",
    "ㄏ": "x", "ㄐ": "tɕ", "ㄑ": "tɕʰ", "ㄒ": "ɕ", "ㄓ": "tʂ", "ㄔ": "tʂʰ", "ㄕ": "ʂ", "ㄖ": "ʐ", "ㄗ": "ts",
    "ㄘ": "tsʰ", "ㄙ": "s",
}  # fmt: skip
_GLIDES = {"ㄧ": "j", "ㄨ": "w", "ㄩ": "ɥ"}
_FINALS = {
    "": "ɨ", "ㄚ": "a", "ㄛ": "o", "ㄜ": "ɤ", "ㄝ": "ɛ", "ㄞ": "ai", "ㄟ": "ei", "ㄠ": "au", "ㄡ": "ou", "ㄢ": "a n",
    "ㄣ": "ə n", "ㄤ": "a ŋ", "ㄥ": "ə ŋ", "ㄦ": "ɚ", "ㄧ": "i", "ㄨ": "u", "ㄩ": "y", "ㄧㄣ": "i n", "ㄧㄥ": "i ŋ",
    "ㄧㄢ": "j ɛ n", "ㄨㄥ": "ʊ ŋ", "ㄩㄣ": "y n", "ㄩㄥ": "j ʊ ŋ", "ㄩㄢ": "ɥ ɛ n",
}  # fmt: skip
_LABIALS = "ㄅㄆㄇㄈ"
_SIGN = re.compile(r"[\u3105-\u3129]+")
_NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_DIGITS = "零一二三四五六七八九"
_UNITS = ("", "十", "百", "千")
_LONGEST_COUNT = 8
"""A longer row of digits is a telephone number or a code: read one by one."""


def load() -> None:
    """Read the dictionaries (0.3 s) now and not with the first text."""
    readings("你好")


def readings(han: str) -> list[list[str]]:
    """IPA symbols of every syllable of a run of Han characters; empty for characters without a known reading."""
    # imported when needed: the dictionaries take 50 MB and 0.3 s, and only Mandarin wants them
    from pypinyin import Style, lazy_pinyin

    return [syllable(zhuyin) for zhuyin in lazy_pinyin(han, style=Style.BOPOMOFO, errors=_unknown)]


def syllable(zhuyin: str) -> list[str]:
    """IPA symbols of one syllable in Zhuyin, tone marks ignored: "ㄒㄩㄥˊ" → ɕ j ʊ ŋ."""
    signs = _SIGN.search(zhuyin)
    if signs is None:
        return []
    rest = signs[0]
    symbols = []
    if rest[0] in _INITIALS:
        symbols.append(_INITIALS[rest[0]])
        # "bo" sounds as "buo"
        glide = "ㄨ" if rest[0] in _LABIALS and rest[1:] == "ㄛ" else ""
        rest = glide + rest[1:]
    if rest not in _FINALS and rest[0] in _GLIDES:
        symbols.append(_GLIDES[rest[0]])
        rest = rest[1:]
    return symbols + _FINALS.get(rest, "").split()


def with_numbers_read(text: str) -> str:
    """`text` with its Arabic numerals as they are read: "2024年有25%" → "二零二四年有百分之二十五"."""

    def read(match: re.Match[str]) -> str:
        whole, _, fraction = match[0].replace(",", "").partition(".")
        after = text[match.end() : match.end() + 1]
        year = after == "年" and len(whole) == 4 and not fraction
        count = not year and len(whole) <= _LONGEST_COUNT and not (len(whole) > 1 and whole[0] == "0")
        spoken = _count(int(whole)) if count else _one_after_the_other(whole)
        if fraction:
            spoken += "点" + _one_after_the_other(fraction)
        return ("百分之" if after in ("%", "％") and after else "") + spoken

    return _NUMBER.sub(read, text)


def _unknown(characters: str) -> str:
    return ""


def _one_after_the_other(digits: str) -> str:
    return "".join(_DIGITS[int(digit)] for digit in digits)


def _count(number: int) -> str:
    """A number below 10^8 in words."""
    if number >= 10_000:
        high, low = divmod(number, 10_000)
        gap = "零" if 0 < low < 1000 else ""
        return _count(high) + "万" + gap + (_count(low) if low else "")
    if number == 0:
        return "零"
    words = ""
    for place, digit in enumerate(reversed(str(number))):
        if digit != "0":
            words = _DIGITS[int(digit)] + _UNITS[place] + words
        elif words and words[0] != "零":
            words = "零" + words
    return words.removeprefix("一") if words.startswith("一十") else words
