"""Any sound or video file as speech: mono int16 at `LISTEN_RATE`. Blocking; meant for a worker thread."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import av
import numpy as np

from core.errors import BadRequest
from core.frames import LISTEN_RATE, Samples
from core.readable import readable

_PIECE = LISTEN_RATE // 2


class SoundFile:
    """A file that PyAV (FFmpeg) reads. `duration` in seconds as its header says, None if it does not."""

    def __init__(self, path: Path) -> None:
        """Open it and find its sound. Raises `BadRequest` (`bad_audio`)."""
        if not path.exists():
            raise BadRequest(f"{path}: there is no such file", code="bad_audio")
        if not path.is_file():
            raise BadRequest(f"{path}: is no file", code="bad_audio")
        self._path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise BadRequest(f"{path}: {error.strerror}", code="bad_audio") from None
        try:
            self._container = av.open(self._file, mode="r")
        except (av.FFmpegError, ValueError):
            self._file.close()
            raise BadRequest(f"{path}: this is no sound or video file that FFmpeg knows", code="bad_audio") from None
        if not self._container.streams.audio:
            self.close()
            raise BadRequest(f"{path}: there is no sound in it", code="bad_audio")
        length = self._container.duration
        self.duration = length / av.time_base if length and length > 0 else None

    def pieces(self) -> Generator[Samples]:
        """Its sound in order, half a second at a time, shape (n,).

        A damaged end of a file that began well is left out. Raises `BadRequest` when nothing could be decoded.
        """
        resampler = av.AudioResampler(format="s16", layout="mono", rate=LISTEN_RATE)
        pending: list[Samples] = []
        for frame in self._frames():
            pending += _samples(resampler.resample(frame))
            if sum(map(len, pending)) >= _PIECE:
                yield np.concatenate(pending)
                pending = []
        pending += _samples(resampler.resample(None))
        if pending:
            yield np.concatenate(pending)

    def close(self) -> None:
        """Free the file. Idempotent."""
        self._container.close()
        self._file.close()

    def _frames(self) -> Iterator[av.AudioFrame]:
        try:
            yield from readable(self._container.decode(audio=0), (av.FFmpegError, ValueError))
        except (av.FFmpegError, ValueError):
            raise BadRequest(f"{self._path}: its sound can't be decoded", code="bad_audio") from None


def _samples(frames: list[av.AudioFrame]) -> list[Samples]:
    return [frame.to_ndarray().reshape(-1).astype(np.int16, copy=False) for frame in frames]
