"""The built-in dialogue: no key, no network, honest about being a demo."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime

from core.dialogue.heard import Heard
from core.dialogue.intents import answer
from core.frames import Utterance

_PIECE = re.compile(r"[\u3000-\u9fff\uff00-\uffef]|[^\s\u3000-\u9fff\uff00-\uffef]*\s*")


def _local_time() -> datetime:
    return datetime.now().astimezone()


class DemoDialogue:
    """Small talk, sums, time, jokes and repeating, in the language of the user's text (English or Chinese).

    `clock` returns the local time. Answers depend only on the text, the history and the clock; variants
    take turns with the length of the history. Never raises.
    """

    name = "demo"

    def __init__(self, *, clock: Callable[[], datetime] = _local_time) -> None:
        self._clock = clock

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    async def reply(self, history: Sequence[Utterance], text: str) -> AsyncGenerator[str, None]:
        """The answer word by word (Chinese: character by character)."""
        heard = Heard(text=text.strip(), history=history, now=self._clock())
        for piece in _PIECE.findall(answer(heard)):
            if piece:
                yield piece
