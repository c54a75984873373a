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
    "de": "der die das und ist nicht ich wir sie ein eine mit für auf wie heute guten danke "
    "es zu den dem des von im auch wenn aber nur man einen hat sind kein bei nach aus werden oder doch wird mich er",
    "fr": "le la les et est je vous nous une des pas avec pour bonjour merci qui dans il elle "
    "un du de ce se sur ne sont au aux mais ou où son sa ses leur plus tout cette comme être avoir fait",
    "es": "el la los las y es no que una con para por hola gracias como usted muy está "
    "de en un se lo del al su sus le más pero sin sobre ser todo porque nunca si hay cuando quien",
    "it": "il la gli e è non che una con per ciao grazie come sono molto questo della "
    "di del un lo le dei delle nel nella si ho ha mi ti ci ma cosa anche perché quando più al alla da suo",
    "pt": "o os as e é não que uma com para por olá obrigado você como muito está isso "
    "de do da dos das um em no na nos se ao mas mais seu sua quando tem foi ser ele ela quem só pelo pela nem",
    "nl": "de het een en van ik je niet dat op te zijn met voor hij ze er maar om aan ook als naar bij dit wat deze",
    "sv": "och att det är som en ett på för inte med jag har till av den vi om han hon så de du kan var men eller",
    "pl": "i w z na się nie do to że jest jak co po tak ale od za czy przez ma dla ja ty już tylko jego być kto gdy",
    "cs": "a je se na že to v s z do jak ale si jsem jsou by není když co pro tak za nebo který jeho už jen ten má",
    "hu": "a az és hogy nem egy van ez volt meg csak de mint ha már még én te mi ki is vagy lesz nagyon",
    "ro": "și şi de la în nu că un cu este care să ce mai din sau pentru pe cel fi lui după fără dar când",
    "tr": "bir ve bu için çok da de ne ile var mi ben o sen gibi ama daha değil her kadar sonra olan yok evet",
    "id": "yang dan di ini itu dengan untuk tidak dari ke pada adalah saya akan kamu apa ada bisa juga karena oleh",
    "en": "the a and is are you i to of in it that with for on my what this was be have "
    "not he she they we but at by as if your his her all no do can will or there from who me so an has one",
}
_WORDS = {tag: frozenset(words.split()) for tag, words in _FUNCTION_WORDS.items()}
_OWN = {
    "de": "äöüß",
    "fr": "çêœàùûî",
    "es": "ñ¿¡",
    "it": "ìò",
    "pt": "ãõ",
    "sv": "åäö",
    "pl": "ąćęłńśźż",
    "cs": "ěřůšžčťďň",
    "hu": "őűöü",
    "ro": "ăâîșțşţ",
    "tr": "ğışçöü",
}
"""Letters beyond ASCII by which a language is known."""
_SHARED = {
    "de": "é", "fr": "éèâôëïüæ", "es": "áéíóúü", "it": "àèéù", "pt": "áéíóúâêôàç", "nl": "éëïöüè", "sv": "é",
    "pl": "ó", "cs": "áéíóúý", "hu": "áéíóú", "tr": "âîû", "id": "é",
}  # fmt: skip
"""Further letters beyond ASCII that a language has; any other one speaks against it."""
_VIETNAMESE = re.compile("[đơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]", re.I)
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
    """Function words decide; a word with a language's own letters counts as two of them."""
    if len(_VIETNAMESE.findall(text)) >= 2:
        return "vi"
    words = re.findall(r"[^\W\d_]+|[¿¡]", text.lower())
    scores = {tag: sum(word in known for word in words) for tag, known in _WORDS.items()}
    for word in set(words):
        letters = {char for char in word if not char.isascii()}
        for tag in scores if letters else ():
            scores[tag] += _spelling(tag, letters)
    best = max(scores, key=lambda tag: scores[tag])
    # Two cues at least, and more than English has: names and loan words are no change of language.
    return best if scores[best] >= 2 and scores[best] > scores["en"] else default


def _spelling(tag: str, letters: set[str]) -> int:
    """What a word's `letters` beyond ASCII say for a language; nothing for or against English, with its loan words."""
    own, shared = _OWN.get(tag, ""), _SHARED.get(tag, "")
    if tag == "en":
        return 0
    if not letters.issubset(own + shared):
        return -2
    return 2 if letters.intersection(own) else 0
