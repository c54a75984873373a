"""The one thread that touches the history's file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from core.errors import Refused
from core.history.backlog import Backlog, Batch
from core.history.entry import Entry
from core.history.file import HistoryFile
from core.history.store import HistoryStore

logger = logging.getLogger(__name__)
T = TypeVar("T")


class HistoryThread:
    """Writes what is added, answers what is asked. While the file can't be used, what is added waits in the backlog."""

    def __init__(self, file: HistoryFile, backlog: Backlog, *, retry_s: float) -> None:
        self._file = file
        self._backlog = backlog
        self._retry_s = retry_s
        self._owed: set[str] = set()
        """Sessions whose deletion failed: tried again before anything is written."""
        self._batch = Batch()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self.opened: Future[None] = Future()
        """Done after the first try to open the file."""
        self.ended: Future[None] = Future()
        """Done when everything is written and the file is closed."""

    @property
    def available(self) -> bool:
        """Whether what is added is kept."""
        return self._file.available and not self.ended.done()

    @property
    def lost(self) -> int:
        """Entries that could not be kept."""
        return self._backlog.lost

    def start(self) -> None:
        """Begin; see `opened`."""
        self._thread.start()

    def add(self, entry: Entry) -> None:
        """Queue an entry; never waits."""
        self._backlog.add(entry)

    def delete(self, session_id: str) -> Future[int]:
        """See `Backlog.delete`; the future may also raise `Refused` (history_unavailable)."""
        return self._backlog.delete(session_id)

    def read(self, work: Callable[[HistoryStore], T]) -> Future[T]:
        """Ask the store something, after everything added so far. Raises `Refused`, as does the future."""
        return self._backlog.call(lambda: self._file.read(work))

    def remove(self, work: Callable[[HistoryStore], int]) -> Future[int]:
        """Delete something; the future gives the number of entries. Raises `Refused`, as does the future."""
        return self._backlog.call(lambda: self._file.remove(work))

    def close(self) -> None:
        """Write what is queued, then end; see `ended`."""
        self._backlog.close()
        if self._thread.ident is None and not self.ended.done():  # never started
            self.ended.set_result(None)

    # -- on the thread

    def _run(self) -> None:
        try:
            self._file.tend()
            self.opened.set_result(None)
            last = False
            while not last:
                self._batch = self._backlog.take(self._patience(), entries=lambda: self._file.due)
                last = self._batch.last
                self._carry_out(self._batch)
        except Exception:
            # the thread ends here; the server goes on without a history
            logger.exception("the history broke: nothing is kept any more")
        finally:
            self._leave()

    def _patience(self) -> float | None:
        wait = self._file.wait_s
        return self._retry_s if wait is None and self._owed else wait

    def _carry_out(self, batch: Batch) -> None:
        owed: set[str] = set()
        if self._file.due:
            owed = self._owed - batch.deletions.keys()
            self._file.tend()
        counts = self._delete([*batch.deletions, *owed])
        if batch.entries:
            self._append(batch.entries, last=batch.last)
        results = [(call.future, _outcome(call.work)) for call in batch.calls]
        self._file.wipe()
        for session_id, futures in batch.deletions.items():
            count = counts[session_id]
            if not isinstance(count, Refused):
                count += batch.dropped[session_id]
            results += [(future, count) for future in futures]
        for future, outcome in results:
            _resolve(future, outcome)

    def _delete(self, session_ids: Sequence[str]) -> dict[str, int | Refused]:
        counts: dict[str, int | Refused] = {}
        for session_id in session_ids:
            count = counts[session_id] = _outcome(self._deletion(session_id))
            if isinstance(count, Refused):
                self._owed.add(session_id)
            else:
                self._owed.discard(session_id)
        return counts

    def _deletion(self, session_id: str) -> Callable[[], int]:
        return lambda: self._file.remove(lambda store: store.delete(session_id))

    def _append(self, entries: list[Entry], *, last: bool) -> None:
        try:
            # what is added after a deletion must not be written before it
            if not self._owed:
                self._file.write(lambda store: store.append(entries))
                return
        except Refused:
            pass  # it was logged
        if last:
            self._backlog.give_up(entries)
        else:
            self._backlog.put_back(entries)

    def _leave(self) -> None:
        """Nobody waits for ever, whatever happened."""
        self._backlog.close()
        rest = self._backlog.take(0, entries=lambda: True)
        self._backlog.give_up(rest.entries)
        if self.lost or self._owed:
            logger.error("the history lost %d entries; %d deletions were not done", self.lost, len(self._owed))
        self._file.close()
        gone = Refused("the history is closed", code="history_unavailable")
        for batch in (self._batch, rest):
            for future in [f for waiting in batch.deletions.values() for f in waiting] + [
                c.future for c in batch.calls
            ]:
                if not future.done():
                    _resolve(future, gone)
        if not self.opened.done():
            self.opened.set_result(None)
        self.ended.set_result(None)


def _outcome(work: Callable[[], T]) -> T | Refused:
    try:
        return work()
    except Refused as error:
        return error


def _resolve(future: Future[T], outcome: T | Refused) -> None:
    if not future.set_running_or_notify_cancel():
        return  # nobody waits for it any more
    if isinstance(outcome, Refused):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
