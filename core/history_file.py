"""Keeps the history's file usable: opens it, opens it again, and sets a damaged one aside."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from core.errors import Refused
from core.history_store import ForeignFile, HistoryStore, is_damage, set_aside

logger = logging.getLogger(__name__)
T = TypeVar("T")


class HistoryFile:
    """Runs work on the store, on one thread. A failure is logged once, until the file works again.

    A file that can't be opened or written is tried again after `retry_s` seconds (see `due`).
    """

    def __init__(self, path: Path, *, retry_s: float = 5.0, timeout_s: float = 5.0) -> None:
        self._path = path
        self._retry_s = retry_s
        self._timeout_s = timeout_s
        self._store: HistoryStore | None = None
        self._failing = False
        self._retry_at = 0.0
        self._wipe_due = False

    @property
    def is_open(self) -> bool:
        """Whether there is a file to write to."""
        return self._store is not None

    @property
    def available(self) -> bool:
        """Whether it is open and the last write worked."""
        return self._store is not None and not self._failing

    @property
    def wait_s(self) -> float | None:
        """Seconds until there is something to try again; None when there is nothing."""
        if self.available and not self._wipe_due:
            return None
        return max(0.0, self._retry_at - time.monotonic())

    @property
    def due(self) -> bool:
        """Whether a write may be tried."""
        return self.available or self.wait_s == 0

    def open(self) -> None:
        """Open the file, or log why it can't be."""
        try:
            self._opened()
        except Refused:
            pass  # it was logged

    def write(self, work: Callable[[HistoryStore], T]) -> T:
        """Do `work`, which changes something. Raises `Refused` (history_unavailable)."""
        try:
            result = self._run(work)
        except sqlite3.Error as error:
            self._fail("can't be written", error)
            raise _unavailable() from None
        if self._failing:
            logger.warning("the history works again")
        self._failing = False
        return result

    def read(self, work: Callable[[HistoryStore], T]) -> T:
        """Do `work`, which changes nothing. Raises `Refused` (history_unavailable)."""
        try:
            return self._run(work)
        except sqlite3.Error as error:
            logger.warning("the history can't be read: %s", error)
            raise _unavailable() from None

    def remove(self, work: Callable[[HistoryStore], int]) -> int:
        """Do `work`, which deletes, and see to it that the words leave the disk. Raises `Refused`."""
        count = self.write(work)
        self._wipe_due |= count > 0
        return count

    def wipe(self) -> None:
        """Empty the write-ahead log when something was deleted; put off while a reader holds it."""
        if self._wipe_due and self._store is not None:
            try:
                self._wipe_due = not self.write(HistoryStore.wipe)
            except Refused:
                return
            if self._wipe_due:
                self._retry_at = time.monotonic() + self._retry_s

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
        return work(self._opened())

    def _opened(self) -> HistoryStore:
        if self._store is not None and self._store.replaced:
            logger.warning("the history's file was moved or deleted: it is opened anew")
            self.close()
        if self._store is None:
            if time.monotonic() < self._retry_at:
                raise _unavailable()
            self._store = self._open()
        return self._store

    def _open(self) -> HistoryStore:
        try:
            try:
                return HistoryStore(self._path, timeout_s=self._timeout_s)
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._set_aside(error)
                return HistoryStore(self._path, timeout_s=self._timeout_s)
        except (sqlite3.Error, OSError, ForeignFile) as error:
            self._fail("can't be opened, nothing is kept", error)
            raise _unavailable() from None

    def _set_aside(self, error: sqlite3.Error) -> None:
        damaged = self._store
        self.close()
        if damaged is not None and damaged.replaced:
            return  # another server on the same file was quicker
        try:
            logger.error(
                "the history is damaged (%s): set aside as %s, a new one is begun", error, set_aside(self._path)
            )
        except OSError as failure:
            self._fail("is damaged and can't be set aside", failure)
            raise _unavailable() from None

    def _fail(self, what: str, error: Exception) -> None:
        if not self._failing:
            logger.error("the history %s: %s (%s)", what, error, self._path)
        self._failing = True
        self._retry_at = time.monotonic() + self._retry_s


def _unavailable() -> Refused:
    return Refused("the history can't be used at the moment", code="history_unavailable", retryable=True)
