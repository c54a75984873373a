"""Phone names of festival, flite and PocketSphinx as IPA."""

from __future__ import annotations

from core.errors import LipSyncError

PAUSE = "_"
ARPABET = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "aʊ", "ax": "ə", "axr": "ɚ", "ay": "aɪ", "b": "b", "ch": "tʃ",
    "d": "d", "dh": "ð", "dx": "ɾ", "eh": "ɛ", "el": "l", "em": "m", "en": "n", "er": "ɝ", "ey": "eɪ", "f": "f",
    "g": "ɡ", "hh": "h", "hv": "h", "ih": "ɪ", "ix": "ɪ", "iy": "i", "jh": "dʒ", "k": "k", "l": "l", "m": "m",
    "n": "n", "nx": "ɾ", "ng": "ŋ", "ow": "oʊ", "oy": "ɔɪ", "p": "p", "r": "ɹ", "s": "s", "sh": "ʃ", "t": "t",
    "th": "θ", "uh": "ʊ", "uw": "u", "v": "v", "w": "w", "y": "j", "z": "z", "zh": "ʒ",
    "pau": PAUSE, "ssil": PAUSE, "brth": PAUSE, "sil": PAUSE, "<sil>": PAUSE, "+spn+": PAUSE, "+nsn+": PAUSE,
}  # fmt: skip
_COMMON = {"#": PAUSE, "pau": PAUSE, "_": PAUSE}
_LETTERS = {letter: letter for letter in "abdefhijklmnopstuvwz"} | {"g": "ɡ"}
ITALIAN = _COMMON | _LETTERS | {
    "E": "ɛ", "O": "ɔ", "i1": "i", "e1": "e", "E1": "ɛ", "a1": "a", "o1": "o", "O1": "ɔ", "u1": "u", "S": "ʃ",
    "Z": "ʒ", "ts": "ts", "tS": "tʃ", "dz": "dz", "dZ": "dʒ", "J": "ɲ", "ng": "ŋ", "nf": "ɱ", "L": "ʎ", "r": "r",
}  # fmt: skip
CATALAN = ITALIAN | {"ax": "ə", "rr": "r", "r": "ɾ"}
CZECH = _COMMON | _LETTERS | {
    "a:": "aː", "e:": "eː", "i:": "iː", "o:": "oː", "u:": "uː", "c": "ts", "c~": "tʃ", "ch": "x", "d~": "ɟ",
    "dz": "dz", "dz~": "dʒ", "h": "ɦ", "n*": "ŋ", "n~": "ɲ", "r": "r", "r~": "rʒ", "r~*": "rʃ", "s~": "ʃ",
    "t~": "c", "z~": "ʒ", "_": "ʔ",
}  # fmt: skip
_FINNISH = _COMMON | _LETTERS | {"y": "y", "@": "æ", "7": "ø", "&": "ə", "N": "ŋ", "r": "r", "S": "ʃ", "T": "θ",
                                 "D": "ð", "Z": "ʒ", "L": "l"}  # fmt: skip
FINNISH = _FINNISH | {f"{name}:": f"{ipa}ː" for name, ipa in _FINNISH.items() if ipa != PAUSE}
RUSSIAN = {
    "pau": PAUSE,
    "ii": "i",
    "yy": "ɨ",
    "uu": "u",
    "ee": "e",
    "oo": "o",
    "aa": "a",
    "a": "ɐ",
    "e": "e",
    "i": "ɪ",
    "y": "ɨ",
    "u": "u",
    "ae": "ə",
    "ay": "ə",
    "ur": "ʊ",
    "c": "ts",
    "ch": "tɕ",
    "sh": "ʂ",
    "sch": "ɕ",
    "zh": "ʐ",
    "h": "x",
    "hh": "x",
    "j": "j",
} | {
    soft: ipa
    for name, ipa in (
        ("p", "p"),
        ("b", "b"),
        ("t", "t"),
        ("d", "d"),
        ("k", "k"),
        ("g", "ɡ"),
        ("f", "f"),
        ("v", "v"),
        ("s", "s"),
        ("z", "z"),
        ("m", "m"),
        ("n", "n"),
        ("l", "l"),
        ("r", "r"),
    )
    for soft in (name, 2 * name)
}
INDIC = {
    "pau": PAUSE, "a": "ə", "aa": "aː", "ih": "ɪ", "iy": "iː", "uh": "ʊ", "uw": "uː", "eh": "e", "ee": "eː",
    "ay": "ɛː", "oh": "o", "oo": "oː", "aw": "ɔː", "f": "f", "k": "k", "g": "ɡ", "ch": "tʃ", "T": "ʈ", "D": "ɖ",
    "N": "ɳ", "th": "t", "dh": "d", "n": "n", "p": "p", "b": "b", "m": "m", "y": "j", "r": "ɾ", "l": "l", "v": "ʋ",
    "L": "ɭ", "R": "ɾ", "s": "s", "sh": "ʃ", "j": "dʒ", "h": "ɦ", "ksh": "kʂ", "sri": "ʃɾ", "kh": "k", "gh": "ɡ",
    "td": "ʈ", "tth": "ʈ", "ddh": "ɖ", "bh": "b", "zh": "ʒ", "@": "æ", "w": "w", "x": PAUSE,
}  # fmt: skip
TABLES = {
    "en": ARPABET, "it": ITALIAN, "ca": CATALAN, "cs": CZECH, "fi": FINNISH, "ru": RUSSIAN, "hi": INDIC, "mr": INDIC,
    "te": INDIC,
}  # fmt: skip


def ipa_of(phone: str, language: str) -> str:
    """IPA of an engine's phone name. Raises `LipSyncError` for one that the table doesn't have: no label is guessed."""
    table = TABLES[language]
    ipa = table.get(phone, table.get(phone.lower()) if language == "en" else None)
    if ipa is None:
        raise LipSyncError(f"phone {phone!r} of {language!r} has no IPA in avatar/lipsync/train/phones.py")
    return ipa
