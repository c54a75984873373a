"""The built-in dialogue: what it understands, in both languages, typed or as a recogniser writes it."""

from __future__ import annotations

import re
from datetime import datetime
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dialogue.arithmetic import Unanswerable, find_sum, solve
from core.dialogue.demo import DemoDialogue
from core.dialogue.numbers import LARGEST, parse_chinese, parse_english, say_chinese, say_english
from core.frames import Utterance
from core.sentences import SentenceCutter

NOW = datetime(2026, 11, 21, 15, 5)


async def raw(text: str, *history: Utterance, now: datetime = NOW) -> str:
    return "".join([piece async for piece in DemoDialogue(clock=lambda: now).reply(history, text)])


async def ask(text: str, *history: Utterance, now: datetime = NOW) -> str:
    """The answer without its tags."""
    cutter, answer = SentenceCutter(), await raw(text, *history, now=now)
    pieces = [piece.text for piece in [*cutter.feed(answer), *cutter.finish()] if piece.text]
    return re.sub(r"(?<=[。，！？：]) ", "", " ".join(pieces))


@pytest.mark.parametrize(
    ("text", "tag"),
    [("hello", "[happy]"), ("你好", "[happy]"), ("xyzzy", "[apologetic]"), ("stop", "[nod]"), ("5/0", "[shake]")],
)  # fmt: skip
async def test_its_face_answers_too(text: str, tag: str) -> None:
    assert (await raw(text)).startswith(tag)
    assert "[" not in await ask(text)


def turns(count: int) -> list[Utterance]:
    return [Utterance("user", "hello"), Utterance("assistant", "Hi!")] * count


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what is seven times six", "Seven times six is forty two."),
        ("What's seven times six?", "Seven times six is forty two."),
        ("hello what is seven times six please", "Seven times six is forty two."),
        ("what is seven time sex", "Seven times six is forty two."),
        ("7*6", "Seven times six is forty two."),
        ("7 x 6 =", "Seven times six is forty two."),
        ("12 divided by 4", "Twelve divided by four is three."),
        ("what's 3.5 plus 2", "Three point five plus two is five point five."),
        ("the square root of 81", "The square root of eighty one is nine."),
        ("two plus three times four", "Two plus three times four is fourteen."),
        ("what is to times for", "Two times four is eight."),
        ("what is 10-12", "Ten minus twelve is minus two."),
        ("one divided by three", "One divided by three is about zero point three three three three."),
        ("(2+3)*4", "That makes twenty."),
        ("what is five percent of two hundred", "That makes ten."),
        ("1,000 * 3", "One thousand times three is three thousand."),
        ("twenty-one plus a hundred and five", "Twenty one plus one hundred and five is one hundred and twenty six."),
        ("5/0", "Nothing can be divided by zero, not even by me."),
        ("square root of minus four", "A negative number has no real square root."),
        ("999999999999 * 999999999999", "That number is too big for me to say."),
        ("9^9^9^9", "That number is too big for me to say."),
        ("七乘以六等于多少", "七乘以六等于四十二。"),
        ("3加5", "三加五等于八。"),
        ("十除以四是多少？", "十除以四等于二点五。"),
        ("一百零五减三十", "一百零五减三十等于七十五。"),
        ("9的平方根", "根号九等于三。"),
        ("十除以零", "零不能做除数，我也没办法。"),
    ],
)
async def test_sums(question: str, answer: str) -> None:
    assert await ask(question) == answer


@pytest.mark.parametrize(
    "text",
    ["i have two dogs", "seven", "42", "one two three", "to be or not to be", "what time is it", "三个人", "+", "7 *"],
)  # fmt: skip
def test_what_is_no_sum(text: str) -> None:
    assert find_sum(text) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("hello", "Hello"),
        ("good morning eman", "Hello"),
        ("hi there how are you", "fine"),
        ("who are you", "built-in demo"),
        ("are you a robot", "OpenAI compatible server"),
        ("how do i connect a real model", "settings"),
        ("what can you do", "sums"),
        ("help", "sums"),
        ("what time is it", "It is three oh five in the afternoon."),
        ("what's the date today", "Today is Saturday, November 21, 2026."),
        ("what day is it", "Saturday"),
        ("repeat after me the quick brown fox", "the quick brown fox."),
        ("Say: hello, world!", "hello, world!"),
        ("repeat after me", "What shall I say?"),
        ("my name is anna", "Anna"),
        ("what is my name", "not told me"),
        ("thank you very much", "welcome"),
        ("goodbye", "Goodbye"),
        ("tell me a joke", "computer"),
        ("stop", "quiet"),
        ("what is the weather like", "window"),
        ("i am fine thank you", "glad"),
        ("", "catch"),
        ("?!", "catch"),
        ("你好", "你好！"),
        ("你是谁", "内置演示"),
        ("你会什么", "算数"),
        ("现在几点了", "现在是下午三点零五分。"),
        ("今天星期几", "今天是二零二六年十一月二十一日，星期六。"),
        ("跟我说：你好世界", "你好世界。"),
        ("我叫小明", "小明"),
        ("谢谢你", "不客气"),
        ("再见", "再见"),
        ("讲个笑话", "电脑"),
        ("停", "不说了"),
        ("你好吗", "我很好"),
    ],
)
async def test_small_talk(text: str, part: str) -> None:
    assert part in await ask(text)


@pytest.mark.parametrize("text", ["what is the capital of france", "colourless green ideas sleep furiously"])
async def test_what_it_does_not_know_it_repeats_and_says_so(text: str) -> None:
    answers = [await ask(text, *turns(n)) for n in range(3)]
    assert all(text in answer and "demo" in answer for answer in answers)
    assert len(set(answers)) == 3


async def test_unknown_chinese_and_very_long_text_are_answered_shortly() -> None:
    assert "法国的首都是哪里" in await ask("法国的首都是哪里？")
    assert len(await ask("word " * 5000)) < 300


@pytest.mark.parametrize("place", [0, 1, 2, 3])
async def test_answers_vary_with_the_history_and_only_with_it(place: int) -> None:
    assert await ask("tell me a joke", *turns(place)) == await ask("tell me a joke", *turns(place))
    assert await ask("tell me a joke", *turns(place)) != await ask("tell me a joke", *turns(place + 1))


async def test_remembers_the_name_and_the_last_answer_within_the_conversation() -> None:
    told = (Utterance("user", "My name is Anna."), Utterance("assistant", "Nice to meet you, Anna."))
    assert "Anna" in await ask("what's my name?", *told)
    assert "Anna" in await ask("goodbye", *told)
    assert await ask("say that again", *told) == "Nice to meet you, Anna."
    assert "小明" in await ask("我叫什么名字", Utterance("user", "我叫小明"), Utterance("assistant", "你好"))


async def test_a_name_is_not_guessed() -> None:
    assert "Not" not in await ask("my name is not important")


async def test_digits_are_answered_in_the_language_of_the_conversation() -> None:
    assert await ask("7*6", Utterance("user", "你好"), Utterance("assistant", "你好！")) == "七乘以六等于四十二。"


@pytest.mark.parametrize(
    ("hour", "minute", "english", "chinese"),
    [
        (0, 0, "It is twelve o'clock in the morning.", "现在是凌晨十二点整。"),
        (9, 30, "It is nine thirty in the morning.", "现在是上午九点三十分。"),
        (14, 10, "It is two ten in the afternoon.", "现在是下午两点十分。"),
        (23, 59, "It is eleven fifty nine in the evening.", "现在是晚上十一点五十九分。"),
    ],
)
async def test_clock(hour: int, minute: int, english: str, chinese: str) -> None:
    now = NOW.replace(hour=hour, minute=minute)
    assert await ask("what time is it", now=now) == english
    assert await ask("几点了", now=now) == chinese


@given(st.integers(0, 10**15 - 1))
def test_numbers_are_said_as_they_are_understood(value: int) -> None:
    assert parse_english(say_english(Fraction(value)).split()) == value
    assert parse_chinese(say_chinese(Fraction(value))) == value


@given(st.integers(0, 10**7))
def test_decimals_are_said_as_they_are_understood(value: int) -> None:
    number = Fraction(value, 1000)
    assert parse_english(say_english(number).split()) == number
    assert parse_chinese(say_chinese(number)) == number


_SUMS = st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: f"({''.join(parts)})"),
    max_leaves=6,
).filter(lambda text: "(" in text)


@settings(deadline=None)
@given(_SUMS)
def test_sums_follow_the_rules_of_arithmetic(text: str) -> None:
    asked = find_sum(text)
    assert asked is not None
    assert solve(asked) == eval(text)


@settings(deadline=None)
@given(st.text(alphabet="0123456789+-*/^%().√ 一二十百千万亿点加减乘除twohundred", max_size=80))
def test_no_text_breaks_the_grammar(text: str) -> None:
    asked = find_sum(text)
    try:
        value = solve(asked) if asked else Fraction(0)
    except Unanswerable as problem:
        value = Fraction(0) if problem.reason in {"zero", "negative root", "huge"} else Fraction(LARGEST)
    assert abs(value) < LARGEST
