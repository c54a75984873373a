"""The history's file (G2): rights, several servers, readers, files that can not be used, damage."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from core.errors import Refused
from core.history import History
from core.history.store import MIGRATIONS
from tests.histories import asked, lines, on_disk, opened, until_available


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR and r.name.startswith("core.")]


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
