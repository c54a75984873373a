"""The user speaks by a file: recording → segments of speech → recogniser → conversation. One session's, one at a time.

Decoding and voice activity compute in worker threads. The recogniser is fed no faster than it can follow, since it may
serve other sessions too; each segment is a turn of its own to it, and one question to the conversation.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from core.conversation import Conversation
from core.errors import BadRequest, EmanError, RecognizerError, Refused, SessionNotFound
from core.events import Event, Failed, Heard, Uploaded, UploadState
from core.frames import LISTEN_RATE, Activity, Transcript
from core.listener import VoiceActivity
from core.recording import Pace, Recording, together
from core.segments import Segment, Segmenter
from core.stages import Recognizer, RecognizerStream

logger = logging.getLogger(__name__)

MAX_FILES = 4
"""That a session may have waiting, the one being recognised included."""
MAX_SEGMENT_S = 20.0
"""A recogniser that serves everybody is held up by no longer stretch."""
ATTEMPTS = 3
"""At one segment, where the recogniser's failure may pass."""
_STEP = LISTEN_RATE // 5
_TELL_S = 0.25
_PROGRESS_S = 1.0
_CANCEL_PATIENCE_S = 1.0


@dataclass(slots=True)
class _Job:
    upload_id: str
    recording: Recording
    segments: AsyncGenerator[Segment, None]
    first: Segment | None = None
    heard: list[Transcript] = field(default_factory=list)
    told_at: float = 0.0
    progress_at: float = 0.0
    fed_at: float = 0.0
    """When the last sound was given to the recogniser (monotonic seconds)."""

    async def close(self) -> None:
        self.recording.close()
        await self.segments.aclose()

    async def each(self) -> AsyncGenerator[Segment, None]:
        if self.first is not None:
            yield self.first
        async for segment in self.segments:
            yield segment


class Transcriber:
    """The files of one session. `ask` takes one, `run` recognises one after the other.

    `voice_activity` makes a fresh one per file; `timeout_s`: how long a segment's transcript may take;
    `max_turn_s`: the longest turn that the recogniser takes.
    """

    def __init__(
        self,
        *,
        recognizer: Recognizer,
        voice_activity: Callable[[], VoiceActivity],
        conversation: Conversation,
        emit: Callable[[Event], None],
        executor: Executor,
        timeout_s: float,
        max_turn_s: float,
        retry_s: float = 1.0,
        pace: Pace | None = None,
    ) -> None:
        self._recognizer = recognizer
        self._voice_activity = voice_activity
        self._conversation = conversation
        self._emit = emit
        self._executor = executor
        self._timeout = timeout_s
        self._max_segment = min(max_turn_s, MAX_SEGMENT_S)
        self._retry_s = retry_s
        self._pace = pace or Pace()
        self._numbers = itertools.count(1)
        self._waiting: deque[_Job] = deque()
        self._preparing = 0
        self._interruptions = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    # -- inputs

    async def ask(self, recording: Recording) -> str:
        """The user says what is in the file; it belongs to the transcriber from now on. Returns the upload's id.

        Raises `BadRequest` (`no_speech`), `Refused` when too many wait or it was interrupted, `SessionNotFound`; the
        file is closed then.
        """
        job = _Job(f"u{next(self._numbers)}", recording, self._segments(recording))
        if len(self._waiting) + self._preparing + (self._task is not None) >= MAX_FILES:
            await job.close()
            raise Refused("too many files are waiting to be recognised", code="busy", retryable=True)
        self._preparing += 1
        interruptions = self._interruptions
        try:
            job.first = await anext(job.segments, None)
            if job.first is None:
                raise BadRequest("no speech was heard in the file", code="no_speech")
            if self._closed:
                raise SessionNotFound("session not found")
            if self._interruptions != interruptions:
                raise Refused("it was interrupted", code="interrupted")
        except BaseException:
            await job.close()
            raise
        finally:
            self._preparing -= 1
        self._waiting.append(job)
        self._wake.set()
        return job.upload_id

    def interrupt(self) -> bool:
        """Stop recognising and drop what waits. False when there was nothing."""
        busy = self._task is not None or bool(self._waiting) or self._preparing > 0
        self._interruptions += 1
        if self._task is not None:
            self._task.cancel()
        while self._waiting:
            self._drop(self._waiting.popleft())
        return busy

    # -- running

    async def run(self) -> None:
        """Recognise one file after the other, until cancelled."""
        try:
            while True:
                await self._wake.wait()
                if not self._waiting:
                    self._wake.clear()
                    continue
                await self._take(self._waiting.popleft())
        finally:
            self._closed = True
            self.interrupt()
            if self._closing:
                await asyncio.wait(self._closing, timeout=_CANCEL_PATIENCE_S)

    async def _take(self, job: _Job) -> None:
        self._task = task = asyncio.create_task(self._answer(job), name=f"upload {job.upload_id}")
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_PATIENCE_S)
            raise
        finally:
            self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("upload %s broke", job.upload_id, exc_info=error)
            self._fail(job, EmanError("something went wrong inside the server", code="internal"))

    async def _answer(self, job: _Job) -> None:
        try:
            async with contextlib.aclosing(job.each()) as segments:
                async for segment in segments:
                    self._show(job, segment.start)
                    job.heard.append(await self._patiently(job, segment))
                    self._tell(job)
            self._conclude(job)
        except asyncio.CancelledError:
            self._unhear()
            self._emit(Uploaded(job.upload_id, UploadState.STOPPED))
            self._settle()
            raise
        except EmanError as error:
            self._fail(job, error)
        finally:
            await job.close()

    def _conclude(self, job: _Job) -> None:
        said = together(job.heard, self._recognizer.name)
        self._emit(Heard(said))
        if not said.text:
            raise BadRequest("no words were understood in the file", code="not_understood")
        self._emit(Uploaded(job.upload_id, UploadState.FINAL))
        self._conversation.chat(said.text, typed=False, asked_at=job.fed_at)

    # -- one segment

    async def _patiently(self, job: _Job, segment: Segment) -> Transcript:
        for attempt in itertools.count(1):
            try:
                return await self._recognise(job, segment)
            except RecognizerError as error:
                if attempt == ATTEMPTS or not error.retryable:
                    raise
                logger.warning("recognising a file: %s; once more", error.loggable)
            await asyncio.sleep(self._retry_s)
        raise AssertionError

    async def _recognise(self, job: _Job, segment: Segment) -> Transcript:
        live = True

        def on_partial(transcript: Transcript) -> None:
            if live:
                self._tell(job, Transcript(transcript.text, False, segment.start, segment.end, None, transcript.engine))

        stream = self._recognizer.open(on_partial)
        try:
            await self._feed(job, segment, stream)
            job.fed_at = time.monotonic()
            async with asyncio.timeout(self._timeout):
                transcript = await stream.finish()
            self._pace.finished(time.monotonic() - job.fed_at)
            return Transcript(
                transcript.text, True, segment.start, segment.end, transcript.confidence, transcript.engine
            )
        except TimeoutError:
            raise RecognizerError("the recogniser did not answer in time", retryable=True) from None
        finally:
            live = False
            await stream.cancel()

    async def _feed(self, job: _Job, segment: Segment, stream: RecognizerStream) -> None:
        for start in range(0, len(segment.samples), _STEP):
            piece = segment.samples[start : start + _STEP]
            stream.push(piece)
            self._show(job, segment.start + start / LISTEN_RATE)
            await asyncio.sleep(len(piece) / LISTEN_RATE / self._pace.speed)

    async def _segments(self, recording: Recording) -> AsyncGenerator[Segment, None]:
        loop = asyncio.get_running_loop()

        def begin() -> Segmenter:
            return Segmenter(self._voice_activity(), self._max_segment)

        segmenter = await loop.run_in_executor(self._executor, begin)
        async with contextlib.aclosing(recording.pieces()) as pieces:
            async for piece in pieces:
                for segment in await loop.run_in_executor(self._executor, segmenter.push, piece):
                    yield segment
        for segment in segmenter.finish():
            yield segment

    # -- telling

    def _show(self, job: _Job, position: float) -> None:
        """What is being done, unless the microphone or an answer has the stage."""
        if self._conversation.activity is Activity.IDLE:
            self._conversation.do(Activity.RECOGNIZING)
        now = time.monotonic()
        if now - job.progress_at < _PROGRESS_S:
            return
        job.progress_at = now
        length = job.recording.seconds
        self._emit(Uploaded(job.upload_id, UploadState.RECOGNIZING, min(1.0, position / length) if length else None))

    def _tell(self, job: _Job, partial: Transcript | None = None) -> None:
        now = time.monotonic()
        if self._conversation.activity is Activity.LISTENING or now - job.told_at < _TELL_S:
            return  # what the microphone hears is being shown, or this was just said
        said = together([*job.heard, *([partial] if partial is not None else [])], self._recognizer.name)
        if said.text:
            job.told_at = now
            self._emit(Heard(replace(said, final=False, confidence=None)))

    def _fail(self, job: _Job, error: EmanError) -> None:
        logger.warning("recognising a file failed: %s: %s", error.code, error.loggable)
        if isinstance(error, RecognizerError):
            self._emit(Failed(error.stage, self._recognizer.name, error.code, str(error)))
        self._unhear()
        self._emit(Uploaded(job.upload_id, UploadState.ERROR, None, error.code, str(error)))
        self._settle()

    def _unhear(self) -> None:
        """Take back what was shown while it was being recognised."""
        self._emit(Heard(Transcript("", final=True, engine=self._recognizer.name)))

    def _settle(self) -> None:
        if self._conversation.activity is Activity.RECOGNIZING and not self._conversation.busy:
            self._conversation.do(Activity.IDLE)

    def _drop(self, job: _Job) -> None:
        self._emit(Uploaded(job.upload_id, UploadState.STOPPED))
        task = asyncio.create_task(job.close(), name="drop upload")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
