"""48 to 24 kHz: what can be heard stays, what can't is gone, pieces join without a seam."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from core.half_rate import HalfRate


def tone(hertz: float, seconds: float = 0.5, level: float = 10_000) -> NDArray[np.int16]:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * 48_000)) / 48_000)).astype(np.int16)


def level(samples: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(samples[200:-200].astype(float) ** 2))) * 2**0.5


@pytest.mark.parametrize("hertz", [100, 1000, 4000, 8000, 10_000])
def test_speech_passes_unchanged(hertz: float) -> None:
    out = HalfRate().feed(tone(hertz))
    assert len(out) == 12_000
    assert abs(level(out) / 10_000 - 1) < 0.01
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    assert abs(np.argmax(spectrum) * 24_000 / len(out) - hertz) <= 2


@pytest.mark.parametrize("hertz", [14_500, 18_000, 23_000])
def test_what_24_khz_can_not_carry_is_gone(hertz: float) -> None:
    assert level(HalfRate().feed(tone(hertz))) < 20  # 54 dB less


def test_pieces_join_without_a_seam() -> None:
    noise = np.random.default_rng(1).normal(0, 5000, 48_000).astype(np.int16)
    whole, pieces = HalfRate().feed(noise), HalfRate()
    cuts = [0, 960, 5760, 5762, 9600, 48_000]
    parts = [pieces.feed(noise[a:b]) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_it_is_half_a_millisecond_late_and_no_more() -> None:
    click = np.zeros(960, np.int16)
    click[480] = 20_000
    out = HalfRate().feed(click)
    assert abs(int(np.argmax(np.abs(out))) - 240) <= 12


def test_full_scale_does_not_wrap_around() -> None:
    square = np.where(np.arange(4800) % 96 < 48, 32767, -32768).astype(np.int16)
    out = HalfRate().feed(square).astype(int)
    assert np.abs(np.diff(np.sign(out[100:]))).sum() / 2 == pytest.approx((2400 - 100) / 24, abs=1)


def test_a_restart_forgets() -> None:
    half = HalfRate()
    half.feed(tone(1000))
    half.restart()
    assert not half.feed(np.zeros(960, np.int16)).any()
