"""One utterance's lips on the way to the stage: whatever happens to them, the voice goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from core.errors import LipSyncError
from core.frames import LISTEN_RATE, VISEME_RATE, VISEMES, SpeechChunk, VisemeFrames
from core.stages import LipStream, LipSync

_log = logging.getLogger(__name__)


class Lips:
    """A `core.stages.LipStream` that never fails: after an error of its engine the mouth is closed and relaxed."""

    def __init__(self, lipsync: LipSync, text: str) -> None:
        self._name = lipsync.name
        self._stream: LipStream | None = None
        self._samples = 0
        self._rows = 0
        self._attempt(lambda: self._open(lipsync, text))

    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        """The frames decided by now, shape (n, 15)."""
        self._samples += len(chunk.pcm.samples)
        return self._given(lambda stream: stream.feed(chunk), self._samples * VISEME_RATE // LISTEN_RATE)

    def finish(self) -> VisemeFrames:
        """The rest."""
        return self._given(lambda stream: stream.finish(), -(-self._samples * VISEME_RATE // LISTEN_RATE))

    def _open(self, lipsync: LipSync, text: str) -> VisemeFrames:
        self._stream = lipsync.open(text)
        return _resting(0)

    def _given(self, ask: Callable[[LipStream], VisemeFrames], due: int) -> VisemeFrames:
        stream = self._stream
        rows = self._attempt(lambda: ask(stream)) if stream is not None else None
        if rows is None:
            rows = _resting(max(0, due - self._rows))
        self._rows += len(rows)
        return rows

    def _attempt(self, work: Callable[[], VisemeFrames]) -> VisemeFrames | None:
        """What `work` gives; None, and no further attempts, when it fails."""
        try:
            rows = work()
            if rows.ndim != 2 or rows.shape[1] != len(VISEMES):
                raise LipSyncError(f"rows of shape {rows.shape}, not (n, {len(VISEMES)})", adapter=self._name)
            return rows
        except Exception:  # noqa: BLE001 - an engine may be anybody's, and speech without lips is better than none
            _log.exception("lips failed (%s): the mouth rests for this utterance", self._name)
            self._stream = None
            return None


def _resting(count: int) -> VisemeFrames:
    rows = np.zeros((count, len(VISEMES)), np.float32)
    rows[:, VISEMES.index("sil")] = 1.0
    return rows
