import numpy as np
import pytest

from avatar.lipsync.features import HOP, MEL_BANDS, LogMelStream, silence
from core.frames import LISTEN_RATE, Samples

RNG = np.random.default_rng(3)


def features(samples: Samples, sizes: list[int] | None = None) -> np.ndarray:
    stream = LogMelStream()
    at, rows = 0, []
    for size in sizes or [len(samples)]:
        rows.append(stream.feed(samples[at : at + size]))
        at += size
    assert at >= len(samples)
    return np.concatenate([*rows, stream.finish()])


def tone(frequency: float, seconds: float = 0.5) -> Samples:
    t = np.arange(round(seconds * LISTEN_RATE)) / LISTEN_RATE
    return np.asarray(8000 * np.sin(2 * np.pi * frequency * t), np.int16)


@pytest.mark.parametrize("size", [1, 7, 160, 333, 640, 4000])
def test_same_however_it_is_cut(size: int) -> None:
    samples = RNG.normal(0, 3000, 5000).astype(np.int16)
    sizes = [size] * -(-len(samples) // size)
    np.testing.assert_allclose(features(samples, sizes), features(samples), atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 159, 160, 161, 1000, 16000])
def test_one_frame_for_each_hop_begun(count: int) -> None:
    assert features(np.zeros(count, np.int16)).shape == (-(-count // HOP), MEL_BANDS)


def test_silence_is_the_floor() -> None:
    np.testing.assert_allclose(features(np.zeros(1600, np.int16)), silence(10))


def test_higher_tones_lie_in_higher_bands() -> None:
    loudest = [int(features(tone(f))[25].argmax()) for f in (150, 400, 1000, 2500, 5000, 7000)]
    assert loudest == sorted(set(loudest))


def test_window_is_centred_on_its_hop() -> None:
    click = np.zeros(3200, np.int16)
    click[1040] = 20000  # the middle of hop 6
    power = np.exp(features(click)).sum(axis=1)
    assert power.argmax() == 6
    assert power[5] == pytest.approx(power[7], rel=0.1)
    assert power[5] < 0.1 * power[6]


def test_ten_times_the_amplitude_is_20_db() -> None:
    quiet, loud = tone(500) // 10, tone(500)
    change = features(loud)[20:30].max(axis=1) - features(quiet)[20:30].max(axis=1)
    assert change.mean() == pytest.approx(np.log(100), abs=0.05)
