"""What a device's microphone hears: binary messages in, PCM for the ears out."""

from __future__ import annotations

import numpy as np

from avatar.opus.packets import PacketDecoder, PacketError
from core.dialogue.xiaozhi.framing import FrameError, Kind, decode
from core.frames import LISTEN_RATE, Samples

AHEAD_S = 30.0
"""So much sound may come faster than it was spoken (a recording begun without a connection); more is dropped."""

_NOTHING = np.zeros(0, np.int16)


class Uplink:
    """Of one connection. `version` of the binary messages. Raises `AdapterError` where there is no libopus."""

    def __init__(self, version: int) -> None:
        self.version = version
        self._decoder = PacketDecoder(LISTEN_RATE)
        self._spoken_until = 0.0
        self.unusable = 0
        """Messages that were no frame of this version, or no Opus packet (those are concealed)."""
        self.dropped = 0
        """Packets that came too fast."""

    def samples(self, message: bytes, now: float) -> Samples:
        """The next sound: int16, shape (n,), 16 kHz; nothing when it can't be used. `now`: monotonic seconds.

        Packets may be of any length. A packet that can't be decoded becomes a continuation of the ones before.
        """
        try:
            frame = decode(message, self.version)
        except FrameError:
            self.unusable += 1
            return _NOTHING
        if frame.kind is not Kind.OPUS:
            return _NOTHING
        if max(self._spoken_until, now) - now > AHEAD_S:
            self.dropped += 1
            return _NOTHING
        sound = self._decoded(frame.payload)
        self._spoken_until = max(self._spoken_until, now) + len(sound) / LISTEN_RATE
        return sound

    def _decoded(self, packet: bytes) -> Samples:
        try:
            return self._decoder.decode(packet).samples
        except PacketError:
            self.unusable += 1
        try:
            return self._decoder.conceal(packet).samples
        except PacketError:
            return _NOTHING
