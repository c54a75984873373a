"""Frames that decide nothing are told to the turn detector later, and nothing changes by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from core.bands import FRAME_S
from core.frames import LISTEN_RATE, MEDIA_RATE, Samples
from core.overhearing import MOST_WAITING, Overhearing
from core.recent_audio import RecentAudio
from core.turn import TurnDetector
from core.turn_events import BargeIn, Duplex, EndOfTurn, PossibleBargeIn, SpeechStarted, TurnEvent, TurnSettings
from tests.echoes import Sound, echo, room, voice

FRAME = round(FRAME_S * LISTEN_RATE)


@dataclass(frozen=True)
class Frame:
    time: float
    probability: float
    level_db: float


class Told(TurnDetector):
    """Counts how often it is told something at a time; `impatient`: nothing may wait."""

    def __init__(self, settings: TurnSettings, impatient: bool) -> None:
        super().__init__(settings)
        self.impatient = impatient
        self.frames = 0

    def hurries(self, probability: float) -> bool:
        return self.impatient or super().hurries(probability)

    def on_frame(self, *args: float, **kwargs: float) -> list[TurnEvent]:  # type: ignore[override]
        self.frames += 1
        return super().on_frame(*args, **kwargs)  # type: ignore[arg-type]


class Room:
    """An avatar, a microphone that hears it, and what the detector made of it."""

    def __init__(
        self, played: Sound, heard: Sound, *, impatient: bool = False, settings: TurnSettings | None = None
    ) -> None:
        self.detector = Told(settings or TurnSettings(), impatient)
        self.recent = RecentAudio(2.0)
        self.overhearing = Overhearing(self.detector, self, self.recent)
        self.events: list[TurnEvent] = []
        self.told: list[int] = []
        """Frames that it knew after each."""
        self._played = np.repeat(_pcm(played), MEDIA_RATE // LISTEN_RATE)
        self._heard = _pcm(heard)
        self._speaks = np.flatnonzero(played)

    @property
    def speaking(self) -> bool:
        """From its first sound to its last."""
        return bool(len(self._speaks)) and self._speaks[0] <= self.recent.now * LISTEN_RATE <= self._speaks[-1]

    def played(self, seconds: float, ago: float, /) -> Samples:
        end = round((self.recent.now - ago) * MEDIA_RATE)
        return self._played[max(0, end - round(seconds * MEDIA_RATE)) : end]

    def hear(self, spoken: Sound, lag: int = 0) -> Room:
        """All of it; where somebody has `spoken` it is a voice. `lag`: samples that are there after a frame's end."""
        for end in range(FRAME, len(self._heard) - lag, FRAME):
            self.recent.add(self._heard[0 if end == FRAME else end - FRAME + lag : end + lag])
            voiced = float(np.any(spoken[end - FRAME : end]))
            level = 20 * np.log10(np.std(self._heard[end - FRAME : end]) / 32768 + 1e-9)
            self.events += self.overhearing.take(Frame(end / LISTEN_RATE, 0.95 * voiced, float(level)), self.speaking)
            self.told.append(self.detector.frames)
        return self


def _pcm(sound: Sound) -> Samples:
    return np.clip(sound, -32768, 32767).astype(np.int16)


def said(begin: float, end: float, seconds: float, seed: int = 2) -> Sound:
    sound = voice(int(seconds), -20, seed=seed)
    sound[: int(begin * LISTEN_RATE)] = sound[int(end * LISTEN_RATE) :] = 0
    return sound


def both_ways(speaks: tuple[float, float], says: tuple[float, float], lag: int, duplex: Duplex) -> Room:
    """What comes of it; checked against the same when nothing may wait."""
    avatar, user = said(*speaks, 9, seed=1), said(*says, 9)
    heard = echo(avatar, 0.1, -20) + user + room(9)
    settings = TurnSettings(duplex=duplex)
    at_once, later = (
        Room(avatar, heard, impatient=impatient, settings=settings).hear(user, lag) for impatient in (True, False)
    )
    assert later.events == at_once.events
    return later


@pytest.mark.parametrize("lag", [0, 200])
@pytest.mark.parametrize("duplex", list(Duplex))
@pytest.mark.parametrize("speaks", [(0, 9), (0, 5), (2, 5), (5, 8), (0, 0)])
def test_e1_the_same_comes_of_it_as_if_each_frame_were_told_at_once(
    speaks: tuple[float, float], duplex: Duplex, lag: int
) -> None:
    kinds = {type(event) for event in both_ways(speaks, (4, 6), lag, duplex).events}
    if duplex is not Duplex.HALF or speaks == (0, 0):
        assert {SpeechStarted, EndOfTurn} <= kinds
    if duplex is not Duplex.HALF and speaks == (0, 9):
        assert {PossibleBargeIn, BargeIn} <= kinds


def test_only_what_decides_nothing_waits_and_not_for_long() -> None:
    avatar, user = voice(6, -20, seed=1), said(3, 4, 6)
    room_ = Room(avatar, echo(avatar, 0.1, -20) + user + room(6)).hear(user)
    waiting = np.arange(1, len(room_.told) + 1) - room_.told
    assert waiting.max() == MOST_WAITING - 1
    first = int(3 / FRAME_S) + 1
    assert not waiting[first : first + 30].any(), "a voice is told at once, and all that came before it"


def test_what_waits_is_told_before_anything_else() -> None:
    avatar = voice(2, -20, seed=1)
    room_ = Room(avatar, echo(avatar, 0.1, -20) + room(2))
    room_.hear(np.zeros(5 * FRAME))
    frames = room_.detector.frames
    assert room_.overhearing.catch_up() == []
    assert room_.detector.frames == len(room_.told) > frames
    assert room_.overhearing.catch_up() == []


def test_frames_that_do_not_follow_each_other_are_looked_at_one_by_one() -> None:
    room_ = Room(voice(2, -20, seed=1), room(2))
    room_.recent.add(np.zeros(LISTEN_RATE, np.int16))
    for time in (0.2, 0.4, 0.6):
        room_.overhearing.take(Frame(time, 0.0, -60.0), True)
    assert room_.detector.frames == 2
