"""The history's file (G2): killed writers, two servers, readers, damage, full disks, rights, versions."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import Refused
from core.history import History
from core.history_backlog import BacklogLimits
from core.history_entry import Entry
from core.history_store import APPLICATION_ID, MIGRATIONS, ForeignFile, HistoryStore
from tests.histories import asked, lines, on_disk, opened

ROOT = Path(__file__).parent.parent


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR and r.name.startswith("core.")]


async def until_available(history: History) -> None:
    async with asyncio.timeout(10):
        while not history.available:
            await asyncio.sleep(0.01)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def in_a_shell(command: str) -> None:
    """As another program: closing the file in this one would drop SQLite's locks on it."""
    subprocess.run(["sh", "-c", command], check=True)


async def found(history: History, session_id: str) -> list[tuple[str, str, str]]:
    """What is kept, or nothing while the file can't be used."""
    try:
        return await lines(history, session_id)
    except Refused:
        return []


# -- rights


async def test_g2_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with opened(tmp_path / "made" / "h.db") as history:
            asked(history, "1", "hello")
            await lines(history, "1")
            modes = {path.name: mode_of(path) for path in (tmp_path / "made").iterdir()}
        assert mode_of(tmp_path / "made") == 0o700
    finally:
        os.umask(old)
    assert set(modes) == {"h.db", "h.db-wal", "h.db-shm"}
    assert set(modes.values()) == {0o600}


async def test_g2_a_folder_that_is_there_keeps_its_rights_and_an_open_file_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "h.db").touch(0o644)
    (tmp_path / "h.db").chmod(0o644)
    async with opened(tmp_path / "h.db") as history:
        assert history.available
    assert (mode_of(tmp_path), mode_of(tmp_path / "h.db")) == (0o755, 0o600)


# -- several on one file


async def test_g2_a_reader_sees_what_is_written_and_holds_nobody_up(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        asked(history, "1", "one")
        await lines(history, "1")
        reader = sqlite3.connect(tmp_path / "h.db")
        reader.execute("BEGIN")
        assert reader.execute("SELECT COUNT(*) FROM entries").fetchone() == (1,)
        asked(history, "1", "two")
        assert len(await lines(history, "1")) == 2
        assert reader.execute("SELECT COUNT(*) FROM entries").fetchone() == (1,)
        reader.rollback()
        assert reader.execute("SELECT COUNT(*) FROM entries").fetchone() == (2,)
        reader.close()


async def test_g2_words_that_a_reader_still_sees_are_wiped_when_it_is_done(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db", retry_s=0.05) as history:
        asked(history, "1", "to be forgotten")
        await lines(history, "1")
        reader = sqlite3.connect(tmp_path / "h.db")
        reader.execute("BEGIN")
        reader.execute("SELECT text FROM entries").fetchone()
        assert await history.delete("1") == 1
        assert await lines(history, "1") == []
        assert b"to be forgotten" in on_disk(tmp_path)
        reader.rollback()
        async with asyncio.timeout(10):
            while b"to be forgotten" in on_disk(tmp_path):
                await asyncio.sleep(0.05)
        reader.close()


async def test_g2_two_servers_share_a_file(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as one, opened(tmp_path / "h.db") as two:
        for number in range(200):
            asked(one, "1", f"one {number}")
            asked(two, "1", f"two {number}")
            if number % 20 == 0:
                await asyncio.gather(lines(one, "1"), lines(two, "1"))
        await lines(one, "1")
        found = [e["text"] for e in (await two.export("1"))["entries"]]
        assert await one.export("1")
    assert (one.lost, two.lost) == (0, 0)
    for name in ("one", "two"):
        assert [text for text in found if text.startswith(name)] == [f"{name} {n}" for n in range(200)]


async def test_g2_two_servers_that_start_at_the_same_time_make_one_file(tmp_path: Path) -> None:
    for turn in range(5):
        histories = [History(tmp_path / f"{turn}.db", retention_days=1, avatar_name="Eman") for _ in range(4)]
        await asyncio.gather(*(history.start() for history in histories))
        assert all(history.available for history in histories)
        await asyncio.gather(*(history.close() for history in histories))


WRITER = """
import asyncio, sys
from pathlib import Path
from core.events import Typed
from core.history import History

async def main():
    history = History(Path(sys.argv[1]), retention_days=30, avatar_name="Eman")
    await history.start()
    number = 0
    while True:
        for _ in range(20):
            history.record("1", Typed(f"entry {number}"))
            number += 1
        page = await history.page("1", before=None, limit=1)
        print(page[0].text, flush=True)

asyncio.run(main())
"""


async def test_g2_what_was_written_survives_a_killed_server(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing: everything that the dead server had shown is there, without a gap."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "h.db")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    shown = [writer.stdout.readline() for _ in range(30)]
    writer.send_signal(signal.SIGKILL)
    shown += writer.stdout.readlines()
    writer.wait()
    last = int([line for line in shown if line.endswith("\n")][-1].split()[1])
    assert last >= 599
    async with opened(tmp_path / "h.db") as history:
        kept = [e["text"] for e in (await history.export("1"))["entries"]]
        assert kept[: last + 1] == [f"entry {n}" for n in range(last + 1)]
        asked(history, "1", "and on")
        assert (await lines(history, "1"))[-1][1] == "and on"


async def test_g2_a_deletion_that_has_to_wait_comes_before_what_is_said_after_it(tmp_path: Path) -> None:
    """Another program holds the file: the user is told that it failed; it is done as soon as it can be."""
    async with opened(tmp_path / "h.db", retry_s=0.05, lock_wait_s=0.05) as history:
        asked(history, "1", "old words")
        await lines(history, "1")
        blocker = sqlite3.connect(tmp_path / "h.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refused) as refusal:
            await history.delete("1")
        assert (refusal.value.code, refusal.value.retryable) == ("history_unavailable", True)
        asked(history, "1", "new words")
        asked(history, "2", "of another")
        history.set_kept("2", False)
        history.set_kept("2", True)
        asked(history, "2", "of another, later")
        assert [line[1] for line in await lines(history, "1")] == ["old words"]  # it can still be read
        blocker.execute("ROLLBACK")
        blocker.close()
        await until_available(history)
        assert [line[1] for line in await lines(history, "1")] == ["new words"]
        assert [line[1] for line in await lines(history, "2")] == ["of another, later"]
        assert b"old words" not in on_disk(tmp_path)
        assert history.lost == 0


# -- never in the way


async def test_g2_recording_never_waits_and_a_full_backlog_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread is held by another process's lock; the loop goes on, what is too much is counted."""
    async with opened(tmp_path / "h.db", limits=BacklogLimits(entries=100)) as history:
        blocker = sqlite3.connect(tmp_path / "h.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        asked(history, "1", "first")
        await asyncio.sleep(0.1)  # the thread has it in hand, and waits for the lock
        began = time.monotonic()
        for number in range(5000):
            asked(history, "1", f"words {number}")
        assert time.monotonic() - began < 2  # the lock is held until the next line
        blocker.execute("ROLLBACK")
        blocker.close()
        kept = [e["text"] for e in (await history.export("1"))["entries"]]
        assert kept == ["first", *(f"words {n}" for n in range(100))]
        assert history.lost == 4900
        warnings = [r.getMessage() for r in caplog.records if "keep up" in r.getMessage()]
        assert len(warnings) == 1
        asked(history, "1", "there is room again")
        assert (await lines(history, "1"))[-1][1] == "there is room again"
    assert "words" not in caplog.text


async def test_g2_a_few_huge_texts_fill_the_backlog_too(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db", limits=BacklogLimits(characters=1000)) as history:
        blocker = sqlite3.connect(tmp_path / "h.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        asked(history, "1", "first")
        await asyncio.sleep(0.1)
        for _ in range(10):
            asked(history, "1", "x" * 600)
        blocker.execute("ROLLBACK")
        blocker.close()
        assert len(await lines(history, "1")) == 3
        assert history.lost == 8


async def test_g2_too_many_questions_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db", limits=BacklogLimits(calls=3)) as history:
        asked(history, "1", "hello")
        answers = await asyncio.gather(*(lines(history, "1") for _ in range(10)), return_exceptions=True)
        refused = [a for a in answers if isinstance(a, Refused)]
        assert len(refused) == 7
        assert all(a.code == "busy" and a.retryable for a in refused)
        assert len(await lines(history, "1")) == 1


async def test_g2_a_question_that_nobody_waits_for_harms_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        for _ in range(20):
            task = asyncio.create_task(history.delete("1"))
            asked(history, "2", "hello")
            await asyncio.sleep(0)
            task.cancel()
        assert len(await lines(history, "2")) == 20


# -- files that can't be used


async def unusable(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The server runs, one clear error is logged, nothing is kept."""
    async with opened(path) as history:
        assert not history.available
        for number in range(20):
            asked(history, "1", f"private words {number}")
        with pytest.raises(Refused) as refusal:
            await lines(history, "1")
        assert refusal.value.code == "history_unavailable"
        with pytest.raises(Refused):
            await history.delete("2")
        assert await history.utterances("1", 5) == []  # the conversation begins anew
    assert history.lost == 20
    told = [text for text in errors(caplog) if "can't be opened" in text]
    assert len(told) == 1
    assert str(path) in told[0]
    assert "private words" not in caplog.text


async def test_g2_a_path_that_is_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await unusable(tmp_path, caplog)


async def test_g2_a_folder_that_is_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("mine")
    await unusable(tmp_path / "file" / "h.db", caplog)
    assert (tmp_path / "file").read_text() == "mine"


async def test_g2_the_database_of_another_program_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE entries (mine TEXT)")
    other.close()
    before = (tmp_path / "other.db").read_bytes()
    await unusable(tmp_path / "other.db", caplog)
    assert (tmp_path / "other.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]


async def test_g2_a_newer_versions_file_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path / "h.db") as history:
        asked(history, "1", "hello")
    newer = sqlite3.connect(tmp_path / "h.db", isolation_level=None)
    newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()
    await unusable(tmp_path / "h.db", caplog)


async def test_g2_a_file_that_can_be_opened_again_is_used(tmp_path: Path) -> None:
    """The volume was not there at start: the history comes back without a restart."""
    path = tmp_path / "volume" / "h.db"
    (tmp_path / "volume").write_text("not mounted")
    async with opened(path, retry_s=0.02) as history:
        assert not history.available
        (tmp_path / "volume").unlink()
        await until_available(history)
        asked(history, "1", "hello")
        assert len(await lines(history, "1")) == 1


# -- damage


@pytest.mark.parametrize("damage", [b"this is no database at all " * 400, b"SQLite format 3\0" + b"\xff" * 8000])
async def test_g2_a_damaged_file_is_set_aside_and_a_new_one_begun(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "h.db").write_bytes(damage)
    async with opened(tmp_path / "h.db") as history:
        assert history.available
        asked(history, "1", "hello")
        assert len(await lines(history, "1")) == 1
    (aside,) = tmp_path.glob("h.db.damaged-*")
    assert aside.read_bytes() == damage
    assert [text for text in errors(caplog) if aside.name in text]


async def test_g2_damage_that_shows_while_it_runs_is_set_aside_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path / "h.db") as history:
        for number in range(400):
            asked(history, "1", f"secret words {number} {'x' * 200}")
    size = (tmp_path / "h.db").stat().st_size
    with (tmp_path / "h.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 8192))
    async with opened(tmp_path / "h.db") as history:
        asked(history, "2", "hello")
        assert await lines(history, "1") == []
        asked(history, "2", "again")
        assert (await lines(history, "2"))[-1][1] == "again"
        assert history.available
    assert len([p for p in tmp_path.glob("h.db.damaged-*") if p.name[-4:] not in ("-wal", "-shm")]) == 1
    assert "secret words" not in caplog.text


async def test_g2_two_servers_on_a_damaged_file_set_it_aside_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as one, opened(tmp_path / "h.db") as two:
        asked(one, "1", "before")
        await lines(one, "1")
        await lines(two, "1")
        for name in ("h.db", "h.db-wal"):
            in_a_shell(f"head -c 200000 /dev/zero | tr '\\0' x > {tmp_path / name}")
        number = 0
        async with asyncio.timeout(10):
            while True:  # what is cached can be used for a while: until both came upon the damage, or the new file
                number += 1
                asked(one, "2", f"one {number}")
                await found(one, "2")
                asked(two, "2", f"two {number}")
                seen = [[line[1] for line in await found(history, "2")][-2:] for history in (two, one)]
                if seen == [[f"one {number}", f"two {number}"]] * 2:
                    break
    aside = [path.name for path in tmp_path.glob("h.db.damaged-*")]
    assert len([name for name in aside if not name.endswith(("-wal", "-shm"))]) == 1


async def test_g2_a_file_that_is_emptied_while_it_is_used_is_begun_anew(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db", retry_s=0.02) as history:
        asked(history, "1", "before")
        await lines(history, "1")
        in_a_shell(f": > {tmp_path / 'h.db'}; : > {tmp_path / 'h.db-wal'}")
        asked(history, "1", "after")
        async with asyncio.timeout(10):
            while ("user", "after", "final") not in await found(history, "1"):
                await asyncio.sleep(0.02)
        await until_available(history)


async def test_g2_a_file_that_an_operator_deletes_is_begun_anew(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db", retry_s=0.02) as history:
        asked(history, "1", "before")
        await lines(history, "1")
        for path in tmp_path.iterdir():
            path.unlink()
        asked(history, "1", "after")
        assert await lines(history, "1") == [("user", "after", "final")]
    async with opened(tmp_path / "h.db") as history:
        assert await lines(history, "1") == [("user", "after", "final")]


async def test_g2_two_servers_whose_file_an_operator_deletes_meet_in_the_new_one(tmp_path: Path) -> None:
    """Letting go of the old file must not take the new one's log away, which has the same name."""
    async with opened(tmp_path / "h.db") as one, opened(tmp_path / "h.db") as two:
        asked(one, "1", "before")
        await lines(one, "1")
        await lines(two, "1")
        for path in tmp_path.iterdir():
            path.unlink()
        asked(one, "1", "by one")
        assert [line[1] for line in await lines(one, "1")] == ["by one"]
        asked(two, "1", "by two")
        for history in (two, one):
            assert [line[1] for line in await lines(history, "1")] == ["by one", "by two"]


FULL_DISK = """
import asyncio, logging, resource, sys
from pathlib import Path
from core.events import Typed
from core.history import History

logging.basicConfig(level=logging.WARNING)
path, way = Path(sys.argv[1]), sys.argv[2]
filler = path.with_name("filler")

def fill():
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))
        return
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass

def make_room():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    filler.unlink(missing_ok=True)

async def main():
    history = History(path, retention_days=30, avatar_name="Eman", retry_s=0.05)
    await history.start()
    history.record("1", Typed("before"))
    assert len(await history.page("1", before=None, limit=9)) == 1
    fill()
    for number in range(3):
        history.record("1", Typed(f"private {number} " + "x" * 9000))
        await asyncio.sleep(0.1)
        assert not history.available
    if way == "tmpfs":
        assert [e.text for e in await history.page("1", before=None, limit=9)] == ["before"]  # it can still be read
    make_room()
    async with asyncio.timeout(10):
        while not history.available:
            await asyncio.sleep(0.01)
    print([e.text[:9] for e in await history.page("1", before=None, limit=9)], history.lost)
    await history.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["limit", "tmpfs"])
def test_g2_a_full_disk_is_told_once_and_nothing_is_lost_when_there_is_room_again(tmp_path: Path, way: str) -> None:
    """Real writes that fail: files may not grow any more, or a small disk of its own is full."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "h.db"), way]
    if way == "tmpfs":
        small = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=300k tmpfs {tmp_path} && exec "$@"', "sh"]
        if shutil.which("unshare") is None or subprocess.run([*small, "true"], capture_output=True).returncode:
            pytest.skip("needs the right to mount a small disk")
        command = [*small, *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['before', 'private 0', 'private 1', 'private 2'] 0"
    assert done.stderr.count("can't be written") == 1
    assert done.stderr.count("works again") == 1
    assert "private" not in done.stderr


# -- traces


@pytest.mark.parametrize("seed", [2, 3, 4])
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
    assert len(alive) > 10
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
