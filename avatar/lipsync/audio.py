"""Lips from the sound alone: for uploads and for voices that come without phoneme times."""

from __future__ import annotations

import numpy as np

from avatar.lipsync.gate import SpeechGate
from avatar.lipsync.network import Network
from avatar.lipsync.posteriors import LOOK_AHEAD as POSTERIOR_LOOK_AHEAD
from avatar.lipsync.posteriors import PosteriorStream
from core.errors import LipSyncError
from core.frames import LISTEN_RATE, VISEME_RATE, VISEMES, Samples, SpeechChunk, VisemeFrames

_SMOOTH = np.array([1, 2, 3, 2, 1], np.float32) / 9
_REACH = len(_SMOOTH) // 2
_SURE = 0.45
"""A closure this probable in one frame is kept at its peak: smoothing would part the lips again."""
LOOK_AHEAD = POSTERIOR_LOOK_AHEAD + _REACH / VISEME_RATE
"""Seconds of sound after a frame's end that must have come before the frame is returned, at most."""
_SIL, _PP = VISEMES.index("sil"), VISEMES.index("PP")


class AudioLipSync:
    """The lip model's posteriors, shut in silence and smoothed; see `avatar.lipsync.network`."""

    name = "audio"

    def __init__(self, *, weights: str = "") -> None:
        """`weights`: another model's .npz file; empty for the one that comes with the program."""
        self._weights = weights
        self._network: Network | None = None

    async def start(self) -> None:
        """Load the model (half a megabyte). Raises `LipSyncError`."""
        self._network = Network.load(self._weights or None)

    async def close(self) -> None:
        """Nothing to free: the weights are shared and small."""

    def open(self, text: str = "") -> AudioLipStream:
        """The lips of one utterance, whatever its text."""
        return AudioLipStream(self._network or Network.load(self._weights or None))


class AudioLipStream:
    """Decides frames `LOOK_AHEAD` behind the sound."""

    def __init__(self, network: Network) -> None:
        self._lips = Articulation(network)

    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        """See `core.stages.LipStream`. Raises `LipSyncError` on another sample rate."""
        if chunk.pcm.rate != LISTEN_RATE:
            raise LipSyncError(f"lips need {LISTEN_RATE} Hz, not {chunk.pcm.rate}", adapter=AudioLipSync.name)
        return self._lips.feed(chunk.pcm.samples)

    def finish(self) -> VisemeFrames:
        """See `core.stages.LipStream`."""
        return self._lips.finish()


class Articulation:
    """From the sound of one utterance to the lips: posteriors, gate, smoothing."""

    def __init__(self, network: Network) -> None:
        self._posteriors = PosteriorStream(network)
        self._gate = SpeechGate()
        self._rows = np.zeros((0, len(VISEMES)), np.float32)
        self._open = np.zeros(0, np.float32)
        self._gated = np.zeros((_REACH, len(VISEMES)), np.float32)
        self._gated[:, _SIL] = 1.0

    def feed(self, samples: Samples) -> VisemeFrames:
        """Take int16 samples, shape (n,), at `LISTEN_RATE`; the frames that are now decided, shape (m, 15)."""
        return self._advance(self._posteriors.feed(samples), self._gate.feed(samples))

    def finish(self) -> VisemeFrames:
        """The rest, ceil(seconds * VISEME_RATE) frames in all."""
        rest = self._advance(self._posteriors.finish(), self._gate.finish())
        shut = np.zeros((_REACH, len(VISEMES)), np.float32)
        shut[:, _SIL] = 1.0
        self._gated = np.concatenate((self._gated, shut))
        return np.concatenate((rest, self._smooth()))

    def _advance(self, rows: VisemeFrames, opened: VisemeFrames) -> VisemeFrames:
        """Gate the rows for which both are known, then smooth those whose neighbours are known."""
        self._rows = np.concatenate((self._rows, rows))
        self._open = np.concatenate((self._open, opened))
        count = min(len(self._rows), len(self._open))
        gated = self._rows[:count] * self._open[:count, None]
        gated[:, _SIL] += 1 - self._open[:count]
        self._rows, self._open = self._rows[count:], self._open[count:]
        self._gated = np.concatenate((self._gated, gated))
        return self._smooth()

    def _smooth(self) -> VisemeFrames:
        ready = len(self._gated) - 2 * _REACH
        if ready <= 0:
            return np.zeros((0, len(VISEMES)), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._gated, len(_SMOOTH), axis=0)
        frames = windows @ _SMOOTH
        peak = windows[:, _PP, _REACH - 1 : _REACH + 2].max(axis=1)
        closure = np.where(peak > _SURE, peak, frames[:, _PP])
        frames *= ((1 - closure) / np.maximum(1 - frames[:, _PP], 1e-6))[:, None]
        frames[:, _PP] = closure
        self._gated = self._gated[ready:]
        return np.asarray(frames / frames.sum(axis=1, keepdims=True), np.float32)
