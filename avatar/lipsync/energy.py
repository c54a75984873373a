"""Lips from the sound alone: for uploads and for voices that come without phoneme times."""

from __future__ import annotations

from avatar.lipsync.bands import BandStream
from core.errors import LipSyncError
from core.frames import LISTEN_RATE, SpeechChunk, VisemeFrames


class EnergyLipSync:
    """Band energies to visemes; see `avatar.lipsync.bands`."""

    name = "energy"

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    def open(self, text: str = "") -> EnergyLipStream:
        """The lips of one utterance."""
        return EnergyLipStream()


class EnergyLipStream:
    """Decides frames 40 ms behind the sound."""

    def __init__(self) -> None:
        self._bands = BandStream()

    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        """See `core.stages.LipStream`. Raises `LipSyncError` on another sample rate."""
        if chunk.pcm.rate != LISTEN_RATE:
            raise LipSyncError(f"lips need {LISTEN_RATE} Hz, not {chunk.pcm.rate}", adapter=EnergyLipSync.name)
        return self._bands.feed(chunk.pcm.samples)

    def finish(self) -> VisemeFrames:
        """See `core.stages.LipStream`."""
        return self._bands.finish()
