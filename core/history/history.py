"""Kept conversations: what was said and answered, per session, until the user deletes it or it is too old.

Words live in one SQLite file that one thread of its own reads and writes; the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import Refused
from core.events import Event
from core.frames import Utterance
from core.history.backlog import Backlog, BacklogLimits
from core.history.entry import Entry, Scribe, utterances_of
from core.history.file import HistoryFile
from core.history.thread import HistoryThread
from core.messages import now_ms

logger = logging.getLogger(__name__)

_DAY_MS = 86_400_000
_PATIENCE_S = 10.0
_SWITCHED_OFF = 10_000


class History:
    """The kept conversations of one server. `path` None: nothing is kept, and every question finds nothing.

    `retention_days`: older entries are deleted, at start and every `prune_interval_s`. `clock` gives Unix time in ms.
    A file that another program holds for longer than `lock_wait_s`, or that fails, is tried again every `retry_s`.
    All methods are called on the event loop. The asynchronous ones raise `Refused` (`history_unavailable`, `busy`)
    while the file can't be used; the server runs on without.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        retention_days: float,
        avatar_name: str,
        clock: Callable[[], int] = now_ms,
        prune_interval_s: float = 3600.0,
        limits: BacklogLimits | None = None,
        retry_s: float = 5.0,
        lock_wait_s: float = 5.0,
    ) -> None:
        self._retention_ms = round(retention_days * _DAY_MS)
        self._avatar_name = avatar_name
        self._clock = clock
        self._prune_interval_s = prune_interval_s
        self._scribe = Scribe(avatar_name)
        self._off: OrderedDict[str, None] = OrderedDict()
        self._thread = None
        if path is not None:
            file = HistoryFile(path, retry_s=retry_s, lock_wait_s=lock_wait_s)
            self._thread = HistoryThread(file, Backlog(limits), retry_s=retry_s)
        self._task: asyncio.Task[None] | None = None

    @property
    def available(self) -> bool:
        """Whether conversations are being kept."""
        return self._thread is not None and self._thread.available

    @property
    def lost(self) -> int:
        """Entries that could not be kept since the start."""
        return self._thread.lost if self._thread is not None else 0

    async def start(self) -> None:
        """Open the file and delete what is too old. A file that can't be used is logged; nothing is raised."""
        if self._thread is None:
            return
        self._thread.start()
        await asyncio.wait({asyncio.wrap_future(self._thread.opened)}, timeout=_PATIENCE_S)
        await self._prune_quietly()
        self._task = asyncio.create_task(self._keep_pruning(), name="history retention")

    async def close(self) -> None:
        """Write what is queued, then close the file. Idempotent."""
        if self._thread is None:
            return
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        for session_id in self._scribe.open_sessions():
            self.ended(session_id)
        self._thread.close()
        await asyncio.wait({asyncio.wrap_future(self._thread.ended)}, timeout=_PATIENCE_S)

    # -- recording

    def record(self, session_id: str, event: Event) -> None:
        """Keep what `event` says, if anything. Never waits and never raises; drops (and counts) when too much waits."""
        if self._thread is not None:
            self._add(self._scribe.entry(session_id, event, self._clock()))

    def ended(self, session_id: str) -> None:
        """The session is over: an answer that this cut off is kept as far as it was heard."""
        if self._thread is not None:
            self._add(self._scribe.cut_off(session_id, self._clock()))

    def set_kept(self, session_id: str, kept: bool) -> None:
        """The user's switch. False: nothing of this session is kept from now on, and what was kept is deleted."""
        if kept:
            self._off.pop(session_id, None)
            return
        self._off[session_id] = None
        self._off.move_to_end(session_id)
        if len(self._off) > _SWITCHED_OFF:
            self._off.popitem(last=False)
        if self._thread is not None:
            try:
                self._thread.delete(session_id)
            except Refused as error:
                logger.error("a conversation was not deleted when its user switched the history off: %s", error)

    def keeps(self, session_id: str) -> bool:
        """Whether this session's words are kept: for operators and the page's switch."""
        return self._thread is not None and session_id not in self._off

    # -- reading and deleting

    async def page(self, session_id: str, *, before: int | None, limit: int) -> list[Entry]:
        """The last `limit` entries (≥ 1) with an id below `before`, oldest first."""
        if self._thread is None:
            return []
        return await asyncio.wrap_future(self._thread.read(lambda store: store.page(session_id, before, limit)))

    async def export(self, session_id: str) -> dict[str, Any]:
        """The whole conversation as one document."""
        entries: list[Entry] = []
        if self._thread is not None:
            entries = await asyncio.wrap_future(self._thread.read(lambda store: store.everything(session_id)))
        return {
            "sessionid": session_id,
            "avatar": self._avatar_name,
            "started_at": _iso(entries[0].at_ms) if entries else None,
            "exported_at": _iso(self._clock()),
            "entries": [{"at": _iso(entry.at_ms), **_without_session(entry)} for entry in entries],
        }

    async def delete(self, session_id: str) -> int:
        """Delete a conversation, on the disk too; returns the number of its entries."""
        if self._thread is None:
            return 0
        return await asyncio.wrap_future(self._thread.delete(session_id))

    async def conversations(self, *, before: int | None, limit: int) -> list[dict[str, Any]]:
        """Kept conversations without their words, latest first; `before` is the `last_id` of an earlier one."""
        if self._thread is None:
            return []
        found = await asyncio.wrap_future(self._thread.read(lambda store: store.conversations(before, limit)))
        return [{"sessionid": summary.pop("session_id"), **summary} for summary in map(asdict, found)]

    async def utterances(self, session_id: str, turns: int) -> list[Utterance]:
        """The last turns for a dialogue engine: user and assistant alternate, texts that were only read out are left
        out. Nothing when the history can't be used: a conversation then begins anew."""
        if turns <= 0:
            return []
        try:
            # entries are more than turns: texts that were read out, several questions in a row
            entries = await self.page(session_id, before=None, limit=8 * turns)
        except Refused as error:
            logger.warning("session %s goes on without its history: %s", session_id, error)
            return []
        return utterances_of(entries, turns)

    async def prune(self) -> int:
        """Delete what is older than the retention; returns the number of entries."""
        if self._thread is None:
            return 0
        oldest = self._clock() - self._retention_ms
        return await asyncio.wrap_future(self._thread.remove(lambda store: store.prune(oldest)))

    # -- inside

    def _add(self, entry: Entry | None) -> None:
        if entry is not None and self._thread is not None and entry.session_id not in self._off:
            self._thread.add(entry)

    async def _keep_pruning(self) -> None:
        while True:
            await asyncio.sleep(self._prune_interval_s)
            await self._prune_quietly()

    async def _prune_quietly(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                count = await self.prune()
        except (Refused, TimeoutError):
            return  # what is wrong with the file was logged; the next time is near
        if count:
            logger.info("%d entries of the history were too old and are deleted", count)


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _without_session(entry: Entry) -> dict[str, Any]:
    fields = asdict(entry)
    del fields["session_id"]
    return fields
