"""The pictures and the sound of a clip's files, decoded piece by piece: nothing is held but what is being decoded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from avatar.audio_file import FORMATS
from avatar.resampler import mono_samples
from core.errors import BadRequest
from core.frames import FPS, MEDIA_RATE, Picture, Samples

_OPTIONS = {"format_whitelist": f"{FORMATS},avi,flv,gif,apng,mpeg,mpegvideo,ivf,h264,hevc"}
"""No playlists, which would open other files and addresses."""
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
_LARGEST = 8192
"""Pixels of a side."""
Fit = Literal["cover", "contain"]
Bgr = NDArray[np.uint8]
Shown = Callable[[], Picture]
"""Makes a picture: who is late leaves it."""


def pictures_of(path: Path, width: int, height: int, fit: Fit) -> Iterator[Shown]:
    """The pictures of a folder, a picture or a video, 25 a second, once. Raises `BadRequest`; a `Shown` raises it where
    its one picture can't be read."""
    if path.is_dir():
        files = sorted((file for file in path.iterdir() if file.suffix.lower() in _PICTURES), key=_number)
        if not files:
            raise BadRequest(f"{path.name}: the folder holds no pictures ({', '.join(sorted(_PICTURES))})")
        return (_of_file(file, width, height, fit) for file in files)
    if path.suffix.lower() in _PICTURES:
        return iter([_of_file(path, width, height, fit)])
    return _of_video(path, width, height, fit)


def sound_of(path: Path) -> Iterator[Samples] | None:
    """The sound of an audio or video file at `MEDIA_RATE`, mono, in pieces; None when it has none, as a picture."""
    if path.suffix.lower() in _PICTURES:
        return None
    try:
        container = av.open(str(path), container_options=_OPTIONS)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise _unreadable(path) from error
    if not container.streams.audio:
        container.close()
        return None
    return _samples(path, container)


def _samples(path: Path, container: av.container.InputContainer) -> Iterator[Samples]:
    with container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=MEDIA_RATE)
        try:
            for frame in container.decode(audio=0):
                yield from mono_samples(resampler.resample(frame))
            yield from mono_samples(resampler.resample(None))
        except (av.FFmpegError, ValueError) as error:
            raise _unreadable(path) from error


def _of_file(file: Path, width: int, height: int, fit: Fit) -> Shown:
    def shown() -> Picture:
        picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if picture is None:
            raise _unreadable(file)
        return fitted(np.asarray(picture, np.uint8), width, height, fit)

    return shown


def _of_video(path: Path, width: int, height: int, fit: Fit) -> Iterator[Shown]:
    try:
        with av.open(str(path), container_options=_OPTIONS) as container:
            if not container.streams.video:
                raise BadRequest(f"{path.name} holds no pictures")
            stream = container.streams.video[0]
            if max(stream.width, stream.height) > _LARGEST:
                raise BadRequest(f"{path.name} is larger than {_LARGEST} pixels")
            yield from _at_25_fps(container.decode(stream), width, height, fit)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise _unreadable(path) from error


def _at_25_fps(frames: Iterator[av.VideoFrame], width: int, height: int, fit: Fit) -> Iterator[Shown]:
    """Each instant shows the newest frame that has begun by then."""
    scaler = VideoReformatter()
    first: float | None = None
    current: av.VideoFrame | None = None
    count, until = 0, 0.0
    for frame in frames:
        time = frame.time if frame.time is not None else until
        first = time if first is None else first
        until = time + (float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 1 / FPS)
        while current is not None and count / FPS < time - first - 1e-6:
            yield _of_frame(current, scaler, width, height, fit)
            count += 1
        current = frame
    while current is not None and (count == 0 or count / FPS < until - (first or 0.0) - 1e-6):
        yield _of_frame(current, scaler, width, height, fit)
        count += 1


def _of_frame(frame: av.VideoFrame, scaler: VideoReformatter, width: int, height: int, fit: Fit) -> Shown:
    def shown() -> Picture:
        across, down = _scaled(frame.width, frame.height, width, height, fit)
        small = scaler.reformat(frame, across, down, format="bgr24", interpolation="AREA")
        return fitted(np.asarray(small.to_ndarray(), np.uint8), width, height, fit)

    return shown


def fitted(picture: Bgr, width: int, height: int, fit: Fit) -> Picture:
    """A BGR picture (h, w, 3) of any size as I420 of this size: cut off at its middle, or between black bars."""
    rows, columns = picture.shape[:2]
    if max(rows, columns) > _LARGEST:
        raise BadRequest(f"a picture of the clip is larger than {_LARGEST} pixels")
    across, down = _scaled(columns, rows, width, height, fit)
    if (across, down) != (columns, rows):
        smaller = across < columns
        picture = np.asarray(
            cv2.resize(picture, (across, down), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8
        )
    left, top = (across - width) // 2, (down - height) // 2
    picture = picture[max(0, top) : max(0, top) + height, max(0, left) : max(0, left) + width]
    if picture.shape[:2] != (height, width):
        bars: Any = np.zeros((height, width, 3), np.uint8)
        bars[max(0, -top) :, max(0, -left) :][: picture.shape[0], : picture.shape[1]] = picture
        picture = bars
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_BGR2YUV_I420), np.uint8)


def _scaled(columns: int, rows: int, width: int, height: int, fit: Fit) -> tuple[int, int]:
    """Size that keeps the proportions and covers, or fits into, width and height."""
    scales = (width / columns, height / rows)
    scale = max(scales) if fit == "cover" else min(scales)
    across, down = max(1, round(columns * scale)), max(1, round(rows * scale))
    if fit == "cover":
        return max(width, across), max(height, down)
    return min(width, across), min(height, down)


def _number(file: Path) -> tuple[list[tuple[int, str]], str]:
    """Sorts "2.png" before "10.png"."""
    parts = re.split(r"(\d+)", file.stem)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts], file.suffix


def _unreadable(path: Path) -> BadRequest:
    return BadRequest(f"{path.name} can't be read as pictures or sound")
