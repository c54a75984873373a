"""CPU of the lips: one 40 ms step of each tier, and a text pronounced. In this process, without a server."""

from __future__ import annotations

import time

import numpy as np

from avatar.lipsync.aligned import AlignedLipSync
from avatar.lipsync.audio import AudioLipSync
from avatar.lipsync.phonemes import PhonemeLipSync
from avatar.lipsync.pronunciation import Pronouncer
from avatar.resampler import Resampler
from avatar.tts.espeak import EspeakSynthesizer
from bench.processes import CLIENT_CORE, pin_to
from bench.result import Figure, Options, Result, pinnable
from core.frames import LISTEN_RATE, Pcm, Phoneme, SpeechChunk
from core.stages import LipSync

STEP_S = 0.040
ROUNDS = 9
"""How often every step is taken: its median tells what it costs, all of them how it varies."""
TEXT = (
    "The mother bought a pound of butter, and then she moved the small blue boat back home to Boston. "
    "People who live by the river often watch the ships go past, and wave to every captain they know. "
)
CHINESE = "我们今天去公园吃苹果，女儿喝绿茶，2024年的夏天比往年热，朋友们都带了 iPhone 来拍照。"


async def measure(options: Options) -> Result:
    """CPU time of the thread, so that others on the machine disturb little."""
    if pinnable(options):
        pin_to(CLIENT_CORE)
    sentences = options.count(12, 2)
    spoken = await _speech(TEXT, sentences)
    tiers: list[tuple[str, LipSync, bool]] = [
        ("sound alone", AudioLipSync(), False),
        ("text and sound", AlignedLipSync(), False),
        ("phoneme times", PhonemeLipSync(), True),
    ]
    figures = []
    for name, lipsync, timed in tiers:
        await lipsync.start()
        _steps(lipsync, spoken[0], timed=timed)
        rounds = [[step for chunk in spoken for step in _steps(lipsync, chunk, timed=timed)] for _ in range(ROUNDS)]
        figures += [
            Figure(f"one 40 ms step, {name}", "ms", [step for steps in rounds for step in steps]),
            Figure(f"one 40 ms step, {name}, median of {ROUNDS} times", "ms", list(np.median(rounds, axis=0)),
                   judged="p99", goal=0.3, note="without what other machines on the same processor add now and then"),
        ]  # fmt: skip
    pronouncer = Pronouncer()
    pronouncer.load()
    for name, text in (("English", TEXT), ("Chinese", CHINESE)):
        figures.append(Figure(f"text to sounds, {name}", "ms", _pronunciations(pronouncer, text, 200), goal=5.0))
    seconds = sum(len(chunk.pcm.samples) for chunk in spoken) / LISTEN_RATE
    return Result("lipsync", "CPU of the lips", figures, {"speech_s": round(seconds, 1), "step_s": STEP_S})


async def _speech(text: str, count: int) -> list[SpeechChunk]:
    """`count` utterances of espeak-ng at `LISTEN_RATE`, each in one piece with its phonemes."""
    synthesizer = EspeakSynthesizer()
    await synthesizer.start()
    utterances = []
    for _ in range(count):
        resampler: Resampler | None = None
        parts, phonemes = [], []
        async for chunk in synthesizer.synthesize(text):
            resampler = resampler or Resampler(chunk.pcm.rate, LISTEN_RATE)
            parts.append(resampler.feed(chunk.pcm.samples))
            phonemes += chunk.phonemes or ()
        utterances.append(SpeechChunk(Pcm(np.concatenate(parts), LISTEN_RATE), tuple(phonemes)))
    await synthesizer.close()
    return utterances


def _steps(lipsync: LipSync, utterance: SpeechChunk, *, timed: bool) -> list[float]:
    """Milliseconds of every step of an utterance; the text is pronounced in the first one, which does not count."""
    stream = lipsync.open(TEXT)
    size = round(STEP_S * LISTEN_RATE)
    samples, taken = utterance.pcm.samples, []
    for start in range(0, len(samples) - size + 1, size):
        phonemes = _starting(utterance.phonemes or (), start, size) if timed else None
        chunk = SpeechChunk(Pcm(samples[start : start + size], LISTEN_RATE), phonemes)
        before = time.thread_time()
        stream.feed(chunk)
        taken.append((time.thread_time() - before) * 1e3)
    return taken[1:]


def _starting(phonemes: tuple[Phoneme, ...], start: int, size: int) -> tuple[Phoneme, ...]:
    return tuple(p for p in phonemes if start <= p.start * LISTEN_RATE < start + size)


def _pronunciations(pronouncer: Pronouncer, text: str, count: int) -> list[float]:
    taken = []
    for _ in range(count):
        before = time.thread_time()
        pronouncer.words(text)
        taken.append((time.thread_time() - before) * 1e3)
    return taken
