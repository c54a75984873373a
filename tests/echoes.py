"""Voice-like noise, and the room through which one of them comes back: synthetic sound for the echo guard's tests."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from core.bands import FRAME_S, Levels, band_levels
from core.echo_delay import STEP_S
from core.frames import LISTEN_RATE

Sound = NDArray[np.float64]
HOP = round(FRAME_S * LISTEN_RATE)


def voice(seconds: float, level_db: float, seed: int) -> Sound:
    """Noise whose colour and strength change 10 times a second as in speech, with pauses; its RMS is `level_db`."""
    random = np.random.default_rng(seed)
    length = LISTEN_RATE // 10
    parts = []
    for _ in range(int(seconds * 10)):
        spectrum = np.fft.rfft(random.normal(0, 1, length))
        at = np.fft.rfftfreq(length, 1 / LISTEN_RATE)
        centre, width = random.uniform(200, 5000), random.uniform(300, 1500)
        loud = 0.0 if random.random() < 0.15 else 10 ** random.uniform(-1, 0)
        parts.append(np.fft.irfft(spectrum * np.exp(-(((at - centre) / width) ** 2)), length) * loud)
    sound = np.concatenate(parts)
    return np.asarray(sound / np.sqrt(np.mean(sound**2)) * 10 ** (level_db / 20) * 32768)


def echo(sound: Sound, delay_s: float, coupling_db: float) -> Sound:
    """As it comes back from a small room, `delay_s` later."""
    out = np.zeros(len(sound))
    for strength, later in ((1.0, 0.0), (0.5, 0.011), (0.35, 0.023), (0.2, 0.041)):
        shift = round((delay_s + later) * LISTEN_RATE)
        out[shift:] += sound[: len(out) - shift] * strength * 0.84
    return out * 10 ** (coupling_db / 20)


def room(seconds: float, level_db: float = -62.0, seed: int = 99) -> Sound:
    """Steady noise."""
    return np.random.default_rng(seed).normal(0, 10 ** (level_db / 20) * 32768, int(seconds * LISTEN_RATE))


def frames(heard: Sound, played: Sound) -> Iterator[tuple[float, Levels, list[tuple[float, Levels]]]]:
    """Of each frame: its end, its levels, and (moment, levels) of what was played meanwhile."""
    ears, mouth = (np.clip(sound, -32768, 32767).astype(np.int16) for sound in (heard, played))
    for end in range(2 * HOP, len(heard) + 1, HOP):
        moments = (end - round(STEP_S * LISTEN_RATE), end)
        said = [(at / LISTEN_RATE, band_levels(mouth[at - HOP : at], LISTEN_RATE)) for at in moments]
        yield end / LISTEN_RATE, band_levels(ears[end - HOP : end], LISTEN_RATE), said
