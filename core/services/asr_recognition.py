"""A recognition of a socket's own, for ids that are no live session: from start to stop, in turns of bounded length."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from core.errors import RecognizerError
from core.events import Doing, Event, Failed, Heard
from core.frames import LISTEN_RATE, Activity, Samples, Transcript
from core.stages import Recognizer, RecognizerStream

logger = logging.getLogger(__name__)

MAX_UNFINISHED = 4
"""Turns of one socket that may wait for their transcript."""
_CLOSE_PATIENCE_S = 1.0


class Turn(Protocol):
    """Keeps what is heard in one turn (`asr.tracker.TrackedTurn`)."""

    def heard(self, transcript: Transcript, /) -> object:
        """A newer hypothesis, or the final transcript."""


class Tracker(Protocol):
    """Keeps all results (`asr.tracker.RecognitionResultTracker`)."""

    def open_turn(self, session_id: str) -> Turn:
        """The session's next turn."""


@dataclass(frozen=True, slots=True)
class RecognitionLimits:
    """Seconds: how long a transcript may take, how long a turn may be."""

    timeout_s: float
    max_turn_s: float


@dataclass(slots=True)
class _Turn:
    results: Turn
    start: int
    """Position of its first sample; `end`: of the one after its last."""
    end: int
    over: bool = False
    stream: RecognizerStream = field(init=False)


class OwnRecognition:
    """One socket's turns. A turn that reaches the limit is finished and the next begins with the next sound.

    `tell(event)` takes what the pages are told. Everything runs on the event loop.
    """

    def __init__(
        self,
        session_id: str,
        recognizer: Recognizer,
        tracker: Tracker,
        tell: Callable[[Event], None],
        limits: RecognitionLimits,
    ) -> None:
        self._session_id = session_id
        self._recognizer = recognizer
        self._tracker = tracker
        self._tell = tell
        self._limits = limits
        self._position = 0
        self._turn: _Turn | None = None
        self._waiting = 0
        """Turns that wait for their transcript."""
        self._finishing: set[asyncio.Task[None]] = set()
        self._dropping: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether a turn is open or waits for its transcript."""
        return self._turn is not None or self._waiting > 0

    def start(self) -> None:
        """Begin a turn; one that is open is dropped. Raises `RecognizerError`."""
        self.drop()
        self._open()
        self._tell(Doing(Activity.LISTENING))

    def hear(self, samples: Samples) -> None:
        """Sound of the turn: int16, shape (n,), 16 kHz. Raises `RecognizerError`."""
        limit = int(self._limits.max_turn_s * LISTEN_RATE)
        while len(samples):
            turn = self._turn or self._open()
            room = limit - (turn.end - turn.start)
            piece, samples = samples[:room], samples[room:]
            turn.end += len(piece)
            self._position = turn.end
            turn.stream.push(piece)
            if turn.end - turn.start >= limit:
                self.stop()

    def stop(self) -> None:
        """The turn is over, its transcript follows. Raises `RecognizerError` when too many wait for theirs."""
        turn, self._turn = self._turn, None
        if turn is None:
            return
        if self._waiting >= MAX_UNFINISHED:
            self._cancel(turn)
            raise RecognizerError("the recogniser can't keep up", adapter=self._recognizer.name, retryable=True)
        self._tell(Doing(Activity.RECOGNIZING))
        self._waiting += 1
        self._spawn(self._finish(turn), self._finishing)

    def drop(self) -> None:
        """Forget the open turn; those that wait for their transcript still get it."""
        turn, self._turn = self._turn, None
        if turn is not None:
            self._cancel(turn)

    def fail(self, error: RecognizerError) -> None:
        """Tell the pages that there will be no transcript."""
        logger.warning("recognition for session %s failed: %s: %s", self._session_id, error.code, error.loggable)
        self._tell(Failed(error.stage, self._recognizer.name, error.code, error.loggable))
        self._tell(Heard(Transcript("", engine=self._recognizer.name)))
        self._tell(Doing(Activity.ERROR, str(error)))

    async def close(self) -> None:
        """End everything now (the server stops)."""
        self.drop()
        await asyncio.sleep(0)  # a task that is cancelled before its first step could not free its stream
        for task in self._finishing:
            task.cancel()
        if tasks := self._finishing | self._dropping:
            await asyncio.wait(tasks, timeout=_CLOSE_PATIENCE_S)

    def _open(self) -> _Turn:
        turn = _Turn(self._tracker.open_turn(self._session_id), self._position, self._position)
        turn.stream = self._recognizer.open(lambda transcript: self._on_partial(turn, transcript))
        self._turn = turn
        return turn

    def _on_partial(self, turn: _Turn, transcript: Transcript) -> None:
        if transcript.text and not turn.over:
            self._heard(turn, transcript)

    async def _finish(self, turn: _Turn) -> None:
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                transcript = await turn.stream.finish()
        except TimeoutError:
            await turn.stream.cancel()
            self.fail(RecognizerError("the recogniser did not answer in time", retryable=True))
        except asyncio.CancelledError:
            await turn.stream.cancel()
            raise
        except RecognizerError as error:
            self.fail(error)
        except Exception:
            # a recognition ends here: the pages are told, the socket lives on
            logger.exception("recognition for session %s broke", self._session_id)
            self.fail(RecognizerError("something went wrong inside the server"))
        else:
            self._heard(turn, transcript)
        finally:
            turn.over = True
            self._waiting -= 1
        if not self.busy:
            self._tell(Doing(Activity.IDLE))

    def _heard(self, turn: _Turn, transcript: Transcript) -> None:
        said = replace(
            transcript, start=turn.start / LISTEN_RATE, end=turn.end / LISTEN_RATE,
            engine=transcript.engine or self._recognizer.name,
        )  # fmt: skip
        turn.results.heard(said)
        self._tell(Heard(said))

    def _cancel(self, turn: _Turn) -> None:
        turn.over = True
        self._spawn(turn.stream.cancel(), self._dropping)

    def _spawn(self, work: Coroutine[Any, Any, None], owner: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work, name=f"recognition for session {self._session_id}")
        owner.add(task)
        task.add_done_callback(owner.discard)
