"""Which language a text is written in, by its script and a few cues."""

from __future__ import annotations

import re
from collections import Counter

_SCRIPTS = (
    ("kana", 0x3040, 0x30FF),
    ("kana", 0xFF66, 0xFF9D),
    ("han", 0x3400, 0x9FFF),
    ("han", 0xF900, 0xFAFF),
    ("han", 0x20000, 0x3FFFF),
    ("ko", 0xAC00, 0xD7A3),
    ("ko", 0x1100, 0x11FF),
    ("ko", 0x3130, 0x318F),
    ("ru", 0x0400, 0x052F),
    ("ar", 0x0600, 0x077F),
    ("ar", 0xFB50, 0xFEFF),
    ("hi", 0x0900, 0x097F),
    ("bn", 0x0980, 0x09FF),
    ("ta", 0x0B80, 0x0BFF),
    ("te", 0x0C00, 0x0C7F),
    ("th", 0x0E00, 0x0E7F),
    ("ka", 0x10A0, 0x10FF),
    ("hy", 0x0530, 0x058F),
    ("he", 0x0590, 0x05FF),
    ("el", 0x0370, 0x03FF),
    ("el", 0x1F00, 0x1FFF),
)
"""Unicode blocks, by the language most written in them."""

_IDEOGRAPHS = ("han", "kana", "ko")
_LETTERS_PER_WORD = 5
"""One ideograph says about as much as this many letters; scripts are compared in that currency."""

_FUNCTION_WORDS = {
    "de": "der die das und ist nicht ich wir sie ein eine mit für auf wie heute guten danke",
    "fr": "le la les et est je vous nous une des pas avec pour bonjour merci qui dans il elle",
    "es": "el la los las y es no que una con para por hola gracias como usted muy está",
    "it": "il la gli e è non che una con per ciao grazie come sono molto questo della",
    "pt": "o os as e é não que uma com para por olá obrigado você como muito está isso",
    "en": "the a and is are you i to of in it that with for on my what this was be have",
}
_WORDS = {tag: frozenset(words.split()) for tag, words in _FUNCTION_WORDS.items()}
_MARKS = {
    "de": re.compile("[äöüß]", re.I),
    "fr": re.compile("[çêœàùû]", re.I),
    "es": re.compile("[ñ¿¡]", re.I),
    "it": re.compile("[ìò]", re.I),
    "pt": re.compile("[ãõ]", re.I),
}
_VIETNAMESE = re.compile("[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]", re.I)
_SAMPLE = 2000


def language_of(text: str, default: str = "en") -> str:
    """BCP-47 primary tag of the language of `text`, judged from its first 2000 characters.

    Any Han text makes it "zh", also between Latin words: a Chinese voice reads both, an English one
    reads no Han. Kana makes it "ja". Text without a letter (digits, punctuation) is `default`, and so is
    Latin text without a cue of another language.
    """
    counts = _count(text[:_SAMPLE])
    if not counts:
        return default
    ideographs = counts["han"] + counts["kana"]
    if counts["kana"] and counts["kana"] >= 0.15 * ideographs and counts["kana"] >= counts["ko"]:
        return "ja"
    if counts["han"] > counts["ko"]:
        return "zh"
    weights = {tag: n * (_LETTERS_PER_WORD if tag in _IDEOGRAPHS else 1) for tag, n in counts.items()}
    script = max(weights, key=lambda tag: weights[tag])
    if script == "latin":
        return _latin(text[:_SAMPLE], default)
    if script == "ru" and re.search("[іїєґ]", text, re.I):
        return "uk"
    if script == "ar" and re.search("[پچژگ]", text):
        return "fa"
    return script


def _count(text: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for char in text:
        if not char.isalpha():
            continue
        code = ord(char)
        if code < 0x0250 or 0x1E00 <= code < 0x1F00:
            counts["latin"] += 1
            continue
        for tag, first, last in _SCRIPTS:
            if first <= code <= last:
                counts[tag] += 1
                break
    return counts


def _latin(text: str, default: str) -> str:
    """Function words decide; a language's own letters count as two of them."""
    if len(_VIETNAMESE.findall(text)) >= 2:
        return "vi"
    words = re.findall(r"[^\W\d_]+", text.lower())
    scores = {tag: sum(word in known for word in words) for tag, known in _WORDS.items()}
    for tag, marks in _MARKS.items():
        scores[tag] += 2 * len(marks.findall(text))
    best = max(scores, key=lambda tag: scores[tag])
    # Two cues at least, and more than English has: names and loan words are no change of language.
    return best if scores[best] >= 2 and scores[best] > scores["en"] else default
