"""What tests of the kept conversations share: events as a session sends them, and what lies on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from core.events import Event, Heard, Replying, ReplyState, Sounding, Typed
from core.frames import Transcript
from core.history import History

Record = Callable[[str, Event], None]


class Clock:
    """Unix time in ms that tests move by hand."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


@contextlib.asynccontextmanager
async def opened(path: Path | None, **options: Any) -> AsyncIterator[History]:
    """A history that is closed at the end."""
    history = History(path, **{"retention_days": 30, "avatar_name": "Eman", **options})
    await history.start()
    try:
        yield history
    finally:
        await history.close()


def asked(history: History, session_id: str, text: str) -> None:
    """The user typed."""
    history.record(session_id, Typed(text))


def spoke(history: History, session_id: str, text: str, engine: str = "pocketsphinx") -> None:
    """The user said, after a few partial hypotheses."""
    for word in text.split():
        history.record(session_id, Heard(Transcript(word, final=False, engine=engine)))
    history.record(session_id, Heard(Transcript(text, engine=engine)))


def answered(
    history: History,
    session_id: str,
    *sentences: str,
    engine: str = "demo",
    state: ReplyState = ReplyState.END,
    text: str | None = None,
    played: int | None = None,
    heard: str = "",
) -> None:
    """The avatar spoke these sentences, of which `played` to their end, then came to `state` with `text`."""
    history.record(session_id, Replying("r1", ReplyState.START, latency_ms=5, engine=engine))
    for number, sentence in enumerate(sentences):
        history.record(session_id, Replying("r1", ReplyState.SENTENCE, sentence, engine=engine))
        history.record(session_id, Sounding("start", sentence))
        if played is None or number < played:
            history.record(session_id, Sounding("end", sentence))
    whole = " ".join(sentences) if text is None else text
    history.record(session_id, Replying("r1", state, whole, engine=engine, heard=heard))


async def lines(history: History, session_id: str) -> list[tuple[str, str, str]]:
    """(role, text, state) of everything that is kept."""
    return [(e.role, e.text, e.state) for e in await history.page(session_id, before=None, limit=200)]


async def until_available(history: History) -> None:
    """Wait until the file can be used (again)."""
    async with asyncio.timeout(10):
        while not history.available:
            await asyncio.sleep(0.01)


def on_disk(folder: Path) -> bytes:
    """All bytes of all files. Read by another process: closing the file here would drop SQLite's locks on it."""
    files = [str(path) for path in sorted(folder.rglob("*")) if path.is_file()]
    return subprocess.run(["cat", *files], capture_output=True, check=True).stdout
