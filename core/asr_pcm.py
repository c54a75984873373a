"""The sound of one utterance as clients send it: bytes of any size and rate → samples at the listening rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.errors import BadRequest
from core.frames import LISTEN_RATE, Samples
from core.turn_room import TurnRoom

RATES = range(8000, 192_001)
_MAX_HEADER = 4096
_Floats = NDArray[np.float64]


class PcmIntake:
    """Takes s16le in pieces of any size; at most `max_s` seconds, more is ignored.

    `rate`: of the input, one of `RATES`. A WAV header at the beginning is taken off, and its word counts.
    """

    def __init__(self, rate: int, max_s: float) -> None:
        self._room = TurnRoom(max_s)
        self._head: bytes | None = b""
        self._rest = b""
        self._channels = 1
        self._resampler = Resampler(rate)
        self.count = 0
        """Samples given out so far."""

    @property
    def truncated(self) -> bool:
        """Whether something was ignored because there was more than `max_s`."""
        return self._room.truncated

    def take(self, data: bytes) -> Samples:
        """The samples that are now complete: int16 at `LISTEN_RATE`. Raises `BadRequest` for a WAV that isn't PCM."""
        data = self._without_header(data)
        whole = len(data) - len(data) % (2 * self._channels)
        data, self._rest = data[:whole], data[whole:]
        samples = self._resampler.take(np.frombuffer(data, "<i2")[:: self._channels])
        samples = self._room.take(samples)
        self.count += len(samples)
        return samples

    def _without_header(self, data: bytes) -> bytes:
        if self._head is None:
            return self._rest + data
        self._head += data
        data, chunk = self._head, self._head.find(b"data", 12, _MAX_HEADER)
        if b"RIFF".startswith(data[:4]):
            if len(data) < (chunk + 8 if chunk > 0 else _MAX_HEADER):
                return b""  # more of the header is to come
            if chunk > 0:
                self._read_header(data[:chunk])
                data = data[chunk + 8 :]
        self._head = None
        return data

    def _read_header(self, header: bytes) -> None:
        at = header.find(b"fmt ", 12) + 8
        if at < 8 or len(header) < at + 16:
            raise BadRequest("the WAV header is damaged", code="bad_audio")
        kind, channels, rate = (int.from_bytes(header[at + i : at + j], "little") for i, j in ((0, 2), (2, 4), (4, 8)))
        bits = int.from_bytes(header[at + 14 : at + 16], "little")
        if kind not in (1, 0xFFFE) or bits != 16 or not 1 <= channels <= 8 or rate not in RATES:
            raise BadRequest("only WAV files of 16-bit PCM are understood", code="bad_audio")
        self._channels, self._resampler = channels, Resampler(rate)


class Resampler:
    """Linear interpolation to `LISTEN_RATE`, after a moving average where the input is faster. Good enough for ASR."""

    def __init__(self, rate: int) -> None:
        self._step = rate / LISTEN_RATE
        self._width = max(1, round(self._step))
        self._before = np.zeros(self._width - 1)
        self._kept = np.zeros(0)
        self._next = 0.0
        """Position in `_kept` of the next sample to be given out."""

    def take(self, samples: Samples) -> Samples:
        """The next piece of the input, int16, shape (n,)."""
        if self._step == 1.0:
            return samples.astype(np.int16)
        source = np.concatenate([self._kept, self._smooth(samples.astype(np.float64))])
        count = max(0, int(np.ceil((len(source) - 1 - self._next) / self._step)))
        at = self._next + self._step * np.arange(count)
        index = at.astype(np.int64)
        part = at - index
        result = source[index] * (1 - part) + source[index + 1] * part if count else np.zeros(0)
        self._next += self._step * count
        dropped = min(int(self._next), len(source))
        self._kept, self._next = source[dropped:], self._next - dropped
        return np.rint(result).astype(np.int16)

    def _smooth(self, samples: _Floats) -> _Floats:
        if self._width == 1 or not len(samples):
            return samples
        joined = np.concatenate([self._before, samples])
        self._before = joined[len(joined) - self._width + 1 :]
        return np.convolve(joined, np.full(self._width, 1 / self._width), "valid")
