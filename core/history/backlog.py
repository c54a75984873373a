"""Work on its way to the history's thread: handed over without ever making the event loop wait."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from core.errors import Refused
from core.history.entry import Entry

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BacklogLimits:
    """What may wait at most."""

    entries: int = 4096
    characters: int = 4 << 20
    calls: int = 256
    deletions: int = 10_000


@dataclass(slots=True)
class Call:
    """A question, and where its answer goes."""

    work: Callable[[], Any]
    future: Future[Any]


@dataclass(slots=True)
class Batch:
    """Everything that was waiting. In this order: deletions, then entries, then calls."""

    deletions: dict[str, list[Future[int]]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    """How many entries of a session were deleted before they were written."""
    entries: list[Entry] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    last: bool = False


class Backlog:
    """Thread-safe and bounded. Its lock is held for microseconds, never while something is written."""

    def __init__(self, limits: BacklogLimits | None = None) -> None:
        self._limits = limits or BacklogLimits()
        self._changed = threading.Condition()
        self._batch = Batch()
        self._entries: deque[Entry] = deque()
        self._characters = 0
        self._full = False
        self._closed = False
        self.lost = 0
        """Entries that could not be kept."""

    def add(self, entry: Entry) -> None:
        """Queue an entry. When too much waits it is dropped and counted, with one warning until there is room again."""
        with self._changed:
            if self._closed:
                return
            room = len(self._entries) < self._limits.entries and self._characters < self._limits.characters
            warn = not room and not self._full
            self._full = not room
            if room:
                self._entries.append(entry)
                self._characters += len(entry.text)
                self._changed.notify()
            else:
                self.lost += 1
        if warn:
            logger.warning("the history can't keep up: what is said now is not kept")

    def delete(self, session_id: str) -> Future[int]:
        """Delete what is kept of a session and what waits; gives the number of entries. Raises `Refused`."""
        future: Future[int] = Future()
        with self._changed:
            batch = self._batch
            self._check_open()
            if session_id not in batch.deletions and len(batch.deletions) >= self._limits.deletions:
                raise _busy()
            kept = [entry for entry in self._entries if entry.session_id != session_id]
            batch.dropped[session_id] = batch.dropped.get(session_id, 0) + len(self._entries) - len(kept)
            self._replace(kept)
            batch.deletions.setdefault(session_id, []).append(future)
            self._changed.notify()
        return future

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` on the history's thread, after everything added so far. Raises `Refused`."""
        future: Future[T] = Future()
        with self._changed:
            self._check_open()
            if len(self._batch.calls) >= self._limits.calls:
                raise _busy()
            self._batch.calls.append(Call(work, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Take nothing more; the next batch is the last."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    # -- the history's thread

    def take(self, timeout: float | None, *, entries: Callable[[], bool]) -> Batch:
        """What waits, at the latest after `timeout` seconds; entries stay where they are unless `entries()`."""
        with self._changed:
            self._changed.wait_for(lambda: self._anything(entries()), timeout)
            batch, self._batch = self._batch, Batch()
            batch.last = self._closed
            if entries() or self._closed:
                batch.entries = list(self._entries)
                self._replace([])
                self._full = False
            return batch

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Entries that could not be written: they come first in the next batch."""
        with self._changed:
            dropped = self._batch.dropped
            for entry in entries:
                if entry.session_id in dropped:  # deleted in the meantime
                    dropped[entry.session_id] += 1
            self._replace([*(entry for entry in entries if entry.session_id not in dropped), *self._entries])

    def give_up(self, entries: Sequence[Entry]) -> None:
        """Count entries that will never be written."""
        with self._changed:
            self.lost += len(entries)

    # -- inside, with the lock held

    def _check_open(self) -> None:
        if self._closed:
            raise Refused("the history is closed", code="history_unavailable")

    def _anything(self, entries: bool) -> bool:
        batch = self._batch
        return bool(batch.deletions or batch.calls or self._closed or (entries and self._entries))

    def _replace(self, entries: Sequence[Entry]) -> None:
        self._entries = deque(entries)
        self._characters = sum(len(entry.text) for entry in entries)


def _busy() -> Refused:
    return Refused("the history is busy", code="busy", retryable=True)
