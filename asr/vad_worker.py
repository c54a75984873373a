"""One thread that runs the voice activity of all sessions, so that the event loop never computes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable

from asr.vad import FRAME, VoiceActivity, VoiceFrame
from core.frames import LISTEN_RATE, Samples

log = logging.getLogger(__name__)

OnFrames = Callable[[list[VoiceFrame]], None]


class VadStream:
    """The voice activity of one session; made by `VadWorker.open`. Used on the event loop."""

    def __init__(self, worker: VadWorker, on_frames: OnFrames, max_pending: int) -> None:
        self._worker = worker
        self._on_frames = on_frames
        self._max_pending = max_pending
        self._waiting: deque[Samples] = deque()
        self._waiting_samples = 0
        self._lost = 0
        self._position = 0
        self._activity: VoiceActivity | None = None
        self.queued = False
        self.closed = False
        self.dropped_samples = 0
        """Audio thrown away, oldest first, because the machine could not keep up."""

    def push(self, samples: Samples) -> None:
        """Add int16 mono at `LISTEN_RATE`, shape (n,), any n. Never blocks; the array must not change afterwards."""
        if len(samples) and not self.closed:
            self._worker.submit(self, samples)

    def close(self) -> None:
        """Stop; nothing is delivered afterwards. Idempotent."""
        self.closed = True

    def put(self, samples: Samples) -> bool:
        """Under the worker's lock: keep `samples`; True when that completes a frame and the worker should look."""
        before = self._position // FRAME
        self._position += len(samples)
        self._waiting.append(samples)
        self._waiting_samples += len(samples)
        while self._waiting_samples > self._max_pending and len(self._waiting) > 1:
            oldest = len(self._waiting.popleft())
            self._waiting_samples -= oldest
            self._lost += oldest
            self.dropped_samples += oldest
        return self._position // FRAME > before

    def take(self) -> tuple[int, list[Samples]]:
        """Under the worker's lock: samples lost before these, and the audio that waits."""
        taken, lost = list(self._waiting), self._lost
        self._waiting.clear()
        self._waiting_samples = self._lost = 0
        return lost, taken

    def compute(self, lost: int, audio: list[Samples]) -> list[VoiceFrame]:
        """In the worker thread: the frames of `audio`."""
        if self._activity is None:
            self._activity = VoiceActivity()
        if lost:
            self._activity.skip(lost)
        return [frame for samples in audio for frame in self._activity.push(samples)]

    def deliver(self, frames: list[VoiceFrame]) -> None:
        """On the event loop: hand `frames` to the session."""
        if not self.closed:
            self._on_frames(frames)


class VadWorker:
    """The thread. `start` and `close` once per process; `open` once per session.

    A stream keeps at most `max_pending_s` of audio that was not yet looked at; beyond that its oldest is
    dropped and counted, and the listening clock still advances by it.
    """

    def __init__(self, *, max_pending_s: float = 1.0) -> None:
        self._max_pending = int(max_pending_s * LISTEN_RATE)
        self._ready: deque[VadStream] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start the thread; results are delivered on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="vad", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Stop the thread and wait for it. Idempotent."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def open(self, on_frames: OnFrames) -> VadStream:
        """A session's stream. `on_frames` is called on the event loop with one or more frames, in order."""
        return VadStream(self, on_frames, self._max_pending)

    def submit(self, stream: VadStream, samples: Samples) -> None:
        """Queue audio of `stream` (called by `VadStream.push`)."""
        with self._wake:
            if stream.put(samples) and not stream.queued:
                stream.queued = True
                self._ready.append(stream)
                self._wake.notify()

    def _work(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                results = [(stream, stream.compute(lost, audio)) for stream, lost, audio in batch]
                self._hand_over([result for result in results if result[1]])
        except Exception:  # a thread ends here
            log.exception("the voice activity thread failed; nobody is heard any more")

    def _next_batch(self) -> list[tuple[VadStream, int, list[Samples]]] | None:
        with self._wake:
            while not self._ready and not self._stopping:
                self._wake.wait()
            if self._stopping:
                return None
            batch = []
            while self._ready:
                stream = self._ready.popleft()
                stream.queued = False
                if not stream.closed:
                    batch.append((stream, *stream.take()))
            return batch

    def _hand_over(self, results: list[tuple[VadStream, list[VoiceFrame]]]) -> None:
        if not results or self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._deliver, results)
        except RuntimeError:
            self._stopping = True  # the loop is closed: the process is going down

    def _deliver(self, results: list[tuple[VadStream, list[VoiceFrame]]]) -> None:
        loop = self._loop
        assert loop is not None
        for stream, frames in results:
            loop.call_soon(stream.deliver, frames)  # one session's failure must not cost the others their frames
