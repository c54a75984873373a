"""A dialogue engine that has nothing to say, for measurements of hearing alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from core.frames import Utterance


class MuteDialogue:
    """Answers with nothing."""

    name = "mute"

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    async def reply(self, history: Sequence[Utterance], text: str) -> AsyncIterator[str]:
        """No words."""
        return
        yield ""
