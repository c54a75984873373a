"""Prepares synthesised speech for the stage: resampling and lips, in worker threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np

from avatar.guard import owned_samples
from avatar.lips import Lips
from avatar.resampler import Resampler
from avatar.speech import Speech
from avatar.stage import SpeechStage
from core.acts import Act
from core.errors import SynthesizerError
from core.frames import LISTEN_RATE, MEDIA_RATE, VISEME_RATE, Pcm, Progress, Samples, SpeechChunk, VisemeFrames
from core.stages import LipSync, SpeechWriter

PIECE_S = 0.2
"""Seconds of speech that are prepared in one go."""
LOWEST_RATE, HIGHEST_RATE = 4_000, 192_000
"""Samples per second that a voice may have."""
_STEP = MEDIA_RATE // VISEME_RATE


class Speaker:
    """The `core.stages.Stage` of one session: opens writers onto its speech queue.

    `took` is told, of each piece of sound that came over the network, how many seconds later it was on the stage.
    """

    def __init__(
        self, stage: SpeechStage, lipsync: LipSync, executor: Executor, took: Callable[[float], None] = lambda _: None
    ) -> None:
        self._stage = stage
        self._lipsync = lipsync
        self._executor = executor
        self._took = took

    def writer(self, reply_id: str, *, lead_s: float | None = None) -> SpeechWriter:
        """Open the stage for a reply."""
        self._stage.open(reply_id, lead_s or 0.0)
        return _Writer(reply_id, self._stage, self._lipsync, self._executor, self._took, live=lead_s is not None)

    def clear(self) -> Progress:
        """Silence now."""
        return self._stage.clear()

    def hold(self) -> bool:
        """Silence now, to go on later."""
        return self._stage.hold()

    def resume(self) -> bool:
        """Go on."""
        return self._stage.resume()

    @property
    def held(self) -> bool:
        """Whether it is held."""
        return self._stage.held


class _Preparation:
    """One utterance on its way: native rate in, media-rate PCM with matching viseme frames out."""

    def __init__(self, lipsync: LipSync, rate: int, text: str) -> None:
        self.rate = rate
        self._lips = Lips(lipsync, text)
        self._to_media = Resampler(rate, MEDIA_RATE)
        self._to_listen = Resampler(rate, LISTEN_RATE)
        self._samples: list[Samples] = []
        self._visemes: list[VisemeFrames] = []
        self._owed = 0
        """Rows of the sound that was given without its lips."""

    def feed(self, chunk: SpeechChunk, ahead: bool = False) -> tuple[Samples, VisemeFrames]:
        """The part that is ready. PCM is held back until its lips are decided, unless it may go `ahead` of them: then
        the rows that come first belong to what was given before."""
        self._samples.append(self._to_media.feed(chunk.pcm.samples))
        heard = Pcm(self._to_listen.feed(chunk.pcm.samples), LISTEN_RATE)
        self._visemes.append(self._lips.feed(SpeechChunk(heard, chunk.phonemes, chunk.words)))
        return self._take(ahead=ahead)

    def finish(self) -> tuple[Samples, VisemeFrames]:
        """The rest."""
        self._samples.append(self._to_media.finish())
        rest = self._to_listen.finish()
        if len(rest):
            self._visemes.append(self._lips.feed(SpeechChunk(Pcm(rest, LISTEN_RATE), ())))
        self._visemes.append(self._lips.finish())
        return self._take(final=True)

    def _take(self, *, final: bool = False, ahead: bool = False) -> tuple[Samples, VisemeFrames]:
        samples, visemes = np.concatenate(self._samples), np.concatenate(self._visemes)
        whole = len(samples) // _STEP
        given = whole if ahead else max(0, min(whole, len(visemes) - self._owed))
        count = len(samples) if final else given * _STEP
        rows = len(visemes) if final else min(len(visemes), self._owed + given)
        self._owed += given - rows
        self._samples, self._visemes = [samples[count:]], [visemes[rows:]]
        return samples[:count], visemes[:rows]


class _Writer:
    def __init__(
        self, reply_id: str, stage: SpeechStage, lipsync: LipSync, executor: Executor, took: Callable[[float], None],
        *, live: bool,
    ) -> None:  # fmt: skip
        self._live = live
        self._took = took
        self._arrivals: list[float] = []
        """Of what is not on the stage yet."""
        self._reply_id = reply_id
        self._stage = stage
        self._lipsync = lipsync
        self._executor = executor
        self._index = -1
        self._text = ""
        self._acts: tuple[Act, ...] = ()
        self._fresh = True
        self._preparation: _Preparation | None = None
        self._waiting: list[SpeechChunk] = []

    async def begin(self, text: str, acts: Sequence[Act] = ()) -> None:
        self._index += 1
        self._text = text
        self._acts = tuple(acts)
        self._fresh = True
        self._preparation = None
        self._waiting = []

    async def write(self, chunk: SpeechChunk) -> None:
        await self._stage.room()
        chunk = _sound(chunk)
        if chunk.arrived is not None:
            self._arrivals.append(chunk.arrived)
        if self._preparation is None:
            # lips that read along lag 0.3 s behind the sound, which live sound can't wait for
            self._preparation = _Preparation(self._lipsync, chunk.pcm.rate, "" if self._live else self._text)
        if chunk.pcm.rate != self._preparation.rate:
            raise SynthesizerError(f"sample rate changed from {self._preparation.rate} to {chunk.pcm.rate} Hz")
        self._waiting.append(chunk)
        # the first sound goes out at once, and live sound always; the rest in pieces that are worth a thread's while
        if self._live or self._fresh or sum(part.pcm.seconds for part in self._waiting) >= PIECE_S:
            await self._flush(self._preparation)

    async def end(self) -> None:
        if self._preparation is not None:
            await self._flush(self._preparation)
            self._put(*await self._in_thread(self._preparation.finish), last=True)
        self._preparation = None

    async def _flush(self, preparation: _Preparation) -> None:
        chunk, self._waiting = _joined(self._waiting), []
        if chunk is not None:
            # its lips are decided 0.12 s later: only a first piece, which would be seen at once, waits for them
            ahead = self._live and (not self._fresh or self._stage.speaking)
            self._put(*await self._in_thread(preparation.feed, chunk, ahead), last=False)

    async def act(self, acts: Sequence[Act]) -> None:
        nothing = np.zeros(0, np.int16), np.zeros((0, 15), np.float32)
        self._stage.put(Speech(self._reply_id, max(0, self._index), "", *nothing, acts=tuple(acts)))

    async def played(self) -> float:
        await self._stage.drained()
        return self._stage.finish(self._reply_id)

    def _put(self, samples: Samples, visemes: VisemeFrames, *, last: bool) -> None:
        if len(samples) or last:
            with_it = visemes[:0] if self._live else visemes
            speech = Speech(self._reply_id, self._index, self._text, samples, with_it, self._fresh, last, self._acts)
            wanted = self._stage.put(speech)
            self._fresh, self._acts = False, ()
            arrivals, self._arrivals = self._arrivals, []
            for arrived in arrivals if wanted else ():
                self._took(time.monotonic() - arrived)
        if self._live:
            self._stage.lips(self._reply_id, self._index, visemes)

    async def _in_thread(
        self, function: Callable[..., tuple[Samples, VisemeFrames]], *args: Any
    ) -> tuple[Samples, VisemeFrames]:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)


def _sound(chunk: SpeechChunk) -> SpeechChunk:
    """The chunk with samples of our own: a voice may use its buffers again. Raises `SynthesizerError`."""
    rate = chunk.pcm.rate
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise SynthesizerError(f"the voice gave sound at {rate} Hz: {LOWEST_RATE} to {HIGHEST_RATE} are possible")
    try:
        return replace(chunk, pcm=Pcm(owned_samples(chunk.pcm.samples), rate))
    except ValueError as error:
        raise SynthesizerError(f"the voice gave sound that can't be played: {error}") from error


def _joined(chunks: list[SpeechChunk]) -> SpeechChunk | None:
    if len(chunks) < 2:
        return chunks[0] if chunks else None
    samples = np.concatenate([chunk.pcm.samples for chunk in chunks])
    timed = [chunk.phonemes for chunk in chunks if chunk.phonemes is not None]
    phonemes = tuple(phoneme for part in timed for phoneme in part) if timed else None
    words = tuple(word for chunk in chunks for word in chunk.words)
    return SpeechChunk(Pcm(samples, chunks[0].pcm.rate), phonemes, words)
