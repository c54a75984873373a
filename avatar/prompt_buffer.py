"""Received packets in order, without waiting: for ears, which need neither smoothness nor a constant delay."""

from __future__ import annotations

from collections.abc import Callable

from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

_HALF = 1 << 15


class PromptBuffer(JitterBuffer):
    """Stands in for aiortc's jitter buffer of an audio receiver.

    That one plays smoothly: it holds four packets (80 ms) back, and after a lost packet all that its capacity holds
    (320 ms), for good. This one hands on every packet as it comes. A packet that was overtaken is dropped, as is one
    without sound, at which a decoder would stop.

    `take` is offered the payload type and the data of each; what it takes (True) does not go to aiortc's decoder.
    """

    def __init__(self, take: Callable[[int, bytes], bool] = lambda kind, data: False) -> None:
        super().__init__(capacity=1)
        self._take = take
        self._newest: int | None = None

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """See `JitterBuffer`: whether a key picture is needed (never), and what can be decoded now."""
        sequence = packet.sequence_number
        data: bytes = packet._data  # type: ignore[attr-defined]  # aiortc puts the payload there
        if self._newest is not None and not 0 < (sequence - self._newest) & 0xFFFF < _HALF:
            return False, None
        self._newest = sequence
        if not data or self._take(packet.payload_type, data):
            return False, None
        return False, JitterFrame(data, packet.timestamp)
