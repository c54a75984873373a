"""Text as espeak-ng reads it best: cleaned, cut into pieces, misread Mandarin syllables spelt out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

LONGEST = 300
"""Characters in one piece: about 20 s of speech, 1 MB of audio."""

_ENDS = re.compile(r"[.!?…;:][\"')\]]*\s|[。！？；：…]+[”’」』）]*|\n")
_COMMAS = re.compile(r"[,–—]\s|[，、]|\s-\s")
_SPACES = re.compile(r"\s")

# espeak-ng 1.52 has no phoneme rule for the final -iong and falls back to English spelling for it.
_IONG = {
    1: "兄凶胸匈汹洶兇扃芎哅恟",
    2: "熊雄穷窮琼瓊邛穹茕煢穹",
    3: "窘炯迥炅",
    4: "诇夐",
}
_INITIALS = {"兄凶胸匈汹洶兇芎哅恟熊雄诇夐": "S;", "穷窮琼瓊邛穹茕煢": "tS;h", "窘炯迥炅扃": "tS;"}
_TONES = {1: 55, 2: 35, 3: 214, 4: 51}
# Its word list writes the suffix -r as "zhe4r5", read as English too; a word that begins with it is fine.
_ERHUA = re.compile("(?<=[\u4e00-\u9fff])(?<!女)(?<!婴)(?<!幼)(?<!孤)(?<!胎)(?<!宠)儿(?![子童女孙媳歌科])")
_ERHUA_MARKUP = "[[@r11]]"


def _iong() -> dict[int, str]:
    table = {}
    for tone, chars in _IONG.items():
        for char in chars:
            initial = next(onset for group, onset in _INITIALS.items() if char in group)
            table[ord(char)] = f"[[{initial}j'ong{_TONES[tone]}]]"
    return table


_IONG_MARKUP = _iong()


def clean(text: str) -> str:
    """`text` without control, private and emoji characters; they would be commands or noise to the engine."""
    return re.sub(r"[^\S\n]+", " ", "".join(" " if _unspeakable(char) else char for char in text)).strip()


def _unspeakable(char: str) -> bool:
    code = ord(char)
    if code < 0x7F:
        return code < 0x20 and char != "\n"
    if (code >= 0x1F000 and code < 0x20000) or 0x2600 <= code < 0x27C0 or 0xFE00 <= code < 0xFE10:
        return True  # emoji would be read by name: "grinning face"
    return unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")


def pieces(text: str, longest: int = LONGEST) -> Iterator[str]:
    """Cut `text` after sentences, else commas, else spaces, else anywhere, into at most `longest` characters."""
    start = 0
    while len(text) - start > longest:
        cut = start + _cut(text[start : start + longest])
        if text[start:cut].strip():
            yield text[start:cut].strip()
        start = cut
    if text[start:].strip():
        yield text[start:].strip()


def _cut(window: str) -> int:
    for marks in (_ENDS, _COMMAS, _SPACES):
        ends = [match.end() for match in marks.finditer(window)]
        # A cut near the start would make many tiny pieces out of one badly punctuated text.
        if ends and ends[-1] > len(window) // 4:
            return ends[-1]
    return len(window)


def mandarin_markup(text: str) -> str:
    """`text` with the syllables espeak's Mandarin misreads replaced by phoneme mnemonics in "[[…]]"."""
    plain = text.replace("[[", "[ ").replace("]]", " ]")
    return _ERHUA.sub(_ERHUA_MARKUP, plain).translate(_IONG_MARKUP)
