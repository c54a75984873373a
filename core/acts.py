"""What the face does at a place in a text: the tags of a reply ("[happy]", "[nod]") and what else stands for them.

In filtered text a tag is one private-use character (`MARKS`), which no text from outside can hold: the markup
filter drops those. `core.sentences` takes them out again.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from core.frames import Expression, Gesture

Deed = Expression | Gesture

_ALL: tuple[Deed, ...] = (*Expression, *Gesture)
MARKS: dict[str, Deed] = {chr(0xE000 + number): deed for number, deed in enumerate(_ALL)}
"""The character that stands for each in filtered text."""
_MARK_OF = {deed: mark for mark, deed in MARKS.items()}

_TAGS: dict[str, Deed] = {str(deed): deed for deed in _ALL} | {
    "smile": Expression.HAPPY,
    "surprise": Expression.SURPRISED,
    "apology": Expression.APOLOGETIC,
    "sorry": Expression.APOLOGETIC,
    "nods": Gesture.NOD,
    "shakes": Gesture.SHAKE,
    "tilts": Gesture.TILT,
    **dict.fromkeys(("高兴", "开心", "微笑"), Expression.HAPPY),
    **dict.fromkeys(("难过", "悲伤", "伤心"), Expression.SAD),
    "惊讶": Expression.SURPRISED,
    "思考": Expression.THINKING,
    "抱歉": Expression.APOLOGETIC,
    "平静": Expression.NEUTRAL,
    "点头": Gesture.NOD,
    "摇头": Gesture.SHAKE,
    "歪头": Gesture.TILT,
}
_LABEL = re.compile(
    r"\s*(?:(?:emotion|expression|mood|gesture|action|情绪|表情|动作)\s*[:=：]\s*)?([a-z]{3,10}|[一-鿿]{2})\s*",
    re.IGNORECASE,
)
_LONGEST_LABEL = 40
LETTERS_PER_S = 13.0
"""Speed of speech for `weight`, where the voice has not said yet how long it takes."""

_ACTED: tuple[tuple[re.Pattern[str], Deed], ...] = tuple(
    (re.compile(pattern), deed)
    for pattern, deed in (
        (r"apologetic|鞠躬", Expression.APOLOGETIC),
        (r"\bsad|\bsigh|\bsob|\bfrown|叹气", Expression.SAD),
        (r"surprise|\bgasp|惊", Expression.SURPRISED),
        (r"\bnod|点头", Gesture.NOD),
        (r"\bshak|摇头", Gesture.SHAKE),
        (r"\btilt|歪头", Gesture.TILT),
        (r"\bsmil|\bgrin|\blaugh|\bchuckl|\bgiggl|\bbeam|\bcheer|\bsnicker|\bwink|笑", Expression.HAPPY),
    )
)

_PAUSE_WEIGHTS = {**dict.fromkeys(".!?;:。！？；：…\n", 4.0), **dict.fromkeys(",，、—–", 2.5)}
_LETTER, _SYLLABLE, _DIGIT = 1.0, 3.4, 6.0


@dataclass(frozen=True, slots=True)
class Act:
    """One deed in an utterance. `share` of the utterance's sound comes before it, 0..1."""

    deed: Deed
    share: float


def mark_of_tag(label: str) -> str:
    """The mark of a tag, by what stands between its brackets; "" when it is none."""
    found = _LABEL.fullmatch(label.strip("[]")) if len(label) <= _LONGEST_LABEL else None
    deed = _TAGS.get(found[1].lower()) if found else None
    return _MARK_OF[deed] if deed else ""


def mark_of_direction(direction: str) -> str:
    """The mark of a stage direction ("smiles warmly", "点头"); "" when the face has nothing for it."""
    text = direction.lower()
    return next((_MARK_OF[deed] for pattern, deed in _ACTED if pattern.search(text)), "")


def weight(text: str) -> float:
    """How long `text` takes to say, in letters: an estimate that needs no voice.

    A Chinese character is a syllable, a digit a word; marks are pauses. The weights were fitted to espeak-ng's own
    word times in English and Chinese.
    """
    return sum(map(_weight, text))


def _weight(char: str) -> float:
    if char in _PAUSE_WEIGHTS:
        return _PAUSE_WEIGHTS[char]
    if char.isalpha():
        return _SYLLABLE if unicodedata.east_asian_width(char) in "WF" else _LETTER
    return _DIGIT if char.isalnum() else 0.0
