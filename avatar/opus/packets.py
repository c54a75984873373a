"""One Opus packet after the other: how long it is, to PCM, from PCM. RFC 6716.

A decoder or encoder is the state of one direction of one session. A call takes a fraction of a millisecond, so it is
made where the packet is, on the event loop too. Not for several threads at a time.
"""

from __future__ import annotations

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
        self._failure = opus.OpusError
        self._decode = opus.api.decoder.decode
        self._decoder = opus.Decoder(rate, 1)
        self._last_ticks = 0
        self._concealed_ticks = 0

    def decode(self, packet: bytes) -> Pcm:
        """The sound of the next packet. Raises `PacketError`; the stream then goes on: `conceal`, or the next one."""
        length = ticks(packet)
        samples = self._call(packet, LONGEST_MS * self.rate // 1000)
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
        try:
            data = self._decode(self._decoder.decoder_state, packet, len(packet or b""), room, False, channels=1)
        except self._failure as error:
            raise PacketError(f"libopus refuses a packet (code {error.code})") from None
        return Pcm(np.frombuffer(data, np.int16), self.rate)


class PacketEncoder:
    """Mono PCM at `rate` to packets of `frame_ms` (one of `FRAME_MS`), tuned for speech, at 17 to 19 kbit/s.

    Raises `AdapterError` where there is no libopus, `ValueError` for another rate or length.
    """

    def __init__(self, rate: int = 16_000, frame_ms: int = 60) -> None:
        if rate not in RATES or frame_ms not in FRAME_MS:
            raise ValueError(f"rate must be one of {RATES}, frame_ms one of {FRAME_MS}")
        opus = load_opus()
        self.rate = rate
        self._size = rate * frame_ms // 1000
        self._encode = opus.api.encoder.encode
        self._encoder = opus.Encoder(rate, 1, "voip")
        self._waiting: Samples = np.zeros(0, np.int16)

    def encode(self, samples: Samples) -> list[bytes]:
        """The packets that are now complete; what is left waits for more. `samples`: int16, shape (n,)."""
        self._waiting = np.concatenate([self._waiting, samples.astype(np.int16, copy=False)])
        packets = []
        while len(self._waiting) >= self._size:
            packets.append(self._packet(self._waiting[: self._size]))
            self._waiting = self._waiting[self._size :]
        return packets

    def finish(self) -> list[bytes]:
        """What waits, filled up with silence: one packet or none. The encoder goes on with the next recording."""
        rest, self._waiting = self._waiting, np.zeros(0, np.int16)
        return [self._packet(np.pad(rest, (0, self._size - len(rest))))] if len(rest) else []

    def drop(self) -> None:
        """Forget what waits."""
        self._waiting = np.zeros(0, np.int16)

    def _packet(self, samples: Samples) -> bytes:
        return bytes(self._encode(self._encoder.encoder_state, samples.tobytes(), self._size, _LARGEST_PACKET))
