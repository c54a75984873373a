"""Synthesises the training corpus and keeps it as features: one file per voice, each made from its own seed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar.espeak.library import Voice
from avatar.lipsync.features import LogMelStream, Mel
from avatar.lipsync.labels import STOPS, classes_of
from avatar.lipsync.train import espeak_speech, recorded_speech
from avatar.lipsync.train.augment import Sound, music, opus_round_trip, reexcited, resampled_by
from avatar.lipsync.train.disturb import Noises
from avatar.lipsync.train.speech import Speech
from avatar.lipsync.train.texts import sentences
from avatar.lipsync.train.train import Shard
from avatar.lipsync.train.voices import TRAINED_LANGUAGES, TRAINED_VARIANTS, RecordedVoice, Use, recorded
from core.errors import LipSyncError
from core.frames import LISTEN_RATE, VISEMES

_STRETCHES = (0.85, 0.95, 1.05, 1.2, 1.35)
_PEAK = 0.5
_CLOSURE = 0.05
ESPEAK_SHARE = 0.40
"""Of the training sequences; the voices made from recordings have the rest. English and Mandarin count twice."""
_FADED = 34 * np.log(10) / 10
"""Natural log units of power under a voice's loud frames."""
_LONGEST_FADE = 40
_SIL = VISEMES.index("sil")
_NEURAL_IMPORTANCE = 5.0
"""Each of Kokoro's two shards is of many voices that speak as people do."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Seconds of sound, before augmentation, of each voice of flite, of the neural women and of the men, of festival
    (English, other), of each language of espeak."""

    flite: float = 1500.0
    neural: float = 700.0
    english: float = 1000.0
    recorded: float = 600.0
    mandarin: float = 1200.0
    espeak: float = 400.0

    def of(self, job: RecordedVoice | str) -> float:
        """Seconds of a voice or language."""
        if isinstance(job, str):
            return self.mandarin if job.startswith("cmn") else self.espeak
        if job.engine in ("flite", "kokoro"):
            return self.flite if job.engine == "flite" else self.neural
        return self.english if job.language == "en" else self.recorded


def make(folder: Path, amount: Amount, *, seed: int, processes: int) -> None:
    """Write the shards that are not in `folder` yet; tells of each. Raises `LipSyncError` when an engine is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs: list[RecordedVoice | str] = [*recorded(Use.TRAIN), *TRAINED_LANGUAGES]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for line in pool.map(_make_one, jobs, *zip(*[(folder, amount, seed)] * len(jobs), strict=True)):
            print(line, flush=True)
    if not (folder / "noises.npz").exists():
        rng = np.random.default_rng(seed)
        played = [features(music(20.0, rng)) for _ in range(12)]
        np.savez(folder / "noises.npz", music=np.concatenate(played).astype(np.float16))


def load(folder: Path, espeak_share: float = ESPEAK_SHARE) -> tuple[list[Shard], Noises]:
    """The shards of a corpus with their weights, and the noises to be heard behind them."""
    weights = shares(espeak_share)
    shards, babble = [], []
    for path in sorted(folder.glob("voice-*.npz")):
        with np.load(path) as file:
            classes = ended_with_sound(file["mel"], file["classes"])
            shards.append(Shard(file["mel"], classes, weights[path.stem.removeprefix("voice-")]))
            babble.append(file["mel"][:6000].astype(np.float32))
    with np.load(folder / "noises.npz") as file:
        return shards, Noises(np.concatenate(babble), file["music"].astype(np.float32))


def ended_with_sound(mel: NDArray[np.float16], classes: NDArray[np.int8]) -> NDArray[np.int8]:
    """`classes` of a voice's `mel`, in which speech ends when it has faded: aligners let last sounds go on in silence.

    The closure of a stop stays.
    """
    level = np.logaddexp.reduce(mel.astype(np.float32), axis=1)
    quiet = level < np.percentile(level, 97) - _FADED
    over = quiet & (classes != _SIL) & ~np.isin(classes, [VISEMES.index(name) for name in STOPS])
    ended = classes.copy()
    for end in (np.flatnonzero((classes[1:] == _SIL) & (classes[:-1] != _SIL)) + 1).tolist():
        start = end
        while start > max(0, end - _LONGEST_FADE) and bool(over[start - 1]):
            start -= 1
        ended[start:end] = _SIL
    return ended


def features(sound: NDArray[np.floating]) -> Mel:
    """Features of a float sound."""
    stream = LogMelStream()
    samples = np.clip(sound * 32767, -32768, 32767).astype(np.int16)
    return np.concatenate((stream.feed(samples), stream.finish()))


def _make_one(job: RecordedVoice | str, folder: Path, amount: Amount, seed: int) -> str:
    name = _name(job)
    path = folder / f"voice-{name}.npz"
    if path.exists():
        return f"{name}: kept"
    rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
    if isinstance(job, str):
        spoken = espeak_sentences(job, TRAINED_VARIANTS, amount.of(job), rng)
    else:
        spoken = recorded_sentences(job, amount.of(job), rng)
    mels, classes, seconds = [], [], 0.0
    for speech in spoken:
        seconds += speech.seconds
        for mel, labels in _variants(speech, rng):
            mels.append(mel.astype(np.float16))
            classes.append(labels)
    np.savez(path, mel=np.concatenate(mels), classes=np.concatenate(classes), seconds=seconds)
    return f"{name}: {seconds:.0f} s"


def _name(job: RecordedVoice | str) -> str:
    return job if isinstance(job, str) else f"{job.engine}-{job.name}"


def shares(espeak_share: float = ESPEAK_SHARE) -> dict[str, float]:
    """By name of the shard, how likely a training sequence is taken from it."""
    kinds: tuple[tuple[float, tuple[RecordedVoice | str, ...]], ...] = (
        (espeak_share, TRAINED_LANGUAGES),
        (1 - espeak_share, recorded(Use.TRAIN)),
    )
    weights: dict[str, float] = {}
    for share, jobs in kinds:
        total = sum(map(_importance, jobs))
        weights |= {_name(job): share * _importance(job) / total for job in jobs}
    return weights


def _importance(job: RecordedVoice | str) -> float:
    if isinstance(job, str):
        return 2.0 if job[:2] in ("en", "cm") else 1.0
    if job.engine == "kokoro":
        return _NEURAL_IMPORTANCE
    return 2.0 if job.language == "en" else 1.0


def espeak_sentences(
    language: str, variants: tuple[str, ...], seconds: float, rng: np.random.Generator
) -> Iterator[Speech]:
    """Sentences of an espeak language by changing voices, until `seconds` of speech."""
    total = 0.0
    tag = "zh" if language.startswith("cmn") else language.partition("-")[0]
    while total < seconds:
        text = sentences(tag, 1, rng)[0]
        variant = str(rng.choice(variants))
        name = f"{language}+{variant}" if variant else language
        rate = int(rng.integers(120, 260))
        voice = Voice(name, rate, int(rng.integers(15, 85)), int(rng.integers(20, 80)))
        speech = espeak_speech.speak(_pinyin(text) if tag == "zh" else text, voice)
        if speech.seconds > 0.5:
            total += speech.seconds
            yield replace(speech, text=text)


def recorded_sentences(voice: RecordedVoice, seconds: float, rng: np.random.Generator) -> Iterator[Speech]:
    """Sentences of a recorded voice at changing speeds, until `seconds` of speech."""
    total, failed = 0.0, 0
    while total < seconds:
        texts = sentences(voice.language, 12, rng)
        spoken = recorded_speech.speak(texts, voice, stretch=float(rng.choice(_STRETCHES)))
        failed = failed + 1 if not spoken else 0
        if failed > 20:
            raise LipSyncError(f"{voice.name} can't speak: does {voice.engine} run?")
        for speech in spoken:
            if speech.seconds > 0.5:
                total += speech.seconds
                yield speech


def _variants(speech: Speech, rng: np.random.Generator) -> Iterator[tuple[Mel, NDArray[np.int8]]]:
    """The speech as it is, and twice with another size, voice or codec; in silence of changing length."""
    sound: Sound = speech.samples.astype(np.float32) / np.float32(32768)
    sound *= np.float32(_PEAK / (np.abs(sound).max() + 1e-6))
    yield _labelled(sound, speech, 1.0, rng)
    for _ in range(2):
        factor = float(rng.uniform(0.82, 1.18))
        changed = resampled_by(sound, factor)
        if rng.random() < 0.5:
            changed = reexcited(changed, rng)
        if rng.random() < 0.2:
            changed = opus_round_trip(changed, int(rng.choice([8000, 12000, 16000, 24000, 32000])))
        changed *= np.float32(_PEAK / (np.abs(changed).max() + 1e-6))
        yield _labelled(changed, speech, factor, rng)


def _labelled(sound: Sound, speech: Speech, factor: float, rng: np.random.Generator) -> tuple[Mel, NDArray[np.int8]]:
    lead, tail = (round(float(rng.uniform(0.05, 0.6)) * LISTEN_RATE) for _ in range(2))
    mel = features(np.concatenate((np.zeros(lead, np.float32), sound, np.zeros(tail, np.float32))))
    shift = lead / LISTEN_RATE
    segments = [(start * factor + shift, end * factor + shift, name) for start, end, name in speech.segments]
    start, end, name = segments[0]
    if name in STOPS:  # the engines begin with its burst
        segments[0] = (start - _CLOSURE, end, name)
    return mel, classes_of(segments, len(mel)).astype(np.int8)


def _pinyin(text: str) -> str:
    from pypinyin import Style, lazy_pinyin

    return " ".join(lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True))
