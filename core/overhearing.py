"""What the microphone and the avatar sound like at the same time, for the turn detector.

In a quiet room a frame decides nothing: what it teaches can wait for the next ones, and several frames together cost
little more than one. A frame that may matter is told at once, after those that wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.bands import FRAME_S, band_levels
from core.echo_delay import STEP_S
from core.frames import LISTEN_RATE, MEDIA_RATE, Samples
from core.recent_audio import RecentAudio
from core.turn import TurnDetector
from core.turn_events import TurnEvent

MOST_WAITING = 8
"""Frames, a quarter of a second."""
_FRAME, _STEP = round(FRAME_S * MEDIA_RATE), round(STEP_S * MEDIA_RATE)
_HEARD = round(FRAME_S * LISTEN_RATE)
_EVEN_S = 1e-6


class VoiceFrame(Protocol):
    """One decision of the voice activity."""

    @property
    def time(self) -> float:
        """End of the frame on the listening clock, seconds."""

    @property
    def probability(self) -> float:
        """Of speech, 0..1."""

    @property
    def level_db(self) -> float:
        """RMS in dBFS."""


class AvatarSound(Protocol):
    """What the echo guard needs to know of the avatar's own voice."""

    @property
    def speaking(self) -> bool:
        """Whether it speaks; one that is held still does."""

    def played(self, seconds: float, ago: float, /) -> Samples:
        """What was played during that long until `ago` seconds before now: int16 at `MEDIA_RATE`, shape (n,)."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A frame that was not told yet, and what there was to know when it came."""

    frame: VoiceFrame
    since: float
    """Where the frame before it ended."""
    speaking: bool
    """Whether the avatar spoke."""
    played: Samples
    """What it played until the frame's end, `_STEP` longer than the frame."""


class Overhearing:
    """Between the voice activity and the detector. `recent`: what the microphone sent."""

    def __init__(self, detector: TurnDetector, avatar: AvatarSound, recent: RecentAudio) -> None:
        self._detector = detector
        self._avatar = avatar
        self._recent = recent
        self._waiting: list[_Waiting] = []
        self._end = 0.0

    def take(self, frame: VoiceFrame, speaking: bool) -> list[TurnEvent]:
        """The next frame; the avatar is `speaking`. Returns what it causes, if it matters."""
        even = abs(frame.time - self._end - FRAME_S) <= _EVEN_S
        events = [] if even else self.catch_up()  # only frames that follow each other are looked at together
        played = self._avatar.played(FRAME_S + STEP_S, self._recent.now - frame.time)
        if len(played) < _FRAME + _STEP:  # the rest is not known, or not played yet
            played = np.concatenate((played, np.zeros(_FRAME + _STEP - len(played), np.int16)))
        self._waiting.append(_Waiting(frame, self._end, speaking, played))
        self._end = frame.time
        if len(self._waiting) >= MOST_WAITING or self._detector.hurries(frame.probability):
            events += self.catch_up()
        return events

    def catch_up(self) -> list[TurnEvent]:
        """Tell the detector what waits: before anybody else tells it something. Returns what that causes."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        detector = self._detector
        sounds, played, heard = self._levels(waiting)
        events: list[TurnEvent] = []
        for number, each in enumerate(waiting):
            frame = each.frame
            # the avatar's state counts from the frame's beginning: the detector takes a frame's length from its clock
            detector.avatar_speaking(each.speaking, each.since)
            for part, moment in enumerate((frame.time - STEP_S, frame.time)):
                # a clip sounds without speaking; of a reply that nobody hears yet there is no echo
                if sounds[number, part] or (each.speaking and detector.expects_echo):
                    detector.on_avatar_level(moment, played[number, part])
            # where no echo is expected, nobody looks at the bands
            bands = heard[number] if detector.expects_echo else None
            events += detector.on_frame(frame.time, frame.probability, frame.level_db, bands)
        return events

    def _levels(self, waiting: list[_Waiting]) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
        """Of each frame, whether the avatar sounded until a step before its end and until then, by band how loud, and
        how loud the microphone: shapes (n, 2), (n, 2, bands) and (n, bands). No levels where no echo can be."""
        sound = np.stack([each.played for each in waiting])
        frames = np.stack((sound[:, :_FRAME], sound[:, _STEP:]), axis=1)
        sounds = np.logical_or.reduce(frames, axis=2)
        if not (sounds.any() or self._detector.expects_echo):
            return sounds, np.zeros((0, 0, 0)), np.zeros((0, 0))
        count, end = len(waiting) * _HEARD, waiting[-1].frame.time
        heard = self._recent.between(end - (len(waiting) + 1) * FRAME_S, end)[-count:]
        heard = np.concatenate((np.zeros(count - len(heard), np.int16), heard)).reshape(-1, _HEARD)
        return sounds, band_levels(frames, MEDIA_RATE), band_levels(heard, LISTEN_RATE)
