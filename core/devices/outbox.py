"""What waits to be sent to a device, in order and in time. Sans-I/O; `now` is in monotonic seconds.

A device has room for little more than two seconds of sound and drops the rest, so packets are paced: `BURST_S` at once,
then each when the one before it has been played. `tts stop` goes out when all sound has been played.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

BURST_S = 0.3
"""So much sound may be ahead of what the device plays."""
TAIL_S = 0.12
"""Sound takes so long from us to the loudspeaker, beside what is ahead: the network, the device's own buffers."""
MOST_PACKETS = 40
"""Packets that wait; when there are more, as the device reads slowly, the oldest is dropped."""
MOST_MESSAGES = 256
"""Text messages that wait; a device that reads none is given up."""


@dataclass(frozen=True, slots=True)
class Text:
    """A JSON message. `subtitle`: of the reply that sounds; dropped with it."""

    text: str
    subtitle: bool = False


@dataclass(frozen=True, slots=True)
class Packet:
    """A binary message with `seconds` of sound."""

    data: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Control:
    """A ping or a pong."""

    ping: bool
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Stop:
    """The end of a reply; `text` is sent when all sound before it was played."""

    text: str


Item = Text | Packet | Control | Stop


class Outbox:
    """One device's. `wake` is called when there may be something to send."""

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._wake = wake
        self._items: deque[Item] = deque()
        self._packets = 0
        self._played_at = 0.0
        self.dropped = 0
        """Packets that the device did not read in time."""

    @property
    def overrun(self) -> bool:
        """Whether the device reads nothing any more."""
        return len(self._items) - self._packets > MOST_MESSAGES

    def ahead_s(self, now: float) -> float:
        """Seconds of sound that the device has to play still, what waits here included."""
        waiting = sum(item.seconds for item in self._items if isinstance(item, Packet))
        return max(0.0, self._played_at - now) + waiting

    def say(self, text: str) -> None:
        """A message, behind what waits."""
        self._put(Text(text))

    def subtitle(self, text: str) -> None:
        """A message about what is heard now: before the sound that waits."""
        place = next((at for at, item in enumerate(self._items) if isinstance(item, Packet | Stop)), len(self._items))
        self._items.insert(place, Text(text, subtitle=True))
        self._wake()

    def control(self, ping: bool, data: bytes = b"") -> None:
        """At once; left out where a device asks for more than it reads."""
        if len(self._items) - self._packets <= MOST_MESSAGES:
            self._items.appendleft(Control(ping, data))
            self._wake()

    def sound(self, data: bytes, seconds: float) -> None:
        """A packet, behind what waits."""
        if self._packets >= MOST_PACKETS:
            self._drop_oldest()
        self._packets += 1
        self._put(Packet(data, seconds))

    def stop(self, text: str) -> None:
        """The reply ends; nothing of it comes any more."""
        self._put(Stop(text))

    def go_on(self) -> None:
        """Sound follows at once: the end that waits is none."""
        self._items = deque(item for item in self._items if not isinstance(item, Stop))

    def hush(self) -> None:
        """Drop sound, subtitles and an end that wait. What was sent the device plays, unless it is told to stop."""
        self._items = deque(item for item in self._items if _stays(item))
        self._packets = 0

    def next(self, now: float) -> Item | float | None:
        """What is to be sent now; or for how many seconds there is nothing to send; None: until `wake`."""
        if not self._items:
            return None
        item = self._items[0]
        wait = self._due(item) - now
        if wait > 1e-4:
            return wait
        self._items.popleft()
        if isinstance(item, Packet):
            self._packets -= 1
            self._played_at = max(self._played_at, now) + item.seconds
        return item

    def _due(self, item: Item) -> float:
        match item:
            case Packet(seconds=seconds):
                return self._played_at + seconds - BURST_S
            case Stop():
                return self._played_at + TAIL_S
        return 0.0

    def _put(self, item: Item) -> None:
        self._items.append(item)
        self._wake()

    def _drop_oldest(self) -> None:
        oldest = next(item for item in self._items if isinstance(item, Packet))
        self._items.remove(oldest)
        self._packets -= 1
        self.dropped += 1


def _stays(item: Item) -> bool:
    return isinstance(item, Control) or (isinstance(item, Text) and not item.subtitle)
