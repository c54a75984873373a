"""The newest messages of one session id, numbered, so that a page which lost its socket gets what it missed.

Pure: no clock, no I/O. The rules for clients are in docs/websocket-api.md, "Resume".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

MAX_MESSAGES = 1024
MAX_BYTES = 1 << 20


class Missed(NamedTuple):
    """What a client has not seen."""

    messages: Sequence[tuple[int, bytes]]
    """With their numbers, in order. A number is left out where the message was for one socket only."""
    complete: bool
    """False: more was missed than is kept, or it is unknown what was."""


class MessageLog:
    """Keeps at most `MAX_MESSAGES` messages and `MAX_BYTES` of one session.

    Numbers run on from `start`, the Unix time in ms when the log was made. So a log that was made anew, after a
    restart of the server for instance, is ahead of every number a client may remember of the old one.
    """

    __slots__ = ("_bytes", "_messages", "kept", "last", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.last = start
        """Number of the newest message; `start` while there is none."""
        self.kept = False
        """Whether the session asked to have it kept, sockets or not."""
        self._messages: deque[bytes] | None = None  # made with the first message: most sockets of a crowd never get one
        self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._messages or ())

    def append(self, message: bytes = b"") -> int:
        """Keep an encoded message, dropping the oldest where there is no more room; returns its number.

        Without one the number is taken all the same: by a message that is for one socket, and not kept.
        """
        if self._messages is None:
            self._messages = deque()
        self._messages.append(message)
        self._bytes += len(message)
        while len(self._messages) > MAX_MESSAGES or self._bytes > MAX_BYTES:
            self._bytes -= len(self._messages.popleft())
        self.last += 1
        return self.last

    def since(self, number: int) -> Missed:
        """Everything kept with a number above `number`; 0, or a number of another log: everything kept."""
        kept = self._messages or ()
        first = self.last - len(kept) + 1
        numbered = [(first + index, message) for index, message in enumerate(kept) if message]
        if self.start <= number <= self.last:
            return Missed([item for item in numbered if item[0] > number], number + 1 >= first)
        # 0 is a client that has seen nothing, so only what was dropped is missing; any other number is of a log
        # that is gone, and nobody knows what that one still held
        return Missed(numbered, number == 0 and first == self.start + 1)
