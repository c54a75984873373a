"""The avatar's sound as Opus packets for a device: 48 kHz in, packets of 60 ms at 24 kHz out."""

from __future__ import annotations

import numpy as np

from avatar.opus.packets import PacketEncoder
from core.devices.outbox import BURST_S
from core.dialogue.xiaozhi.messages import DOWNLINK_RATE, FRAME_MS
from core.frames import AUDIO_FRAME, MEDIA_RATE, SoundPiece
from core.half_rate import HalfRate

PACKET_S = FRAME_MS / 1000
_LONGEST_GAP = int(BURST_S * MEDIA_RATE)


class Voice:
    """Of one connection. What does not fill a packet waits for more, or for `flush`.

    Raises `AdapterError` where there is no libopus.
    """

    def __init__(self) -> None:
        self._encoder = PacketEncoder(DOWNLINK_RATE, FRAME_MS)
        self._half = HalfRate()
        self._next: tuple[str, int] | None = None

    def packets(self, piece: SoundPiece, *, playing: bool) -> list[bytes]:
        """The packets that are now complete.

        `playing`: the device has sound to play still, so a gap before this piece lies ahead of it and is filled with
        silence. Otherwise it fell silent by itself, and silence now would only delay what follows.
        """
        at = round(piece.at * MEDIA_RATE)
        reply_id, expected = self._next or ("", at)
        gap = at - expected if reply_id == piece.reply_id else 0
        samples = piece.samples
        if gap:
            self._half.restart()
        if gap > 0 and playing:
            silence = min(gap, _LONGEST_GAP) // AUDIO_FRAME * AUDIO_FRAME
            samples = np.concatenate([np.zeros(silence, np.int16), samples])
        self._next = piece.reply_id, at + len(piece.samples)
        return self._encoder.encode(self._half.feed(samples))

    def flush(self) -> list[bytes]:
        """What waits, filled up with silence: one packet or none."""
        return self._encoder.finish()

    def drop(self) -> None:
        """Forget what waits; what comes next does not follow it."""
        self._next = None
        self._half.restart()
        self._encoder.drop()
