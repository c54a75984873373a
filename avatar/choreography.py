"""Shows a clip instead of the presenter, and lets both fade into each other.

It stands between the painter and the face, and beside the stage: the face's pictures pass through it, and the stage
asks it for sound while nobody speaks. A clip's clock runs only then, counted in the samples that the stage was given,
so its pictures and its sound can't drift apart; speech stops it, and it goes on after.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from avatar.clip import ClipPlayer
from avatar.speech import added
from core.clips import FIRST_CUSTOM, Clip
from core.errors import BadRequest
from core.frames import AUDIO_FRAME, MEDIA_RATE, PICTURE, FaceCue, Picture, Samples
from core.stages import FaceStream

FADE_S = 0.24
"""Seconds in which a clip and the presenter fade into each other."""
PATIENCE_S = 10.0
"""Files that take longer to open are given up."""
MOST_LAYERS = 3
"""Clips that are on their way in or out at once; with more, the oldest is cut off."""
_WHITE, _GREY = 235, 128

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Run:
    """A stretch of media time in which a clip's clock runs: sample `offset` of the clip is at `start`."""

    start: int
    offset: int
    stop: int | None = None

    def sample(self, position: int) -> int:
        """The clip's sample at a place on the media clock; outside the stretch the nearest one."""
        end = position if self.stop is None else min(position, self.stop)
        return self.offset + max(0, end - self.start)


class _Layer:
    """One clip on the screen. `run` is replaced by the event loop and read by the drawing thread."""

    def __init__(self, player: ClipPlayer) -> None:
        self.player = player
        self.run: _Run | None = None
        self.leaving = False
        self.over = False
        self.weight = 0.0
        """How much of it is seen, 0..1; the drawing thread's."""

    def visible(self, position: int) -> bool:
        run = self.run
        return run is not None and (run.stop is None or position < run.stop)

    def picture(self, position: int) -> Picture | None:
        run = self.run
        return self.player.picture(run.sample(position) // PICTURE) if run is not None else None

    def sound(self, position: int, free: bool) -> Samples | None:
        """The clip's sound for one packet, fading at the ends of a run; None when it is not playing."""
        running = self.run is not None and self.run.stop is None
        goes_on = free and not self.leaving
        if not running and not goes_on:
            self.over = self.over or self.leaving
            return None
        run = self.run if running and self.run is not None else _Run(position, self._offset(position))
        samples = self.player.sound(AUDIO_FRAME)
        passed = 0 if samples is None else AUDIO_FRAME
        self.over = self.player.ended(run.sample(position + passed)) or self.leaving
        if self.over or not goes_on:
            run = replace(run, stop=position + passed)
        elif samples is None:  # not decoded yet: its clock waits, and the pictures with it
            run = _Run(position + AUDIO_FRAME, run.sample(position))
        self.run = run
        return None if samples is None else _enveloped(samples, rising=not running, falling=not goes_on)

    def _offset(self, position: int) -> int:
        return self.run.sample(position) if self.run is not None else 0


class Choreography:
    """The clips of one session. `width`, `height`: as its faces are opened with. Everything on the event loop."""

    def __init__(self, width: int, height: int, clips: Iterable[Clip] = (), *, patience_s: float = PATIENCE_S) -> None:
        self._size = (width, height)
        self._clips = {clip.audiotype: clip for clip in clips}
        self._asked: dict[int, Clip] = {}
        self._layers: tuple[_Layer, ...] = ()
        self._lock = threading.Lock()
        self._choosing = asyncio.Lock()
        self._wish = 0
        self._time: float | None = None
        self._closed = False
        self._patience_s = patience_s

    def stock(self, clips: Iterable[Clip]) -> None:
        """Clips of the client, before those of the settings with the same audiotype; they replace its earlier ones."""
        if asked := {clip.audiotype: clip for clip in clips}:
            self._asked = asked

    @property
    def playing(self) -> str:
        """The title of the clip that is shown; "" for the presenter."""
        shown = [layer for layer in self._layers if not layer.leaving and not layer.over]
        return shown[-1].player.clip.title if shown else ""

    async def perform(self, audiotype: int) -> bool:
        """Show this clip, or the presenter (0, 1). False when there is no such clip; nothing changes then.

        Raises `BadRequest` when its files can't be read; what is shown goes on.
        """
        if audiotype < FIRST_CUSTOM:
            self._wish += 1
            self._leave()
            return True
        clip = self._asked.get(audiotype) or self._clips.get(audiotype)
        if clip is None:
            logger.info("audiotype %d: no such clip", audiotype)
            return False
        self._wish += 1
        wish = self._wish
        async with self._choosing:
            if wish != self._wish:
                return True  # somebody wants something else by now
            player = ClipPlayer(clip, *self._size)
            try:
                async with asyncio.timeout(self._patience_s):
                    await asyncio.wrap_future(player.ready)
            except TimeoutError:
                player.close()
                raise BadRequest(f"clip {clip.title} takes too long to open", code="bad_clip") from None
            except BaseException:
                player.close()
                raise
            if wish == self._wish and not self._closed:
                self._show(player)
            else:
                player.close()
        return True

    @property
    def active(self) -> bool:
        """See `avatar.stage.Backing`."""
        return any(not layer.over and layer.player.sounds for layer in self._layers)

    def sound(self, position: int, free: bool) -> Samples | None:
        """See `avatar.stage.Backing`."""
        mixed: Samples | None = None
        for layer in self._layers:
            if not layer.over and (samples := layer.sound(position, free)) is not None:
                mixed = samples if mixed is None else added(mixed, samples)
        return mixed

    def over(self, face: FaceStream, *, matte: bool = False) -> FaceStream:
        """The face with the clips before it. `matte`: its pictures are twice as wide (`core.frames.FaceChoice`)."""
        return _Screen(self, face, matte)

    def layers(self, time: float) -> tuple[_Layer, ...]:
        """The clips with their weights at media time `time`, bottom first; those that are over and gone are let go.

        Called in a drawing thread.
        """
        with self._lock:
            layers, gone = self._layers, self._faded(time)
            self._layers = tuple(layer for layer in layers if layer not in gone)
        for layer in gone:
            layer.player.close()
        return self._layers

    def close(self) -> None:
        """Free everything. Idempotent."""
        self._closed = True
        with self._lock:
            layers, self._layers = self._layers, ()
        for layer in layers:
            layer.player.close()

    # -- inside

    def _show(self, player: ClipPlayer) -> None:
        self._leave()
        with self._lock:
            cut, self._layers = self._layers[: 1 - MOST_LAYERS], (*self._layers[1 - MOST_LAYERS :], _Layer(player))
        for layer in cut:
            layer.player.close()

    def _leave(self) -> None:
        for layer in self._layers:
            layer.leaving = True

    def _faded(self, time: float) -> list[_Layer]:
        step = 0.0 if self._time is None else max(0.0, time - self._time) / FADE_S
        self._time = time
        position = round(time * MEDIA_RATE)
        covered = incoming = False
        gone = []
        for layer in reversed(self._layers):
            if layer.visible(position):
                layer.weight = min(1.0, layer.weight + step)
                incoming = True
            elif not incoming:  # beneath one that comes it waits, or the presenter would shine through both
                layer.weight = max(0.0, layer.weight - step)
            if layer.over and not layer.visible(position) and (covered or layer.weight == 0):
                gone.append(layer)
            covered = covered or layer.weight >= 1
        return gone


class _Screen:
    """A face with the clips before it: a `FaceStream`."""

    def __init__(self, choreography: Choreography, face: FaceStream, matte: bool) -> None:
        self._choreography = choreography
        self._face = face
        self._matte = matte
        self._given: Picture | None = None
        self.quick = bool(getattr(face, "quick", False))
        """A clip's pictures are decoded ahead: they take no longer than the face's."""

    def draw(self, cue: FaceCue) -> Picture:
        """The face, the clip, or both on the way from one to the other. Raises what the face raises."""
        position = round(cue.time * MEDIA_RATE)
        picture, above = self._ground(self._choreography.layers(cue.time), position)
        if picture is None:
            picture = self._face.draw(cue)
        for layer in above:
            picture = self._over(picture, layer, position)
        return picture

    def _ground(self, layers: Sequence[_Layer], position: int) -> tuple[Picture | None, Sequence[_Layer]]:
        """The topmost clip that hides everything beneath it, if there is one, and the layers above it."""
        for number in reversed(range(len(layers))):
            picture = layers[number].picture(position) if layers[number].weight >= 1 else None
            if picture is not None:
                picture = _with_matte(picture) if self._matte else picture
                if picture is self._given:  # what was given is the encoder's
                    picture = picture.copy()
                self._given = picture
                return picture, layers[number + 1 :]
        return None, layers

    def _over(self, below: Picture, layer: _Layer, position: int) -> Picture:
        above = layer.picture(position)
        if above is None or layer.weight == 0:
            return below
        above = _with_matte(above) if self._matte else above
        if above.shape != below.shape:
            return below
        share = layer.weight * layer.weight * (3 - 2 * layer.weight)
        return np.asarray(cv2.addWeighted(above, share, below, 1 - share, 0), np.uint8)


def _enveloped(samples: Samples, *, rising: bool, falling: bool) -> Samples:
    """One packet, filled up with silence; faded where its run begins or ends, so that it does not click."""
    packet = np.zeros(AUDIO_FRAME, np.int16)
    packet[: len(samples)] = samples
    ramp = np.linspace(0.0, 1.0, AUDIO_FRAME, dtype=np.float32)
    if rising:
        packet = (packet * ramp).astype(np.int16)
    return (packet * ramp[::-1]).astype(np.int16) if falling else packet


def _with_matte(picture: Picture) -> Picture:
    """A picture with a matte as `core.frames.FaceChoice` wants it: it hides everything behind it."""
    rows, width = picture.shape
    height = rows // 3 * 2
    wide = np.full((rows, 2 * width), _GREY, np.uint8)
    wide[:height, :width] = picture[:height]
    wide[:height, width:] = _WHITE
    chroma = picture[height:].reshape(2, height // 2, width // 2)
    wide[height:].reshape(2, height // 2, width)[:, :, : width // 2] = chroma
    return wide
