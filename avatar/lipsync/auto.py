"""The best lips that an utterance allows: by the voice's phonemes, else by text and sound, else by sound alone."""

from __future__ import annotations

from avatar.lipsync.aligned import AlignedLipSync
from avatar.lipsync.phonemes import PhonemeLipStream


class AutoLipSync:
    """Phoneme times where the voice gives them, else `AlignedLipSync`, which leaves the text when it is not said."""

    name = "auto"

    def __init__(self, *, library: str = "", data: str = "") -> None:
        """`library` and `data` replace the espeak-ng of the wheel, which pronounces the texts."""
        self._aligned = AlignedLipSync(library=library, data=data)

    async def start(self) -> None:
        """Load the model and the dictionaries. Raises `LipSyncError`."""
        await self._aligned.start()

    async def close(self) -> None:
        """Free them."""
        await self._aligned.close()

    def open(self, text: str = "") -> PhonemeLipStream:
        """The lips of one utterance."""
        return PhonemeLipStream(self._aligned, text)
