"""Tells the user's voice from the avatar's own, coming back through the microphone. Pure."""

from __future__ import annotations

import math
from collections import deque


class EchoGuard:
    """Tells the user's voice from the avatar's own, coming back through the microphone.

    The expected echo is the loudest the avatar was during the last `tail_s`, plus the coupling. The
    coupling starts at the configured worst case and follows what is observed: once the avatar has sounded for
    longer than any echo takes, a frame without voice shows how weak the echo is at most, and a voice that is
    just below the threshold how strong it is.
    """

    _LOUD_DB = -45.0
    _LOWEST_COUPLING_DB = -50.0
    _LEARN = 0.03
    _LONGEST_DELAY = 1.0
    _NOW = 0.1

    def __init__(self, *, tail_s: float, coupling_db: float, margin_db: float, voice: float) -> None:
        """`tail_s`: how late an echo may come; `voice`: from which probability a frame counts as voice."""
        self._tail = tail_s
        self._worst = coupling_db
        self._margin = margin_db
        self._voice = voice
        self._levels: deque[tuple[float, float]] = deque()
        self._since = 0.0
        self._coupling = coupling_db

    def hear_avatar(self, time_s: float, level_db: float) -> None:
        """The avatar plays at `level_db` (dBFS) now."""
        self._forget(time_s)
        if not self._levels:
            self._since = time_s
        self._levels.append((time_s, level_db))

    @property
    def expects_echo(self) -> bool:
        """Whether the avatar sounded loudly enough of late to be heard back."""
        return any(level > self._LOUD_DB for _, level in self._levels)

    def is_above(self, level_db: float, margin_db: float) -> bool:
        """Whether a level is that much above the echo that is expected now."""
        expected = max((level for _, level in self._levels), default=-math.inf) + self._coupling
        return level_db > expected + margin_db

    def is_user(self, time_s: float, probability: float, level_db: float) -> bool:
        """Whether a frame of the microphone may be the user's; learns from it."""
        self._forget(time_s)
        if not self._levels:
            return True
        loudest = max(level for _, level in self._levels)
        mine = self.is_above(level_db, self._margin)
        still_sounds = time_s - self._levels[-1][0] < self._NOW
        if still_sounds and time_s - self._since > self._LONGEST_DELAY:
            self._learn(probability, level_db, loudest, mine)
        return mine

    def _forget(self, time_s: float) -> None:
        while self._levels and self._levels[0][0] < time_s - self._tail:
            self._levels.popleft()

    def _learn(self, probability: float, level_db: float, loudest: float, mine: bool) -> None:
        quietest = min(level for _, level in self._levels)
        if quietest < self._LOUD_DB:
            return  # a pause of the avatar teaches nothing
        voice = probability >= self._voice
        seen = level_db - (loudest if voice else quietest)
        seen = min(max(seen, self._LOWEST_COUPLING_DB), self._worst)
        if not voice or (not mine and seen > self._coupling):
            self._coupling += self._LEARN * (seen - self._coupling)
