"""One Opus packet after the other: how long it is, to PCM, from PCM. RFC 6716.

A decoder or encoder is the state of one direction of one session. A call takes a fraction of a millisecond, so it is
made where the packet is, on the event loop too. Not for several threads at a time.
"""

from __future__ import annotations

import ctypes

import numpy as np

from avatar.opus.library import load_opus
from core.frames import Pcm, Samples

RATES = (8000, 12000, 16000, 24000, 48000)
"""Samples per second to which a decoder can decode any packet, and from which an encoder encodes."""
FRAME_MS = (20, 40, 60)
"""Lengths of the packets that we send."""
LONGEST_MS = 120
"""Of any packet (RFC 6716, 3.2.5)."""

_TICKS_PER_MS = 48
_TICK_RATE = 48_000
_SILK_TICKS = (480, 960, 1920, 2880)
_HYBRID_TICKS = (480, 960)
_CELT_TICKS = (120, 240, 480, 960)
_CONCEALED_MS = 200
"""So much is made up in a row; libopus has faded to silence by then."""
_LARGEST_PACKET = 4000
"""Bytes of room for an encoded packet, as libopus advises."""


class PacketError(ValueError):
    """The bytes are no Opus packet that can be used. The message names the fault."""


def ticks(packet: bytes) -> int:
    """Length of a packet in samples at 48 kHz, from its first byte (RFC 6716, 3.1) and, for code 3, its second.

    Raises `PacketError` for no bytes, no frames, or more than 120 ms.
    """
    if not packet:
        raise PacketError("an empty packet")
    config = packet[0] >> 3
    if config < 12:
        frame = _SILK_TICKS[config & 3]
    elif config < 16:
        frame = _HYBRID_TICKS[config & 1]
    else:
        frame = _CELT_TICKS[config & 3]
    code = packet[0] & 3
    if code == 3:
        if len(packet) < 2:
            raise PacketError("a packet of code 3 without its count of frames")
        count = packet[1] & 0x3F
    else:
        count = 1 if code == 0 else 2
    if not 0 < count * frame <= LONGEST_MS * _TICKS_PER_MS:
        raise PacketError(f"{count} frames of {frame / _TICKS_PER_MS:g} ms in a packet")
    return count * frame


def seconds(packet: bytes) -> float:
    """Length of a packet. Raises `PacketError`."""
    return ticks(packet) / _TICK_RATE


class PacketDecoder:
    """Packets of one stream, of any lengths, to mono PCM at `rate` (one of `RATES`).

    Raises `AdapterError` where there is no libopus, `ValueError` for another rate.
    """

    def __init__(self, rate: int) -> None:
        if rate not in RATES:
            raise ValueError(f"rate must be one of {RATES}")
        opus = load_opus()
        self.rate = rate
        self._decode = opus.api.decoder.libopus_decode
        self._decoder = opus.Decoder(rate, 1)
        # opuslib's own call copies sample by sample, which takes longer than decoding them
        self._room = np.empty(LONGEST_MS * rate // 1000, np.int16)
        self._at = self._room.ctypes.data_as(opus.api.c_int16_pointer)
        self._last_ticks = 0
        self._concealed_ticks = 0

    def decode(self, packet: bytes) -> Pcm:
        """The sound of the next packet. Raises `PacketError`; the stream then goes on: `conceal`, or the next one."""
        length = ticks(packet)
        samples = self._call(packet, len(self._room))
        self._last_ticks, self._concealed_ticks = length, 0
        return samples

    def conceal(self, packet: bytes = b"") -> Pcm:
        """Sound in place of a packet that is missing, or came as `packet` and can't be decoded; made up from what
        was before.

        As long as `packet` says, else as the one before. No samples at the beginning, and after 200 ms in a row.
        """
        try:
            length = ticks(packet)
        except PacketError:
            length = self._last_ticks
        room = _CONCEALED_MS * _TICKS_PER_MS - self._concealed_ticks
        length = min(length, room // 120 * 120)  # libopus wants multiples of 2.5 ms
        if not self._last_ticks or length <= 0:
            return Pcm(np.zeros(0, np.int16), self.rate)
        self._concealed_ticks += length
        return self._call(None, length * self.rate // _TICK_RATE)

    def _call(self, packet: bytes | None, room: int) -> Pcm:
        count = self._decode(self._decoder.decoder_state, packet, len(packet or b""), self._at, room, 0)
        if count < 0:
            raise PacketError(f"libopus refuses a packet (code {count})")
        return Pcm(self._room[:count].copy(), self.rate)


class BlockEncoder:
    """Blocks of `size` samples of mono PCM at `rate` (one of `RATES`), each to a packet.

    `size`: a length that Opus has (2.5, 5, 10, 20, 40 or 60 ms); `application`: "voip", "audio" or
    "restricted_lowdelay"; `bits`: per second, of a variable rate, and `complexity` 0..10: libopus's own choice if None.
    Raises `AdapterError` where there is no libopus.
    """

    def __init__(
        self, rate: int, size: int, application: str, *, bits: int | None = None, complexity: int | None = None
    ) -> None:
        opus = load_opus()
        self._encode = opus.api.encoder.libopus_encode
        self._encoder = opus.Encoder(rate, 1, application)
        if bits is not None:
            self._encoder.bitrate, self._encoder.vbr_constraint = bits, 0
        if complexity is not None:
            self._encoder.complexity = complexity
        self._samples = np.zeros(size, np.int16)
        self._at = self._samples.ctypes.data_as(opus.api.c_int16_pointer)
        self._packet = ctypes.create_string_buffer(_LARGEST_PACKET)

    def encode(self, samples: Samples) -> bytes:
        """The packet of a block, shape (size,), int16."""
        self._samples[:] = samples
        length = self._encode(self._encoder.encoder_state, self._at, len(self._samples), self._packet, _LARGEST_PACKET)
        if length < 0:
            raise PacketError(f"libopus encodes nothing (code {length})")
        return ctypes.string_at(self._packet, length)


class PacketEncoder:
    """Mono PCM at `rate` to packets of `frame_ms` (one of `FRAME_MS`), tuned for speech, at 17 to 19 kbit/s.

    Raises `AdapterError` where there is no libopus, `ValueError` for another rate or length.
    """

    def __init__(self, rate: int = 16_000, frame_ms: int = 60) -> None:
        if rate not in RATES or frame_ms not in FRAME_MS:
            raise ValueError(f"rate must be one of {RATES}, frame_ms one of {FRAME_MS}")
        self.rate = rate
        self._size = rate * frame_ms // 1000
        self._encode = BlockEncoder(rate, self._size, "voip").encode
        self._waiting: Samples = np.zeros(0, np.int16)

    def encode(self, samples: Samples) -> list[bytes]:
        """The packets that are now complete; what is left waits for more. `samples`: int16, shape (n,)."""
        self._waiting = np.concatenate([self._waiting, samples.astype(np.int16, copy=False)])
        packets = []
        while len(self._waiting) >= self._size:
            packets.append(self._encode(self._waiting[: self._size]))
            self._waiting = self._waiting[self._size :]
        return packets

    def finish(self) -> list[bytes]:
        """What waits, filled up with silence: one packet or none. The encoder goes on with the next recording."""
        rest, self._waiting = self._waiting, np.zeros(0, np.int16)
        return [self._encode(np.pad(rest, (0, self._size - len(rest))))] if len(rest) else []

    def drop(self) -> None:
        """Forget what waits."""
        self._waiting = np.zeros(0, np.int16)
