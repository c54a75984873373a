"""Tells the lips of the speech on a timeline shortly before they are seen."""

from __future__ import annotations

from typing import Protocol

from avatar.spoken_reply import SpokenReply
from avatar.timeline import Timeline
from core.acts import Deed
from core.frames import MEDIA_RATE, VISEME_RATE
from core.visemes import LipPiece

LIPS_AHEAD = MEDIA_RATE // 5
"""Samples: lips are told so long before they are seen, as the messages that carry them travel too."""


class LipViewer(Protocol):
    """Told the lips shortly before they are seen."""

    def lips(self, piece: LipPiece) -> None:
        """The next piece; pieces come in order, each once, but after a hold some of it again at a later time."""

    def lips_cleared(self, reply_id: str, at: float) -> None:
        """What was told of the reply from `at` on (seconds after its first sound) is not seen."""

    def acted(self, reply_id: str, at: float, deed: Deed) -> None:
        """The face does this `at` seconds after the reply's first sound; of "", at once."""


class LipPreview:
    """For one viewer. Positions are samples of the media clock."""

    def __init__(self, viewer: LipViewer, timeline: Timeline, reply: SpokenReply) -> None:
        self._viewer = viewer
        self._timeline = timeline
        self._reply = reply

    def show(self, cursor: int) -> None:
        """It is played up to `cursor`: tell what is due."""
        for placed in self._timeline.until(cursor + LIPS_AHEAD):
            speech = placed.speech
            rows = speech.visemes[placed.told :]
            if speech.reply_id == self._reply.id and len(rows):
                at = self._reply.since_start(placed.start) + placed.told / VISEME_RATE
                placed.told += len(rows)
                self._viewer.lips(LipPiece(speech.reply_id, speech.utterance, at, rows))

    def act(self, deed: Deed, position: int) -> None:
        """The face does this at `position`."""
        self._viewer.acted(self._reply.id, self._reply.since_start(position), deed)

    def withdraw(self, cursor: int) -> None:
        """What is still to come from `cursor` on does not come."""
        if any(placed.told and placed.end > cursor for placed in self._timeline):
            self._viewer.lips_cleared(self._reply.id, self._reply.since_start(cursor))
