"""How many pictures all sessions got, and how many each gets per second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core.session import Session
from core.sessions import Sessions

_LOOKS = 3
"""Rates are measured over this many looks: over two seconds, a picture more or less is two percent."""


class Pictures(NamedTuple):
    """Counted since the beginning."""

    sent: int = 0
    skipped: int = 0
    """Left out because they would have been late."""
    failed: int = 0
    """Could not be drawn; the last one was shown again."""


@dataclass(slots=True)
class _Seen:
    session: Session
    looks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_LOOKS))


class PictureTally:
    """Looks at the sessions' figures about once a second, and a last time when one ends: totals never fall."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._seen: dict[str, _Seen] = {}
        self._ended = Pictures()

    def look(self, now: float | None = None) -> None:
        """Note where every session is; to be called about once a second (`now`: monotonic seconds)."""
        at = time.monotonic() if now is None else now
        self._meet()
        for seen in self._seen.values():
            seen.looks.append((at, _pictures(seen.session).sent))

    def forget(self, session_id: str) -> None:
        """The session has ended: what it got stays in the totals."""
        seen = self._seen.pop(session_id, None)
        if seen is not None:
            self._ended = _sum(self._ended, _pictures(seen.session))

    def fps(self, session_id: str) -> float:
        """Pictures per second that the session got lately; 0 until it was looked at twice."""
        seen = self._seen.get(session_id)
        if seen is None or len(seen.looks) < 2:
            return 0.0
        (begun, before), (ended, after) = seen.looks[0], seen.looks[-1]
        return max(0.0, (after - before) / (ended - begun)) if ended > begun else 0.0

    def totals(self) -> Pictures:
        """Of all sessions, those that ended included."""
        self._meet()
        return _sum(self._ended, *(_pictures(seen.session) for seen in self._seen.values()))

    def _meet(self) -> None:
        for session in self._sessions.all():
            if session.id not in self._seen:
                self._seen[session.id] = _Seen(session)


def _pictures(session: Session) -> Pictures:
    status: Mapping[str, Any] = session.media.status()
    return Pictures(*(int(status.get(f"pictures_{name}", 0)) for name in Pictures._fields))


def _sum(*parts: Pictures) -> Pictures:
    return Pictures(*(sum(column) for column in zip(*parts, strict=True)))
