"""The two tracks that a browser receives. Both pull from the stage and wait on the same media clock."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, Packet, VideoFrame

from avatar.encoders import VoiceEncoder
from avatar.guard import audio_frame
from avatar.painter import Painter, Undrawn
from avatar.stage import SpeechStage
from core.clock import MediaClock
from core.frames import AUDIO_FRAME, FPS, PICTURE

VIDEO_CLOCK = 90_000
_VIDEO_TIME_BASE = Fraction(1, VIDEO_CLOCK)


class VoiceTrack(MediaStreamTrack):
    """The avatar's voice: 20 ms of mono 48 kHz PCM per `recv`, or the same as a packet once there is an `encoder`."""

    kind = "audio"

    def __init__(self, stage: SpeechStage, clock: MediaClock) -> None:
        super().__init__()
        self._stage = stage
        self._clock = clock
        self._begin: Callable[[], int] = lambda: 0
        self._position: int | None = None
        self.encoder: VoiceEncoder | None = None
        """Set once Opus is agreed on. Encoding here costs less than handing each frame to a thread and back."""

    def begin(self, where: Callable[[], int]) -> None:
        """Asked with the first `recv` where on the stage's media clock it is (0 without this)."""
        self._begin = where

    @property
    def pulls(self) -> bool:
        """Whether it was asked for sound, and will be."""
        return self._position is not None and self.readyState == "live"

    async def recv(self) -> AudioFrame | Packet[Any]:
        """The next 20 ms, when due."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._position is None:
            self._position = 0  # it pulls from here on
            self._position = self._begin()
        await self._clock.wait_until(self._position)
        if self.readyState != "live":
            raise MediaStreamError  # stopped meanwhile: the stage is somebody else's
        position, self._position = self._position, self._position + AUDIO_FRAME
        samples = self._stage.read(position)
        return audio_frame(samples, position) if self.encoder is None else self.encoder.packet(samples, position)


class FaceTrack(MediaStreamTrack):
    """The avatar's face: one I420 picture per `recv`, 25 per second.

    A picture that is late by more than its own length is skipped and counted; the next one is on time.
    A picture that can't be drawn, or takes too long, repeats the last one: the stream never stops.
    """

    kind = "video"

    def __init__(self, stage: SpeechStage, painter: Painter, clock: MediaClock) -> None:
        super().__init__()
        self._stage = stage
        self._painter = painter
        self._clock = clock
        self._begin: Callable[[], int] = lambda: 0
        self._begun = False
        self._index = 0
        self.encoder_draws = False
        """Whether each picture is given undrawn (`Undrawn`), which only our own encoder understands."""
        self.sent = 0
        """Pictures handed to the encoder."""
        self.skipped = 0
        """Pictures left out because they would have been late."""

    def let_draw(self) -> None:
        """The encoder draws, if the face is quick enough for that."""
        self.encoder_draws = self._painter.quick

    def begin(self, where: Callable[[], int]) -> None:
        """Asked with the first `recv` where on the stage's media clock it is, a whole picture (0 without this)."""
        self._begin = where

    async def recv(self) -> VideoFrame | Undrawn:
        """The next picture, when due."""
        if self.readyState != "live":
            raise MediaStreamError
        if not self._begun:
            self._begun = True
            self._index = self._begin() // PICTURE
        late = await self._clock.wait_until(self._index * PICTURE)
        missed = int(late * FPS)
        self.skipped += missed
        self._index += missed
        cue = self._stage.cue(self._index / FPS)
        frame = self._painter.undrawn(cue) if self.encoder_draws else await self._painter.paint(cue)
        frame.pts = self._index * VIDEO_CLOCK // FPS
        frame.time_base = _VIDEO_TIME_BASE
        self._index += 1
        self.sent += 1
        return frame
