"""Lips from the sound alone: for uploads and for voices that come without phoneme times."""

from __future__ import annotations

import numpy as np

from avatar.lipsync.closures import Closures
from avatar.lipsync.glide import AHEAD, Glide
from avatar.lipsync.network import Network
from avatar.lipsync.posteriors import LOOK_AHEAD as POSTERIOR_LOOK_AHEAD
from avatar.lipsync.posteriors import Heard, PosteriorStream
from core.errors import LipSyncError
from core.frames import LISTEN_RATE, VISEME_RATE, VISEMES, Samples, SpeechChunk, VisemeFrames

LOOK_AHEAD = POSTERIOR_LOOK_AHEAD + AHEAD / VISEME_RATE
"""Seconds of sound after a frame's end that must have come before the frame is returned, at most."""
_SIL = VISEMES.index("sil")


class AudioLipSync:
    """The lip model's posteriors, shut in silence, closures seen twice, smoothed; see `avatar.lipsync.network`."""

    name = "audio"

    def __init__(self, *, weights: str = "") -> None:
        """`weights`: another model's .npz file; empty for the one that comes with the program."""
        self._weights = weights
        self._network: Network | None = None

    async def start(self) -> None:
        """Load the model (half a megabyte). Raises `LipSyncError`."""
        self._network = Network.load(self._weights or None)
        Closures.load()

    async def close(self) -> None:
        """Nothing to free: the weights are shared and small."""

    def open(self, text: str = "") -> AudioLipStream:
        """The lips of one utterance, whatever its text."""
        return AudioLipStream(self._network or Network.load(self._weights or None))


class AudioLipStream:
    """Decides frames `LOOK_AHEAD` behind the sound."""

    def __init__(self, network: Network) -> None:
        self._heard = GatedPosteriors(network)
        self._glide = Glide(Closures.load())

    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        """See `core.stages.LipStream`. Raises `LipSyncError` on another sample rate."""
        if chunk.pcm.rate != LISTEN_RATE:
            raise LipSyncError(f"lips need {LISTEN_RATE} Hz, not {chunk.pcm.rate}", adapter=AudioLipSync.name)
        return self._glide.feed(self._heard.feed(chunk.pcm.samples))

    def finish(self) -> VisemeFrames:
        """See `core.stages.LipStream`."""
        return np.concatenate((self._glide.feed(self._heard.finish()), self._glide.finish()))


class GatedPosteriors:
    """What is heard in one piece of sound: the model's posteriors, silent where the gate says that nobody speaks."""

    def __init__(self, network: Network) -> None:
        self._posteriors = PosteriorStream(network)

    def feed(self, samples: Samples) -> VisemeFrames:
        """Take int16 samples, shape (n,), at `LISTEN_RATE`; the frames that are now decided, shape (m, 15)."""
        return _shut(self._posteriors.hear(samples))

    def finish(self) -> VisemeFrames:
        """The rest, ceil(seconds * VISEME_RATE) frames in all."""
        return _shut(self._posteriors.conclude())


def _shut(heard: Heard) -> VisemeFrames:
    """Silence where there can be no speech."""
    if min(heard.may, default=1) == 1:
        return heard.rows
    may = np.array(heard.may, np.float32)
    rows = heard.rows * may[:, None]
    rows[:, _SIL] += 1 - may
    return rows
