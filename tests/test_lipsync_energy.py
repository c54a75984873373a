import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from avatar.lipsync.bands import LOOK_AHEAD
from avatar.lipsync.energy import EnergyLipSync
from avatar.lipsync.mouth import mouth_of, opening
from avatar.tts.espeak import EspeakSynthesizer
from core.errors import LipSyncError
from core.frames import LISTEN_RATE, VISEMES, Pcm, Samples, SpeechChunk, VisemeFrames
from tests.contracts_voice import chunks_of, hum, lips_of, listening_chunks, pcm_of, spoken

TEXT = "The mother bought a pound of butter, and then she moved the small blue boat back home to Boston."
RNG = np.random.default_rng(7)


def frames_of(samples: Samples) -> VisemeFrames:
    return lips_of(EnergyLipSync(), chunks_of(samples, 960))


def openings(frames: VisemeFrames) -> np.ndarray:
    return np.array([opening(mouth_of(row)) for row in frames])


def envelope(samples: Samples) -> np.ndarray:
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160).astype(float)
    kernel = np.hanning(13)
    return np.convolve(np.sqrt(np.mean(frames**2, axis=1)), kernel / kernel.sum(), "same")


@pytest.fixture
async def speech(tmp_path: Path) -> Samples:
    """Speech of a voice made from recordings (flite); where that is missing, of our own."""
    if shutil.which("flite"):
        path = tmp_path / "speech.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", TEXT, "-o", str(path)], check=True)
        with wave.open(str(path)) as file:
            assert file.getframerate() == LISTEN_RATE
            return np.frombuffer(file.readframes(file.getnframes()), np.int16)
    synthesizer = EspeakSynthesizer()
    await synthesizer.start()
    chunks = await spoken(synthesizer, TEXT)
    await synthesizer.close()
    return pcm_of(listening_chunks(chunks))


def correlation(speech: Samples, lag: int = 0) -> float:
    mouth, sound = openings(frames_of(speech)), envelope(speech)
    count = min(len(mouth), len(sound))
    return float(np.corrcoef(np.roll(mouth, lag)[:count], sound[:count])[0, 1])


def test_opening_follows_the_envelope(speech: Samples) -> None:
    assert correlation(speech) >= 0.5


def test_opening_is_in_time_with_the_sound(speech: Samples) -> None:
    lags = range(-12, 13)
    best = max(lags, key=lambda lag: correlation(speech, lag))
    assert abs(best) <= 3
    assert correlation(speech, 25) < correlation(speech) - 0.3


@pytest.mark.parametrize("gain", [0.1, 0.5, 1.5])
def test_level_hardly_matters(speech: Samples, gain: float) -> None:
    usual = openings(frames_of(speech))
    other = openings(frames_of(np.clip(speech * gain, -32768, 32767).astype(np.int16)))
    assert np.corrcoef(usual, other)[0, 1] > 0.9
    assert other.mean() == pytest.approx(usual.mean(), abs=0.12)


def test_noise_keeps_the_mouth_closed() -> None:
    noise = RNG.normal(0, 60, 3 * LISTEN_RATE).astype(np.int16)
    assert openings(frames_of(noise)).max() < 0.1


def test_pauses_in_noise_are_closed_and_speech_open(speech: Samples) -> None:
    noisy = np.concatenate((np.zeros(8000, np.int16), speech, np.zeros(LISTEN_RATE, np.int16)))
    noisy = (noisy + RNG.normal(0, 40, len(noisy))).astype(np.int16)
    mouth = openings(frames_of(noisy))
    assert mouth[:40].max() < 0.1
    assert np.mean(mouth[-60:] > 0.1) < 0.05
    assert mouth[60:-110].mean() > 0.15


def formants(*peaks: tuple[float, float], seconds: float = 0.5) -> Samples:
    """A buzz of 130 Hz with resonances (Hz, relative amplitude)."""
    t = np.arange(round(seconds * LISTEN_RATE)) / LISTEN_RATE
    wave_ = np.zeros(len(t))
    for k in range(1, 55):
        strength = sum(a / (1 + ((130 * k - f) / 90) ** 2) for f, a in peaks) + 0.002
        wave_ += strength * np.sin(2 * np.pi * 130 * k * t + k * k)
    return np.asarray(8000 * wave_ / np.abs(wave_).max(), np.int16)


@pytest.mark.parametrize(
    ("sound", "likely"),
    [
        (formants((750, 1.0), (1200, 0.5), (2500, 0.1)), {"aa", "oh"}),
        (formants((300, 1.0), (2300, 0.3), (3000, 0.2)), {"ih"}),
        (formants((320, 1.0), (750, 0.3), (2300, 0.02)), {"ou", "oh"}),
        (formants((500, 1.0), (850, 0.8), (2400, 0.02)), {"oh"}),
    ],
)
def test_vowels_by_their_formants(sound: Samples, likely: set[str]) -> None:
    assert VISEMES[frames_of(sound)[15:45].mean(axis=0).argmax()] in likely


def test_hiss_is_s() -> None:
    spectrum = np.fft.rfft(RNG.normal(0, 1, LISTEN_RATE // 2))
    spectrum[: round(4500 / LISTEN_RATE * len(spectrum) * 2)] = 0
    hiss = np.fft.irfft(spectrum)
    sound = np.concatenate((hum(0.3), (3000 * hiss / hiss.std()).clip(-9000, 9000).astype(np.int16)[:3200]))
    assert VISEMES[frames_of(sound)[35:45].mean(axis=0).argmax()] == "SS"


def test_short_dip_between_vowels_closes_the_lips() -> None:
    murmur = np.asarray(800 * np.sin(2 * np.pi * 150 / LISTEN_RATE * np.arange(1440)), np.int16)
    frames = frames_of(np.concatenate((hum(0.4), murmur, hum(0.4))))
    mouth = openings(frames)
    assert mouth[41:48].min() < 0.1
    assert mouth[30] > 0.4
    assert mouth[65] > 0.4


def test_short_dip_is_likelier_a_closure_than_a_long_murmur() -> None:
    tone = np.asarray(800 * np.sin(2 * np.pi * 200 / LISTEN_RATE * np.arange(9600)), np.int16)
    closure = VISEMES.index("PP")
    short = frames_of(np.concatenate((hum(0.4), tone[:1440], hum(0.4))))[42:47, closure]
    long = frames_of(np.concatenate((hum(0.4), tone, hum(0.4))))[55:85, closure]
    assert short.max() > 1.15 * long.max()


def test_loud_voice_is_measured_by_its_own_level() -> None:
    usual, loud = frames_of(hum(1.0)), frames_of(np.asarray(hum(1.0) * 5.0, np.int16))
    assert np.abs(usual[60:90] - loud[60:90]).max() < 0.05


def test_frames_lag_by_the_look_ahead_and_no_more() -> None:
    stream = EnergyLipSync().open()
    rows = len(stream.feed(SpeechChunk(Pcm(hum(1.0), LISTEN_RATE))))
    assert LOOK_AHEAD <= 0.05
    assert rows >= 100 - int(LOOK_AHEAD * 100) - 1


def test_another_rate_is_refused() -> None:
    with pytest.raises(LipSyncError, match="22050"):
        EnergyLipSync().open().feed(SpeechChunk(Pcm(np.zeros(960, np.int16), 22050)))
