"""Levels by band."""

from __future__ import annotations

import numpy as np
import pytest

from core.bands import EDGES_HZ, SILENCE_DB, band_levels


@pytest.mark.parametrize(("rate", "count"), [(16_000, 512), (48_000, 1536), (16_000, 511)])
def test_a_tone_has_its_level_in_its_band_only(rate: int, count: int) -> None:
    tone = (10_000 * np.sin(2 * np.pi * 1200 * np.arange(count) / rate)).astype(np.int16)
    levels = band_levels(tone, rate)
    assert levels.shape == (len(EDGES_HZ) - 1,)
    assert levels.argmax() == 4
    assert levels[4] == pytest.approx(20 * np.log10(10_000 / 32768 / np.sqrt(2)), abs=0.5)
    assert np.delete(levels, [3, 4, 5]).max() < levels[4] - 50


def test_the_bands_together_are_the_level() -> None:
    noise = np.random.default_rng(1).normal(0, 1000, 512 * 40).astype(np.int16)
    powers = [np.sum(10 ** (band_levels(noise[i : i + 512], 16_000) / 10)) for i in range(0, len(noise), 512)]
    assert 10 * np.log10(np.mean(powers)) == pytest.approx(20 * np.log10(1000 / 32768), abs=0.5)


def test_silence_and_nothing() -> None:
    assert set(band_levels(np.zeros(512, np.int16), 16_000)) == {SILENCE_DB}
    assert set(band_levels(np.zeros(0, np.int16), 16_000)) == {SILENCE_DB}


def test_several_moments_at_once_are_the_same_as_one_by_one() -> None:
    sounds = np.random.default_rng(2).normal(0, 1000, (3, 1536)).astype(np.int16)
    sounds[1] = 0
    assert band_levels(sounds, 48_000) == pytest.approx(np.stack([band_levels(one, 48_000) for one in sounds]))
    assert band_levels(sounds[:, :0], 48_000).shape == (3, len(EDGES_HZ) - 1)
