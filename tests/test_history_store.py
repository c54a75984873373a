"""The history's database (G2): no traces of what was deleted, and its versions."""

from __future__ import annotations

import random
import re
import sqlite3
from pathlib import Path

import pytest

from core.history.entry import Entry
from core.history.store import APPLICATION_ID, MIGRATIONS, ForeignFile, HistoryStore
from tests.histories import on_disk

ROOT = Path(__file__).parent.parent


# -- traces


@pytest.mark.parametrize("seed", [4, 78, 93])
def test_g2_no_older_copy_of_a_deleted_word_is_left_between_the_pages(tmp_path: Path, seed: int) -> None:
    """SQLite moves cells between pages when neighbours are deleted, and does not clear where they were."""
    dice = random.Random(seed)
    store = HistoryStore(tmp_path / "h.db")
    sessions = [f"s{number}" for number in range(12)]
    for turn in range(60):
        store.append([line_of(dice.choice(sessions), dice) for _ in range(dice.randrange(1, 8))])
        if dice.random() < 0.2:
            store.prune(dice.randrange(30_000 * turn + 1))
    for session in dice.sample(sessions, 6):
        store.delete(session)
        store.append([Entry(0, "s99", 5, "user", "x", "other" * dice.randrange(100), "e", "final")])
    assert store.wipe()
    alive = {entry.text.split("|")[0] for session in sessions for entry in store.everything(session)}
    assert alive
    assert {word.decode() for word in re.findall(rb"SECRET-s\d+-0\.\d+", on_disk(tmp_path))} == alive
    store.close()


def line_of(session: str, dice: random.Random) -> Entry:
    at_ms = dice.randrange(10**6)
    text = f"SECRET-{session}-{dice.random()}|{'w' * dice.choice([0, 5, 50, 500, 3000, 9000])}"
    return Entry(0, session, at_ms, "user", "x", text, "e", "final")


# -- versions


def stored(path: Path, *migrations: tuple[str, ...]) -> list[tuple[int, str]]:
    store = HistoryStore(path, migrations=migrations or MIGRATIONS)
    store.append([Entry(0, "1", 5, "user", "user", "hello", "", "final")])
    found = [(e.id, e.text) for e in store.everything("1")]
    store.close()
    return found


def test_g2_an_older_file_is_brought_to_the_newest_version_with_its_entries(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    newer = (*MIGRATIONS, ("ALTER TABLE entries ADD COLUMN mood TEXT NOT NULL DEFAULT ''",))
    assert stored(path) == [(1, "hello")]
    assert stored(path, *newer) == [(1, "hello"), (2, "hello")]
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA user_version").fetchone() == (len(newer),)
    assert raw.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert raw.execute("SELECT mood FROM entries").fetchall() == [("",), ("",)]
    raw.close()
    with pytest.raises(ForeignFile, match="newer"):
        stored(path)


def test_g2_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    stored(path)
    broken = (*MIGRATIONS, ("ALTER TABLE entries ADD COLUMN mood TEXT", "ALTER TABLE nothing ADD COLUMN x TEXT"))
    with pytest.raises(sqlite3.OperationalError):
        stored(path, *broken)
    assert stored(path) == [(1, "hello"), (2, "hello")]
