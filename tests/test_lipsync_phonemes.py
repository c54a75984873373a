import numpy as np
import pytest

from avatar.lipsync.aligned import AlignedLipSync
from avatar.lipsync.audio import AudioLipSync
from avatar.lipsync.auto import AutoLipSync
from avatar.lipsync.ipa import Manner, targets_of
from avatar.lipsync.mouth import mouth_between, mouth_of, opening
from avatar.lipsync.phonemes import PhonemeLipSync
from avatar.tts.espeak import EspeakSynthesizer
from core.frames import LISTEN_RATE, VISEME_RATE, VISEMES, Pcm, Phoneme, SpeechChunk, VisemeFrames
from tests.contracts_voice import chunks_of, hum, lips_of, listening_chunks, spoken

PP, FF, AA, OU, IH, SIL = (VISEMES.index(name) for name in ("PP", "FF", "aa", "ou", "ih", "sil"))


def timed(*parts: tuple[str, float]) -> tuple[Phoneme, ...]:
    """Phonemes one after the other, each with its length in seconds."""
    phonemes, at = [], 0.0
    for symbol, length in parts:
        phonemes.append(Phoneme(symbol, at, at + length))
        at += length
    return tuple(phonemes)


def frames_of(*parts: tuple[str, float]) -> VisemeFrames:
    phonemes = timed(*parts)
    silence = np.zeros(round(phonemes[-1].end * LISTEN_RATE), np.int16)
    return lips_of(PhonemeLipSync(), chunks_of(silence, 960, phonemes))


def at(frames: VisemeFrames, time: float) -> VisemeFrames:
    return np.asarray(frames[int(time * VISEME_RATE)])


async def said(text: str) -> tuple[VisemeFrames, list[Phoneme]]:
    synthesizer = EspeakSynthesizer()
    await synthesizer.start()
    chunks = await spoken(synthesizer, text)
    await synthesizer.close()
    phonemes = [p for chunk in chunks for p in chunk.phonemes or ()]
    return lips_of(PhonemeLipSync(), listening_chunks(chunks)), phonemes


@pytest.mark.parametrize("text", ["mama", "papa", "bob", "Pam bought a map.", "爸爸怕妈妈"])
async def test_lips_meet_in_every_p_b_m_and_part_between(text: str) -> None:
    frames, phonemes = await said(text)
    labials = [p for p in phonemes if p.symbol[0] in "pbm"]
    assert len(labials) >= 2
    for phoneme in labials:
        first, last = int(phoneme.start * VISEME_RATE), int(np.ceil(phoneme.end * VISEME_RATE))
        closed = frames[first:last, PP] == 1
        assert closed.sum() >= 2, phoneme
        assert closed[:3].any(), f"{phoneme} closes late"
        pictures = [mouth_between(frames[i : i + 4]) for i in range(first, last, 4)]
        assert any(mouth.close == 1 for mouth in pictures), phoneme
    for phoneme in (p for p in phonemes if p.symbol.startswith("ˈ")):
        assert opening(mouth_of(at(frames, (phoneme.start + phoneme.end) / 2))) > 0.4, phoneme


def test_p_opens_at_its_burst_and_m_hums_to_its_end() -> None:
    p = frames_of(("ˈɑ", 0.2), ("p", 0.1), ("ˈɑ", 0.2))
    m = frames_of(("ˈɑ", 0.2), ("m", 0.1), ("ˈɑ", 0.2))
    assert p[20:25, PP].min() == 1
    assert at(p, 0.28)[PP] < 0.9
    assert m[20:29, PP].min() == 1
    assert m[10, PP] < 0.05
    assert m[40, PP] < 0.05


def test_rounding_begins_before_the_rounded_vowel() -> None:
    frames = frames_of(("s", 0.15), ("ˈuː", 0.3))
    before = [mouth_of(at(frames, t)).pucker for t in (0.02, 0.10, 0.13)]
    assert before[0] < 0.05 < before[2] < mouth_of(at(frames, 0.3)).pucker
    assert mouth_of(at(frames, 0.3)).pucker > 0.8


async def test_ooh_is_rounded_and_fee_shows_teeth_on_the_lip() -> None:
    frames, phonemes = await said("Ooh, fee!")
    u = next(p for p in phonemes if "u" in p.symbol)
    assert mouth_of(at(frames, (u.start + u.end) / 2)).pucker > 0.7
    f = next(p for p in phonemes if p.symbol == "f")
    bite = mouth_of(at(frames, (f.start + f.end) / 2))
    assert bite.roll_lower > 0.6
    assert bite.teeth > 0.4


def test_diphthong_moves() -> None:
    frames = frames_of(("ˈaɪ", 0.3))
    assert at(frames, 0.08).argmax() == AA
    assert at(frames, 0.24).argmax() == IH
    assert opening(mouth_of(at(frames, 0.08))) > opening(mouth_of(at(frames, 0.24))) + 0.2


def test_mouth_glides_and_never_jumps_between_vowels() -> None:
    frames = frames_of(("ˈɑ", 0.15), ("l", 0.06), ("ˈiː", 0.15), ("s", 0.1), ("ˈoʊ", 0.2))
    steps = np.abs(np.diff([opening(mouth_of(row)) for row in frames]))
    assert steps.max() < 0.25


def test_pause_closes_the_mouth_and_a_word_boundary_does_not() -> None:
    pause = frames_of(("ˈɑ", 0.3), ("_", 0.4), ("ˈɑ", 0.3))
    assert at(pause, 0.5)[SIL] > 0.95
    boundary = frames_of(("ˈɑ", 0.3), ("_", 0.02), ("ˈɑ", 0.3))
    assert opening(mouth_of(at(boundary, 0.31))) > 0.8


def test_mouth_is_closed_after_the_last_phoneme() -> None:
    phonemes = timed(("ˈɑ", 0.3))
    frames = lips_of(PhonemeLipSync(), chunks_of(np.zeros(LISTEN_RATE, np.int16), 960, phonemes))
    assert np.all(frames[45:, SIL] > 0.95)
    assert at(frames, 0.15)[AA] > 0.9


def test_breath_takes_the_mouth_of_what_follows() -> None:
    frames = frames_of(("h", 0.1), ("ˈuː", 0.3))
    assert at(frames, 0.09)[OU] > 0.9


async def test_mandarin_moves_the_lips() -> None:
    frames, phonemes = await said("你好，我是小明。")
    assert {"n", "m", "w"} <= {p.symbol for p in phonemes}
    openings = [opening(mouth_of(row)) for row in frames]
    assert max(openings) > 0.8
    assert np.std(openings) > 0.2


@pytest.mark.parametrize(
    ("symbol", "visemes"),
    [
        ("ˈoʊ", ["oh", "ou"]),
        ("aɪ", ["aa", "ih"]),
        ("tʃ", ["CH"]),
        ("t͡ʃ", ["CH"]),
        ("ts.h", ["CH"]),
        ("tɕh", ["CH"]),
        ("onɡ", ["oh", "kk"]),
        ("ph", ["PP"]),
        ("bʲ", ["PP"]),
        ("ɑ̃", ["aa"]),
        ("iː˥˩", ["ih"]),
        ("s", ["SS"]),
        ("ɹ", ["RR"]),
        ("ð", ["TH"]),
        ("ɾ", ["DD"]),
        ("l̩", ["nn"]),
        ("_", ["sil"]),
        ("", ["sil"]),
    ],
)
def test_ipa(symbol: str, visemes: list[str]) -> None:
    assert [VISEMES[target.weights.argmax()] for target in targets_of(symbol)] == visemes
    assert sum(target.share for target in targets_of(symbol)) == pytest.approx(1)


@pytest.mark.parametrize("language", ["en-us", "en-gb", "cmn", "de", "fr", "es", "ja", "ko", "ru", "ar", "hi"])
async def test_ipa_covers_what_the_engine_writes(language: str) -> None:
    texts = {
        "cmn": "我们今天去公园吃苹果，女儿喝绿茶，兄弟玩儿。",
        "ja": "こんにちは、きょうはとてもいいてんきですね",
        "ko": "안녕하세요 오늘 날씨가 좋네요",
        "ru": "Широкая электрификация южных губерний",
        "ar": "مرحبا بك في بيتنا اليوم",
        "hi": "नमस्ते आज मौसम बहुत अच्छा है",
    }
    text = texts.get(language, "The quick brown fox jumps over the lazy dog, vingt je choisis über schön niño hay.")
    synthesizer = EspeakSynthesizer()
    await synthesizer.start()
    symbols = {p.symbol for chunk in await spoken(synthesizer, text, language) for p in chunk.phonemes or ()}
    await synthesizer.close()
    assert len(symbols) > 8
    mouthless = {s for s in symbols if targets_of(s)[0].manner is Manner.BREATH}
    assert not mouthless - set("hɦʔ") - {"ʲ", "ʰ"}, mouthless


def test_without_phonemes_the_sound_decides() -> None:
    frames = lips_of(PhonemeLipSync(), chunks_of(hum(0.5), 960))
    assert max(opening(mouth_of(row)) for row in frames) > 0.2


def test_stretches_with_and_without_phonemes_may_alternate() -> None:
    with_phonemes = chunks_of(np.zeros(4850, np.int16), 970, timed(("m", 0.1), ("ˈɑ", 0.2)))
    by_sound = chunks_of(hum(0.307), 970)
    shifted = Phoneme("ˈuː", (4850 + len(hum(0.307))) / LISTEN_RATE, 1.0)
    last = SpeechChunk(Pcm(np.zeros(4000, np.int16), LISTEN_RATE), (shifted,))
    frames = lips_of(PhonemeLipSync(), [*with_phonemes, *by_sound, last])
    seconds = (4850 + len(hum(0.307)) + 4000) / LISTEN_RATE
    assert len(frames) == int(np.ceil(seconds * VISEME_RATE))
    assert at(frames, 0.05)[PP] == 1
    assert max(opening(mouth_of(row)) for row in frames[40:60]) > 0.2
    assert at(frames, 0.75)[OU] > 0.8


def test_tail_of_a_stretch_by_sound_may_say_no_phoneme() -> None:
    stream = PhonemeLipSync().open()
    frames = [stream.feed(chunk) for chunk in chunks_of(hum(0.5), 960)]
    frames += [stream.feed(SpeechChunk(Pcm(hum(0.51)[8000:], LISTEN_RATE), ())), stream.finish()]
    rows = np.concatenate(frames)
    assert len(rows) == 51
    assert opening(mouth_of(rows[48])) > 0.1  # a hum is hardly speech: .16 was seen, and 0 is what silence gives


def by_words(chunks: list[SpeechChunk]) -> list[SpeechChunk]:
    return [SpeechChunk(chunk.pcm, None) for chunk in chunks]


async def test_auto_takes_the_phonemes_when_there_are_any() -> None:
    synthesizer = EspeakSynthesizer()
    await synthesizer.start()
    chunks = listening_chunks(await spoken(synthesizer, "Pam bought a map."))
    await synthesizer.close()
    auto, plain = lips_of(AutoLipSync(), chunks, "Pam bought a map."), lips_of(PhonemeLipSync(), chunks)
    assert np.array_equal(auto, plain)


async def test_auto_takes_the_text_when_there_are_none() -> None:
    synthesizer = EspeakSynthesizer()
    await synthesizer.start()
    chunks = by_words(listening_chunks(await spoken(synthesizer, "Pam bought a map.")))
    await synthesizer.close()
    with_text = lips_of(AutoLipSync(), chunks, "Pam bought a map.")
    assert np.array_equal(with_text, lips_of(AlignedLipSync(), chunks, "Pam bought a map."))
    assert np.array_equal(lips_of(AutoLipSync(), chunks), lips_of(AudioLipSync(), chunks))
    assert not np.array_equal(with_text, lips_of(AudioLipSync(), chunks))
    assert np.array_equal(lips_of(PhonemeLipSync(), chunks, "Pam bought a map."), lips_of(AudioLipSync(), chunks))
