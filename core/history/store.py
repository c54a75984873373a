"""The kept conversations in one SQLite file. Used on one thread only; knows no event loop.

The journal is a write-ahead log, so that a reader (a backup, another server on the same file) never stops the writer.
Deleted text is overwritten (`secure_delete`); `wipe` removes the copies that are left in the file and in the log.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import EmanError
from core.history.entry import Entry

logger = logging.getLogger(__name__)

APPLICATION_ID = 0x456D616E
"""Marks the file as ours ("Eman"); see https://www.sqlite.org/pragma.html#pragma_application_id."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE entries ("
        " id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, at_ms INTEGER NOT NULL, role TEXT NOT NULL,"
        " sender TEXT NOT NULL, text TEXT NOT NULL, engine TEXT NOT NULL, state TEXT NOT NULL)",
        "CREATE INDEX entries_of_session ON entries (session_id, id, at_ms)",
        "CREATE INDEX entries_by_time ON entries (at_ms)",
    ),
)
"""Statements that lead from each version of the schema (`user_version`) to the next. Append only."""

_COLUMNS = "id, session_id, at_ms, role, sender, text, engine, state"
_PRUNED_AT_ONCE = 2000
_WAL_TRIES = 50
_WIPE_PATIENCE_MS = 500
_SMALL_FILE = 64 << 20


class ForeignFile(EmanError):
    """The file belongs to another program, or to a newer version of this one: it is left alone."""

    code = "history_foreign"


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """One kept conversation, without its words. Times: Unix ms of its first and last entry."""

    session_id: str
    first_at_ms: int
    last_at_ms: int
    entries: int
    last_id: int
    """Id of its last entry: the cursor of the list."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is corrupt, or no database at all."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_aside(path: Path) -> Path:
    """Rename a damaged database and its logs; returns the new name. Raises `OSError`."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


class HistoryStore:
    """An open database. Every method may raise `sqlite3.Error`.

    `timeout_s`: how long another process may hold the file before that is an error.
    Opening raises `sqlite3.Error`, `OSError`, `ForeignFile`; then nothing stays open.
    """

    def __init__(self, path: Path, *, timeout_s: float = 5.0, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._make_private()
        self.identity = _identity(path)
        self._db = sqlite3.connect(path, timeout=timeout_s, isolation_level=None)
        try:
            self._prepare(migrations)
        except BaseException:
            self._db.close()
            raise

    @property
    def replaced(self) -> bool:
        """Whether the path now names another file, or none."""
        return _identity(self._path) != self.identity

    def close(self) -> None:
        """Write the log into the file and let go of both; a newer file of that name is left alone. Never raises."""
        try:
            self._db.close()
        except sqlite3.Error as error:
            logger.warning("the history was not closed cleanly: %s", error)

    # -- writing

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries in this order, all or none; their ids are given here."""
        rows = [(e.session_id, e.at_ms, e.role, e.sender, e.text, e.engine, e.state) for e in entries]
        with self._writing():
            self._db.executemany(
                "INSERT INTO entries (session_id, at_ms, role, sender, text, engine, state) VALUES (?,?,?,?,?,?,?)",
                rows,
            )

    def delete(self, session_id: str) -> int:
        """Delete a conversation; returns the number of its entries. Call `wipe` afterwards."""
        with self._writing():
            return self._db.execute("DELETE FROM entries WHERE session_id = ?", (session_id,)).rowcount

    def prune(self, before_ms: int) -> int:
        """Delete entries older than this (Unix ms); returns their number. Call `wipe` afterwards."""
        total = 0
        while True:
            with self._writing():  # in portions: others on the same file wait for one of them at most
                count = self._db.execute(
                    "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE at_ms < ? LIMIT ?)",
                    (before_ms, _PRUNED_AT_ONCE),
                ).rowcount
            total += count
            if count < _PRUNED_AT_ONCE:
                return total

    def wipe(self) -> bool:
        """Rewrite the file without traces of what was deleted, and empty the log. False while others use the file:
        call again later. Takes about a second per 100 MB, and their space on the disk once more."""
        in_memory = self._path.stat().st_size < _SMALL_FILE
        self._db.execute(f"PRAGMA temp_store = {'MEMORY' if in_memory else 'FILE'}")
        self._db.execute(f"PRAGMA busy_timeout = {_WIPE_PATIENCE_MS}")
        try:
            # secure_delete clears what it frees, but not older copies of cells that were moved between pages
            self._db.execute("VACUUM")
            busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {round(self._timeout_s * 1000)}")
        return not busy

    # -- reading

    def page(self, session_id: str, before: int | None, limit: int) -> list[Entry]:
        """The last `limit` entries whose id is below `before`, oldest first."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE session_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
            (session_id, _below(before), limit),
        ).fetchall()
        return [Entry(*row) for row in reversed(rows)]

    def everything(self, session_id: str) -> list[Entry]:
        """All entries of a conversation, oldest first."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM entries WHERE session_id = ? ORDER BY id", (session_id,))
        return [Entry(*row) for row in rows]

    def conversations(self, before: int | None, limit: int) -> list[ConversationSummary]:
        """Conversations by their last entry, newest first; `before`: a `last_id`."""
        rows = self._db.execute(
            "SELECT session_id, MIN(at_ms), MAX(at_ms), COUNT(*), MAX(id) AS last_id FROM entries"
            " GROUP BY session_id HAVING last_id < ? ORDER BY last_id DESC LIMIT ?",
            (_below(before), limit),
        )
        return [ConversationSummary(*row) for row in rows]

    # -- inside

    def _make_private(self) -> None:
        if not self._path.parent.exists():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            # made here for its mode, which SQLite gives its logs too. An existing file is not opened: closing it
            # would drop the locks that SQLite holds on it in this process
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            if self._path.is_file() and self._path.stat().st_mode & 0o077:
                self._path.chmod(0o600)

    def _prepare(self, migrations: Sequence[Sequence[str]]) -> None:
        self._refuse_foreign(len(migrations))
        self._use_log()
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA secure_delete = ON")
        with self._writing():  # also shows at once that the file can be written
            self._refuse_foreign(len(migrations))
            for number, statements in enumerate(
                migrations[self._pragma("user_version") :], self._pragma("user_version")
            ):
                for statement in statements:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {number + 1}")
            if self._pragma("application_id") != APPLICATION_ID:
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _refuse_foreign(self, newest: int) -> None:
        tables = self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
        if tables and self._pragma("application_id") != APPLICATION_ID:
            raise ForeignFile("it is the database of another program")
        if self._pragma("user_version") > newest:
            raise ForeignFile("it was written by a newer version of this program")

    def _use_log(self) -> None:
        for attempt in range(_WAL_TRIES):
            try:
                mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                # SQLite does not wait by itself when two processes switch a new file at the same time
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == _WAL_TRIES - 1:
                    raise
                time.sleep(0.02)
                continue
            if mode != "wal":
                logger.warning("the history's file system knows no write-ahead log: %s is used", mode)
            return

    def _pragma(self, name: str) -> int:
        value: Any = self._db.execute(f"PRAGMA {name}").fetchone()[0]
        return int(value)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _below(before: int | None) -> int:
    return (1 << 62) if before is None else before


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
