"""The one queue between the socket and the listener."""

from __future__ import annotations

import asyncio
from collections import deque

from core.dialogue.xiaozhi.events import Emotion, Event, ReplyAudio, ReplyText

_MOST = 4096
"""Events."""


class EventQueue:
    """In order, for one listener. When full the reader of the socket waits (`room`), and so does the server.

    `max_s`: seconds of sound.
    """

    def __init__(self, max_s: float) -> None:
        self._max = max_s
        self._events: deque[Event] = deque()
        self.seconds = 0.0
        """Of sound that is queued."""
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    def put(self, event: Event) -> None:
        """Append. Callers that can wait do so before, with `room`."""
        self._events.append(event)
        if isinstance(event, ReplyAudio):
            self.seconds += event.pcm.seconds
        self._changed()

    async def room(self) -> None:
        """Wait until less than the bound is queued."""
        await self._room.wait()

    async def get(self) -> Event | None:
        """The next one; None when the queue is closed and empty."""
        while not self._events:
            if self._closed:
                return None
            self._more.clear()
            await self._more.wait()
        return self._taken(self._events.popleft())

    def drop_reply(self, reply: int) -> None:
        """Nothing that sounds or reads of this reply is handed on any more."""
        events, self._events = self._events, deque()
        for event in events:
            if isinstance(event, Emotion) or (isinstance(event, ReplyAudio | ReplyText) and event.reply == reply):
                self._taken(event)
            else:
                self._events.append(event)
        self._changed()

    def close(self) -> None:
        """No more events: the listener gets what is queued, then None."""
        self._closed = True
        self._changed()

    def _taken(self, event: Event) -> Event:
        if isinstance(event, ReplyAudio):
            self.seconds -= event.pcm.seconds
        self._changed()
        return event

    def _changed(self) -> None:
        self._more.set()
        if self._closed or (self.seconds < self._max and len(self._events) < _MOST):
            self._room.set()
        else:
            self._room.clear()
