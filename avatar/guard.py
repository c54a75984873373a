"""The frame guard: every picture and every piece of sound passes here before it reaches FFmpeg.

What is already right passes without being copied. What is not is made right if that is possible, and refused
otherwise; a stream of pictures never ends because one of them was bad.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import FaceError
from core.frames import MEDIA_RATE, FaceCue, Picture, Samples
from core.stages import FaceStream

LARGEST = 1920
"""Pixels: longer sides are scaled down."""
SMALLEST = 16
"""Pixels: shorter sides are refused."""
_BLACK, _GREY = 16, 128
_OVERSHOOT = 2.0
"""Floats above this can't be meant as 0..1, not even with an interpolation's overshoot."""

Array = NDArray[Any]
Resize = Callable[..., Any]

logger = logging.getLogger(__name__)


class FrameGuard:
    """Draws the pictures of one session and makes them fit for the encoder. Used by one thread at a time.

    `width`, `height`: the size that the face was opened with; `columns`: 2 where its pictures are colour and matte side
    by side; `largest`: longest side (of one column) that is sent; `resize`: as `cv2.resize`. Accepted are I420
    (`core.frames.Picture`), grey (h, w) or (h, w, 1), BGR (h, w, 3) and BGRA (h, w, 4, without its alpha), of any real
    dtype and memory layout: floats 0..1 or 0..255, uint16 full scale.
    """

    def __init__(
        self, width: int, height: int, *, columns: int = 1, largest: int = LARGEST, resize: Resize = cv2.resize
    ) -> None:
        self._aspect = width * columns / height
        self._size = (width * columns, height)
        self._columns = columns
        self._largest = largest
        self._resize = resize
        self._last: Picture | None = None
        self._bytes_in_floats = False
        self._shares = False
        """The face hands out memory that it uses again."""
        self.repaired = 0
        """Pictures that were not as the contract wants them and had to be converted."""
        self.halved = 0
        """Pictures that memory only sufficed for at half their size."""
        self.failed = 0
        """Pictures that could not be drawn or used: the last good one was shown again."""

    def draw(self, face: FaceStream, cue: FaceCue) -> av.VideoFrame:
        """The picture for `cue`, or the last good one again. Never raises for what a face does."""
        try:
            self._last = self._checked(face.draw(cue))
        except Exception as error:  # noqa: BLE001 - a face is anybody's code, and must not end the session's video
            self._count_failure(cue, error)
        return self.again()

    def again(self) -> av.VideoFrame:
        """The last good picture; a black one when there was none."""
        if self._last is None:
            self._last = _black(*self._size)
        if self._last.shape[0] % 6:
            # PyAV takes the planes of such a picture from the wrong places unless it copies them
            return av.VideoFrame.from_ndarray(self._last, format="yuv420p")
        return av.VideoFrame.from_numpy_buffer(self._last, format="yuv420p")

    def count_on(self, earlier: FrameGuard) -> None:
        """Take over the figures of a guard that this one replaces."""
        self.repaired += earlier.repaired
        self.halved += earlier.halved
        self.failed += earlier.failed

    def stalled(self, cue: FaceCue) -> av.VideoFrame:
        """The last good picture, because the one for `cue` does not come."""
        self._count_failure(cue, TimeoutError("it takes too long"))
        return self.again()

    def _count_failure(self, cue: FaceCue, error: Exception) -> None:
        self.failed += 1
        if self.failed & (self.failed - 1) == 0:  # 1, 2, 4, 8 …: a face that is broken for good does not fill the log
            known = isinstance(error, (FaceError, MemoryError, TimeoutError, cv2.error))
            logger.warning(
                "picture at %.2f s could not be drawn (%d so far): %r",
                cue.time, self.failed, error, exc_info=None if known else error,
            )  # fmt: skip

    def _checked(self, source: object) -> Picture:
        """A picture of our own that PyAV can show. Raises `FaceError`, `MemoryError`, `cv2.error`."""
        if self._is_right(source):
            assert isinstance(source, np.ndarray)
            if self._last is not None and not self._shares and np.may_share_memory(source, self._last):
                self._shares = True
                logger.warning("the face draws into memory that it gave away: its pictures are copied from now on")
            return source.copy() if self._shares else source
        if not isinstance(source, np.ndarray):
            raise FaceError(f"a picture must be a numpy array, not {type(source).__name__}", code="bad_picture")
        if self.repaired == 0:
            logger.warning("the face gives %s pictures of shape %s: each is converted", source.dtype, source.shape)
        self.repaired += 1
        try:
            return self._converted(source)
        except (MemoryError, cv2.error) as error:
            if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
                raise
        picture = self._converted(self._half(source))
        self.halved += 1
        return picture

    def _is_right(self, source: object) -> bool:
        return (
            isinstance(source, np.ndarray)
            and source.ndim == 2
            and source.dtype == np.uint8
            and source.base is None
            and source.flags.c_contiguous
            and source.shape[0] % 3 == 0
            and source.shape[1] % 2 == 0
            and SMALLEST <= source.shape[1] <= self._largest * self._columns
            and SMALLEST <= source.shape[0] // 3 * 2 <= self._largest
            and self._is_i420(source)
        )

    def _is_i420(self, source: Array) -> bool:
        """Whether a 2-D array is rather an I420 picture or a grey one: by the proportions that were asked for."""
        rows, columns = source.shape
        if rows % 3 or columns % 2:
            return False
        off, off_if_grey = (abs(math.log(columns / h / self._aspect)) for h in (rows * 2 / 3, rows))
        return off <= off_if_grey

    def _half(self, source: Array) -> Array:
        """Every second pixel: needs almost no memory."""
        if source.ndim != 2 or not self._is_i420(source):
            return source[::2, ::2]
        width, height = source.shape[1] // 4 * 2, source.shape[0] // 6 * 2
        half = np.empty((height * 3 // 2, width), source.dtype)
        for target, plane in zip(_planes(half), _planes(np.ascontiguousarray(source)), strict=True):
            target[:] = plane[::2, ::2][: target.shape[0], : target.shape[1]]
        return half

    def _converted(self, source: Array) -> Picture:
        if source.dtype.kind not in "buif":
            raise FaceError(f"a picture can't be of {source.dtype}", code="bad_picture")
        if source.ndim == 2 and self._is_i420(source):
            return self._shrunk_planes(np.ascontiguousarray(self._bytes(source)))
        if source.ndim == 3 and source.shape[2] == 1:
            source = source[:, :, 0]
        if source.ndim != 2 and (source.ndim != 3 or source.shape[2] not in (3, 4)):
            raise FaceError(
                f"a picture can't have the shape {source.shape}: (height * 3 // 2, width) for I420, (height, width), "
                "(height, width, 3) or (height, width, 4)",
                code="bad_picture",
            )
        return _to_i420(self._shrunk(source))

    def _shrunk(self, source: Array) -> NDArray[np.uint8]:
        """Bytes of even size, no side above the largest. Large ones are made small first: less to convert."""
        height, width = source.shape[:2]
        _check_size(width, height)
        target = self._fitting(width, height)
        if source.dtype not in (np.uint8, np.float32, np.float64):
            source = self._bytes(source)
        if max(width - target[0], height - target[1]) > 3:
            source = np.asarray(self._resize(np.ascontiguousarray(source), target, interpolation=cv2.INTER_AREA))
        return np.ascontiguousarray(self._bytes(source)[: target[1], : target[0]])

    def _shrunk_planes(self, source: Picture) -> Picture:
        height, width = source.shape[0] // 3 * 2, source.shape[1]
        _check_size(width, height)
        target = self._fitting(width, height)
        if target == (width, height):
            return source.copy() if source.base is not None or self._shares else source
        out = np.empty((target[1] * 3 // 2, target[0]), np.uint8)
        for plane, place in zip(_planes(source), _planes(out), strict=True):
            place[:] = self._resize(plane, place.shape[::-1], interpolation=cv2.INTER_AREA)
        return out

    def _fitting(self, width: int, height: int) -> tuple[int, int]:
        """Even width (of each column) and height, with the same proportions and no side above the largest."""
        scale = min(1.0, self._largest * self._columns / width, self._largest / height)
        step = 2 * self._columns
        return max(step, int(width * scale) // step * step), max(2, int(height * scale) // 2 * 2)

    def _bytes(self, source: Array) -> NDArray[np.uint8]:
        """Any real dtype as 0..255."""
        if source.dtype == np.uint8:
            return source
        if source.dtype == np.bool_:
            return np.where(source, np.uint8(255), np.uint8(0))
        if source.dtype == np.uint16:
            return (source >> 8).astype(np.uint8)
        if source.dtype.kind != "f":
            return np.clip(source, 0, 255).astype(np.uint8)
        finite = np.nan_to_num(source.astype(np.float32, copy=False), nan=0.0, posinf=0.0, neginf=0.0)
        # remembered, because a black picture in 0..255 looks like one in 0..1
        self._bytes_in_floats = self._bytes_in_floats or bool(finite.size and finite.max() > _OVERSHOOT)
        scale = 1.0 if self._bytes_in_floats else 255.0
        return np.asarray(np.clip(np.rint(finite * scale), 0, 255), np.uint8)


def audio_frame(samples: Samples, position: int, rate: int = MEDIA_RATE) -> av.AudioFrame:
    """A mono s16 frame with its own copy of `samples`, shape (n,), at `position` (samples since the start).

    Raises `ValueError` for anything but one-dimensional int16.
    """
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"sound must be int16 of shape (n,), not {samples.dtype} of shape {samples.shape}")
    # from_ndarray copies: no thread of an encoder or resampler shares memory with us, and none of our buffers is held
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None, :], format="s16", layout="mono")
    frame.sample_rate = rate
    frame.pts = position
    frame.time_base = Fraction(1, rate)
    return frame


def owned_samples(sound: object) -> Samples:
    """Sound of a voice as int16 of shape (n,), in memory of its own.

    Taken are int16, floats from -1 to 1, int32 full scale and unsigned bytes (128 is silence); channels, up to eight
    of them as (n, channels) or (channels, n), are averaged. Raises `ValueError` for anything else.
    """
    samples = np.asarray(sound)
    if samples.ndim == 2 and min(samples.shape) <= 8:
        samples = samples.mean(axis=int(np.argmin(samples.shape)), dtype=np.float64).astype(samples.dtype)
    if samples.ndim != 1:
        raise ValueError(f"sound can't have the shape {samples.shape}")
    match samples.dtype.kind, samples.dtype.itemsize:
        case "i", 2:
            return samples.astype(np.int16, order="C", copy=True)
        case "i", 4:
            return (samples >> 16).astype(np.int16)
        case "u", 1:
            return (samples.astype(np.int16) - 128) * np.int16(256)
        case "f", _:
            finite = np.nan_to_num(samples.astype(np.float32, copy=False), nan=0.0, posinf=1.0, neginf=-1.0)
            if finite.size and np.abs(finite).max() > _OVERSHOOT:
                raise ValueError("sound in floats must be from -1 to 1")
            return (np.clip(finite, -1, 1) * 32767).astype(np.int16)
    raise ValueError(f"sound can't be of {samples.dtype}")


def _check_size(width: int, height: int) -> None:
    if min(width, height) < SMALLEST:
        raise FaceError(f"a picture of {width}x{height} is too small", code="bad_picture")


def _planes(picture: Array) -> tuple[Array, Array, Array]:
    """Y (height, width), U and V (height / 2, width / 2) of a C-contiguous I420 picture, without copying."""
    height, width = picture.shape[0] // 3 * 2, picture.shape[1]
    flat, luma, chroma = picture.reshape(-1), height * width, height * width // 4
    half = (height // 2, width // 2)
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(half),
        flat[luma + chroma : luma + 2 * chroma].reshape(half),
    )


def _to_i420(picture: NDArray[np.uint8]) -> Picture:
    if picture.ndim == 2:
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)
    code = cv2.COLOR_BGRA2YUV_I420 if picture.shape[2] == 4 else cv2.COLOR_BGR2YUV_I420
    return np.asarray(cv2.cvtColor(picture, code), np.uint8)


def _black(width: int, height: int) -> Picture:
    black = np.full((height * 3 // 2, width), _GREY, np.uint8)
    black[:height] = _BLACK
    return black
