import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar.espeak.text import LONGEST, clean, mandarin_markup, pieces


def test_control_characters_and_emoji_go_and_the_rest_stays() -> None:
    assert clean("a\x00b\x01 50P\x1b[0m c😀❤️ 25 °C — 5 € \ue000x\ud800") == "a b 50P [0m c 25 °C — 5 € x"
    assert clean("你好，<b>Łódź</b>") == "你好，<b>Łódź</b>"


def test_short_text_is_one_piece() -> None:
    assert list(pieces("One. Two. Three.")) == ["One. Two. Three."]


@pytest.mark.parametrize(
    ("unit", "end"),
    [("This is a sentence. ", "."), ("这是一个句子。", "。"), ("one thing, ", ","), ("word ", "word"), ("a", "a")],
)
def test_long_text_is_cut_at_the_best_mark(unit: str, end: str) -> None:
    parts = list(pieces(unit * 500))
    assert len(parts) > 1
    assert all(len(part) <= LONGEST and part.endswith(end) for part in parts)


@given(st.text(alphabet="ab .,。，\n!", max_size=400))
def test_pieces_lose_nothing(text: str) -> None:
    parts = list(pieces(text, longest=20))
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(0 < len(part) <= 20 for part in parts)


def test_pieces_are_made_on_demand() -> None:
    assert len(list(itertools.islice(pieces("word " * 1_000_000), 2))) == 2


def test_mandarin_syllables_that_espeak_misreads_are_spelt() -> None:
    assert mandarin_markup("大熊猫") == "大[[S;j'ong35]]猫"
    assert mandarin_markup("贫穷") == "贫[[tS;hj'ong35]]"
    assert mandarin_markup("哪儿") == "哪[[@r11]]"
    assert mandarin_markup("女儿和儿子") == "女儿和儿子"


def test_mandarin_markup_of_the_text_itself_is_disarmed() -> None:
    assert "[[" not in mandarin_markup("你好 [[h@l'oU]] 再见")
