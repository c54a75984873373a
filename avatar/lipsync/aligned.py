"""Lips of speech whose text is known but not timed: the text says which sounds come, the audio model when."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass

import numpy as np

from avatar.language import language_of
from avatar.lipsync.alignment import PRIOR, Aligned, Alignment
from avatar.lipsync.audio import GatedPosteriors
from avatar.lipsync.closures import Closures
from avatar.lipsync.glide import Glide
from avatar.lipsync.lattice import lattice_of
from avatar.lipsync.network import Network
from avatar.lipsync.pronunciation import Pronouncer, Word
from core.errors import LipSyncError
from core.frames import LISTEN_RATE, VISEMES, SpeechChunk, SpokenWord, VisemeFrames

_log = logging.getLogger(__name__)

_SIL = VISEMES.index("sil")
_NEARLY = 0.98
"""With more trust in the text, what the sound alone says of closures does not show."""


class AlignedLipSync:
    """Text and sound together; the sound alone where the text is unknown, unreadable, or not what is said."""

    name = "aligned"

    def __init__(self, *, library: str = "", data: str = "") -> None:
        """`library` and `data` replace the espeak-ng of the wheel, which pronounces the texts."""
        self._pronouncer = Pronouncer(library, data)

    async def start(self) -> None:
        """Load the model and the dictionaries. Raises `LipSyncError`."""
        await asyncio.to_thread(self._load)

    async def close(self) -> None:
        """Nothing to free."""

    def open(self, text: str = "") -> AlignedLipStream:
        """The lips of one utterance. Raises `LipSyncError` when the model can't be read."""
        return AlignedLipStream(Network.load(), self._pronouncer, text)

    def _load(self) -> None:
        Network.load()
        Closures.load()
        self._pronouncer.load()


@dataclass(frozen=True, slots=True)
class Judgement:
    """Decided frames; of the frames judged now how well text and sound agree (-inf without a text), and the trust in
    the text, 0..1."""

    rows: VisemeFrames
    scores: list[float]
    trusts: list[float]


class AlignedLipStream:
    """Decides frames up to 280 ms behind the sound: the model's look-ahead, the alignment's lag, the glide's."""

    def __init__(self, network: Network, pronouncer: Pronouncer, text: str) -> None:
        self._posteriors = GatedPosteriors(network)
        self._script = _Script(text, pronouncer)
        self._alignment: Alignment | None = None
        self._begun = False
        self._glide = Glide(Closures.load())
        self._heard: VisemeFrames = np.zeros((0, len(VISEMES)), np.float32)
        """What the audio model said of the frames that are not decided."""

    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        """See `core.stages.LipStream`. Raises `LipSyncError` on another sample rate."""
        return self.judge(chunk).rows

    def finish(self) -> VisemeFrames:
        """See `core.stages.LipStream`."""
        return self.conclude().rows

    def judge(self, chunk: SpeechChunk) -> Judgement:
        """As `feed`, with the scores."""
        if chunk.pcm.rate != LISTEN_RATE:
            raise LipSyncError(f"lips need {LISTEN_RATE} Hz, not {chunk.pcm.rate}", adapter=AlignedLipSync.name)
        if not self._begun:
            self._begin()
        for word in chunk.words:
            self._bound(word)
        return self._follow(self._posteriors.feed(chunk.pcm.samples))

    def conclude(self) -> Judgement:
        """As `finish`, with the scores."""
        parts = [self._follow(self._posteriors.finish())]
        if self._alignment is not None:
            parts.append(self._weigh(self._alignment.finish()))
        rows = [part.rows for part in parts] + [self._glide.finish()]
        scores = [score for part in parts for score in part.scores]
        return Judgement(np.concatenate(rows), scores, [trust for part in parts for trust in part.trusts])

    def _begin(self) -> None:
        """Pronounce the text; done with the first sound, in the worker thread that brings it."""
        self._begun = True
        try:
            words = self._script.words()
        except LipSyncError as error:
            _log.warning("lips follow the sound alone: %s", error.loggable)
            return
        if words:
            self._alignment = Alignment(lattice_of(words), PRIOR)

    def _bound(self, word: SpokenWord) -> None:
        if self._alignment is not None and (index := self._script.index_of(word.text)) is not None:
            self._alignment.bound(index, word.start)

    def _follow(self, heard: VisemeFrames) -> Judgement:
        if self._alignment is None:
            return Judgement(self._glide.feed(heard), [-math.inf] * len(heard), [0.0] * len(heard))
        self._heard = np.concatenate((self._heard, heard))
        return self._weigh(self._alignment.feed(heard))

    def _weigh(self, aligned: Aligned) -> Judgement:
        """The mouth between what the text expects and what is heard, by how well they agree."""
        count = len(aligned.visemes)
        heard, self._heard = self._heard[:count], self._heard[count:]
        rows, doubt = aligned.visemes, np.zeros(count, np.float32)
        if any(aligned.ended) or min(aligned.trust, default=1) < 1:
            # speech that goes on after the end of the text is none of it
            beyond = np.array(aligned.ended, np.float32) * (1 - heard[:, _SIL])
            trust = np.array(aligned.trust, np.float32) * (1 - beyond)
            rows = np.asarray(trust[:, None] * rows + (1 - trust)[:, None] * heard, np.float32)
            doubt = np.where(trust < _NEARLY, 1 - trust, doubt)
        return Judgement(self._glide.feed(rows, heard, doubt), aligned.score, aligned.trust)


class _Script:
    """The text, and where in it the voice is by its own account."""

    def __init__(self, text: str, pronouncer: Pronouncer) -> None:
        self._text = text
        self._language = language_of(text)
        self._pronouncer = pronouncer
        self._at = 0

    def words(self) -> tuple[Word, ...]:
        """Everything that will be said. Raises `LipSyncError`."""
        return self._pronouncer.words(self._text, self._language)

    def index_of(self, spoken: str) -> int | None:
        """Number, among `words`, of the next word of the text that is written like this."""
        found = self._text.find(spoken, self._at) if spoken else -1
        if found < 0:
            return None
        self._at = found + len(spoken)
        return len(self._pronouncer.words(self._text[:found], self._language))
