"""What sounded lately, for the echo guard."""

from __future__ import annotations

from collections import deque

import numpy as np

from avatar.lateness import MOST_LATE_S
from core.frames import AUDIO_FRAME, MEDIA_RATE, Samples

KEPT_S = 0.4
"""Seconds before now that are known."""
MOST_AHEAD_S = 1.0
"""Seconds that may be read before they are due."""
_KEPT = int(KEPT_S * MEDIA_RATE) // AUDIO_FRAME
_MOST = int((KEPT_S + MOST_AHEAD_S + MOST_LATE_S) * MEDIA_RATE) // AUDIO_FRAME
_SILENCE = np.zeros(AUDIO_FRAME, np.int16)


class Played:
    """The last packets that were read, perhaps ahead of time; silence before the first one."""

    def __init__(self) -> None:
        self._packets: deque[Samples] = deque([_SILENCE] * _KEPT, _MOST)

    def add(self, packet: Samples) -> None:
        """The next one: int16, shape (`AUDIO_FRAME`,)."""
        self._packets.append(packet)

    def silence(self, samples: int) -> None:
        """So much silence came next, in whole packets."""
        self._packets.extend([_SILENCE] * min(_MOST, samples // AUDIO_FRAME))

    def take_back(self, samples: int) -> None:
        """The last ones were read, but are not played."""
        for _ in range(min(len(self._packets), samples // AUDIO_FRAME)):
            self._packets.pop()

    def hush(self, samples: int) -> None:
        """The last ones were handed over, but nobody hears them."""
        for index in range(1, 1 + min(len(self._packets), samples // AUDIO_FRAME)):
            self._packets[-index] = _SILENCE

    def between(self, seconds: float, ago: float) -> Samples:
        """What was read during `seconds` until `ago` seconds before the end: int16, shape (n,)."""
        end = round(ago * MEDIA_RATE)
        begin = end + round(seconds * MEDIA_RATE)
        packets = list(self._packets)[-begin // AUDIO_FRAME :] if begin > 0 else []  # whole ones that hold it
        sound = np.concatenate(packets) if packets else np.zeros(0, np.int16)
        return sound[max(0, len(sound) - begin) : max(0, len(sound) - max(0, end))]
