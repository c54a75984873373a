"""Cutting streamed answers into pieces for the voice, and keeping markup out of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.acts import MARKS
from core.markup import MarkupFilter
from core.sentences import Piece, SentenceCutter


def cut(*deltas: str) -> list[str]:
    cutter = SentenceCutter()
    pieces = [piece for delta in deltas for piece in cutter.feed(delta)] + cutter.finish()
    return [piece.text for piece in pieces if piece.text]


def clean(text: str) -> str:
    filtered = MarkupFilter()
    unmarked = str.maketrans(dict.fromkeys(MARKS, ""))
    return " ".join((filtered.feed(text) + filtered.finish()).translate(unmarked).split())


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello! I'm fine.", ["Hello!", "I'm fine."]),
        ("Seven times six is forty two.", ["Seven times six is forty two."]),
        ("你好！我是内置演示。今天天气很好，我们出去吧。", ["你好！", "我是内置演示。", "今天天气很好，我们出去吧。"]),
        ("今天天气真好，我们一起出去走走吧。好的", ["今天天气真好，", "我们一起出去走走吧。", "好的"]),
        ("真的吗？！当然是真的……没错。", ["真的吗？！", "当然是真的……", "没错。"]),
        ("“你好。”他说。", ["“你好。”", "他说。"]),
        ('He said "Go home." Then he left.', ['He said "Go home."', "Then he left."]),
        ("Pi is about 3.14 and e is 2.718. Good to know.", ["Pi is about 3.14 and e is 2.718.", "Good to know."]),
        ("I met Dr. Smith and Mr. J. Jones. They left.", ["I met Dr. Smith and Mr. J. Jones.", "They left."]),
        ("He lives in the U.S. now. I do not.", ["He lives in the U.S. now.", "I do not."]),
        ("We met at 5 p.m. Then we ate.", ["We met at 5 p.m.", "Then we ate."]),
        ("Use a tool, e.g. a saw, i.e. that one. Now.", ["Use a tool,", "e.g. a saw, i.e. that one.", "Now."]),
        ("I said no. Then see No. 5 over there.", ["I said no.", "Then see No. 5 over there."]),
        ("It opens at 10:30. Come early.", ["It opens at 10:30.", "Come early."]),
        ("The price is 1,000 dollars today.", ["The price is 1,000 dollars today."]),
        ("Wait... what is it? Well... I know.", ["Wait...", "what is it?", "Well... I know."]),
        ("First line here\nsecond\n\n\nthird", ["First line here", "second", "third"]),
        ("Of course, I can do that.", ["Of course,", "I can do that."]),
        ("Sure, why not.", ["Sure, why not."]),
        ("", []),
        (" \n\t ", []),
        ("...", []),
        ("Hi", ["Hi"]),
        ("这是3.5。还有4.2元。", ["这是3.5。", "还有4.2元。"]),
    ],
)
def test_pieces(text: str, pieces: list[str]) -> None:
    assert cut(text) == pieces


def test_the_first_piece_comes_before_the_sentence_ends() -> None:
    cutter = SentenceCutter()
    assert cutter.feed("Well it seems to me that the answer ") == [Piece("Well it seems to me")]
    cutter = SentenceCutter()
    assert cutter.feed("To be honest, ") == [Piece("To be honest,")]
    assert cutter.feed("that is, after all, what ") == []
    cutter = SentenceCutter()
    assert cutter.feed("今天天气真好，我") == [Piece("今天天气真好，")]


def test_long_text_without_marks_is_cut_at_spaces() -> None:
    pieces = cut("word " * 200)
    assert all(len(piece) <= 220 and not piece.startswith("ord") for piece in pieces)
    assert " ".join(pieces) == ("word " * 200).strip()


def test_long_sentences_are_cut_at_the_last_clause() -> None:
    pieces = cut("Hello there. " + "a" * 100 + ", " + "b" * 100 + " " + "c" * 100)
    assert pieces == ["Hello there.", "a" * 100 + ",", "b" * 100 + " " + "c" * 100]


def test_long_chinese_is_bounded_by_its_width() -> None:
    pieces = cut("好" * 300)
    assert "".join(pieces) == "好" * 300
    assert max(map(len, pieces)) <= 110


@pytest.mark.parametrize(
    ("raw", "spoken"),
    [
        ("**bold** and *slanted* and ***both***", "bold and slanted and both"),
        ("__bold__ _slanted_ ~~gone~~", "bold slanted gone"),
        ("snake_case and a__b", "snake_case and a__b"),
        ("这是**重点**内容", "这是重点内容"),
        ("# Title\n## Second\ntext #1 in C#", "Title Second text #1 in C#"),
        ("- one\n* two\n• three\n- [x] four", "one two three four"),
        ("1. Open it.\n2) Close it.", "1. Open it. 2) Close it."),
        ("> quoted\n>> twice", "quoted twice"),
        ("above\n---\n***\nbelow\n===\nend", "above below end"),
        ("| a | b |\n|---|:-:|\n| **1** | 2 |\nend", "a, b 1, 2 end"),
        ("Run `ls -l` now", "Run ls -l now"),
        ("Look:\n```python\nx = 1\n```\nDone.", "Look: Code omitted. Done."),
        ("看：\n```\nx\n```\n好。", "看： 代码略。 好。"),
        ("open\n```\nnever closed", "open Code omitted."),
        ("see [the docs](https://a.b/c_(d) \"t\") now", "see the docs now"),
        ("![a cat](cat.png) and [ref][1] and [plain]", "a cat and ref and [plain]"),
        ("[![badge](b.svg)](https://x.y) ok", "badge ok"),
        ("so [1] it [^note] is【4†source】", "so it is"),
        ("go to https://x.y/z?q=1, now", "go to link, now"),
        ("(see https://x.y/a_(b)) or www.foo.com.", "(see link) or link."),
        ("访问https://a.cn/吧", "访问链接吧"),
        ("seehttps://x.y now", "seelink now"),
        ("<https://x.y> and <b@x.org>", "link and link"),
        ("mail bob.x+y@mail.example.org!", "mail email address!"),
        ("example.com and example.com/a/b", "example.com and link"),
        ("<think>secret\n**x** </b></think>Hello", "Hello"),
        ("<Reasoning>no</Reasoning>yes <think>open end", "yes"),
        ("a<br>b <b>c</b> <span class='x y' id=\"z\">d</span><img src=a/>", "a b c d"),
        ("x<!-- hidden <b> -->y", "xy"),
        ("<script>alert(1)</script>ok<|im_end|>", "ok"),
        ("R&amp;D &lt;3&nbsp;x &copy; &unfinished and A & B", "R&D <3 x &unfinished and A & B"),
        ("hi 😀👍🏽 1️⃣ ❤️ 👨‍👩‍👧 🇫🇷 20°C", "hi 1 20°C"),
        ("a\x00b\x1b[31m\u200b\ufeff\u202ec", "ab[31mc"),
        ("Hello *smiles warmly* there (laughs) [sighs] you", "Hello there you"),
        ("*softly chuckles* Yes. *微笑* 好（点头）", "Yes. 好"),
        ("I *really* like it (a lot) [very]", "I really like it (a lot) [very]"),
        ("\\*not bold\\* and \\(x\\)", "*not bold* and x"),
        ("7 * 6 = 42, 7*6, 2**3, (1+2)*3, 7 *6, 7* 6", "7 * 6 = 42, 7*6, 2**3, (1+2)*3, 7 *6, 7* 6"),
        ("a < b and b > c, a<b and c>d, x <= y", "a < b and b > c, a<b and c>d, x <= y"),
        ("-5 + 3 = -2", "-5 + 3 = -2"),
        ("about ~5 or $5, 50% & more", "about ~5 or $5, 50% & more"),
        ("Wow! [ok] a|b", "Wow! [ok] a|b"),
    ],
)  # fmt: skip
def test_what_is_spoken(raw: str, spoken: str) -> None:
    assert clean(raw) == spoken


def test_spaces_that_removals_leave_are_closed() -> None:
    assert cut("Hello 😀! How *smiles* are you 👍?") == ["Hello!", "How are you?"]


_PIECES = (
    "** * _ ` ``` ~~ # - 1. > | [ ]( ](x) ) ! ![ < <b> </b> <think> </think> <!-- --> &amp; https:// www. a@b.co "
    "smiles word Dr. 3.14 e.g. ... . ? 。 ， 你好 😀 7*6 \\ $$ 【 † 】 ( ---"
)
_FRAGMENTS = st.sampled_from([*_PIECES.split(), " ", "\n", "\r\n", "# ", "- "])
_WILD = st.one_of(st.lists(_FRAGMENTS, max_size=40).map("".join), st.text(max_size=200))


@settings(max_examples=100, deadline=None)
@given(_WILD, st.data())
def test_the_split_into_deltas_does_not_matter(text: str, data: st.DataObject) -> None:
    borders = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    deltas = [text[start:end] for start, end in zip([0, *borders], [*borders, len(text)], strict=True)]
    assert cut(*deltas) == cut(text) == cut(*text)


_WORDS = st.from_regex(r"[A-Za-z]{1,12}|[0-9]{1,4}(\.[0-9]{1,3})?|[一-龥]{1,12}", fullmatch=True)
_MARKS = st.sampled_from(
    [" ", " ", " ", ", ", ". ", "! ", "? ", "; ", ": ", "。", "，", "！", "\n", "... ", " - ", "… "]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(_WORDS, _MARKS), min_size=1, max_size=80))
def test_nothing_of_plain_text_is_lost(parts: list[tuple[str, str]]) -> None:
    text = "".join(word + mark for word, mark in parts[:-1]) + parts[-1][0]
    spoken = "".join(cut(text))
    assert re.sub(r"\s", "", spoken) == re.sub(r"\s", "", text)


@settings(max_examples=100, deadline=None)
@given(_WILD)
def test_every_piece_is_fit_to_be_spoken(text: str) -> None:
    for piece in cut(text):
        assert piece == piece.strip()
        assert any(char.isalnum() for char in piece)
        assert len(piece) <= 230
        assert not re.search(r"[\x00-\x1f\u200b\U0001f600]|https?://|```", piece)


_STYLES = ("**{}**", "*{}*", "`{}`", "_{}_", "# {}", "- {}", "[{}](http://x.y)", "~~{}~~", "<b>{}</b>", "{}")
_STYLED = st.tuples(st.sampled_from(_STYLES), st.from_regex(r"[a-z]{3,9}", fullmatch=True))


@settings(max_examples=100, deadline=None)
@given(st.lists(_STYLED, max_size=12))
def test_markup_never_leaks_and_its_words_stay(parts: list[tuple[str, str]]) -> None:
    raw = "".join("\n" + style.replace("{}", word) + "\n" for style, word in parts)
    assert clean(raw).split() == [word for _, word in parts]


@pytest.mark.parametrize(
    "unit", ["[", "(", "*", "_ ", "- ", "# ", "&", "【", "|", "![", "<a ", "`", "a@", "[a](", "…", '"']
)
def test_hostile_repetition_never_grows_a_piece_and_what_follows_is_spoken(unit: str) -> None:
    pieces = cut(unit * 1500, "\n\n", "Still here.")
    assert max(map(len, pieces)) <= 220
    assert unit == "`" or pieces[-1].endswith("Still here.")
