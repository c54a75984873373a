"""Keeps the history's file usable: opens it, opens it again, and sets a damaged one aside."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from core.errors import Refused
from core.history.store import ForeignFile, HistoryStore, is_damage, set_aside

logger = logging.getLogger(__name__)
T = TypeVar("T")

_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
"""Errors that are not the connection's: the file can still be read."""
_LONG_S, _REST = 0.5, 20
"""Wiping rewrites the whole file: where that takes long, it takes no more than a twentieth of the thread's time."""


class HistoryFile:
    """Runs work on the store, on one thread. A failure is logged once, until the file works again.

    A file that can't be opened or written is tried again after `retry_s` seconds: `tend` it whenever it is `due`.
    """

    def __init__(self, path: Path, *, retry_s: float, lock_wait_s: float) -> None:
        self._path = path
        self._retry_s = retry_s
        self._lock_wait_s = lock_wait_s
        self._store: HistoryStore | None = None
        self._trouble = ""
        """What failed the last time: "opened", "written", or nothing."""
        self._retry_at = 0.0
        self._wipe_at: float | None = None
        """When traces of deleted words are to be wiped off; None when there are none."""
        self._wiped_at = self._rest_s = 0.0

    @property
    def available(self) -> bool:
        """Whether it is open and the last write worked."""
        return self._store is not None and not self._trouble

    @property
    def due(self) -> bool:
        """Whether a write may be tried."""
        return self.available or time.monotonic() >= self._retry_at

    @property
    def wait_s(self) -> float | None:
        """Seconds until there is something to try again; None when there is nothing."""
        times = [] if self._wipe_at is None else [self._wipe_at]
        if not self.available:
            times.append(self._retry_at)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def tend(self) -> None:
        """Open the file if it is not; what is wrong is logged."""
        if not self.available:
            self._retry_at = 0.0
            try:
                self._opened()
            except Refused:
                return  # it was logged
            if self._trouble:
                self._retry_at = time.monotonic() + self._retry_s

    def write(self, work: Callable[[HistoryStore], T]) -> T:
        """Do `work`, which changes something. Raises `Refused` (history_unavailable)."""
        try:
            result = self._run(work)
        except sqlite3.Error as error:
            self._fail("written", error)
            if error.sqlite_errorcode & 0xFF not in _PASSING:
                self.close()  # perhaps it is only this connection
            raise _unavailable() from None
        self._recovered()
        return result

    def read(self, work: Callable[[HistoryStore], T]) -> T:
        """Do `work`, which changes nothing. Raises `Refused` (history_unavailable)."""
        try:
            return self._run(work)
        except sqlite3.Error as error:
            logger.warning("the history can't be read: %s", error)
            raise _unavailable() from None

    def remove(self, work: Callable[[HistoryStore], int]) -> int:
        """Do `work`, which deletes; traces of the words leave the disk with the next `wipe`. Raises `Refused`."""
        count = self.write(work)
        if count and self._wipe_at is None:
            self._wipe_at = self._wiped_at + self._rest_s
        return count

    def wipe(self) -> None:
        """Remove the traces of what was deleted; put off while others use the file, or when it takes too much time."""
        if self._wipe_at is None or self._store is None or time.monotonic() < self._wipe_at:
            return
        began = time.monotonic()
        try:
            done = self._store.wipe()
        except (sqlite3.Error, OSError) as error:
            logger.warning("deleted words may still be on the disk, trying again: %s", error)
            done = False
        self._wiped_at = time.monotonic()
        took = self._wiped_at - began
        self._rest_s = _REST * took if done and took > _LONG_S else 0.0
        self._wipe_at = None if done else self._wiped_at + self._retry_s

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            self._store.close()
            self._store = None

    # -- inside

    def _run(self, work: Callable[[HistoryStore], T]) -> T:
        store = self._opened()
        try:
            return work(store)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._set_aside(error)
        self._retry_at = 0.0
        return work(self._opened())

    def _opened(self) -> HistoryStore:
        if self._store is not None and self._store.replaced:
            logger.warning("the history's file was moved or deleted: it is opened anew")
            self.close()
            self._retry_at = 0.0
        if self._store is None:
            if time.monotonic() < self._retry_at:
                raise _unavailable()
            self._store = self._open()
            if self._trouble == "opened":
                self._recovered()
        return self._store

    def _open(self) -> HistoryStore:
        try:
            try:
                return HistoryStore(self._path, timeout_s=self._lock_wait_s)
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._set_aside(error)
                return HistoryStore(self._path, timeout_s=self._lock_wait_s)
        except (sqlite3.Error, OSError, ForeignFile) as error:
            self._fail("opened", error)
            raise _unavailable() from None

    def _set_aside(self, error: sqlite3.Error) -> None:
        if self._store is None or not self._store.replaced:  # else another server on the same file was quicker
            try:
                aside = set_aside(self._path)
            except OSError as failure:
                self._fail("opened", failure)
                raise _unavailable() from None
            logger.error("the history is damaged (%s): set aside as %s, a new one is begun", error, aside)
        self.close()

    def _fail(self, what: str, error: Exception) -> None:
        if not self._trouble:
            logger.error("the history can't be %s, conversations are not kept: %s (%s)", what, error, self._path)
        self._trouble = self._trouble or what
        self._retry_at = time.monotonic() + self._retry_s

    def _recovered(self) -> None:
        if self._trouble:
            logger.warning("the history works again")
        self._trouble = ""


def _unavailable() -> Refused:
    return Refused("the history can't be used at the moment", code="history_unavailable", retryable=True)
