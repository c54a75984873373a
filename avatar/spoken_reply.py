"""The reply that is being spoken: what of it was queued, where its sound began, how far it was heard. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from avatar.acting import Sounded
from avatar.speech import STEP, Speech
from avatar.timeline import Timeline, whole
from core.frames import MEDIA_RATE, Progress


class SpokenReply:
    """One at a time: `open` begins the next. Positions are samples of the media clock."""

    def __init__(self) -> None:
        self.id = ""
        """"" when no piece is wanted."""
        self.lead = 0
        """So many samples its first piece waits, and the first after it ran dry."""
        self.start: int | None = None
        """Where its first sound is, once it is queued."""
        self.utterance = 0
        """The first that was not played to its end."""
        self._queued: Counter[int] = Counter()
        """Samples of each utterance so far."""
        self._rows: Counter[int] = Counter()
        """Viseme rows of each utterance so far."""
        self._whole: set[int] = set()
        """Utterances of which everything is queued."""

    def open(self, reply_id: str, lead: int) -> None:
        """Pieces of this one are wanted from now on."""
        self.id = reply_id
        self.lead = lead
        self.start = None
        self.utterance = 0
        self._queued.clear()
        self._rows.clear()
        self._whole.clear()

    def add(self, speech: Speech) -> Speech:
        """Count a piece that is queued; returns it with its place in the utterance."""
        speech = replace(speech, offset=self._queued[speech.utterance])
        self._queued[speech.utterance] += len(speech.samples)
        self._rows[speech.utterance] += len(speech.visemes)
        if speech.last:
            self._whole.add(speech.utterance)
        return speech

    def add_rows(self, utterance: int, count: int) -> int:
        """Count viseme rows that came without sound; returns the number of the first."""
        first = self._rows[utterance]
        self._rows[utterance] += count
        return first

    def begin(self, position: int) -> int:
        """The first sound is ready at `position`; returns where it is to be placed."""
        self.start = whole(position)  # so what is handed over begins with it
        # of live packets less than a row waits for the next one: so much later, none keeps a whole frame waiting
        return self.start + (STEP if self.lead else 0)

    def since_start(self, position: int) -> float:
        """Seconds after the first sound."""
        return max(0, position - self.start) / MEDIA_RATE if self.start is not None else 0.0

    def sounded(self, speech: Speech, count: int) -> Sounded:
        """How far the piece's utterance was played when `count` samples of the piece were."""
        queued, known = self._queued[speech.utterance], speech.utterance in self._whole
        return Sounded(speech.utterance, speech.offset + count, queued, known)

    def end(self, utterance: int) -> bool:
        """The utterance was played to its end. False when that is known."""
        if self.utterance > utterance:
            return False
        self.utterance = utterance + 1
        return True

    def heard(self, timeline: Timeline, held: Sequence[Speech], until: int) -> Progress:
        """How far it was heard by `until`; `held` is to be played after what is on the timeline.

        Counted in samples that are still to come: played ones are forgotten, and holding leaves gaps.
        """
        unheard = (timeline.first_after(self.id, until), *(speech.utterance for speech in held[:1]))
        utterance = min((self.utterance, *(one for one in unheard if one is not None)))
        waiting = sum(len(speech.samples) for speech in held if speech.utterance == utterance)
        waiting += timeline.waiting(self.id, utterance, until)
        total = self._queued[utterance]
        return Progress(utterance, min(1.0, max(0.0, 1 - waiting / total)) if total else 0.0)
