"""Lips from the phoneme times that the synthesizer gives."""

from __future__ import annotations

import math

import numpy as np

from avatar.lipsync.audio import AudioLipSync
from avatar.lipsync.coarticulation import LOOK_AHEAD, Blend
from core.errors import LipSyncError
from core.frames import LISTEN_RATE, VISEME_RATE, VISEMES, SpeechChunk, VisemeFrames
from core.stages import LipStream, LipSync


class PhonemeLipSync:
    """Turns phonemes into co-articulated visemes. Where a voice gives none, the sound decides."""

    name = "phonemes"

    def __init__(self) -> None:
        self._by_sound = AudioLipSync()

    async def start(self) -> None:
        """Load the audio model. Raises `LipSyncError`."""
        await self._by_sound.start()

    async def close(self) -> None:
        """Free the audio model."""
        await self._by_sound.close()

    def open(self, text: str = "") -> PhonemeLipStream:
        """The lips of one utterance."""
        return PhonemeLipStream(self._by_sound)


class PhonemeLipStream:
    """Decides frames up to 120 ms before the end of what is known; by sound, as `without` does."""

    def __init__(self, without: LipSync, text: str = "") -> None:
        """`without` does stretches without phonemes, and is told the `text` when the utterance begins with one."""
        self._without = without
        self._text = text
        self._samples = 0
        self._frames = 0
        self._blend: Blend | None = None
        self._sound: LipStream | None = None

    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        """See `core.stages.LipStream`. Raises `LipSyncError` on another sample rate."""
        if chunk.pcm.rate != LISTEN_RATE:
            raise LipSyncError(f"lips need {LISTEN_RATE} Hz, not {chunk.pcm.rate}", adapter=PhonemeLipSync.name)
        # An empty tuple may be the tail of any stretch: it says "no phoneme starts here", which is true of both.
        by_sound = chunk.phonemes is None or (not chunk.phonemes and self._sound is not None)
        ended = self._end_stretch(by_sound=by_sound)
        if chunk.phonemes is None or by_sound:
            if self._sound is None:
                # later on, nobody knows how much of the text was said
                self._sound = self._without.open("" if self._samples else self._text)
            self._samples += len(chunk.pcm.samples)
            frames = self._sound.feed(SpeechChunk(chunk.pcm, None, chunk.words))
            self._frames += len(frames)
            return np.concatenate((ended, frames))
        self._samples += len(chunk.pcm.samples)
        if self._blend is None:
            self._blend = Blend(self._frames / VISEME_RATE)
        for phoneme in chunk.phonemes:
            self._blend.add(phoneme)
        # Whatever starts in this chunk came with it: there is nothing else before its end.
        self._blend.know(self._samples / LISTEN_RATE)
        decided = min(self._blend.known_until - LOOK_AHEAD, self._samples / LISTEN_RATE)
        return np.concatenate((ended, self._take(math.floor(decided * VISEME_RATE))))

    def finish(self) -> VisemeFrames:
        """See `core.stages.LipStream`."""
        return self._rest(math.ceil(self._samples * VISEME_RATE / LISTEN_RATE))

    def _end_stretch(self, *, by_sound: bool) -> VisemeFrames:
        """The remaining frames of a stretch with (without) phonemes when one without (with) follows."""
        if (self._blend if by_sound else self._sound) is None:
            return np.zeros((0, len(VISEMES)), np.float32)
        return self._rest(self._samples * VISEME_RATE // LISTEN_RATE)

    def _rest(self, until: int) -> VisemeFrames:
        """Frames up to number `until`, ending the stretch."""
        blend, sound = self._blend, self._sound
        self._sound = None
        if sound is not None:
            frames = sound.finish()[: until - self._frames]
            self._frames += len(frames)
            # The analysis counts from its own start: a fraction of a frame may be missing.
            missing = until - self._frames
            self._frames = until
            return np.concatenate((frames, Blend().take(missing)))
        if blend is None:
            blend = Blend(self._frames / VISEME_RATE)
        blend.end()
        self._blend = blend
        frames = self._take(until)
        self._blend = None
        return frames

    def _take(self, until: int) -> VisemeFrames:
        if self._blend is None:
            raise LipSyncError("no stretch with phonemes is open", adapter=PhonemeLipSync.name)
        frames = self._blend.take(until - self._frames)
        self._frames += len(frames)
        return frames
