"""Makes the labelled sets that judge the lip model: `python -m avatar.lipsync.train.sets FOLDER`.

No voice, no language (of the second set) and no recording in them was trained on.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np

from avatar.lipsync.train import alignment
from avatar.lipsync.train.corpus import espeak_sentences, recorded_sentences
from avatar.lipsync.train.speech import Speech, resampled
from avatar.lipsync.train.voices import HELD_OUT_LANGUAGES, HELD_OUT_VARIANTS, TRAINED_LANGUAGES, Use, recorded
from core.errors import LipSyncError
from core.frames import Samples

_ASTERISK_SOUNDS = Path("/usr/share/asterisk/sounds/en")
_ASTERISK_TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
_SEED = 2024


def espeak_voices(count: int) -> Iterable[Speech]:
    """Trained languages, timbres never heard."""
    rng = np.random.default_rng(_SEED)
    for i in range(count):
        language = TRAINED_LANGUAGES[i % len(TRAINED_LANGUAGES)]
        yield from islice(espeak_sentences(language, HELD_OUT_VARIANTS, 60.0, rng), 1)


def espeak_languages(count: int) -> Iterable[Speech]:
    """Languages never heard, in timbres never heard."""
    rng = np.random.default_rng(_SEED + 1)
    for i in range(count):
        language = HELD_OUT_LANGUAGES[i % len(HELD_OUT_LANGUAGES)]
        yield from islice(espeak_sentences(language, HELD_OUT_VARIANTS, 60.0, rng), 1)


def flite_rms(count: int) -> Iterable[Speech]:
    """flite's held-out voice."""
    return _recorded("flite", count)


def festival_italian(count: int) -> Iterable[Speech]:
    """festival's held-out voices, in a language that no recorded voice of the training speaks."""
    return _recorded("festival", count)


def human(count: int) -> Iterable[Speech]:
    """A woman's recordings (Asterisk's English prompts, by Allison Smith), aligned by PocketSphinx."""
    if not _ASTERISK_TEXTS.exists() or not _ASTERISK_SOUNDS.exists():
        raise LipSyncError("install Debian's asterisk-core-sounds-en and asterisk-core-sounds-en-g722")
    texts = gzip.decompress(_ASTERISK_TEXTS.read_bytes()).decode()
    items = [(text, read_sound(path)) for text, path in alignment.prompts(_ASTERISK_SOUNDS, texts)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(alignment.aligned, items, "human-allison").result()[:count]


SETS: dict[str, Callable[[int], Iterable[Speech]]] = {
    "espeak-voices": espeak_voices,
    "espeak-languages": espeak_languages,
    "flite-rms": flite_rms,
    "festival-italian": festival_italian,
    "human": human,
}
_COUNTS = {"espeak-voices": 114, "espeak-languages": 80, "flite-rms": 80, "festival-italian": 80, "human": 10_000}


def make(folder: Path, name: str, count: int) -> int:
    """Write set `name` as folder/name/*.wav and *.json, of at most `count` pieces; how many there are.

    Raises `LipSyncError` when its engine is missing.
    """
    written = 0
    for written, speech in enumerate(SETS[name](count), 1):
        speech.write(folder / name, f"{written:04}")
    return written


def read_sound(path: Path) -> Samples:
    """A sound file at 16 kHz."""
    with av.open(str(path), format="g722" if path.suffix == ".g722" else None) as file:
        frames = list(file.decode(audio=0))
    samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16)
    return resampled(samples, frames[0].sample_rate)


def _recorded(engine: str, count: int) -> Iterable[Speech]:
    rng = np.random.default_rng(_SEED + 2)
    voices = [voice for voice in recorded(Use.TEST) if voice.engine == engine]
    for voice in voices:
        yield from islice(recorded_sentences(voice, 36_000.0, rng), count // len(voices))


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m avatar.lipsync.train.sets", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="*", default=list(SETS), help=f"any of {', '.join(SETS)}; all by default")
    given = parser.parse_args(argv)
    if unknown := [name for name in given.sets if name not in SETS]:
        parser.error(f"there is no set {unknown[0]!r}: choose from {', '.join(SETS)}")
    for name in given.sets:
        try:
            print(f"{name}: {make(given.folder, name, _COUNTS[name])} pieces", flush=True)
        except LipSyncError as error:
            print(f"{name}: left out. {error}", flush=True)


if __name__ == "__main__":
    main()
