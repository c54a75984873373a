"""Speech of espeak-ng with viseme segments, through the program's own engine and its corrections of event times."""

from __future__ import annotations

import numpy as np

from avatar.espeak.library import PhonemeEvent, Voice, espeak_library
from avatar.lipsync.labels import Timed
from avatar.lipsync.train.speech import Speech, resampled
from avatar.tts.espeak_chunks import ChunkAssembler
from core.frames import Samples, SpeechChunk

_VOICED_STOPS = tuple("bdɡɟɖɓɗ")
_CLOSURE = 0.055
_PAUSE = "_"


def speak(text: str, voice: Voice) -> Speech:
    """`text` spoken by `voice`. Raises `SynthesizerError`."""
    engine = espeak_library()
    assembler = ChunkAssembler(engine.rate, rate_wpm=voice.rate_wpm)
    chunks: list[SpeechChunk] = []

    def listen(samples: Samples, events: list[PhonemeEvent]) -> bool:
        chunk = assembler.push(samples, events)
        if chunk is not None:
            chunks.append(chunk)
        return True

    engine.speak(text, voice, listen)
    rest = assembler.finish()
    if rest is not None:
        chunks.append(rest)
    samples = np.concatenate([np.zeros(0, np.int16), *(chunk.pcm.samples for chunk in chunks)])
    phones = [Timed(p.symbol, p.start, p.end) for chunk in chunks for p in chunk.phonemes or ()]
    phones = _closed_in_time(phones)
    return Speech.of(text, resampled(samples, engine.rate), phones, voice.name)


def _closed_in_time(phones: list[Timed]) -> list[Timed]:
    """Voiced stops after a pause begin with their closure; espeak's event comes with the first sound of the voice."""
    moved = list(phones)
    for i in range(1, len(moved)):
        pause, stop = moved[i - 1], moved[i]
        if pause.symbol == _PAUSE and stop.symbol.startswith(_VOICED_STOPS):
            start = max(stop.start - _CLOSURE, (pause.start + pause.end) / 2)
            moved[i - 1 : i + 1] = [Timed(_PAUSE, pause.start, start), Timed(stop.symbol, start, stop.end)]
    return moved
