"""Telling a wake word from typed text: both come in the same message."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


class WakeWords:
    """Compared without case, blanks and punctuation: `"Hi, ESP!" in WakeWords(["hi esp"])`."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(filter(None, map(_plain, words)))

    def __contains__(self, text: str) -> bool:
        return _plain(text) in self._words


def _plain(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKC", text).casefold() if char.isalnum())
