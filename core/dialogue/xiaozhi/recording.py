"""What the user says, until the server has understood it: a new session gets it again. Sans-I/O."""

from __future__ import annotations

from collections import deque

from core.dialogue.xiaozhi.messages import Mode

MOST_PACKETS = 1500


class Recording:
    """One listening period. At most `max_s` seconds and `MOST_PACKETS` are kept; when more come the oldest go.

    Times `at` are those of any one clock, in seconds.
    """

    def __init__(self, mode: Mode, max_s: float, at: float) -> None:
        self.mode = mode
        self.stopped = False
        """Whether the user's turn is over."""
        self.dropped_s = 0.0
        """So much of its beginning is lost."""
        self.at = at
        """When something was last added."""
        self._max = max_s
        self._packets: deque[tuple[bytes, float]] = deque()
        self._seconds = 0.0

    @property
    def packets(self) -> list[bytes]:
        """What is kept, in order."""
        return [packet for packet, _ in self._packets]

    def add(self, packet: bytes, seconds: float, at: float) -> None:
        """Append a packet of that length."""
        self.at = at
        self._packets.append((packet, seconds))
        self._seconds += seconds
        while self._seconds > self._max + 1e-6 or len(self._packets) > MOST_PACKETS:
            _, gone = self._packets.popleft()
            self._seconds -= gone
            self.dropped_s += gone

    def understood(self) -> None:
        """The server told what was said: this is not needed again."""
        self._packets.clear()
        self._seconds = 0.0
