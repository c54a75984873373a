"""One reply of a voice service on its way from the line to the stage."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable

from core.acts import Act
from core.errors import AdapterError
from core.frames import Expression, Pcm, SpeechChunk
from core.sentences import Piece

QUEUED_S = 30.0
"""So much sound waits for the stage, which holds 20 s itself; then the service has to wait."""
QUEUED = 4096
"""As many pieces, sentences without sound included."""


class VoiceReply:
    """Implements `core.reply.LiveSpeech`. The line adds, one reply of the conversation takes.

    `begin`, where given, asks for the reply as soon as somebody wants to hear it; it may raise `AdapterError`.
    `stopped` is told once when nobody wants it any more before it is over.
    """

    def __init__(
        self, stopped: Callable[[VoiceReply], None], begin: Callable[[VoiceReply], Awaitable[None]] | None = None
    ) -> None:
        self.number: int | None = None
        """The line's number for it, once it began."""
        self.words_due = False
        """The service began it before it told what the user said."""
        self.taken = begin is not None
        """Somebody reads it, or will."""
        self._stopped = stopped
        self._begin = begin
        self._items: deque[Piece | SpeechChunk] = deque()
        self._mood: Expression | None = None
        self._begun = False
        self._seconds = 0.0
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._error: AdapterError | None = None
        self.over = False
        """Nothing more comes, or nobody wants it."""

    # -- the line

    def mood(self, expression: Expression) -> None:
        """From the next sentence on."""
        self._mood = expression

    def sentence(self, text: str) -> None:
        """Its sound follows."""
        self._begun = True
        self._put(Piece(text, self._take_mood()))

    def sound(self, pcm: Pcm, arrived: float | None = None) -> None:
        """The next piece."""
        if self._mood is not None and not self._begun:
            self._put(Piece("", self._take_mood()))  # it has no sentences
        self._begun = True
        self._put(SpeechChunk(pcm, arrived=arrived))

    async def room(self) -> None:
        """Wait until more may come, or nothing does any more."""
        await self._room.wait()

    def end(self, error: AdapterError | None = None) -> None:
        """That was all, or all that is to be had. Idempotent."""
        if self.over:
            return
        if self._mood is not None:
            self._put(Piece("", self._take_mood()))
        self._error = error
        self._conclude()

    # -- core.reply.LiveSpeech

    async def items(self) -> AsyncGenerator[Piece | SpeechChunk]:
        """See `core.reply.LiveSpeech`."""
        try:
            if self._begin is not None:
                await self._begin(self)
            while True:
                while self._items:
                    yield self._taken()
                if self.over:
                    break
                self._more.clear()
                await self._more.wait()
            if self._error is not None:
                raise self._error
        finally:
            self.stop()

    def stop(self) -> None:
        """See `core.reply.LiveSpeech`."""
        self._items.clear()
        if not self.over:
            self._conclude()
            self._stopped(self)

    # -- inside

    def _put(self, item: Piece | SpeechChunk) -> None:
        if self.over:
            return
        self._items.append(item)
        self._more.set()
        if isinstance(item, SpeechChunk):
            self._seconds += item.pcm.seconds
        if self._full:
            self._room.clear()

    @property
    def _full(self) -> bool:
        return self._seconds >= QUEUED_S or len(self._items) >= QUEUED

    def _taken(self) -> Piece | SpeechChunk:
        item = self._items.popleft()
        if isinstance(item, SpeechChunk):
            self._seconds -= item.pcm.seconds
        if not self._full:
            self._room.set()
        return item

    def _take_mood(self) -> tuple[Act, ...]:
        mood, self._mood = self._mood, None
        return (Act(mood, 0.0),) if mood is not None else ()

    def _conclude(self) -> None:
        self.over = True
        self._more.set()
        self._room.set()
