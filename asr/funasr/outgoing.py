"""Audio on its way to a server of the custom protocol: cut into chunks, and what the server is known to have.

Sans-I/O but for one event, set whenever there may be something new to send.
"""

from __future__ import annotations

import asyncio


class Outgoing:
    """Audio that is complete (`of`), or comes while it is sent (`push`, `finish`)."""

    def __init__(self, chunk_bytes: int) -> None:
        self.chunk_bytes = chunk_bytes
        self.changed = asyncio.Event()
        self.whole = False
        """No more audio comes."""
        self._chunks: list[bytes | memoryview] = []
        self._tail = bytearray()
        self._held: set[int] = set()
        self._sent: list[int] = []
        self._acknowledged = 0
        self._next = 0

    @classmethod
    def of(cls, audio: bytes, chunk_bytes: int) -> Outgoing:
        """Complete audio; not copied."""
        outgoing, view = cls(chunk_bytes), memoryview(audio)
        outgoing._chunks = [view[start : start + chunk_bytes] for start in range(0, len(audio), chunk_bytes)]
        outgoing.whole = True
        return outgoing

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def size(self) -> int:
        """Bytes of all chunks so far."""
        return sum(len(chunk) for chunk in self._chunks)

    @property
    def held(self) -> int:
        """Chunks that the server is known to have."""
        return len(self._held)

    @property
    def unacknowledged(self) -> int:
        """Chunks sent on this connection that the server has not confirmed."""
        return len(self._sent) - self._acknowledged

    def push(self, data: bytes) -> None:
        """More audio."""
        self._tail += data
        while len(self._tail) >= self.chunk_bytes:
            self._chunks.append(bytes(self._tail[: self.chunk_bytes]))
            del self._tail[: self.chunk_bytes]
            self.changed.set()

    def recut(self, chunk_bytes: int) -> None:
        """Smaller chunks. What the server has of the larger ones is of no use."""
        audio = b"".join(self._chunks)
        self.chunk_bytes, self._chunks = chunk_bytes, []
        self._chunks = [audio[start : start + chunk_bytes] for start in range(0, len(audio), chunk_bytes)]
        if not self.whole and self._chunks and len(self._chunks[-1]) < chunk_bytes:
            self._tail[:0] = self._chunks.pop()
        self.connected()

    def finish(self) -> None:
        """That was all. Idempotent."""
        if self._tail:
            self._chunks.append(bytes(self._tail))
            self._tail.clear()
        self.whole = True
        self.changed.set()

    def chunk(self, index: int) -> bytes | memoryview:
        """The bytes of a chunk."""
        return self._chunks[index]

    def connected(self, held: set[int] | None = None) -> None:
        """Sending begins, on a new connection: the server has `held`, or nothing."""
        self._held = held or set()
        self._sent, self._acknowledged, self._next = [], 0, 0

    def next(self) -> int | None:
        """The chunk to send now; None when all that there are were sent."""
        while self._next in self._held:
            self._next += 1
        return self._next if self._next < len(self._chunks) else None

    def sent(self, index: int) -> None:
        """A chunk went out."""
        self._sent.append(index)
        self._next = index + 1

    def acknowledged(self, index: int) -> bool:
        """The server has this chunk, and with it those that were sent before it; False if it was never sent."""
        try:
            position = self._sent.index(index, self._acknowledged) + 1
        except ValueError:
            return False
        self._held.update(self._sent[self._acknowledged : position])
        self._acknowledged = position
        return True
