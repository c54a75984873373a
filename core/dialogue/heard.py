"""What the demo heard: one turn of the user with what is needed to answer it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.dialogue.phrases import phrase
from core.frames import Utterance

_CJK = re.compile(r"[\u3400-\u9fff]")
_NAME = re.compile(
    r"\b(?:my name is|my names|my name's|call me|i am called|i'm called)\s+([a-z][\w'-]*(?:\s+[a-z][\w'-]*)?)",
    re.IGNORECASE,
)
_NAME_CHINESE = re.compile(r"(?:我叫做?|我的名字叫?是?|叫我)([^\s，。！？,.!?吧啊什么谁不]{1,8})")
_NO_NAMES = frozenset({"not", "what", "a", "the", "when", "later", "back", "is", "who"})


@dataclass(frozen=True, slots=True)
class Heard:
    """One turn of the user. `text` is cleaned of surrounding white space, `now` is the local time."""

    text: str
    history: Sequence[Utterance]
    now: datetime

    @property
    def plain(self) -> str:
        """Lower case, no punctuation, single spaces (none in Chinese): what a recogniser would have written."""
        words = re.sub(r"[^\w\s]", " ", re.sub(r"['’]", "", self.text.lower()))
        return re.sub(r"\s+", "", words) if self.chinese else " ".join(words.split())

    @property
    def chinese(self) -> bool:
        """The language of this turn, or of the last one that had words."""
        for text in (self.text, *(turn.text for turn in reversed(self.history) if turn.role == "user")):
            if re.search(r"[^\W\d_]", text):
                return len(_CJK.findall(text)) > len(re.findall(r"[A-Za-z]+", text))
        return False

    @property
    def user(self) -> str:
        """The name that the user has given in this conversation, or ""."""
        texts = [turn.text for turn in self.history if turn.role == "user"]
        return next(filter(None, map(name_in, reversed(texts))), "")

    def say(self, name: str, *, value: str = "", question: str = "", user: str = "") -> str:
        """The phrase that is due in this turn, in the language of this turn."""
        turn = len(self.history) // 2
        return phrase(name, self.chinese, turn, value=value, question=question, user=user)


def name_in(text: str) -> str:
    """The name that a user gives in `text` ("my name is Anna", "我叫小明"), or ""."""
    if found := _NAME_CHINESE.search(text):
        return found[1]
    found = _NAME.search(text.replace("’", "'"))
    if found is None or found[1].split()[0].lower() in _NO_NAMES:
        return ""
    first, *second = found[1].split()
    names = [first, *(part for part in second if part[0].isupper())]
    return " ".join(part[:1].upper() + part[1:] for part in names)[:40]
