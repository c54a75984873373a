"""Server-sent event streams of sessions (LiveTalking's `/sse`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from core.events import Event, Sounding

logger = logging.getLogger(__name__)

QUEUE_SIZE = 64
"""Events that may wait for one slow reader; the oldest is dropped beyond that."""


class EventStreams:
    """The open streams of every session."""

    def __init__(self) -> None:
        self._queues: dict[str, set[asyncio.Queue[dict[str, Any] | None]]] = {}

    def publish(self, session_id: str, event: Event) -> None:
        """Pass on what LiveTalking's clients expect: start and end of each utterance."""
        if isinstance(event, Sounding):
            message = {**event.info, "status": event.status}
            if event.text:
                message["text"] = event.text
            for queue in self._queues.get(session_id, ()):
                _put(queue, message)

    def close(self, session_id: str) -> None:
        """The session is gone: its streams end."""
        for queue in self._queues.get(session_id, ()):
            _put(queue, None)

    def close_all(self) -> None:
        """End every stream (server shutdown)."""
        for session_id in self._queues:
            self.close(session_id)

    def open(self, session_id: str) -> EventStream:
        """The events of a session from now on; use it as a context manager."""
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(QUEUE_SIZE)
        self._queues.setdefault(session_id, set()).add(queue)

        def forget() -> None:
            listeners = self._queues[session_id]
            listeners.discard(queue)
            if not listeners:
                del self._queues[session_id]

        return EventStream(queue, forget)

    @property
    def listeners(self) -> int:
        """Open streams of all sessions."""
        return sum(map(len, self._queues.values()))


class EventStream:
    """One reader's events."""

    def __init__(self, queue: asyncio.Queue[dict[str, Any] | None], forget: Callable[[], None]) -> None:
        self._queue = queue
        self._forget = forget

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self._forget()

    def put(self, message: dict[str, Any]) -> None:
        """Send something of another kind to this reader."""
        _put(self._queue, message)

    async def next(self, patience_s: float) -> dict[str, Any] | None:
        """The next event; None when the session has ended. Raises `TimeoutError` when none came in time."""
        async with asyncio.timeout(patience_s):
            return await self._queue.get()


def _put(queue: asyncio.Queue[dict[str, Any] | None], item: dict[str, Any] | None) -> None:
    if queue.full():
        queue.get_nowait()
        logger.warning("an SSE reader is too slow: oldest event dropped")
    queue.put_nowait(item)
