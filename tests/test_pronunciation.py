"""From text to IPA symbols: languages, Mandarin, mixtures, numbers, and what can't be read."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.espeak.library import PhonemeEvent, Voice, espeak_library
from avatar.lipsync.ipa import Manner, targets_of
from avatar.lipsync.pinyin import readings, syllable, with_numbers_read
from avatar.lipsync.pronunciation import CLAUSE_END, LONGEST, Pronouncer
from avatar.tts.espeak import EspeakSynthesizer
from core.errors import LipSyncError
from core.frames import Samples
from tests.contracts_voice import pcm_of, spoken

PRONOUNCER = Pronouncer()


def said(text: str) -> str:
    """Words with spaces between them, a slash where a pause is likely."""
    words = PRONOUNCER.words(text)
    return " ".join("".join(word.symbols) + ("/" if word.pause == CLAUSE_END else "") for word in words)


def test_english_by_words_and_clauses() -> None:
    assert said("Hello, this is a map.") == "həlˈoʊ/ ðɪs ɪz ɐ mˈæp/"
    assert PRONOUNCER.words("map")[0].symbols == ("m", "ˈæ", "p")


def test_the_language_is_judged_by_the_text() -> None:
    assert said("Bonjour, vous êtes là avec nous").startswith("bɔ̃ʒˈuʁ")
    assert said("Der Hund ist nicht hier").startswith("dɛɾ hˈʊnt")
    assert said("Привет") == "prʲivʲˈet/"
    assert said("こんにちは").startswith("kˌo̞nnitɕˈi")


def test_mandarin_by_syllables() -> None:
    assert said("爸爸怕妈妈。") == "pa pa pʰa ma ma/"
    assert said("你好，我是小明。") == "ni xau/ wo ʂɨ ɕjau miŋ/"


def test_phrases_decide_between_readings() -> None:
    assert readings("银行")[1] == ["x", "a", "ŋ"]
    assert readings("不行")[1] == ["ɕ", "i", "ŋ"]
    assert readings("重庆")[0][0] == "tʂʰ"


@pytest.mark.parametrize(
    ("zhuyin", "symbols"),
    [
        ("ㄒㄩㄥˊ", "ɕ j ʊ ŋ"),
        ("ㄅㄛ", "p w o"),
        ("ㄓˋ", "tʂ ɨ"),
        ("ㄌㄩˋ", "l y"),
        ("ㄒㄩㄢˇ", "ɕ ɥ ɛ n"),
        ("ㄩㄥˋ", "j ʊ ŋ"),
        ("ㄨㄥ", "ʊ ŋ"),
        ("ㄦˊ", "ɚ"),
        ("˙ㄇㄚ", "m a"),
        ("ㄎㄨㄞˋ", "kʰ w ai"),
        ("?", ""),
    ],
)
def test_syllables(zhuyin: str, symbols: str) -> None:
    assert " ".join(syllable(zhuyin)) == symbols


def test_every_reading_moves_the_mouth() -> None:
    han = "".join(map(chr, range(0x4E00, 0x9FA6)))
    symbols = {symbol for reading in readings(han) for symbol in reading}
    assert len(symbols) >= 40
    assert not [symbol for symbol in symbols if targets_of(symbol)[0].manner is Manner.BREATH]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2024年", "二零二四年"),
        ("2024个", "二千零二十四个"),
        ("25%", "百分之二十五%"),
        ("3.5米", "三点五米"),
        ("15", "十五"),
        ("115", "一百一十五"),
        ("10,000元", "一万元"),
        ("100010", "十万零十"),
        ("13812345678", "一三八一二三四五六七八"),
        ("007", "零零七"),
        ("0", "零"),
    ],
)
def test_numbers_in_mandarin(text: str, read: str) -> None:
    assert with_numbers_read(text) == read


def test_english_inside_mandarin() -> None:
    assert said("我们用 Python 写代码。") == "wo mən jʊŋ pˈaɪθən ɕjɛ tai ma/"
    assert said("iPhone 15，好！") == "ˈaɪ fˈoʊn ʂɨ u/ xau/"


@pytest.mark.parametrize("text", ["", "  ", "...", "，。！", "😀😀", "今日は東京です", "สวัสดี"])
def test_what_cannot_be_read_has_no_words(text: str) -> None:
    assert PRONOUNCER.words(text) == ()


def test_long_text_is_bounded() -> None:
    assert len(PRONOUNCER.words("word " * 100_000)) == LONGEST // 5


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_survived(text: str) -> None:
    for word in PRONOUNCER.words(text):
        assert word.symbols
        assert 0 < word.pause < 1


def test_a_missing_engine_is_a_lip_error() -> None:
    with pytest.raises(LipSyncError, match="can't be pronounced"):
        Pronouncer("/nowhere/libespeak.so", "/nowhere").words("Hello.")


async def test_speech_in_progress_is_not_disturbed() -> None:
    """Texts are pronounced in other languages while a voice speaks; it says the same."""
    voice = EspeakSynthesizer()
    await voice.start()
    alone = await spoken(voice, "The quick brown fox jumps over the lazy dog. " * 20)
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            PRONOUNCER.words("Bonjour, vous êtes là avec nous.")
            PRONOUNCER.words("Python 很好。")

    threads = [threading.Thread(target=disturb) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        disturbed = await spoken(voice, "The quick brown fox jumps over the lazy dog. " * 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        await voice.close()
    assert [p.symbol for c in disturbed for p in c.phonemes or ()] == [
        p.symbol for c in alone for p in c.phonemes or ()
    ]
    assert len(pcm_of(disturbed)) == pytest.approx(len(pcm_of(alone)), rel=0.01)


def test_threads_get_the_same_answer() -> None:
    texts = [
        "Hello, this is a map.",
        "Bonjour, vous êtes là avec nous.",
        "我们用 Python 写代码。",
        "Der Hund ist nicht hier",
    ]
    expected = {text: PRONOUNCER.words(text) for text in texts}
    wrong: list[str] = []

    def ask() -> None:
        wrong.extend(text for text in texts * 20 if PRONOUNCER.words(text) != expected[text])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_many_pronunciations_leave_the_next_speech_whole() -> None:
    heard: list[str] = []

    def listen(samples: Samples, events: list[PhonemeEvent]) -> bool:
        heard.extend(event.symbol for event in events if event.symbol)
        return True

    for _ in range(60):
        espeak_library().pronounce("Bonjour", "fr")
        espeak_library().pronounce("Hello", "en-gb")
    espeak_library().speak("The map.", Voice("en-us"), listen)
    assert heard == ["ð", "ə", "m", "ˈæ", "p"]


def test_engine_pronounces_by_clauses_and_words() -> None:
    assert espeak_library().pronounce("One, two three.", "en-us") == [
        [["w", "ˌʌ", "n"]],
        [["t", "ˈuː"], ["θ", "ɹ", "ˈiː"]],
    ]
