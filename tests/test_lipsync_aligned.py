"""Text and sound together: the lattice, the alignment, its fall-back, and real voices without phoneme times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.lipsync.agreement import Agreement
from avatar.lipsync.aligned import AlignedLipSync
from avatar.lipsync.alignment import BLOCK, LAG, PRIOR, Aligned, Alignment
from avatar.lipsync.glide import Glide
from avatar.lipsync.labels import Timed, segments_of
from avatar.lipsync.lattice import Transitions, lattice_of, sounds_of
from avatar.lipsync.metrics import Judged, accuracy, closure_recall, separation
from avatar.lipsync.pronunciation import Word
from avatar.tts.espeak import EspeakSynthesizer
from core.frames import LISTEN_RATE, VISEMES, Pcm, SpeechChunk, SpokenWord, VisemeFrames
from tests.contracts_voice import chunks_of, hum, lips_of, listening_chunks, spoken

WORDS = (Word(("m", "ˈɑː")), Word(("p", "ˈiː", "s"), 0.6), Word(("f", "ˈuː")))
SEQUENCE = ("PP", "aa", "PP", "ih", "SS", "FF", "ou")
SIL, PP = VISEMES.index("sil"), VISEMES.index("PP")
TEXT = "Please bring my mother a bowl of soup. She has been up since five and may be hungry by now."


def heard(*parts: tuple[str, int], sure: float = 0.6, seed: int = 0) -> VisemeFrames:
    """Posteriors of an audio model that favours these visemes for so many frames each, more or less."""
    names = [name for name, count in parts for _ in range(count)]
    noise = np.random.default_rng(seed).dirichlet(np.full(len(VISEMES), 0.3), len(names))
    rows = (1 - sure) * noise
    rows[np.arange(len(names)), [VISEMES.index(name) for name in names]] += sure
    return np.asarray(rows, np.float32)


def aligned(words: tuple[Word, ...], rows: VisemeFrames, cut: int = 20) -> Aligned:
    alignment = Alignment(lattice_of(words), PRIOR)
    parts = [alignment.feed(rows[i : i + cut]) for i in range(0, len(rows), cut)] + [alignment.finish()]
    return Aligned(
        np.concatenate([p.visemes for p in parts]),
        np.concatenate([p.ended for p in parts]),
        np.concatenate([p.score for p in parts]),
        np.concatenate([p.trust for p in parts]),
    )


def regular(seconds: int = 10, pause: int = 20) -> VisemeFrames:
    return heard(("sil", pause), *((name, seconds) for name in SEQUENCE), ("sil", pause))


def test_sounds_of_a_word() -> None:
    assert [VISEMES[sound.viseme] for word in WORDS for sound in sounds_of(word)] == list(SEQUENCE)
    assert [VISEMES[s.viseme] for s in sounds_of(Word(("h", "ˈaɪ")))] == ["aa", "ih"]
    assert sounds_of(Word(("h",))) == []


def test_lattice_loses_no_probability() -> None:
    lattice = lattice_of(WORDS)
    whole = Transitions(lattice, len(lattice)).matrix
    assert np.allclose(whole.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(whole, np.triu(whole)), "speech never goes back"
    assert np.allclose(lattice.visemes.sum(axis=1), 1, atol=1e-5)
    part = Transitions(lattice, 10)
    assert np.array_equal(part.matrix, whole[:10, :10])
    part.look(5)
    assert np.array_equal(part.matrix, whole[5:15, 5:15])
    part.look(len(lattice) - 6)
    assert np.array_equal(part.matrix[:6, :6], whole[-6:, -6:])
    assert not part.matrix[6:].any()
    assert not part.matrix[:, 6:].any()


def test_alignment_finds_every_sound_of_the_text() -> None:
    rows = regular()
    found = aligned(WORDS, rows).visemes.argmax(axis=1)
    for index, name in enumerate(SEQUENCE):
        middle = 20 + 10 * index + 5
        assert VISEMES[found[middle]] == name
    assert found[5] == found[-5] == SIL


def test_alignment_is_better_than_what_it_hears() -> None:
    rows = heard(("sil", 20), *((name, 9) for name in SEQUENCE), ("sil", 20), sure=0.25, seed=3)
    truth = np.array([SIL] * 20 + [VISEMES.index(n) for n in SEQUENCE for _ in range(9)] + [SIL] * 20)
    found = aligned(WORDS, rows).visemes.argmax(axis=1)
    assert (found == truth).mean() > (rows.argmax(axis=1) == truth).mean() + 0.15


def test_a_pause_may_be_made_or_left_out() -> None:
    rows = heard(("PP", 8), ("aa", 12), ("sil", 30), ("PP", 8), ("ih", 10), ("SS", 10), ("FF", 8), ("ou", 12))
    found = aligned(WORDS, rows).visemes.argmax(axis=1)
    assert np.all(found[26:44] == SIL)
    assert VISEMES[found[54]] == "PP"
    assert VISEMES[found[-4]] == "ou"


def test_a_sound_may_be_left_out() -> None:
    rows = heard(("PP", 10), ("aa", 12), ("PP", 10), ("SS", 14), ("FF", 10), ("ou", 14))
    found = aligned(WORDS, rows).visemes.argmax(axis=1)
    assert VISEMES[found[40]] == "SS"
    assert VISEMES[found[-5]] == "ou"


def test_the_end_of_the_text_is_known() -> None:
    rows = regular(pause=40)
    ended = aligned(WORDS, rows).ended
    assert ended[:85].max() < 0.1
    assert ended[-10:].min() > 0.9


def test_frames_are_decided_after_the_lag() -> None:
    alignment = Alignment(lattice_of(WORDS), PRIOR)
    rows = regular()
    assert len(alignment.feed(rows[: BLOCK + LAG - 1]).visemes) == 0
    assert len(alignment.feed(rows[BLOCK + LAG - 1 : BLOCK + LAG]).visemes) == BLOCK


def test_long_text_is_followed_through_a_moving_beam() -> None:
    words = WORDS * 40
    rows = heard(("sil", 10), *((name, 9) for name in SEQUENCE * 40), ("sil", 30), sure=0.4)
    truth = np.array([VISEMES.index(n) for n in SEQUENCE * 40 for _ in range(9)])
    result = aligned(words, rows)
    assert (result.visemes[10:-30].argmax(axis=1) == truth).mean() > 0.8
    assert result.ended[-1] > 0.9


def test_times_of_words_bound_the_search() -> None:
    words = (Word(("m", "ˈɑː")),) * 6
    rows = heard(*([("PP", 8), ("aa", 12)] * 3), ("sil", 60))
    free = Alignment(lattice_of(words), PRIOR)
    free.feed(rows)
    bound = Alignment(lattice_of(words), PRIOR)
    for word, seconds in enumerate((0.0, 0.2, 0.4, 1.0, 1.1, 1.15)):
        bound.bound(word, seconds)
    kept = np.concatenate([bound.feed(rows).visemes, bound.finish().visemes])
    assert kept[65:85, SIL].min() > 0.8, "the fourth word has not begun"
    assert kept[112:, SIL].max() < 0.5, "the last words have"


def test_impossible_times_of_words_do_no_harm() -> None:
    alignment = Alignment(lattice_of(WORDS), PRIOR)
    for word in range(3):
        alignment.bound(word, 500.0)
    alignment.bound(99, 0.0)
    result = np.concatenate([alignment.feed(regular()).visemes, alignment.finish().visemes])
    assert len(result) == len(regular())
    assert np.allclose(result.sum(axis=1), 1, atol=1e-3)


SYMBOLS = st.sampled_from(["p", "b", "m", "ˈɑː", "iː", "s", "h", "t", "aɪ", "w", "tʃ", "?"])
SOME_WORDS = st.lists(
    st.builds(lambda s, p: Word(tuple(s), p), st.lists(SYMBOLS, min_size=1, max_size=6), st.floats(0.01, 0.9)),
    min_size=1,
    max_size=30,
).map(tuple)


@settings(max_examples=60, deadline=None)
@given(words=SOME_WORDS, count=st.integers(0, 120), cuts=st.lists(st.integers(1, 50), min_size=1), seed=st.integers(0))
def test_no_frame_is_lost_however_the_sound_is_cut(
    words: tuple[Word, ...], count: int, cuts: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed % 2**32)
    rows = np.asarray(rng.dirichlet(np.full(len(VISEMES), 0.05), count), np.float32).reshape(count, len(VISEMES))
    whole = aligned(words, rows, max(1, count))
    alignment = Alignment(lattice_of(words), PRIOR)
    parts, at, turn = [], 0, 0
    while at < count:
        size = cuts[turn % len(cuts)]
        parts.append(alignment.feed(rows[at : at + size]))
        at, turn = at + size, turn + 1
    parts.append(alignment.finish())
    pieces = np.concatenate([part.visemes for part in parts])
    assert pieces.shape == (count, len(VISEMES))
    assert np.allclose(pieces, whole.visemes, atol=1e-4)
    assert np.allclose(pieces.sum(axis=1), 1, atol=1e-3)
    assert np.all(pieces >= 0)
    assert np.all((whole.ended >= 0) & (whole.ended <= 1.001))


def test_score_is_higher_for_what_is_said() -> None:
    said, other = aligned(WORDS, regular()), aligned(WORDS[::-1] * 3, regular())
    assert said.score[-1] > other.score[-1] + 0.1


def trusted(agreement: Agreement, evidence: float, count: int, speech: float = 1.0) -> list[float]:
    trusts = []
    for _ in range(count):
        agreement.hear(evidence, speech)
        trusts += agreement.trust(1)
    return trusts


def test_agreement_falls_and_recovers_without_jumps() -> None:
    agreement = Agreement()
    trust = np.array([t for found in (-0.3, -1.2, -0.3) for t in trusted(agreement, found, 300)])
    assert trust[:300].min() == 1
    assert trust[350] == 0, "within half a second"
    assert trust[599] == 0
    assert trust[-1] == 1
    assert np.abs(np.diff(trust)).max() < 0.1


def test_agreement_does_not_flutter_between_its_thresholds() -> None:
    agreement = Agreement()
    trusted(agreement, -1.2, 300)
    assert trusted(agreement, -0.61, 600)[-1] == 0
    assert max(trusted(agreement, -0.3, 56)) == 0, "nor for half a second that might be chance"
    assert trusted(agreement, -0.3, 60)[-1] == 1
    assert min(trusted(agreement, -1.2, 20)) == 1, "nor is it left for one wrong word"


def test_silence_neither_agrees_nor_disagrees() -> None:
    agreement = Agreement()
    before = agreement.score
    trusted(agreement, -2.0, 500, speech=0.0)
    assert agreement.score == pytest.approx(before)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 60), cuts=st.lists(st.integers(1, 20), min_size=1), seed=st.integers(0, 2**32 - 1))
def test_glide_loses_no_row_and_no_closure(count: int, cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.asarray(rng.dirichlet(np.full(len(VISEMES), 0.05), count), np.float32).reshape(count, len(VISEMES))
    glide, parts, at = Glide(), [], 0
    for turn in range(count):
        parts.append(glide.feed(rows[at : at + cuts[turn % len(cuts)]]))
        at += cuts[turn % len(cuts)]
    parts.append(glide.finish())
    smooth = np.concatenate(parts)
    whole = Glide()
    assert np.allclose(smooth, np.concatenate([whole.feed(rows), whole.finish()]), atol=1e-6)
    assert smooth.shape == rows.shape
    assert np.allclose(smooth.sum(axis=1), 1, atol=1e-4)
    sure = rows[:, PP] > 0.5
    assert np.all(smooth[sure, PP] >= rows[sure, PP] - 1e-5)


def test_lips_round_before_a_rounded_vowel_sounds_and_not_before_others() -> None:
    for name, early in (("ou", True), ("oh", True), ("ih", False)):
        rows = heard(("SS", 30), (name, 30), sure=1.0)
        glide = Glide()
        column = np.concatenate((glide.feed(rows), glide.finish()))[:, VISEMES.index(name)]
        assert (column[25] > 0.02) == early
        assert column[22] == 0
        assert column[45] == pytest.approx(1)


class Voice:
    """Speech of espeak-ng with its true phonemes, which the lips are not told."""

    def __init__(self, chunks: list[SpeechChunk]) -> None:
        heard = listening_chunks(chunks)
        self.phonemes = [p for chunk in chunks for p in chunk.phonemes or ()]
        self.chunks = [SpeechChunk(chunk.pcm, None) for chunk in heard]
        self.segments = segments_of([Timed(p.symbol, p.start, p.end) for p in self.phonemes])

    def lips(self, text: str) -> VisemeFrames:
        return lips_of(AlignedLipSync(), self.chunks, text)

    def judged(self, text: str) -> Judged:
        return Judged(self.lips(text), self.segments)


async def speech(text: str, voice: str | None = None) -> Voice:
    synthesizer = EspeakSynthesizer()
    await synthesizer.start()
    chunks = await spoken(synthesizer, text, voice)
    await synthesizer.close()
    return Voice(chunks)


def scores(voice: Voice, text: str) -> list[float]:
    stream = AlignedLipSync().open(text)
    parts = [*(stream.judge(chunk) for chunk in voice.chunks), stream.conclude()]
    return [score for part in parts for score in part.scores]


async def test_the_text_makes_the_lips_better_in_noise() -> None:
    voice = await speech(TEXT, "en-gb+m3")
    rng = np.random.default_rng(5)
    for index, chunk in enumerate(voice.chunks):
        noisy = chunk.pcm.samples + rng.normal(0, 1500, len(chunk.pcm.samples))
        voice.chunks[index] = SpeechChunk(Pcm(np.clip(noisy, -32768, 32767).astype(np.int16), LISTEN_RATE))
    with_text, without = voice.judged(TEXT), voice.judged("")
    assert accuracy(with_text, 2).value > 0.75
    assert accuracy(with_text, 2).value > accuracy(without, 2).value
    assert closure_recall(with_text, pictures=True).value >= closure_recall(without, pictures=True).value


async def test_right_text_beats_wrong_text() -> None:
    other = "Yesterday evening the children sang their longest songs in a crowded train to the sea."
    right, wrong = await speech(TEXT), await speech(other)
    assert separation(scores(right, TEXT) + scores(wrong, other), scores(right, other) + scores(wrong, TEXT)) > 0.9
    assert np.mean(scores(right, TEXT)) > np.mean(scores(right, other))


async def test_wrong_text_falls_back_to_the_sound() -> None:
    voice = await speech(TEXT)
    wrong = voice.lips("Yesterday evening the children sang their longest songs in a crowded train to the sea.")
    alone = voice.lips("")
    late = slice(150, None)
    assert np.abs(wrong[late] - alone[late]).mean() < 0.01 * np.abs(voice.lips(TEXT)[late] - alone[late]).mean()


async def test_speech_beyond_the_text_follows_the_sound() -> None:
    voice = await speech("My mother. " + TEXT)
    rows, alone = voice.lips("My mother."), voice.lips("")
    assert np.abs(rows[150:] - alone[150:]).mean() < 0.02


async def test_a_text_that_is_not_all_said_does_no_harm() -> None:
    voice = await speech("My mother.")
    rows = voice.lips("My mother. " + TEXT)
    assert len(rows) == math.ceil(sum(len(c.pcm.samples) for c in voice.chunks) / LISTEN_RATE * 100)
    assert accuracy(Judged(rows, voice.segments), 2).value > 0.7


@pytest.mark.parametrize("text", ["爸爸怕妈妈，明明买苹果。", "我朋友说 Bob 买了一本书，便宜吗？"])
async def test_mandarin_closes_the_lips_where_it_should(text: str) -> None:
    voice = await speech(text)
    labials = [p for p in voice.phonemes if p.symbol.lstrip("ˈˌ")[0] in "pbm"]
    assert len(labials) >= 5
    assert closure_recall(voice.judged(text), pictures=True).value >= 0.8


async def test_times_of_words_keep_the_alignment_on_its_way() -> None:
    voice = await speech("Bob bought a map. Pam bought a pipe.")
    starts = [p.start for p in voice.phonemes if p.symbol != "_"]
    words = (SpokenWord("Bob", starts[0], starts[0] + 0.3), SpokenWord("Pam", voice.phonemes[-1].start / 2, 1.9))
    first, *rest = voice.chunks
    chunks = [SpeechChunk(first.pcm, None, words), *rest]
    rows = lips_of(AlignedLipSync(), chunks, "Bob bought a map. Pam bought a pipe.")
    assert accuracy(Judged(rows, voice.segments), 2).value > 0.75


def test_a_text_that_cannot_be_pronounced_follows_the_sound(caplog: pytest.LogCaptureFixture) -> None:
    broken = AlignedLipSync(library="/nowhere/libespeak.so", data="/nowhere")
    chunks = chunks_of(hum(0.5), 960)
    assert np.array_equal(lips_of(broken, chunks, "Hello."), lips_of(AlignedLipSync(), chunks))
    assert "sound alone" in caplog.text
    assert "Hello" not in caplog.text
