import asyncio
import tempfile
from collections.abc import AsyncIterator
from itertools import pairwise

import numpy as np
import pytest
from pocketsphinx import Decoder

from avatar.espeak.library import PhonemeEvent, Voice, espeak_library
from avatar.tts.espeak import EspeakSynthesizer
from avatar.tts.espeak_chunks import ChunkAssembler, closure_seconds, limited
from core.errors import SynthesizerError
from core.frames import LISTEN_RATE, Phoneme, Samples, SpeechChunk
from tests.contracts_voice import at_listen_rate, pcm_of, spoken

RATE = 22050


@pytest.fixture
async def voice() -> AsyncIterator[EspeakSynthesizer]:
    synthesizer = EspeakSynthesizer()
    await synthesizer.start()
    yield synthesizer
    await synthesizer.close()


def phonemes_of(chunks: list[SpeechChunk]) -> list[Phoneme]:
    return [phoneme for chunk in chunks for phoneme in chunk.phonemes or ()]


def decibels(samples: Samples) -> float:
    return float(20 * np.log10(np.sqrt(np.mean((samples / 32768.0) ** 2)) + 1e-9))


def between(samples: Samples, start: float, end: float) -> Samples:
    return samples[round(start * RATE) : round(end * RATE)]


def speech_level(samples: Samples) -> float:
    frames = samples[: len(samples) // 256 * 256].reshape(-1, 256) / 32768.0
    rms = np.sqrt(np.mean(frames**2, axis=1))
    return float(20 * np.log10(np.sqrt(np.mean(rms[rms > 0.01] ** 2))))


def recognised(chunks: list[SpeechChunk], grammar: str = "") -> str:
    """What pocketsphinx hears, with its open vocabulary or one `grammar` (JSGF)."""
    silence = np.random.default_rng(0).normal(0, 3, LISTEN_RATE // 3).astype(np.int16)
    samples = np.concatenate((silence, at_listen_rate(pcm_of(chunks), RATE), silence))
    decoder = Decoder(loglevel="FATAL", cmn="batch")
    if grammar:
        decoder.add_jsgf_string("grammar", grammar)
        decoder.activate_search("grammar")
    decoder.start_utt()
    decoder.process_raw(samples.tobytes(), full_utt=True)
    decoder.end_utt()
    return str(decoder.hyp().hypstr)


@pytest.mark.parametrize(
    "text",
    [
        "i don't understand the question could you say it again",
        "hello my name is emma and i am happy to meet you",
    ],
)
async def test_a_recogniser_understands_it(voice: EspeakSynthesizer, text: str) -> None:
    heard = recognised(await spoken(voice, text))
    # The engine breathes a little differently each time: some word may be lost.
    missed = set(text.split()) - set(heard.split())
    assert len(missed) <= 2, heard


@pytest.mark.parametrize("text", ["seven times six is forty two", "nine times three is twenty seven"])
async def test_a_recogniser_understands_its_numbers(voice: EspeakSynthesizer, text: str) -> None:
    grammar = """#JSGF V1.0; grammar product;
        <digit> = one | two | three | four | five | six | seven | eight | nine;
        <tens> = twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety;
        public <product> = <digit> times <digit> is (<digit> | <tens> [<digit>]);"""
    assert recognised(await spoken(voice, text), grammar) == text


async def test_stops_are_silent_and_vowels_loud_where_the_phonemes_say(voice: EspeakSynthesizer) -> None:
    chunks = await spoken(voice, "A copper teapot, a cheap topic.")
    samples, phonemes = pcm_of(chunks), phonemes_of(chunks)
    inner = [p for before, p in pairwise(phonemes) if p.symbol in ("p", "t", "k") and before.symbol != "_"]
    vowels = [p for p in phonemes if p.symbol.startswith("ˈ")]
    assert len(inner) >= 5
    assert len(vowels) >= 4
    loud = np.median([decibels(between(samples, p.start + 0.02, p.end - 0.02)) for p in vowels])
    # The closure is the part before the burst; some residue of the vowel rings into it.
    closures = [decibels(between(samples, p.start + 0.014, p.start + 0.03)) for p in inner]
    assert np.median(closures) < loud - 25
    bursts = [decibels(between(samples, p.start + closure_seconds(160), p.end)) for p in inner]
    assert np.median(bursts) > np.median(closures) + 8


async def test_sentence_starts_at_once_and_ends_with_a_short_gap(voice: EspeakSynthesizer) -> None:
    samples = pcm_of(await spoken(voice, "Good evening."))
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 60)
    assert loud[0] < 0.03 * RATE
    assert 0.06 < (len(samples) - loud[-1]) / RATE < 0.13


@pytest.mark.parametrize("name", [None, "en-us", "en-us+f5", "cmn+m3", "de"])
async def test_level_is_the_same_for_every_voice(voice: EspeakSynthesizer, name: str | None) -> None:
    samples = pcm_of(await spoken(voice, "One two three four five, once I caught a fish alive.", name))
    assert speech_level(samples) == pytest.approx(-20, abs=2)
    assert np.abs(samples.astype(int)).max() < 32700


async def test_level_is_the_one_asked_for() -> None:
    synthesizer = EspeakSynthesizer(level_dbfs=-30)
    await synthesizer.start()
    samples = pcm_of(await spoken(synthesizer, "One two three four five."))
    await synthesizer.close()
    frames = samples[: len(samples) // 256 * 256].reshape(-1, 256) / 32768.0
    rms = np.sqrt(np.mean(frames**2, axis=1))
    assert 20 * np.log10(np.sqrt(np.mean(rms[rms > 0.003] ** 2))) == pytest.approx(-30, abs=2)


async def test_the_presenters_voice_is_a_womans(voice: EspeakSynthesizer) -> None:
    samples = at_listen_rate(pcm_of(await spoken(voice, "My name is Emma and I am happy to see you.")), RATE)
    pitches = []
    for start in range(0, len(samples) - 1024, 320):
        frame = samples[start : start + 1024].astype(float)
        if frame.std() > 800:
            correlation = np.fft.irfft(np.abs(np.fft.rfft(frame * np.hanning(1024), 2048)) ** 2)
            pitches.append(16000 / (40 + np.argmax(correlation[40:230])))
    assert 160 < np.median(pitches) < 255


async def test_a_timbre_alone_keeps_the_language(voice: EspeakSynthesizer) -> None:
    def name(text: str, asked: str | None, **settings: str) -> str:
        return EspeakSynthesizer(**settings)._choose(text, asked).name  # type: ignore[arg-type]

    assert name("My name is Ansel.", "+m7").endswith("+m7")
    assert name("My name is Ansel.", "+m7").split("+")[0] == name("My name is Ansel.", None).split("+")[0]
    assert name("我叫安塞尔。", "+m7").split("+")[0] == name("我叫安塞尔。", None).split("+")[0] != "en-us"
    assert name("Hello.", "+m7", voice="de") == "de+m7"
    assert name("Hello.", "+m7", voice="de+f2") == "de+f2", "who set one wants that one"
    assert phonemes_of(await spoken(voice, "Hello.", "+m7"))
    with pytest.raises(SynthesizerError, match="nosuch"):
        await spoken(voice, "Hello.", "+nosuch")


async def test_mandarin_is_read_as_mandarin(voice: EspeakSynthesizer) -> None:
    chunks = await spoken(voice, "大熊猫的兄弟很穷，他在哪儿玩儿？")
    symbols = [p.symbol.lstrip("ˈˌ") for p in phonemes_of(chunks)]
    assert symbols.count("onɡ") == 3  # xiong, xiong, qiong
    assert symbols.count("ər") == 2
    # English fall-backs would bring these.
    assert not {"v", "ð", "θ", "dʒ", "ʃ", "f"} & set(symbols)
    seconds = len(pcm_of(chunks)) / RATE
    assert 2.5 < seconds < 6


async def test_mixed_text_keeps_both_languages(voice: EspeakSynthesizer) -> None:
    symbols = [p.symbol.lstrip("ˈˌ") for p in phonemes_of(await spoken(voice, "我喜欢 very good music"))]
    assert "ɕ" in symbols
    assert "v" in symbols
    assert not any("(" in symbol for symbol in symbols)


async def test_markup_is_not_interpreted(voice: EspeakSynthesizer) -> None:
    plain = len(pcm_of(await spoken(voice, "break")))
    marked = len(pcm_of(await spoken(voice, '<break time="5s"/>')))
    assert plain < marked < 5 * RATE
    assert len(pcm_of(await spoken(voice, "[[h@l'oU]] \x0150P hello"))) > 0


async def test_hundred_thousand_characters_stream_and_stop_at_once(voice: EspeakSynthesizer) -> None:
    for text in ("A sentence of a long story. " * 3600, "x" * 100_000, "你" * 100_000):
        stream = voice.synthesize(text)
        first = [await anext(stream) for _ in range(3)]
        assert all(len(chunk.pcm.samples) for chunk in first)
        await stream.aclose()
    assert await spoken(voice, "Done.")


async def test_listener_that_stops_reading_holds_one_piece_and_not_the_engine(voice: EspeakSynthesizer) -> None:
    stalled = voice.synthesize("Nobody listens to this long story. " * 200)
    await anext(stalled)
    assert await spoken(voice, "Others are served."), "a stalled listener must not hold the engine"
    rest = [chunk async for chunk in stalled]
    phonemes = phonemes_of(rest)
    assert all(a.end == pytest.approx(b.start, abs=1e-6) for a, b in pairwise(phonemes)), "times go on across pieces"
    assert phonemes[-1].end > 200
    assert len(phonemes) > 8 * phonemes[-1].end
    assert max(p.end - p.start for p in phonemes if p.symbol != "_") < 0.6


async def test_five_at_once_get_what_each_gets_alone(voice: EspeakSynthesizer) -> None:
    texts = [
        "The first sentence.",
        "第二个句子在这里。",
        "And a third one, with a comma.",
        "Ich bin der vierte Satz und nicht müde.",
        "Five.",
    ]
    alone = [[p.symbol for p in phonemes_of(await spoken(voice, text))] for text in texts]
    together = await asyncio.gather(*(spoken(voice, text) for text in texts))
    assert [[p.symbol for p in phonemes_of(chunks)] for chunks in together] == alone


async def test_two_adapters_share_the_engine_without_mixing(voice: EspeakSynthesizer) -> None:
    other = EspeakSynthesizer(rate_wpm=220)
    await other.start()
    texts = ("A long enough sentence, so that they would meet in the engine.", "第二个句子在这里，也不短。") * 4
    alone = [phonemes_of(await spoken(adapter, text)) for text in texts for adapter in (voice, other)]
    together = await asyncio.gather(*(spoken(adapter, text) for text in texts for adapter in (voice, other)))
    await other.close()
    assert [[p.symbol for p in phonemes_of(chunks)] for chunks in together] == [[p.symbol for p in a] for a in alone]


def test_engine_stops_when_its_listener_has_enough() -> None:
    heard: list[int] = []

    def listen(samples: Samples, events: list[PhonemeEvent]) -> bool:
        heard.append(len(samples))
        return len(heard) < 3

    espeak_library().speak("This would take quite some time. " * 50, Voice("en-us"), listen)
    assert len(heard) == 3


def test_engine_hands_on_what_its_listener_raises() -> None:
    def fail(samples: Samples, events: list[PhonemeEvent]) -> bool:
        raise KeyError("listener")

    with pytest.raises(KeyError, match="listener"):
        espeak_library().speak("Hello.", Voice("en-us"), fail)
    espeak_library().speak("Hello.", Voice("en-us"), lambda samples, events: True)


async def test_cancelled_task_leaves_a_working_voice(voice: EspeakSynthesizer) -> None:
    task = asyncio.create_task(spoken(voice, "This sentence will never be finished. " * 1000))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await spoken(voice, "Next.")


@pytest.mark.parametrize("name", ["nosuch", "en-us+nosuch", "f2", "", "../cmn", "en+../!v/f2", "zh-CN-XiaoxiaoNeural"])
async def test_unknown_voice_is_refused_with_examples(name: str) -> None:
    synthesizer = EspeakSynthesizer(english_voice=name, variant="")
    with pytest.raises(SynthesizerError, match=r"Examples: en-us") as caught:
        await synthesizer.start()
    assert caught.value.code == "unknown_voice"
    await synthesizer.close()


@pytest.mark.parametrize("name", ["en-gb", "zh", "fr-fr", "EN-US", "en-gb-scotland+m2"])
async def test_voice_is_found_by_any_name_it_declares(voice: EspeakSynthesizer, name: str) -> None:
    assert await spoken(voice, "1 2 3", name)


async def test_unknown_voice_in_a_call_is_an_error_of_that_call(voice: EspeakSynthesizer) -> None:
    with pytest.raises(SynthesizerError, match='no voice "nosuch"'):
        await spoken(voice, "Hello.", "nosuch")
    assert await spoken(voice, "Hello.")


async def test_missing_library_says_what_to_do() -> None:
    with pytest.raises(SynthesizerError, match="pip install"):
        await EspeakSynthesizer(library="/nonexistent/libespeak-ng.so", data="/nonexistent").start()


async def test_missing_data_says_what_to_do() -> None:
    import espeakng_loader

    with tempfile.TemporaryDirectory() as empty, pytest.raises(SynthesizerError, match="phontab"):
        await EspeakSynthesizer(library=str(espeakng_loader.get_library_path()), data=empty).start()


@pytest.mark.parametrize(
    "wrong", [{"rate_wpm": 20}, {"rate_wpm": 900}, {"chinese_rate_wpm": 0}, {"pitch": 100}, {"pitch_range": -1}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SynthesizerError, match=next(iter(wrong))):
        EspeakSynthesizer(**wrong)  # type: ignore[arg-type]


async def test_not_started_or_closed_is_an_error() -> None:
    synthesizer = EspeakSynthesizer()
    with pytest.raises(SynthesizerError, match="not running"):
        await spoken(synthesizer, "Hello.")
    await synthesizer.start()
    stream = synthesizer.synthesize("A sentence. " * 2000)
    await anext(stream)
    await synthesizer.close()
    with pytest.raises(SynthesizerError):
        async for _ in stream:
            pass
    await synthesizer.start()
    assert await spoken(synthesizer, "Back again.")
    await synthesizer.close()


async def test_rate_and_pitch_are_heard() -> None:
    lengths = []
    for rate in (120, 240):
        synthesizer = EspeakSynthesizer(rate_wpm=rate)
        await synthesizer.start()
        lengths.append(len(pcm_of(await spoken(synthesizer, "The same words at another speed."))))
        await synthesizer.close()
    assert lengths[0] > 1.5 * lengths[1]


def test_assembler_moves_stops_to_their_closure_and_vowels_to_their_sound() -> None:
    assembler = ChunkAssembler(1000, rate_wpm=182, gap=0.1)
    sound = np.full(600, 1000, np.int16)
    events = [PhonemeEvent("ə", 0), PhonemeEvent("p", 200), PhonemeEvent("m", 300), PhonemeEvent("ˈɑː", 400)]
    chunk = assembler.push(sound, events)
    assert chunk is not None
    assert chunk.phonemes == (Phoneme("ə", 0.0, 0.163), Phoneme("p", 0.163, 0.3), Phoneme("m", 0.3, 0.38))
    rest = assembler.finish()
    assert rest is not None
    assert rest.phonemes == (Phoneme("ˈɑː", 0.38, 0.7),)
    assert chunk.pcm.seconds + rest.pcm.seconds == pytest.approx(0.7)


def test_assembler_ignores_language_switches_and_joins_pauses() -> None:
    assembler = ChunkAssembler(1000, rate_wpm=165, gap=0.0)
    assembler.push(np.full(300, 1000, np.int16), [PhonemeEvent("(en)", 0), PhonemeEvent("a", 0)])
    assembler.push(np.full(200, 0, np.int16), [PhonemeEvent("", 300), PhonemeEvent("", 400)])
    chunk = assembler.push(np.full(300, 1000, np.int16), [PhonemeEvent("s", 500)])
    assert chunk is not None
    assert [p.symbol for p in chunk.phonemes or ()][-1] == "_"
    assert (chunk.phonemes or ())[-1].end == 0.5


def test_limiter_never_clips_and_leaves_quiet_sound_alone() -> None:
    quiet = np.array([-9000, 0, 9000], np.int16)
    assert np.abs(limited(quiet, 1.0).astype(int) - quiet).max() <= 1
    loud = limited(np.array([-32768, 20000, 32767], np.int16), 4.0)
    assert loud[0] < 0 < loud[2]
    assert np.abs(loud.astype(int)).max() <= 32767
