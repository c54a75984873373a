"""Has the pictures of one session drawn in worker threads: one at a time, and none is waited for for ever."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from av import VideoFrame

from avatar.guard import FrameGuard
from core.frames import FaceCue
from core.stages import FaceStream

PATIENCE_S = 1.0
"""A picture that takes longer is not waited for."""


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
        self.guard = guard

    async def paint(self, cue: FaceCue) -> VideoFrame:
        """The picture for `cue`, or the last good one. Never raises for what a face does."""
        if self._outstanding is not None and not self._outstanding.done():
            return self.guard.stalled(cue)
        loop = asyncio.get_running_loop()
        self._outstanding = loop.run_in_executor(self._executor, self.guard.draw, self._face, cue)
        # a thread can't be stopped: who loses patience leaves it behind
        await asyncio.wait((self._outstanding,), timeout=self._patience_s)
        return self._outstanding.result() if self._outstanding.done() else self.guard.stalled(cue)
