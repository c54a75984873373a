"""Sums as people ask them, spoken or typed: "what is seven times six", "3.5+2", "七乘以六等于多少".

A grammar of our own over exact fractions, nothing is evaluated as code:
    sum := product (("+" | "-") product)*        product := factor (("*" | "/") factor)*
    factor := ("-" | "√") factor | atom ("^" factor | "%")?      atom := number | "(" sum ")"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from core.dialogue.numbers import CJK_NUMBER, LARGEST, NUMBER_WORDS, parse_chinese, parse_english

_DEEPEST = 12
_LARGEST_POWER = 64
_MOST_TOKENS = 60
_LONGEST_TEXT = 300


class Unanswerable(Exception):
    """The sum is understood but has no answer we can say. `reason`: "zero", "negative root" or "huge"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum that was asked for: its tokens (numbers and the operators + - * / ^ % √ and brackets)."""

    tokens: tuple[Fraction | str, ...]


_PHRASES = (
    (r"the square root of|square root of|square root|the root of|root of|root", "√"),
    (r"to the power of|raised to|to the", "^"),
    (r"squared", "^ 2"),
    (r"cubed", "^ 3"),
    (r"multiplied by|multiply by|multiplied with|times|time|multiply|x|×|·", "*"),
    (r"divided by|divide by|divided|over|÷|：", "/"),
    (r"plus|added to|add", "+"),
    (r"minus|take away|less|−|–", "-"),
    (r"percent of|per cent of|% of", "% *"),
    (r"percent|per cent", "%"),
    (r"negative", "-"),
    (r"half of", "0.5 *"),
    (r"double|twice", "2 *"),
)
_PHRASE_RULES = tuple(
    (re.compile(rf"(?<![a-z])(?:{words})(?![a-z])"), f" {symbol} ") for words, symbol in _PHRASES
)  # fmt: skip
_CJK_RULES = (
    (re.compile(rf"([{CJK_NUMBER}\d.]+)的平方根|根号([{CJK_NUMBER}\d.]+)"), r" √ \1\2 "),
    (re.compile(r"的平方"), " ^ 2 "),
    (re.compile(r"的立方"), " ^ 3 "),
    (re.compile(rf"([{CJK_NUMBER}\d.]+)的([{CJK_NUMBER}\d.]+)次方"), r" \1 ^ \2 "),
    (re.compile(r"百分之([零〇一二两三四五六七八九十百千点\d.]+)"), r" \1 % "),
    (re.compile(r"加上|加"), " + "),
    (re.compile(r"减去|减|减掉"), " - "),
    (re.compile(r"乘以|乘上|乘"), " * "),
    (re.compile(r"除以|除"), " / "),
    (re.compile(r"负"), " - "),
    (re.compile(r"％"), " % "),
    (re.compile(r"（"), " ( "),
    (re.compile(r"）"), " ) "),
)
_ASKING = re.compile(
    r"\b(?:what|whats|what's|what is|what are|how much|is|are|does|do|make|makes|calculate|compute|tell me|please|"
    r"can you|could you|the (?:result|answer|sum|value|product) of|result|answer|equals?|equal to|"
    r"hey|hi|hello|okay|ok|so|and what|eman|now|you|for me|add up|work out)\b|等于多少|等于几|等于|是多少|是几|"
    r"得多少|得几|多少|请问|请|帮我|算一下|计算一下|计算|算算|算|结果|一下|呢|吗|吧|啊|那么|的"
)
_HEARD_WRONG = ((r"\bto\b|\btoo\b", "two"), (r"\bfor\b|\bfore\b", "four"), (r"\bate\b", "eight"), (r"\bsex\b", "six"),
                (r"\bwon\b", "one"), (r"\btree\b", "three"), (r"\btimes to\b", "times two"))  # fmt: skip
# the beginning of a question is what a recogniser hears worst: "one is", "what this is", "but is"
_OPENING = re.compile(r"^\s*(?:[a-z']+\s+){1,2}(?:is|are)\s+", re.IGNORECASE)
_TOKEN = re.compile(rf"\d+(?:\.\d+)?|\.\d+|[a-z]+|[{CJK_NUMBER}]+|[-+*/^%√()]|\S")
_OPERATORS = frozenset("+-*/^%√()")


def find_sum(text: str) -> Sum | None:
    """The sum in `text`, if all of it (apart from the words of asking) is one and it has an operator."""
    if len(text) > _LONGEST_TEXT:
        return None
    plain = _plain(text)
    for candidate in (plain, _corrected(plain), _plain(_OPENING.sub("", text))):
        tokens = _numbers(_TOKEN.findall(candidate)[: _MOST_TOKENS + 1])
        if tokens and len(tokens) <= _MOST_TOKENS and _is_sum(tokens):
            return Sum(tokens)
    return None


def _plain(text: str) -> str:
    """Numbers and operators, without the words of asking and punctuation."""
    plain = text.lower().replace("’", "'").replace("-", " - " if re.search(r"[\d\s)]-|-[\d(]", text) else " ")
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", plain)
    plain = _apply(_CJK_RULES, plain)
    plain = _ASKING.sub(" ", re.sub(r"what's|whats", " ", plain))
    plain = re.sub(r"[?!,;=？！，。；＝\"']|\.(?!\d)", " ", plain)
    return _apply(_PHRASE_RULES, plain)


def _apply(rules: tuple[tuple[re.Pattern[str], str], ...], text: str) -> str:
    for rule, symbol in rules:
        text = rule.sub(symbol, text)
    return text


def _corrected(text: str) -> str:
    """Words that sound like a number read as that number."""
    for pattern, word in _HEARD_WRONG:
        text = re.sub(pattern, word, text)
    return text


def _numbers(raw: list[str]) -> tuple[Fraction | str, ...] | None:
    """Tokens with runs of number words joined into values; None when a word is neither."""
    tokens: list[Fraction | str] = []
    words: list[str] = []
    for token in [*raw, ""]:
        if token in NUMBER_WORDS or (token in ("a", "and") and (words or token == "a")):
            words.append(token)
            continue
        if words:
            value = parse_english(words)
            if value is None:
                return None
            tokens.append(value)
            words = []
        if not token:
            break
        value = _numeral(token)
        if value is None and token not in _OPERATORS:
            return None
        tokens.append(token if value is None else value)
    return tuple(tokens)


def _numeral(token: str) -> Fraction | None:
    if token[0].isascii() and (token[0].isdigit() or (token[0] == "." and len(token) > 1)):
        return Fraction(token) if len(token) <= 20 else Fraction(LARGEST)
    return parse_chinese(token)


def _is_sum(tokens: tuple[Fraction | str, ...]) -> bool:
    numbers = sum(isinstance(token, Fraction) for token in tokens)
    asked = numbers > 1 or "√" in tokens or "%" in tokens
    return asked and numbers > 0 and len(tokens) > numbers and _Parser(tokens).fits()


def solve(asked: Sum) -> Fraction:
    """The exact value (roots to 12 decimals). Raises `Unanswerable`."""
    return _bounded(_Parser(asked.tokens).value())


def _bounded(value: Fraction) -> Fraction:
    if abs(value) >= LARGEST or value.denominator > 10**60:
        raise Unanswerable("huge")
    return value


class _Parser:
    """Recursive descent over the tokens; wrong grammar is a `ValueError`."""

    def __init__(self, tokens: tuple[Fraction | str, ...]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def value(self) -> Fraction:
        value = self._sum()
        if self._at != len(self._tokens):
            raise ValueError("trailing tokens")
        return value

    def fits(self) -> bool:
        try:
            self.value()
        except Unanswerable:
            return True
        except ValueError:
            return False
        return True

    def _next(self, wanted: str) -> str | None:
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if isinstance(token, str) and token in wanted:
            self._at += 1
            return token
        return None

    def _sum(self) -> Fraction:
        value = self._product()
        while operator := self._next("+-"):
            other = self._product()
            value = value + other if operator == "+" else value - other
        return value

    def _product(self) -> Fraction:
        value = self._factor()
        while operator := self._next("*/"):
            other = self._factor()
            if operator == "/" and other == 0:
                raise Unanswerable("zero")
            value = _bounded(value * other if operator == "*" else value / other)
        return value

    def _factor(self) -> Fraction:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if self._next("-"):
            value = -self._factor()
        elif self._next("√"):
            value = _root(self._factor())
        else:
            value = self._atom()
            if self._next("^"):
                value = _power(value, self._factor())
            if self._next("%"):
                value /= 100
        self._depth -= 1
        return value

    def _atom(self) -> Fraction:
        if self._next("("):
            value = self._sum()
            if not self._next(")"):
                raise ValueError("bracket not closed")
            return value
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if not isinstance(token, Fraction):
            raise ValueError("number expected")
        self._at += 1
        return token


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise Unanswerable("negative root")
    top, bottom = isqrt(value.numerator), isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    return Fraction(isqrt(value.numerator * 10**24 // value.denominator), 10**12)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent == Fraction(1, 2):
        return _root(base)
    if exponent.denominator != 1 or abs(exponent) > _LARGEST_POWER:
        raise Unanswerable("huge")
    if base == 0 and exponent < 0:
        raise Unanswerable("zero")
    power = int(exponent)
    if base.numerator.bit_length() * abs(power) > 4096 or base.denominator.bit_length() * abs(power) > 4096:
        raise Unanswerable("huge")
    return _bounded(Fraction(base**power))
