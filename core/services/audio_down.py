"""What one socket is sent of the avatar's sound."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from core.frames import MEDIA_RATE, SoundPiece
from core.half_rate import HalfRate
from core.messages import audio_clear, audio_frame
from core.websocket_session import WebSocketSession

MAX_BACKLOG = 128 << 10
"""Bytes (about 2 s of sound) that may wait for a socket; it then loses sound, but nothing else."""


@dataclass(slots=True)
class SoundTally:
    """Messages of all sockets so far."""

    sent: int = 0
    dropped: int = 0
    """Lost, as a socket read too slowly."""


class SoundDown:
    """Implements `core.stages.SoundSink` for one socket."""

    def __init__(self, socket: WebSocketSession, tally: SoundTally) -> None:
        self._socket = socket
        self._tally = tally
        self.delay_s = 0.0
        """From the arrival of a reply's first sound to its being heard, as the client told; 0: it did not."""
        self._half = HalfRate()
        self._next: tuple[str, int] | None = None
        self._seq = 0

    def sound(self, piece: SoundPiece) -> None:
        """See `core.stages.SoundSink`."""
        at_ms = round(piece.at * 1000)
        if self._next != (piece.reply_id, at_ms):
            self._half.restart()
        self._next = piece.reply_id, at_ms + 1000 * len(piece.samples) // MEDIA_RATE
        samples = self._half.feed(piece.samples)
        self._seq += 1  # of what is lost, too: so the client sees it
        if self._socket.backlog > MAX_BACKLOG:
            self._tally.dropped += 1
            return
        data = base64.b64encode(samples.astype("<i2").tobytes()).decode()
        message = audio_frame(self._socket.session_id, piece.reply_id, at_ms, self._seq, data)
        if self._socket.send_message(message):
            self._tally.sent += 1

    def cleared(self, reply_id: str, at: float) -> None:
        """See `core.stages.SoundSink`."""
        self._next = None
        self._socket.send_message(audio_clear(self._socket.session_id, reply_id, round(at * 1000)))
