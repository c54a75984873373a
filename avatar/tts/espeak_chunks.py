"""From espeak's raw audio and events to speech chunks: exact phoneme times, trimmed silence, even loudness."""

from __future__ import annotations

import numpy as np

from avatar.espeak.library import PhonemeEvent
from core.frames import Pcm, Phoneme, Samples, SpeechChunk

PAUSE = "_"
_MARKS = "ˈˌ"
_VOICELESS_STOPS = ("p", "t", "k", "c", "q", "ʈ")
_VOWELS = "aeiouyæɑɐɒɔəɘɚɛɜɝɞɤɨɪʉʊʌøœɶɯʏɵ"
_VOICED_CONSONANTS = "bdɡgmnŋɲɳlɭɫʎɹrɾɽʀʁvðzʒʐʑwjɥβʝɣ"
_VOWEL_LEAD = 0.020
"""A vowel after a voiced consonant sounds this many seconds before its event, which follows the transition."""
_SHORTEST = 0.010
_QUIET = 60
"""Samples below this (-55 dBFS) are silence."""
_LEAD_IN = 0.005
_PIECE = 0.040
_KNEE = 0.7


def closure_seconds(rate_wpm: int) -> float:
    """How long before its event, which fires at the burst, a voiceless stop closes (measured, 130-260 wpm)."""
    return 0.007 + 5.46 / rate_wpm


class ChunkAssembler:
    """Cuts one utterance into `SpeechChunk`s at phoneme boundaries.

    Audio is held back until the phoneme it belongs to has ended, so that every phoneme leaves with its end
    known, and silence only leaves once more speech follows it. Silence before the first sound is dropped
    and the one after the last is cut to `gap` seconds. Samples are scaled by `gain` and softly limited.
    """

    def __init__(self, rate: int, *, rate_wpm: int, gain: float = 1.0, gap: float = 0.12) -> None:
        self._rate = rate
        self._gain = gain
        self._gap = round(gap * rate)
        self._closure = round(closure_seconds(rate_wpm) * rate)
        self._vowel_lead = round(_VOWEL_LEAD * rate)
        self._shortest = round(_SHORTEST * rate)
        self._held = np.zeros(0, np.int16)
        self._held_from = 0
        self._base = 0
        self._origin: int | None = None
        self._open = (PAUSE, 0)
        self._closed: list[tuple[str, int, int]] = []

    def next_text(self) -> None:
        """A further text follows in the same utterance: event positions count from here."""
        self._base = self._held_from + len(self._held)

    def push(self, samples: Samples, events: list[PhonemeEvent]) -> SpeechChunk | None:
        """Take the engine's next buffer; the chunk that is now complete, if any."""
        self._held = np.concatenate((self._held, samples))
        for event in events:
            self._begin(event)
        end = self._open[1]
        if end - self._held_from < _PIECE * self._rate:
            return None
        if self._origin is None and not self._find_onset(end):
            return None
        return self._take(end)

    def finish(self) -> SpeechChunk | None:
        """The rest of the utterance, or None when there is none."""
        total = self._held_from + len(self._held)
        if self._origin is None and not self._find_onset(total):
            return None
        loud = np.flatnonzero(np.abs(self._held.astype(np.int32)) > _QUIET)
        silence_from = self._held_from + (int(loud[-1]) + 1 if len(loud) else 0)
        end = max(silence_from + self._gap, self._open[1])
        self._held = np.pad(self._held, (0, max(0, end - total)))
        symbol, start = self._open
        if end > start:
            self._closed.append((symbol, start, end))
        return self._take(end) if end > self._held_from else None

    def _begin(self, event: PhonemeEvent) -> None:
        if event.symbol.startswith("("):
            return  # "(en)": the engine changed language inside the text
        symbol = event.symbol.strip() or PAUSE
        previous, start = self._open
        if symbol == PAUSE == previous:
            return
        at = self._base + event.sample - self._lead(previous, symbol)
        at = max(at, min(start + self._shortest, self._base + event.sample))
        if at > start:
            self._closed.append((previous, start, at))
        self._open = (symbol, max(at, start))

    def _lead(self, previous: str, symbol: str) -> int:
        first = symbol.lstrip(_MARKS)[:1]
        if first in _VOICELESS_STOPS:
            return self._closure
        after = previous.lstrip(_MARKS)[-1:]
        return self._vowel_lead if first in _VOWELS and after in _VOICED_CONSONANTS else 0

    def _find_onset(self, end: int) -> bool:
        """Drop the silence before the first sound; False while there is only silence before `end`."""
        loud = np.flatnonzero(np.abs(self._held[: end - self._held_from].astype(np.int32)) > _QUIET)
        if not len(loud):
            return False
        origin = max(self._held_from, self._held_from + int(loud[0]) - round(_LEAD_IN * self._rate))
        # The closure of a first stop is silent but belongs to the mouth: the lips need it.
        for symbol, start, _ in self._closed:
            if symbol != PAUSE:
                origin = min(origin, max(start, self._held_from))
                break
        self._origin = origin
        self._held = self._held[origin - self._held_from :]
        self._held_from = origin
        return True

    def _take(self, end: int) -> SpeechChunk:
        origin = self._origin or 0
        samples = self._held[: end - self._held_from]
        self._held = self._held[end - self._held_from :]
        self._held_from = end
        phonemes = tuple(
            Phoneme(symbol, (max(start, origin) - origin) / self._rate, (stop - origin) / self._rate)
            for symbol, start, stop in self._closed
            if stop > origin
        )
        self._closed = []
        return SpeechChunk(Pcm(limited(samples, self._gain), self._rate), phonemes)


def limited(samples: Samples, gain: float) -> Samples:
    """`samples` times `gain`, bent smoothly above 70 % of full scale so that nothing clips."""
    x = samples.astype(np.float32) * (gain / 32768)
    over = np.abs(x) - _KNEE
    bent = np.sign(x) * (_KNEE + (1 - _KNEE) * np.tanh(np.maximum(over, 0) / (1 - _KNEE)))
    return np.asarray(np.where(over > 0, bent, x) * 32767, np.int16)
