"""A scene for turn-taking: stretches of speech, silence and the avatar's voice, frame by frame."""

from __future__ import annotations

from core.turn import TurnDetector
from core.turn_events import ListenMode, TurnEvent, TurnSettings

HOP = 0.032


class Scene:
    """Plays stretches of probability to a detector and keeps the events."""

    def __init__(self, config: TurnSettings | None = None, mode: ListenMode = ListenMode.OPEN) -> None:
        self.detector = TurnDetector(config, mode)
        self.time = 0.0
        self.events: list[TurnEvent] = []
        self.avatar_db: float | None = None

    def words(self, text: str) -> Scene:
        """A partial transcript arrives, between two frames."""
        self.events += self.detector.on_words(self.time + HOP / 2, text)
        return self

    def play(self, seconds: float, probability: float, level_db: float = -30.0) -> Scene:
        for _ in range(round(seconds / HOP)):
            self.time += HOP
            if self.avatar_db is not None:
                self.detector.on_avatar_level(self.time, self.avatar_db)
            self.events += self.detector.on_frame(self.time, probability, level_db)
        return self

    def speech(self, seconds: float, level_db: float = -30.0) -> Scene:
        return self.play(seconds, 0.95, level_db)

    def silence(self, seconds: float, level_db: float = -65.0) -> Scene:
        return self.play(seconds, 0.02, level_db)

    def avatar(self, level_db: float | None) -> Scene:
        self.avatar_db = level_db
        self.detector.avatar_speaking(level_db is not None, self.time)
        return self

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def only(self, kind: type[TurnEvent]) -> list[TurnEvent]:
        return [event for event in self.events if isinstance(event, kind)]
