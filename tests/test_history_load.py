"""The history never waits and loses nothing it need not (G2): full backlogs, locks, full disks, killed servers."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import Refused
from core.history.backlog import BacklogLimits
from tests.histories import asked, lines, on_disk, opened, until_available

ROOT = Path(__file__).parent.parent


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


# -- writers that have to wait, or die


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
