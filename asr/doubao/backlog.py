"""The audio of a turn: what is still to be sent, and what was sent but may be needed again. Sans-I/O."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

BYTES_PER_MS = 32
"""16 kHz, 16 bits, mono."""
PACKET_BYTES = 200 * BYTES_PER_MS
"""200 ms: the size that the vendor recommends."""
LARGEST_PACKET_BYTES = 1000 * BYTES_PER_MS
"""Longer pieces are cut."""


@dataclass(slots=True)
class Packet:
    """`start`: position of its first byte in the turn. `sent` is resolved when it is with the server, or never."""

    start: int
    data: bytes
    last: bool
    sent: asyncio.Future[bool]

    @property
    def end(self) -> int:
        """Position behind its last byte."""
        return self.start + len(self.data)


class Backlog:
    """Packets in order, with a cursor between sent and unsent.

    Positions are bytes since the beginning of the turn. Of what was sent at most `max_bytes` are kept; of what waits
    to be sent no more than that is taken.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._packets: deque[Packet] = deque()
        self._cursor = 0
        self._kept = 0
        self._waiting = 0
        self.end = 0
        """Position behind everything that was ever added."""
        self.complete = False
        """Whether the last packet was added."""
        self.forgotten = 0
        """Bytes that a replay lacks because there was no room to keep them."""

    def add(self, data: bytes, last: bool = False) -> Packet | None:
        """Append audio; returns its last packet. None if the turn is complete or no room is left."""
        if self.complete or self._waiting + len(data) > self._max:
            return None
        pieces = [data]
        if len(data) > LARGEST_PACKET_BYTES:
            pieces = [data[at : at + PACKET_BYTES] for at in range(0, len(data), PACKET_BYTES)]
        future = asyncio.get_running_loop().create_future
        for number, piece in enumerate(pieces, 1):
            packet = Packet(self.end, piece, last and number == len(pieces), future())
            self._packets.append(packet)
            self._waiting += len(piece)
            self.end = packet.end
        self.complete = last
        return packet

    def next(self) -> Packet | None:
        """The first packet that was not sent."""
        return self._packets[self._cursor] if self._cursor < len(self._packets) else None

    @property
    def position(self) -> int:
        """Behind what was sent."""
        packet = self.next()
        return packet.start if packet else self.end

    def advance(self) -> None:
        """The packet that `next` gives was sent."""
        packet = self._packets[self._cursor]
        self._cursor += 1
        self._waiting -= len(packet.data)
        self._kept += len(packet.data)
        resolve(packet.sent, True)
        while self._kept > self._max and self._cursor > 1:
            self.forgotten += len(self._drop_first().data)

    def settle(self, position: int) -> None:
        """What was sent before `position` is not needed any more."""
        while self._cursor and self._packets[0].end <= position and not self._packets[0].last:
            self._drop_first()

    def rewind(self, position: int) -> int:
        """Send again from `position` on, or from the first packet kept; returns where that is."""
        self.settle(position)
        self._cursor = 0
        self._waiting, self._kept = self._waiting + self._kept, 0
        if not self._packets:
            return self.end
        first = self._packets[0]
        cut = min(max(0, position - first.start), len(first.data)) & ~1
        first.data, first.start = first.data[cut:], first.start + cut
        self._waiting -= cut
        return first.start

    def abandon(self) -> None:
        """Nothing will be sent any more: whoever waits for a packet is told so."""
        self.complete = True
        for packet in self._packets:
            resolve(packet.sent, False)

    def _drop_first(self) -> Packet:
        packet = self._packets.popleft()
        self._cursor -= 1
        self._kept -= len(packet.data)
        return packet


def resolve(future: asyncio.Future[bool], value: bool) -> None:
    """Set the result of a future that may have been resolved or cancelled already."""
    if not future.done():
        future.set_result(value)
