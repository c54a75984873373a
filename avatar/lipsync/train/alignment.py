"""Phone times of recorded English speech whose text is known, by PocketSphinx; it holds the GIL, so in its own process.

Recordings of people are for judging the model only; neural voices, which know no times, are for training.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from avatar.lipsync.features import HOP
from avatar.lipsync.labels import Timed, classes_of, segments_of
from avatar.lipsync.train.phones import ipa_of
from avatar.lipsync.train.speech import Speech
from core.frames import LISTEN_RATE, Samples

_FRAMES_PER_SECOND = 100
_UNREADABLE = re.compile(r"[0-9#*&@]")
_LEAST_LIKELY = -25.0
"""Score of a frame, on average, below which the sound is not that of the text (typically it is -13)."""
_MOST_LOUD, _LOUD_DB = 0.1, 22.0
_MARGIN = 0.3
"""Seconds of faint noise put around a recording: silence at its ends must not become a part of its phones."""


def aligned(items: list[tuple[str, Samples]], voice: str) -> list[Speech]:
    """Those of `items` (text, samples at 16 kHz) that the aligner finds a path through, with their segments.

    Left out are texts with a word that the aligner's dictionary does not have or with digits, and recordings that say
    something else: where the path is unlikely or loud frames lie in its pauses.
    """
    decoder = _decoder()
    rng = np.random.default_rng(0)
    found = []
    for text, samples in items:
        if not readable(text):
            continue
        words = _words(text)
        quiet = rng.normal(0, 5, round(_MARGIN * LISTEN_RATE)).astype(np.int16)
        phones = _phones(decoder, " ".join(words), np.concatenate((quiet, samples, quiet)).tobytes())
        seconds = len(samples) / LISTEN_RATE
        phones = [
            Timed(phone.symbol, max(0.0, phone.start - _MARGIN), min(seconds, phone.end - _MARGIN)) for phone in phones
        ]
        if phones and _loud_in_pauses(samples, phones) < _MOST_LOUD:
            found.append(Speech.of(text, samples, phones, voice))
    return found


def readable(text: str) -> bool:
    """Whether the aligner's dictionary has all words of `text`."""
    words = _words(text)
    return bool(words) and not _UNREADABLE.search(text) and all(map(_decoder().lookup_word, words))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


@lru_cache(maxsize=1)
def _decoder() -> Any:
    import pocketsphinx

    return pocketsphinx.Decoder(loglevel="FATAL", bestpath=False)


def _phones(decoder: Any, words: str, sound: bytes) -> list[Timed]:
    """Words first, then the states within them."""
    try:
        decoder.set_align_text(words)
        for search in (None, "phones"):
            if search:
                decoder.set_alignment()
            decoder.start_utt()
            decoder.process_raw(sound, full_utt=True)
            decoder.end_utt()
            if not search and decoder.hyp() is None:
                return []
        spoken = [phone for word in decoder.get_alignment() for phone in word if phone.name != "SIL"]
        if sum(phone.score for phone in spoken) < _LEAST_LIKELY * sum(phone.duration for phone in spoken):
            return []
        return [
            Timed(
                ipa_of(phone.name.lower(), "en"),
                phone.start / _FRAMES_PER_SECOND,
                (phone.start + phone.duration) / _FRAMES_PER_SECOND,
            )
            for word in decoder.get_alignment()
            for phone in word
        ]
    except RuntimeError:
        return []


def _loud_in_pauses(samples: Samples, phones: list[Timed]) -> float:
    """Share of the loud frames that the alignment takes for silence."""
    count = len(samples) // HOP
    level = 20 * np.log10(samples[: count * HOP].reshape(count, HOP).astype(np.float32).std(axis=1) + 1)
    loud = level > level.max() - _LOUD_DB
    silent = classes_of(segments_of(phones), count) == 0
    return float((loud & silent).sum() / loud.sum())


def prompts(sounds: Path, texts: str) -> list[tuple[str, Path]]:
    """Text and file of Asterisk's prompts: lines "name: text"; those with descriptions in brackets say nothing."""
    found = []
    for line in texts.splitlines():
        name, colon, text = line.partition(":")
        path = sounds / f"{name.strip()}.g722"
        if colon and not line.startswith(";") and "[" not in text and path.is_file():
            found.append((text.strip(), path))
    return found
