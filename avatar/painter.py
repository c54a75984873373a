"""Has the pictures of one session drawn in worker threads: one at a time, and none is waited for for ever."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor

from av import VideoFrame
from av.frame import Frame

from avatar.guard import FrameGuard
from core.frames import FaceCue
from core.stages import FaceStream

PATIENCE_S = 1.0
"""A picture that takes longer is not waited for."""


class Undrawn(Frame):
    """A picture to come, with its timestamp: the thread that encodes it draws it, which saves a hand-over."""

    painter: Painter
    cue: FaceCue

    def drawn(self) -> VideoFrame:
        """The picture itself. Takes as long as the face does."""
        frame = self.painter.draw(self.cue)
        frame.pts, frame.time_base = self.pts, self.time_base
        return frame


class Painter:
    """The one way between the event loop and the threads that draw a session's face.

    At most one picture is being drawn; while one takes too long, the last good one is shown. Everything that a
    picture needs travels with it as its cue, so nothing is looked up late. It outlives connections.
    """

    def __init__(
        self, face: FaceStream, guard: FrameGuard, executor: Executor, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._face = face
        self._executor = executor
        self._patience_s = patience_s
        self._outstanding: asyncio.Future[VideoFrame] | None = None
        self._drawing = threading.Lock()
        self.guard = guard
        self.quick = bool(getattr(face, "quick", False))
        """Whether no picture needs patience: an encoder may draw it (`undrawn`)."""

    async def paint(self, cue: FaceCue) -> VideoFrame:
        """The picture for `cue`, or the last good one. Never raises for what a face does."""
        if self._outstanding is not None and not self._outstanding.done():
            return self.guard.stalled(cue)
        loop = asyncio.get_running_loop()
        self._outstanding = loop.run_in_executor(self._executor, self.draw, cue)
        # a thread can't be stopped: who loses patience leaves it behind
        await asyncio.wait((self._outstanding,), timeout=self._patience_s)
        return self._outstanding.result() if self._outstanding.done() else self.guard.stalled(cue)

    def undrawn(self, cue: FaceCue) -> Undrawn:
        """The picture for `cue`, to be drawn by whoever encodes it."""
        frame = Undrawn()
        frame.painter, frame.cue = self, cue
        return frame

    def draw(self, cue: FaceCue) -> VideoFrame:
        """Draw here and now, in a worker thread; the last good picture where another thread is drawing."""
        if not self._drawing.acquire(blocking=False):
            return self.guard.stalled(cue)
        try:
            return self.guard.draw(self._face, cue)
        finally:
            self._drawing.release()
