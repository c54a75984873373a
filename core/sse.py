"""Server-sent event streams of sessions (LiveTalking's `/sse`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from core.events import Event, Sounding

logger = logging.getLogger(__name__)

QUEUE_SIZE = 64
"""Events that may wait for one slow reader; the oldest is dropped beyond that."""


class EventStreams:
    """Listeners per session id."""

    def __init__(self) -> None:
        self._queues: dict[str, set[asyncio.Queue[dict[str, Any] | None]]] = {}

    def publish(self, session_id: str, event: Event) -> None:
        """Pass on what LiveTalking's clients expect: start and end of each utterance."""
        if isinstance(event, Sounding):
            message = {"status": event.status, **event.info}
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

    async def listen(self, session_id: str) -> AsyncIterator[dict[str, Any]]:
        """The events of a session, until it is closed."""
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(QUEUE_SIZE)
        self._queues.setdefault(session_id, set()).add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            listeners = self._queues[session_id]
            listeners.discard(queue)
            if not listeners:
                del self._queues[session_id]


def _put(queue: asyncio.Queue[dict[str, Any] | None], item: dict[str, Any] | None) -> None:
    if queue.full():
        queue.get_nowait()
        logger.warning("an SSE reader is too slow: oldest event dropped")
    queue.put_nowait(item)
