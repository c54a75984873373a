"""A clip that is being played: decoded a little ahead, in a thread of its own, so that no other work waits for it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

import cv2
import numpy as np

from avatar.clip_source import Shown, pictures_of, sound_of
from core.clips import Clip
from core.errors import BadRequest
from core.frames import MEDIA_RATE, PICTURE, Picture, Samples

PICTURES_AHEAD = 8
SOUND_AHEAD = 2 * MEDIA_RATE
"""Samples. Sound is decoded further ahead, so that its end is known before the pictures come there."""

logger = logging.getLogger(__name__)


class ClipPlayer:
    """Decodes one clip. Pictures and sound run on one clock: picture n belongs to sample n * PICTURE.

    `ready` is done when playing can begin, or holds the `BadRequest` (`bad_clip`) that says why it can't. Later a
    picture that can't be read is left out; a video or sound that breaks ends the clip. Any thread may call.
    """

    def __init__(self, clip: Clip, width: int, height: int) -> None:
        self.clip = clip
        self.ready: Future[None] = Future()
        self.ready.set_running_or_notify_cancel()  # who waits may give up; this thread's answer then goes nowhere
        self._size = (width, height)
        self._changed = threading.Condition()
        self._pictures: deque[tuple[int, Picture]] = deque()
        self._sound: deque[Samples] = deque()
        self._waiting = 0
        """Samples in `_sound`."""
        self._wanted = 0
        """The picture that is asked for; earlier ones need not be made."""
        self._no_more_pictures = self._no_more_sound = self._closed = False
        self._last = 0
        self._failed = 0
        """Pictures that could not be read."""
        self._period: int | None = None
        """Samples of the sound, once it has come to its end."""
        self._thread = threading.Thread(target=self._run, name="clip", daemon=True)
        self._thread.start()

    def picture(self, index: int) -> Picture | None:
        """Picture `index`, or the newest before it that is there. Not to be written to."""
        with self._changed:
            self._wanted = max(self._wanted, index)
            while len(self._pictures) > 1 and self._pictures[1][0] <= index:
                self._pictures.popleft()
            self._changed.notify()
            return self._pictures[0][1] if self._pictures else None

    def sound(self, count: int) -> Samples | None:
        """The next samples, fewer at the clip's end; None while they are not decoded. Silence when it has no sound."""
        with self._changed:
            if self._silent:
                return np.zeros(count, np.int16)
            if self._waiting < count and not self._no_more_sound:
                return None
            taken: list[Samples] = []
            while self._sound and count:
                piece = self._sound.popleft()
                taken.append(piece[:count])
                if len(piece) > count:
                    self._sound.appendleft(piece[count:])
                count -= len(taken[-1])
            samples = np.concatenate(taken) if taken else np.zeros(0, np.int16)
            self._waiting -= len(samples)
            self._changed.notify()
            return samples

    @property
    def sounds(self) -> bool:
        """Whether it has sound."""
        return not self._silent

    def ended(self, sample: int) -> bool:
        """Whether the clip is over at this sample of its clock."""
        with self._changed:
            if self._closed:
                return True
            if not self._silent:
                return self._no_more_sound and not self._sound
            return self._no_more_pictures and sample >= self._last * PICTURE

    def close(self) -> None:
        """End the thread; it takes as long as one picture. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self, timeout_s: float = 5.0) -> None:
        """Wait for the thread's end, after `close`."""
        self._thread.join(timeout_s)

    # -- in the thread

    def _run(self) -> None:
        try:
            sounds = self._sounds()
            pictures = self._numbered()
            self._take_sound(sounds)
            self._take_picture(pictures)
            self.ready.set_result(None)
            self._fill(pictures, sounds)
        except (BadRequest, OSError, MemoryError, cv2.error) as error:
            self._fail(error)
        except Exception as error:
            # a thread ends here; the avatar shows its presenter again
            logger.exception("clip %s broke", self.clip.title)
            self._fail(error)
        finally:
            self.close()

    def _fail(self, error: Exception) -> None:
        if self.ready.done():
            logger.warning("clip %s ends early: %s", self.clip.title, error)
            return
        told = f"{error}" if isinstance(error, BadRequest) else type(error).__name__
        self.ready.set_exception(BadRequest(f"clip {self.clip.title} can't be shown: {told}", code="bad_clip"))

    def _fill(self, pictures: Iterator[tuple[int, Shown]], sounds: Iterator[Samples]) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._wants_sound or self._wants_picture)
                if self._closed:
                    return
                sound = self._wants_sound
            if sound:
                self._take_sound(sounds)
            else:
                self._take_picture(pictures)

    @property
    def _silent(self) -> bool:
        return self._no_more_sound and self._period == 0

    @property
    def _wants_sound(self) -> bool:
        return not self._no_more_sound and self._waiting < SOUND_AHEAD

    @property
    def _wants_picture(self) -> bool:
        return not self._no_more_pictures and (len(self._pictures) < PICTURES_AHEAD or self._last <= self._wanted)

    @property
    def _loops(self) -> bool:
        return self._period == 0 if self.clip.loop is None else self.clip.loop

    def _take_sound(self, sounds: Iterator[Samples]) -> None:
        piece = next(sounds, None)
        with self._changed:
            if piece is None:
                self._no_more_sound = True
            else:
                self._sound.append(piece)
                self._waiting += len(piece)

    def _take_picture(self, pictures: Iterator[tuple[int, Shown]]) -> None:
        index, shown = next(pictures, (-1, None))
        picture = None
        if shown is not None and (index >= self._wanted or not self._pictures):
            picture = self._read(shown)
        with self._changed:
            if shown is None:
                self._no_more_pictures = True
                return
            self._last = index + 1
            if picture is not None:
                self._pictures.append((index, picture))

    def _read(self, shown: Shown) -> Picture:
        """The picture, or again the one before it when it can't be read. Raises what reading the first one raises."""
        try:
            return shown()
        except (BadRequest, MemoryError, cv2.error) as error:
            if not self._pictures:
                raise
            self._failed += 1
            if self._failed == 1:
                logger.warning("clip %s: the picture before is shown again: %s", self.clip.title, error)
            return self._pictures[-1][1]

    def _sounds(self) -> Iterator[Samples]:
        """The sound, once or for ever. Learns its length."""
        source = self.clip.sound or (self.clip.pictures if self.clip.pictures.is_file() else None)
        while True:
            pieces = sound_of(source) if source is not None else None
            if pieces is None and self.clip.sound is not None:
                raise BadRequest(f"{self.clip.sound.name} holds no sound")
            count = 0
            for piece in pieces or ():
                count += len(piece)
                yield piece
            self._period = count
            if not count or not self._loops:
                return

    def _numbered(self) -> Iterator[tuple[int, Shown]]:
        """The pictures with their numbers: again and again while there is sound, from the first when that starts."""
        number = turn = 0
        while True:
            empty = True
            for shown in pictures_of(self.clip.pictures, *self._size, self.clip.fit):
                empty = False
                if self._period and (now := number * PICTURE // self._period) > turn:
                    if not self._loops:
                        return
                    turn = now
                    break
                yield number, shown
                number += 1
            if empty:
                raise BadRequest(f"{self.clip.pictures.name} holds no pictures")
            if self._period == 0 and not self._loops:
                return
