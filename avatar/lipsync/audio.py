"""Lips from the sound alone: for uploads and for voices that come without phoneme times."""

from __future__ import annotations

from avatar.lipsync.network import Network
from avatar.lipsync.posteriors import PosteriorStream
from core.errors import LipSyncError
from core.frames import LISTEN_RATE, SpeechChunk, VisemeFrames


class AudioLipSync:
    """The lip model's posteriors; see `avatar.lipsync.network`."""

    name = "audio"

    def __init__(self, *, weights: str = "") -> None:
        """`weights`: another model's .npz file; empty for the one that comes with the program."""
        self._weights = weights
        self._network: Network | None = None

    async def start(self) -> None:
        """Load the model (a third of a megabyte). Raises `LipSyncError`."""
        self._network = Network.load(self._weights or None)

    async def close(self) -> None:
        """Nothing to free: the weights are shared and small."""

    def open(self, text: str = "") -> AudioLipStream:
        """The lips of one utterance, whatever its text."""
        return AudioLipStream(self._network or Network.load(self._weights or None))


class AudioLipStream:
    """Decides frames some 50 ms behind the sound."""

    def __init__(self, network: Network) -> None:
        self._posteriors = PosteriorStream(network)

    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        """See `core.stages.LipStream`. Raises `LipSyncError` on another sample rate."""
        if chunk.pcm.rate != LISTEN_RATE:
            raise LipSyncError(f"lips need {LISTEN_RATE} Hz, not {chunk.pcm.rate}", adapter=AudioLipSync.name)
        return self._posteriors.feed(chunk.pcm.samples)

    def finish(self) -> VisemeFrames:
        """See `core.stages.LipStream`."""
        return self._posteriors.finish()
