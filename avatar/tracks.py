"""The two tracks that a browser receives. Both pull from the stage and wait on the same media clock."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor
from fractions import Fraction

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame

from avatar.stage import FPS, PICTURE, SpeechStage
from core.clock import MediaClock
from core.errors import FaceError
from core.frames import AUDIO_FRAME, MEDIA_RATE, FaceCue, Picture
from core.stages import FaceStream

VIDEO_CLOCK = 90_000
_AUDIO_TIME_BASE = Fraction(1, MEDIA_RATE)
_VIDEO_TIME_BASE = Fraction(1, VIDEO_CLOCK)

logger = logging.getLogger(__name__)


class VoiceTrack(MediaStreamTrack):
    """The avatar's voice: 20 ms of mono 48 kHz PCM per `recv`."""

    kind = "audio"

    def __init__(self, stage: SpeechStage, clock: MediaClock) -> None:
        super().__init__()
        self._stage = stage
        self._clock = clock
        self._position = 0

    def begin(self, position: int) -> None:
        """Where on the stage's media clock the first `recv` is (0 without this)."""
        self._position = position

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when due."""
        if self.readyState != "live":
            raise MediaStreamError
        await self._clock.wait_until(self._position)
        # from_ndarray copies: the encoder's thread never shares memory with the stage
        frame = AudioFrame.from_ndarray(self._stage.read(self._position)[None, :], format="s16", layout="mono")
        frame.sample_rate = MEDIA_RATE
        frame.pts = self._position
        frame.time_base = _AUDIO_TIME_BASE
        self._position += AUDIO_FRAME
        return frame


class FaceTrack(MediaStreamTrack):
    """The avatar's face: one I420 picture per `recv`, 25 per second.

    A picture that is late by more than its own length is skipped and counted; the next one is on time.
    A picture that can't be drawn repeats the last one: the stream never stops.
    """

    kind = "video"

    def __init__(self, stage: SpeechStage, face: FaceStream, clock: MediaClock, executor: Executor) -> None:
        super().__init__()
        self._stage = stage
        self._face = face
        self._clock = clock
        self._executor = executor
        self._index = 0
        self._last: Picture | None = None
        self.sent = 0
        """Pictures handed to the encoder."""
        self.skipped = 0
        """Pictures left out because they would have been late."""
        self.failed = 0
        """Pictures that could not be drawn."""

    def begin(self, position: int) -> None:
        """Where on the stage's media clock the first `recv` is, a whole picture (0 without this)."""
        self._index = position // PICTURE

    async def recv(self) -> VideoFrame:
        """The next picture, when due."""
        if self.readyState != "live":
            raise MediaStreamError
        late = await self._clock.wait_until(self._index * PICTURE)
        missed = int(late * FPS)
        self.skipped += missed
        self._index += missed
        frame = await self._draw()
        frame.pts = self._index * VIDEO_CLOCK // FPS
        frame.time_base = _VIDEO_TIME_BASE
        self._index += 1
        self.sent += 1
        return frame

    async def _draw(self) -> VideoFrame:
        cue = self._stage.cue(self._index / FPS)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._frame, cue)

    def _frame(self, cue: FaceCue) -> VideoFrame:
        """In the drawing thread. The frame shows the face's array without copying it: each picture is a new one."""
        try:
            self._last = self._face.draw(cue)
        except (FaceError, MemoryError) as error:
            self.failed += 1
            logger.warning("picture at %.2f s could not be drawn: %r", cue.time, error)
            if self._last is None:
                raise MediaStreamError from error
        return VideoFrame.from_numpy_buffer(self._last, format="yuv420p")
