"""What was recognised: per session and turn every hypothesis, what it followed from, and the span of its audio.

Kept in memory, for operators and for code that asks. Bounded, callable from any thread. Audio is counted, never kept.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.events import Event, Heard
from core.frames import LISTEN_RATE, Transcript
from core.messages import now_ms

MAX_SESSIONS = 64
MAX_RESULTS = 512
"""Per session: some ten minutes of talking, with all partials."""
MAX_RECENT = 200


class Stage(StrEnum):
    """Of a result: a hypothesis on the way, or what was understood in the end."""

    PARTIAL = "partial"
    FINAL = "final"


@dataclass(slots=True)
class _Result:
    session_id: str
    sequence: int
    result_id: str
    stage: Stage
    text: str
    start: float
    end: float
    at: int
    engine: str
    audio_bytes: int
    predecessors: list[str] = field(default_factory=list)

    def view(self) -> dict[str, Any]:
        return {
            "sessionid": self.session_id,
            "sequence": self.sequence,
            "result_id": self.result_id,
            "stage": self.stage.value,
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "at": self.at,
            "engine": self.engine,
            "predecessors": list(self.predecessors),
        }


@dataclass(slots=True)
class _Session:
    results: OrderedDict[str, _Result] = field(default_factory=OrderedDict)
    sequence: int = 0
    """The highest one in use."""
    turn: TrackedTurn | None = None
    """What `record` is in the middle of."""


class RecognitionResultTracker:
    """The results of all sessions.

    Of more than `max_sessions` the one that was silent for longest is forgotten, of more than `max_results` in one
    session the oldest; `predecessors` may therefore name results that are no longer kept.
    """

    def __init__(self, *, max_sessions: int = MAX_SESSIONS, max_results: int = MAX_RESULTS) -> None:
        self._max_sessions = max_sessions
        self._max_results = max_results
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._recent: deque[_Result] = deque(maxlen=MAX_RECENT)
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def create_session(self, session_id: str) -> None:
        """Begin to track a session. Idempotent; adding a result to an unknown session does it too."""
        with self._lock:
            self._session(session_id)

    def add_recognition_result(
        self,
        session_id: str,
        sequence: int,
        text: str,
        *,
        audio_data: bytes | None = None,
        start: float = 0.0,
        end: float = 0.0,
        stage: str,
        engine: str = "",
    ) -> str:
        """Add a result; returns its id. `sequence` numbers the session's turns; `stage` is "partial" or "final".

        `start`, `end`: its audio in seconds. `audio_data`: that audio as 16-bit mono PCM at 16 kHz; its length is
        kept, and gives `end` where that is missing. Raises `ValueError` for another stage.
        """
        if audio_data is None:
            count = int(max(0.0, end - start) * LISTEN_RATE) * 2
        else:
            count = len(audio_data)
            end = max(end, start + count / (2 * LISTEN_RATE))
        with self._lock:
            session = self._session(session_id)
            session.sequence = max(session.sequence, sequence)
            result = _Result(
                session_id, sequence, f"{session_id}-{sequence}-{next(self._numbers)}", Stage(stage), text,
                start, end, now_ms(), engine, count,
            )  # fmt: skip
            session.results[result.result_id] = result
            if len(session.results) > self._max_results:
                session.results.popitem(last=False)
            self._recent.append(result)
            return result.result_id

    def establish_relationship(self, result_id: str, predecessor_ids: Iterable[str]) -> bool:
        """Say what a result followed from: earlier results of the same session, others are left out.

        False when the result is not (or no longer) kept.
        """
        with self._lock:
            for session in self._sessions.values():
                if (result := session.results.get(result_id)) is not None:
                    order = {key: place for place, key in enumerate(session.results)}
                    earlier = {key for key in predecessor_ids if order.get(key, len(order)) < order[result_id]}
                    result.predecessors = sorted(earlier, key=order.__getitem__)
                    return True
        return False

    def session_results(self, session_id: str) -> list[dict[str, Any]]:
        """The kept results of a session, oldest first: as in `recent`, and `audio_bytes`."""
        with self._lock:
            session = self._sessions.get(session_id)
            results = session.results.values() if session is not None else ()
            return [{**result.view(), "audio_bytes": result.audio_bytes} for result in results]

    def session_sequences(self, session_id: str) -> list[int]:
        """The numbers of the session's turns of which results are kept, ascending."""
        return sorted({result["sequence"] for result in self.session_results(session_id)})

    def close_session(self, session_id: str) -> None:
        """The session is over: its results can't be asked for any more. `recent` still shows the last ones."""
        with self._lock:
            self._sessions.pop(session_id, None)

    def forget(self, session_id: str) -> None:
        """Drop everything of a session, from `recent` too (the user deleted the conversation)."""
        with self._lock:
            self.close_session(session_id)
            kept = [result for result in self._recent if result.session_id != session_id]
            self._recent.clear()
            self._recent.extend(kept)

    def recent(self, limit: int) -> list[dict[str, Any]]:
        """The last results of all sessions, newest last, at most `limit` (and `MAX_RECENT`).

        Keys: sessionid, sequence, result_id, stage, text, start, end, at (Unix ms), engine, predecessors (ids).
        """
        with self._lock:
            newest = list(self._recent)[-limit:] if limit > 0 else []
            return [result.view() for result in newest]

    def open_turn(self, session_id: str) -> TrackedTurn:
        """The session's next turn, to be told what is heard."""
        with self._lock:
            session = self._session(session_id)
            session.sequence += 1
            return TrackedTurn(self, session_id, session.sequence)

    def record(self, session_id: str, event: Event) -> None:
        """A watcher of sessions: `Heard` becomes a result, a final one ends the turn. Never blocks, never raises."""
        if not isinstance(event, Heard):
            return
        with self._lock:
            session = self._session(session_id)
            transcript = event.transcript
            if session.turn is None and transcript.final and not transcript.text:
                return  # a sound that was no speech
            if session.turn is None:
                session.turn = self.open_turn(session_id)
            session.turn.heard(transcript)
            if transcript.final:
                session.turn = None

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.setdefault(session_id, _Session())
        self._sessions.move_to_end(session_id)
        if len(self._sessions) > self._max_sessions:
            self._sessions.popitem(last=False)
        return session


class TrackedTurn:
    """One turn: its partials, each followed from the one before, and the final, followed from all of them."""

    def __init__(self, tracker: RecognitionResultTracker, session_id: str, sequence: int) -> None:
        self._tracker = tracker
        self._session_id = session_id
        self.sequence = sequence
        self._partials: deque[str] = deque(maxlen=MAX_RESULTS)

    def heard(self, transcript: Transcript, /) -> str:
        """Add a hypothesis; returns its id."""
        stage = Stage.FINAL if transcript.final else Stage.PARTIAL
        result_id = self._tracker.add_recognition_result(
            self._session_id, self.sequence, transcript.text,
            start=transcript.start, end=transcript.end, stage=stage, engine=transcript.engine,
        )  # fmt: skip
        before = list(self._partials) if transcript.final else list(self._partials)[-1:]
        if before:
            self._tracker.establish_relationship(result_id, before)
        if not transcript.final:
            self._partials.append(result_id)
        return result_id
