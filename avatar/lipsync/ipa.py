"""From IPA symbols to mouth targets: which visemes a phoneme shows, and how it moves."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.frames import VISEMES


class Manner(Enum):
    """How a target asserts itself against its neighbours."""

    PAUSE = "pause"
    VOWEL = "vowel"
    ROUNDED = "rounded"
    TONGUE = "tongue"
    LABIODENTAL = "labiodental"
    CLOSURE = "closure"
    BREATH = "breath"
    """h and the glottal stop: no mouth of their own, they take the next one's."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One mouth on the way through a phoneme. `weights`: shape (15,), float32, sum 1.

    `share` is its part of the phoneme's time; `hold` the part of a closure during which the lips touch.
    """

    weights: NDArray[np.float32]
    manner: Manner
    share: float = 1.0
    hold: float = 0.0


# Vowels as mixtures of the five OVR vowels; the first one named is the strongest.
_VOWELS = {
    "a": "aa", "ɑ": "aa", "ɐ": "aa .6 E .4", "ʌ": "aa .65 E .35", "æ": "aa .6 E .4", "ɶ": "aa .7 oh .3",
    "e": "E", "ɛ": "E .9 aa .1", "ə": "E .5 aa .25 ih .25", "ɘ": "E .6 ih .4", "ɤ": "E .6 oh .4",
    "ɜ": "E .55 RR .45", "ɚ": "RR .55 E .45", "ɝ": "RR .55 E .45", "ɞ": "oh .5 E .5",
    "i": "ih", "ɪ": "ih .8 E .2", "ɨ": "ih .8 ou .2", "ᵻ": "ih .8 E .2", "ɯ": "ih .8 ou .2", "ᵊ": "E .5 ih .5",
}  # fmt: skip
_ROUNDED = {
    "ɔ": "oh .85 aa .15", "ɒ": "oh .6 aa .4", "o": "oh", "ɵ": "oh .6 ou .4", "ø": "oh .6 E .4", "œ": "oh .6 E .4",
    "u": "ou", "ʊ": "ou .75 oh .25", "ʉ": "ou .8 ih .2", "y": "ou .65 ih .35", "ʏ": "ou .65 ih .35",
    "w": "ou", "ʍ": "ou", "ɥ": "ou .65 ih .35",
    "ʃ": "CH", "ʒ": "CH", "ɕ": "CH .75 SS .25", "ʑ": "CH .75 SS .25", "ʂ": "CH", "ʐ": "CH .6 RR .4", "ɧ": "CH",
    "ɹ": "RR", "ɻ": "RR", "ɺ": "RR .5 nn .5",
}  # fmt: skip
_TONGUE = {
    "t": "DD", "d": "DD", "ʈ": "DD", "ɖ": "DD", "ɾ": "DD .7 nn .3", "ɗ": "DD", "c": "DD .5 kk .5", "ɟ": "DD .5 kk .5",
    "n": "nn", "ɲ": "nn .8 ih .2", "ɳ": "nn", "l": "nn", "ɫ": "nn", "ɭ": "nn", "ʎ": "nn .7 ih .3", "ɬ": "nn .5 SS .5",
    "ɮ": "nn .5 SS .5", "ʟ": "kk", "k": "kk", "ɡ": "kk", "g": "kk", "q": "kk", "ɢ": "kk", "ŋ": "kk", "ɴ": "kk",
    "x": "kk", "ɣ": "kk", "χ": "kk", "ʁ": "kk .7 RR .3", "ʀ": "kk .6 RR .4", "ħ": "kk .6 aa .4", "ʕ": "kk .6 aa .4",
    "ɰ": "kk", "ç": "ih .7 SS .3", "ʝ": "ih .8 SS .2", "j": "ih", "s": "SS", "z": "SS", "θ": "TH", "ð": "TH",
    "r": "RR",
}  # fmt: skip
_LABIODENTAL = {"f": "FF", "v": "FF", "ɱ": "FF", "ʋ": "FF .7 ou .3", "ɸ": "FF .6 PP .4", "β": "PP .6 FF .4"}
_CLOSURES = {"p": 0.5, "b": 0.8, "ɓ": 0.8, "m": 0.95, "ʙ": 0.6}
"""Part of the phoneme with the lips together: p is closure, burst and breath; m hums to its end."""
_BREATHS = "hɦʔʡ"

_AFFRICATES = {"tʃ": "ʃ", "dʒ": "ʒ", "tɕ": "ɕ", "dʑ": "ʑ", "tʂ": "ʂ", "dʐ": "ʐ", "ts": "s", "dz": "z", "pf": "f"}
_RETROFLEX = {"s.": "ʂ", "z.": "ʐ", "i.": "ɨ", "r.": "ɽ"}
"""espeak's own way to write Mandarin's retroflexes inside IPA."""
_BASE = {"ɽ": "ɾ", "ɼ": "r", "ɿ": "ɨ", "ʅ": "ɨ", "ɫ": "l", "ʦ": "ts", "ʣ": "dz", "ʧ": "tʃ", "ʤ": "dʒ", "ʨ": "tɕ"}
_STRESS = "ˈˌ"
_REDUCED = 0.85
"""Openness of an unstressed vowel; people open less where they do not stress."""


def _mixture(text: str) -> NDArray[np.float32]:
    weights = np.zeros(len(VISEMES), np.float32)
    parts = text.split()
    for name, share in zip(parts[::2], parts[1::2] or ["1"], strict=True):
        weights[VISEMES.index(name)] = float(share)
    return np.asarray(weights / weights.sum(), np.float32)


SILENCE = Target(_mixture("sil"), Manner.PAUSE)


@lru_cache(maxsize=2048)
def targets_of(symbol: str) -> tuple[Target, ...]:
    """The mouths of one IPA phoneme, in order; a diphthong has several, a pause is `SILENCE`.

    Length, stress, tone and other marks are ignored, and so is what is no IPA; a symbol without anything
    known is a `BREATH`: the mouth glides past it.
    """
    if symbol.strip() in ("", "_"):
        return (SILENCE,)
    stressed = symbol[0] in _STRESS
    parts = [target for letter in _letters(symbol) if (target := _target(letter, stressed)) is not None]
    speaking = [part for part in parts if part.manner is not Manner.BREATH]
    if not speaking:
        return (Target(SILENCE.weights, Manner.BREATH),)
    # Vowels carry most of the time; of two vowels the first has a little more.
    lengths = [1.2 - 0.2 * min(i, 2) if part.manner is Manner.VOWEL else 1.0 for i, part in enumerate(speaking)]
    total = sum(lengths)
    return tuple(
        Target(part.weights, part.manner, length / total, part.hold)
        for part, length in zip(speaking, lengths, strict=True)
    )


def _letters(symbol: str) -> list[str]:
    """The base letters, affricates as the fricative that shapes the lips."""
    plain = unicodedata.normalize("NFD", symbol).replace("c\u0327", "ç")
    for written, letter in _RETROFLEX.items():
        plain = plain.replace(written, letter)
    # "Lm" are modifier letters (ʰ ʲ ː ˈ), "Mn" diacritics, the rest digits and other tone marks.
    plain = "".join(char for char in plain if unicodedata.category(char) in ("Ll", "Lo"))
    plain = "".join(_BASE.get(char, char) for char in plain)
    plain = plain.replace("nɡ", "ŋ")
    for pair, fricative in _AFFRICATES.items():
        plain = plain.replace(pair, fricative)
    return list(plain)


def _target(letter: str, stressed: bool) -> Target | None:
    if letter in _CLOSURES:
        return Target(_mixture("PP"), Manner.CLOSURE, hold=_CLOSURES[letter])
    if letter in _VOWELS:
        weights = _mixture(_VOWELS[letter])
        return Target(weights if stressed else _REDUCED * weights + (1 - _REDUCED) * SILENCE.weights, Manner.VOWEL)
    for table, manner in (
        (_ROUNDED, Manner.ROUNDED),
        (_TONGUE, Manner.TONGUE),
        (_LABIODENTAL, Manner.LABIODENTAL),
    ):
        if letter in table:
            return Target(_mixture(table[letter]), manner)
    return Target(SILENCE.weights, Manner.BREATH) if letter in _BREATHS else None
