"""Numbers as people say them, English and Chinese: words → value, value → words."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

_ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_ONES += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = {"trillion": 10**12, "billion": 10**9, "million": 10**6, "thousand": 10**3}
_VALUES = {word: value for value, word in enumerate(_ONES)}
_VALUES |= {word: 10 * tens for tens, word in enumerate(_TENS, start=2)}
_VALUES |= {"fourty": 40, "ninty": 90, "nought": 0, "dozen": 12}

NUMBER_WORDS = frozenset(_VALUES) | frozenset(_SCALES) | {"hundred", "point"}

_DIGITS = "零一二三四五六七八九"
_CJK_VALUES = {char: value for value, char in enumerate(_DIGITS)} | {"〇": 0, "两": 2, "俩": 2}
_CJK_SCALES = {"十": 10, "百": 100, "千": 1000}
CJK_NUMBER = "".join([*_CJK_VALUES, *_CJK_SCALES, "万亿点"])

LARGEST = 10**15
"""Numbers from here on are not spoken out."""

_DECIMALS = 4


def parse_english(words: Sequence[str]) -> Fraction | None:
    """["three", "hundred", "and", "five", "point", "two"] → 305.2; None if they are no number."""
    if "point" in words:
        at = list(words).index("point")
        whole = parse_english(words[:at]) if at else Fraction(0)
        tail = [_VALUES.get(word, 99) for word in words[at + 1 :]]
        if whole is None or not tail or max(tail) > 9:
            return None
        return whole + Fraction(int("".join(map(str, tail))), 10 ** len(tail))
    total = group = 0
    for index, word in enumerate(words):
        if word in _VALUES:
            if index and not _may_follow(words[index - 1], _VALUES[word]):
                return None
            group += _VALUES[word]
        elif word == "hundred":
            group = (group or 1) * 100
        elif word in _SCALES:
            total, group = total + (group or 1) * _SCALES[word], 0
        elif not (word == "a" and index == 0 and len(words) > 1) and not (word == "and" and 0 < index < len(words) - 1):
            return None
    return Fraction(total + group) if words else None


def _may_follow(before: str, value: int) -> bool:
    """ "twenty" may be followed by "one", "hundred" and "and" by anything; "seven six" is no number."""
    return before not in _VALUES or (before in _TENS and 0 < value < 10)


def parse_chinese(text: str) -> Fraction | None:
    """ "三百零五点二" → 305.2; None if it is no number."""
    whole, point, tail = text.partition("点")
    value = _chinese_integer(whole) if whole else None
    if value is None or not point:
        return value
    digits = "".join(str(_CJK_VALUES.get(char, "?")) for char in tail)
    return value + Fraction(int(digits), 10 ** len(digits)) if digits.isdecimal() else None


def _chinese_integer(text: str) -> Fraction | None:
    if len(text) > 1 and all(char in _CJK_VALUES for char in text):
        return Fraction(int("".join(str(_CJK_VALUES[char]) for char in text)))
    total = section = digit = 0
    for char in text:
        if char in _CJK_VALUES:
            digit = _CJK_VALUES[char]
        elif char in _CJK_SCALES:
            section, digit = section + (digit or 1) * _CJK_SCALES[char], 0
        elif char == "万":
            total, section, digit = total + (section + digit) * 10**4, 0, 0
        elif char == "亿":
            total, section, digit = (total + section + digit) * 10**8, 0, 0
        else:
            return None
    return Fraction(total + section + digit)


def say_english(value: Fraction) -> str:
    """305.2 → "three hundred and five point two"; beyond four decimals "about …". Needs |value| < `LARGEST`."""
    whole, decimals, exact = _split(value)
    text = _english_integer(whole) + (" point " + " ".join(_ONES[int(d)] for d in decimals) if decimals else "")
    return ("" if exact else "about ") + ("minus " if value < 0 else "") + text


def say_chinese(value: Fraction) -> str:
    """305.2 → "三百零五点二"; beyond four decimals "约…". Needs |value| < `LARGEST`."""
    whole, decimals, exact = _split(value)
    text = _chinese_words(whole) + ("点" + "".join(_DIGITS[int(d)] for d in decimals) if decimals else "")
    return ("" if exact else "约") + ("负" if value < 0 else "") + text


def _split(value: Fraction) -> tuple[int, str, bool]:
    """Integer part, decimals without trailing zeros, and whether that is the exact value."""
    size = 10**_DECIMALS
    scaled = round(abs(value) * size)
    whole, rest = divmod(scaled, size)
    return whole, f"{rest:0{_DECIMALS}d}".rstrip("0") if rest else "", Fraction(scaled, size) == abs(value)


def _english_integer(value: int) -> str:
    if value < 20:
        return _ONES[value]
    if value < 100:
        return _TENS[value // 10 - 2] + (f" {_ONES[value % 10]}" if value % 10 else "")
    if value < 1000:
        rest = value % 100
        return f"{_ONES[value // 100]} hundred" + (f" and {_english_integer(rest)}" if rest else "")
    scale, size = next((name, size) for name, size in _SCALES.items() if value >= size)
    rest = value % size
    joint = " and " if 0 < rest < 100 else " "
    return f"{_english_integer(value // size)} {scale}" + (joint + _english_integer(rest) if rest else "")


def _chinese_words(value: int) -> str:
    for name, size in (("亿", 10**8), ("万", 10**4)):
        if value >= size:
            rest = value % size
            zero = "零" if 0 < rest < size // 10 else ""
            return _chinese_words(value // size) + name + zero + (_chinese_words(rest) if rest else "")
    text, pending_zero = "", False
    for name, size in (("千", 1000), ("百", 100), ("十", 10), ("", 1)):
        digit = value // size % 10
        if digit:
            text += ("零" if pending_zero and text else "") + _DIGITS[digit] + name
        pending_zero = bool(text) and not digit
    if text.startswith("一十"):
        text = text[1:]
    return text or "零"
