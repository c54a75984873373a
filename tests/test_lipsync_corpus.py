"""The labels, sounds and features that the lip model is trained on."""

import shutil
import wave
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from avatar.espeak.library import Voice
from avatar.lipsync.evaluate import read_folder
from avatar.lipsync.features import MEL_BANDS
from avatar.lipsync.labels import Timed, classes_of, frames_of, segments_of, visemes_of
from avatar.lipsync.train import espeak_speech, neural_speech, recorded_speech
from avatar.lipsync.train.alignment import aligned, prompts
from avatar.lipsync.train.augment import music, opus_round_trip, reexcited, resampled_by
from avatar.lipsync.train.corpus import ended_with_sound, espeak_sentences, features, shares
from avatar.lipsync.train.disturb import (
    Noises,
    band_limited,
    disturbed,
    hiss,
    masked,
    other_tract,
    reverberated,
    stretched,
    with_noise,
)
from avatar.lipsync.train.export import arrays_of, model_of, read, save
from avatar.lipsync.train.mean import mean_of
from avatar.lipsync.train.model import LipNetwork
from avatar.lipsync.train.phones import TABLES, ipa_of
from avatar.lipsync.train.sets import main as make_sets
from avatar.lipsync.train.sets import read_sound
from avatar.lipsync.train.speech import Speech
from avatar.lipsync.train.texts import sentences
from avatar.lipsync.train.train import Plan, Shard, soft_targets, train
from avatar.lipsync.train.voices import (
    HELD_OUT_LANGUAGES,
    HELD_OUT_VARIANTS,
    RECORDED,
    TRAINED_LANGUAGES,
    TRAINED_VARIANTS,
    Use,
)
from core.errors import LipSyncError
from core.frames import LISTEN_RATE, VISEMES

RNG = np.random.default_rng(11)
TEXT = "Peter bought a map of the moon, and Bob moved the blue boat."


def phones(*parts: tuple[str, float]) -> list[Timed]:
    found, at = [], 0.0
    for symbol, length in parts:
        found.append(Timed(symbol, at, at + length))
        at += length
    return found


def names(*parts: tuple[str, float]) -> list[str]:
    return [name for _, _, name in segments_of(phones(*parts))]


@pytest.fixture(scope="module")
def speech() -> Speech:
    return espeak_speech.speak(TEXT, Voice("en-us+m3"))


def test_breath_takes_the_mouth_of_what_follows_and_diphthongs_have_two() -> None:
    assert names(("h", 0.05), ("ˈuː", 0.1), ("aɪ", 0.2)) == ["ou", "aa", "ih"]


def test_short_pause_is_the_closure_of_a_stop_and_a_long_one_is_silence() -> None:
    assert names(("ɑ", 0.1), ("_", 0.04), ("p", 0.05)) == ["aa", "PP"]
    assert names(("ɑ", 0.1), ("_", 0.04), ("s", 0.05)) == ["aa", "SS"]
    assert names(("ɑ", 0.1), ("_", 0.2), ("p", 0.05)) == ["aa", "sil", "PP"]


def test_segments_have_no_gaps(speech: Speech) -> None:
    for (_, end, name), (start, _, following) in zip(speech.segments, speech.segments[1:], strict=False):
        assert end == pytest.approx(start)
        assert name != following
    assert speech.segments[-1][1] == pytest.approx(speech.seconds, abs=0.02)


def test_frames_share_a_boundary_and_classes_take_the_middle() -> None:
    segments = [(0.0, 0.053, "PP"), (0.053, 0.1, "aa")]
    frames = frames_of(segments, 12)
    assert frames[5, VISEMES.index("PP")] == pytest.approx(0.3, abs=1e-5)
    assert frames[11, 0] == 1
    assert [VISEMES[c] for c in classes_of(segments, 12)] == ["PP"] * 5 + ["aa"] * 5 + ["sil"] * 2


def test_f1_every_p_b_m_of_espeak_is_labelled_a_closure(speech: Speech) -> None:
    labials = [phone for phone in speech.phones if phone[0][0] in "pbm"]
    assert len(labials) == 10
    classes = classes_of(speech.segments, round(speech.seconds * 100))
    for symbol, start, end in labials:
        assert classes[int((start + end) * 50)] == VISEMES.index("PP"), symbol


def test_stop_after_a_pause_closes_before_it_sounds() -> None:
    speech = espeak_speech.speak("Bob. Dad. Bob.", Voice("en-us+m3"))
    starts = [(name, end - start) for start, end, name in speech.segments if name in ("PP", "DD")]
    assert all(length > 0.045 for _, length in starts[1:]), starts


def test_labels_are_in_time_with_the_sound(speech: Speech) -> None:
    """Vowels are louder than stops where the labels say so, and no longer when they are shifted."""
    level = features(speech.samples / 32768).max(axis=1)
    classes = classes_of(speech.segments, len(level))
    vowel, stop = np.isin(classes, [10, 11, 12, 13, 14]), np.isin(classes, [1, 4, 5])

    def contrast(shift: int) -> float:
        rolled = np.roll(level, shift)
        return float(rolled[vowel].mean() - rolled[stop].mean())

    assert contrast(0) > 1.5
    assert max(range(-8, 9), key=contrast) in (-2, -1, 0, 1, 2)


@pytest.mark.parametrize("language", sorted(TABLES))
def test_every_phone_of_an_engine_has_a_mouth(language: str) -> None:
    table = TABLES[language]
    assert {"PP", "FF", "aa", "SS", "nn", "ou", "sil"} <= {v for ipa in table.values() for v, _ in visemes_of(ipa)}
    mouthless = {phone for phone, ipa in table.items() if visemes_of(ipa) == (("", 1.0),)}
    assert mouthless <= {"h", "hh", "hv", "h:", "_"}
    with pytest.raises(LipSyncError, match="qqq"):
        ipa_of("qqq", language)


def test_what_judges_is_not_what_trains() -> None:
    assert not set(HELD_OUT_LANGUAGES) & set(TRAINED_LANGUAGES)
    assert not set(HELD_OUT_VARIANTS) & set(TRAINED_VARIANTS)
    assert len(TRAINED_LANGUAGES) >= 10
    assert "cmn-latn-pinyin" in TRAINED_LANGUAGES
    for engine in ("festival", "flite"):
        uses = {voice.use for voice in RECORDED if voice.engine == engine}
        assert {Use.TRAIN, Use.TEST} <= uses
    assert len({(voice.engine, voice.name) for voice in RECORDED}) == len(RECORDED)
    assert all(voice.licence and (voice.why or voice.use is not Use.NONE) for voice in RECORDED)
    tested = {voice.language for voice in RECORDED if voice.use is Use.TEST and voice.engine == "festival"}
    assert not tested & {voice.language for voice in RECORDED if voice.use is Use.TRAIN}


@pytest.mark.parametrize("variant", [*TRAINED_VARIANTS, *HELD_OUT_VARIANTS])
def test_every_variant_exists(variant: str) -> None:
    assert espeak_speech.speak("mama", Voice(f"en-us+{variant}" if variant else "en-us")).seconds > 0.3


def test_generated_languages_are_spoken() -> None:
    for language in ("ja", "ko"):
        for speech in islice(espeak_sentences(language, ("f2",), 60.0, np.random.default_rng(1)), 3):
            assert speech.seconds > 1
            assert len({name for _, _, name in speech.segments}) > 4
    assert len(set(sentences("fi", 20, RNG))) == 20


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_flite_speaks_with_its_own_times() -> None:
    voice = next(voice for voice in RECORDED if voice.name == "slt")
    (speech,) = recorded_speech.speak([TEXT], voice)
    assert sum(name == "PP" for _, _, name in speech.segments) == 9  # of 10; those of “Bob moved” are one
    assert speech.segments[-1][1] == pytest.approx(speech.seconds, abs=0.1)
    (slow,) = recorded_speech.speak([TEXT], voice, stretch=1.5)
    assert slow.seconds == pytest.approx(1.5 * speech.seconds, rel=0.1)


def test_a_missing_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LipSyncError, match="festvox-kallpc16k"):
        recorded_speech.speak([TEXT], RECORDED[0])


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_what_a_neural_voice_is_given_to_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = neural_speech.as_ipa("Peter, bring the map!")
    assert said.count(",") == 1
    assert said.endswith("!")
    assert said.index("p") < said.index(",") < said.index("m")
    monkeypatch.setattr(neural_speech, "FOLDER", tmp_path)
    voice = next(voice for voice in RECORDED if voice.engine == "kokoro")
    with pytest.raises(LipSyncError, match="packages named in"):
        recorded_speech.speak([TEXT], voice)


def test_every_voice_has_its_share_of_the_training() -> None:
    weights = shares()
    assert len(weights) == len(TRAINED_LANGUAGES) + sum(voice.use is Use.TRAIN for voice in RECORDED)
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["cmn-latn-pinyin"] == pytest.approx(2 * weights["de"])
    assert weights["kokoro-am_"] > weights["flite-awb"] > weights["festival-czech_ph"]


def test_a_last_sound_ends_when_it_has_faded() -> None:
    """ "a" fades within its label, "p" is silent by nature."""
    sil, aa, pp = (VISEMES.index(name) for name in ("sil", "aa", "PP"))
    classes = np.array([sil] * 20 + [aa] * 30 + [sil] * 20 + [pp] * 10 + [sil] * 20, np.int8)
    mel = np.full((len(classes), MEL_BANDS), -18.0)
    mel[20:40] = -5
    ended = ended_with_sound(mel.astype(np.float16), classes)
    assert ended[20:40].tolist() == [aa] * 20
    assert ended[40:70].max() == sil
    assert ended[70:80].tolist() == [pp] * 10


def test_pocketsphinx_finds_the_phones_of_a_known_text() -> None:
    """Against flite's own times; another text, digits and words that no dictionary has are left out."""
    voice = next(voice for voice in RECORDED if voice.name == "slt")
    (speech,) = recorded_speech.speak([TEXT], voice)
    others = ("Xqzt.", "Press 1.", "Something else was said here by somebody, wasn't it? Why, yes, I believe so.")
    (found,) = aligned([(TEXT, speech.samples), *((text, speech.samples) for text in others)], "test")
    count = round(speech.seconds * 100)
    mine, theirs = classes_of(speech.segments, count), classes_of(found.segments, count)
    speaking = mine != 0
    assert np.mean(mine[speaking] == theirs[speaking]) > 0.7
    assert found.segments[-1][1] <= speech.seconds + 0.01


def test_a_set_is_read_as_it_was_written(tmp_path: Path, speech: Speech) -> None:
    speech.write(tmp_path / "set", "0001")
    (clip,) = read_folder(tmp_path / "set")
    np.testing.assert_array_equal(clip.samples, speech.samples)
    assert clip.text == TEXT
    assert [name for _, _, name in clip.segments] == [name for _, _, name in speech.segments]
    np.testing.assert_array_equal(read_sound(tmp_path / "set" / "0001.wav"), speech.samples)


def test_sounds_of_any_rate_are_read_at_16_khz(tmp_path: Path) -> None:
    t = np.arange(8000) / 8000
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((8000 * np.sin(2 * np.pi * 500 * t)).astype(np.int16).tobytes())
    samples = read_sound(tmp_path / "tone.wav")
    assert len(samples) == LISTEN_RATE
    assert np.abs(np.fft.rfft(samples)).argmax() == 500


def test_prompts_are_those_with_a_text_and_a_file(tmp_path: Path) -> None:
    for name in ("hello", "tone"):
        (tmp_path / f"{name}.g722").write_bytes(b"")
    texts = "; comment\nhello: Hello, you.\ntone: [a tone]\nmissing: Not here.\n"
    assert prompts(tmp_path, texts) == [("Hello, you.", tmp_path / "hello.g722")]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    count = min(len(a), len(b))
    return float(np.corrcoef(a[:count].ravel(), b[:count].ravel())[0, 1])


def test_augmentation_keeps_what_was_said_and_when(speech: Speech) -> None:
    sound = (speech.samples / 32768).astype(np.float32)
    mel = features(sound)
    for changed in (reexcited(sound, RNG), opus_round_trip(sound, 16_000)):
        assert len(changed) == len(sound)
        other = features(changed)
        lags = {lag: correlation(mel[10:-10], np.roll(other, lag, axis=0)[10:-10]) for lag in range(-3, 4)}
        assert lags[0] > 0.85
        assert max(lags, key=lambda lag: lags[lag]) in (-1, 0, 1)
        assert np.abs(changed - sound).max() > 0.01


@pytest.mark.parametrize("factor", [0.82, 1.0, 1.18])
def test_resampling_scales_time_and_frequency(factor: float) -> None:
    t = np.arange(LISTEN_RATE) / LISTEN_RATE
    changed = resampled_by(np.sin(2 * np.pi * 1000 * t).astype(np.float32), factor)
    assert len(changed) == pytest.approx(LISTEN_RATE * factor, abs=64)
    peak = np.abs(np.fft.rfft(changed[:8000] * np.hanning(8000))).argmax() * 2
    assert peak == pytest.approx(1000 / factor, rel=0.01)


def test_features_are_disturbed_as_sound_would_be(speech: Speech) -> None:
    mel = features(speech.samples / 32768)
    tone = np.full((50, MEL_BANDS), -15, np.float32)
    tone[:, 20] = -3
    assert other_tract(tone, 1.15)[0].argmax() > 20 > other_tract(tone, 0.87)[0].argmax()
    click = np.full((50, MEL_BANDS), -15, np.float32)
    click[10] = -3
    tail = reverberated(click, 0.3, 0.5)[:, 20]
    assert tail[9] == pytest.approx(-15, abs=0.5)
    assert -15 < tail[25] < tail[15] < tail[11] < -3
    drop = np.log(10) * 6 * 10 / 30
    assert tail[11] - tail[21] == pytest.approx(drop, rel=0.05)
    noisy = with_noise(mel, hiss(len(mel), RNG), 20.0)
    assert np.all(noisy >= mel - 1e-5)
    loud, noise = np.quantile(np.exp(mel).sum(axis=1), 0.85), np.exp(noisy[-3:]).sum(axis=1).mean()
    assert 10 * np.log10(loud / noise) == pytest.approx(20, abs=3)
    limited = band_limited(mel, 300, 3400, 6.0)
    assert np.all(limited[:, 0] < mel[:, 0] - 5)
    np.testing.assert_array_equal(limited[:, 15], mel[:, 15])


def test_stretching_takes_the_labels_along() -> None:
    mel = np.repeat(np.arange(60, dtype=np.float32)[:, None], MEL_BANDS, axis=1)
    classes = np.arange(60).astype(np.int8) // 10
    slow, labels = stretched(mel, classes, 60, 1.2)
    assert slow[12, 0] == pytest.approx(10, abs=0.01)
    assert labels.tolist() == [round(i / 1.2) // 10 for i in range(60)]


def test_disturbed_features_are_finite_and_differ(speech: Speech) -> None:
    mel = np.tile(features(speech.samples / 32768), (3, 1))[:400]
    noises = Noises(np.tile(mel, (2, 1)), np.tile(features(music(3.0, RNG)), (2, 1)))
    seen = [masked(disturbed(mel, noises, np.random.default_rng(i)), RNG) for i in range(30)]
    assert all(np.isfinite(other).all() and other.shape == mel.shape for other in seen)
    assert len({float(other.mean()) for other in seen}) == 30


def test_soft_targets_blur_boundaries_only() -> None:
    targets = soft_targets(np.array([0, 0, 0, 1, 1, 1], np.int8))
    assert targets[0, 0] == targets[5, 1] == 1
    assert targets[2, 0] == pytest.approx(0.85)
    np.testing.assert_allclose(targets.sum(axis=1), 1)


def tiny_shard() -> Shard:
    """Two "visemes" that any model can tell apart by their spectrum."""
    classes = np.repeat(np.random.default_rng(0).integers(0, 2, 400), 10).astype(np.int8)
    mel = np.random.default_rng(1).normal(-8, 1, (len(classes), MEL_BANDS))
    mel[classes == 1, :20] += 4
    return Shard(mel.astype(np.float16), classes, 1.0)


def test_training_learns_and_is_reproducible() -> None:
    shard = tiny_shard()
    bank = np.asarray(shard.mel[:1000], np.float32)
    plan = Plan(steps=30, batch=4, frames=100, width=16, dilations=(1, 2), seed=3)
    losses: list[float] = []
    models = [train([shard], Noises(bank, bank), plan, lambda _, loss, __: losses.append(loss)) for _ in range(2)]
    assert losses[0] == losses[1]
    for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        assert bool((a == b).all())
    short = train([shard], Noises(bank, bank), Plan(steps=1, batch=4, frames=100, width=16, dilations=(1, 2)), _ignore)
    assert accuracy(models[0], shard) > 0.8 > accuracy(short, shard)


def test_training_goes_on_from_exported_weights(tmp_path: Path) -> None:
    shard = tiny_shard()
    bank = np.asarray(shard.mel[:1000], np.float32)
    plan = Plan(steps=30, batch=4, frames=100, width=16, dilations=(1, 2), seed=3)
    first = train([shard], Noises(bank, bank), plan, _ignore)
    save(arrays_of(first), tmp_path / "weights.npz")
    start = model_of(read(tmp_path / "weights.npz"))
    few = Plan(steps=3, batch=4, frames=100, width=16, dilations=(1, 2), rate=1e-4)
    on = train([shard], Noises(bank, bank), few, _ignore, start)
    assert accuracy(on, shard) > 0.8
    assert any(bool((a != b).any()) for a, b in zip(on.parameters(), start.parameters(), strict=True))


def test_mean_of_two_trainings() -> None:
    first = arrays_of(LipNetwork(8, (1, 2)).eval())
    second = {name: a + 2 for name, a in first.items()}
    for name, a in mean_of(first, second).items():
        np.testing.assert_allclose(a, first[name] + 1, rtol=1e-6)
    with pytest.raises(ValueError, match="shapes"):
        mean_of(first, arrays_of(LipNetwork(6, (1, 2)).eval()))


def _ignore(step: int, loss: float, model: object) -> None:
    pass


def accuracy(model: object, shard: Shard) -> float:
    import torch

    with torch.no_grad():
        logits = model(torch.from_numpy(shard.mel.astype(np.float32))[None])[0].numpy()  # type: ignore[operator]
    return float(np.mean(logits[4:].argmax(axis=1) == shard.classes[:-4]))


def test_a_set_that_there_is_not_is_told_before_any_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        make_sets([str(tmp_path / "sets"), "flite-rms", "klingon"])
    assert left.value.code == 2
    assert "no set 'klingon': choose from espeak-voices" in capsys.readouterr().err
    assert not (tmp_path / "sets").exists()
