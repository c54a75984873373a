"""What the demo understands: a table of patterns and pure functions from what was heard to an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from core.dialogue.arithmetic import Sum, Unanswerable, find_sum, solve
from core.dialogue.heard import Heard, name_in
from core.dialogue.numbers import say_chinese, say_english
from core.dialogue.phrases import MONTHS, WEEKDAYS

_LONGEST_ECHO = 80
_LONGEST_REPEAT = 400

_REPEAT = re.compile(
    r"^(?:please |can you |could you |now |and )*"
    r"(?:repeat(?: after me)?|say after me|say|read(?: this)?(?: aloud)?)\b[\s:,.]*(.*)$",
    re.IGNORECASE | re.DOTALL,
)
_REPEAT_CHINESE = re.compile(
    r"^(?:请你?|麻烦你?|你)?"
    r"(?:跟我说|跟我念|跟着我说|重复一?[下遍]?|复述|念一?[下遍]?|说一?[下遍句]|说)[\s：:，,]*(.*)$",
    re.DOTALL,
)
_AGAIN = re.compile(r"(?:that|it|again|that again|please)?[.!?]*|(?:刚才的话|一遍|吧)?[。！？]*")


def answer(heard: Heard) -> str:
    """The demo's answer, one or two sentences."""
    if not re.search(r"\w", heard.text):
        return heard.say("empty")
    for intent in INTENTS:
        if (words := intent(heard)) is not None:
            return words
    return heard.say("unknown", value=_shortened(heard.text))


def _shortened(text: str) -> str:
    text = " ".join(text.split()).rstrip(".!?。！？ ")
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO].rsplit(" ", 1)[0] + "…"


def _repeat(heard: Heard) -> str | None:
    found = (_REPEAT_CHINESE if heard.chinese else _REPEAT).match(heard.text)
    if found is None and (found := _REPEAT.match(heard.text)) is None:
        return None
    words = found[1].strip().strip('"“”「」')[:_LONGEST_REPEAT]
    if _AGAIN.fullmatch(words.lower()):
        said = next((turn.text for turn in reversed(heard.history) if turn.role == "assistant"), "")
        return said if words and said else heard.say("repeat what")
    return words if words[-1] in ".!?。！？…" else words + ("。" if heard.chinese else ".")


def _name_told(heard: Heard) -> str | None:
    name = name_in(heard.text)
    return heard.say("name told", value=name) if name else None


def _name_asked(heard: Heard) -> str | None:
    if not re.search(
        r"\b(?:what|whats|know|remember)\b.*\bmy name\b|\bwho am i\b|我叫什么|我是谁|我的名字", heard.plain
    ):
        return None
    return heard.say("name known", value=heard.user) if heard.user else heard.say("name unknown")


_OPERATOR_WORDS = {
    "+": ("plus", "加"),
    "-": ("minus", "减"),
    "*": ("times", "乘以"),
    "/": ("divided by", "除以"),
    "√": ("the square root of", "根号"),
}


def _arithmetic(heard: Heard) -> str | None:
    asked = find_sum(heard.text)
    if asked is None:
        return None
    try:
        value = solve(asked)
    except Unanswerable as problem:
        return heard.say(problem.reason)
    number = say_chinese(value) if heard.chinese else say_english(value)
    question = _read_sum(asked, heard.chinese)
    return heard.say("sum", question=question, value=number) if question else heard.say("result", value=number)


def _read_sum(asked: Sum, chinese: bool) -> str:
    """The sum in words, or "" when it is too long or too tangled to be read back."""
    words = []
    for token in asked.tokens:
        if isinstance(token, Fraction):
            if token >= 10**12:
                return ""
            words.append(say_chinese(token) if chinese else say_english(token))
        elif token in _OPERATOR_WORDS:
            words.append(_OPERATOR_WORDS[token][chinese])
        else:
            return ""
    return "" if len(words) > 9 else ("" if chinese else " ").join(words)


_TIME = re.compile(
    r"\bwhats? (?:is )?(?:the |a )?time\b|\btime is it\b|\btell me the time\b|\bthe time\b|几点|现在.*时间|什么时间"
)
_DATE = re.compile(
    r"\bwhat(?:s| is)? (?:is )?(?:the |todays |today s )?(?:date|day)\b|\b(?:day|date) is (?:it|today)\b|"
    r"\btodays date\b|几号|星期几|周几|礼拜几|什么日子|日期|几月"
)


def _time(heard: Heard) -> str | None:
    if not _TIME.search(heard.plain):
        return None
    hour, minute = heard.now.hour, heard.now.minute
    if heard.chinese:
        part = "凌晨" if hour < 6 else "上午" if hour < 12 else "下午" if hour < 18 else "晚上"
        minutes = "整" if not minute else ("零" if minute < 10 else "") + say_chinese(Fraction(minute)) + "分"
        return heard.say("time", value=f"{part}{_clock_hour(hour)}点{minutes}")
    part = "in the morning" if hour < 12 else "in the afternoon" if hour < 18 else "in the evening"
    minutes = "o'clock" if not minute else ("oh " if minute < 10 else "") + say_english(Fraction(minute))
    return heard.say("time", value=f"{say_english(Fraction(hour % 12 or 12))} {minutes} {part}")


def _clock_hour(hour: int) -> str:
    twelve = hour % 12 or 12
    return "两" if twelve == 2 else say_chinese(Fraction(twelve))


def _date(heard: Heard) -> str | None:
    if not _DATE.search(heard.plain):
        return None
    now = heard.now
    if heard.chinese:
        year = "".join("零一二三四五六七八九"[int(digit)] for digit in str(now.year))
        day = f"{year}年{say_chinese(Fraction(now.month))}月{say_chinese(Fraction(now.day))}日"
        return heard.say("date", value=f"{day}，星期{WEEKDAYS[1][now.weekday()]}")
    return heard.say("date", value=f"{WEEKDAYS[0][now.weekday()]}, {MONTHS[now.month - 1]} {now.day}, {now.year}")


def _spoken_to(name: str, english: str, chinese: str, most_words: int = 12) -> Callable[[Heard], str | None]:
    """An intent that is recognised by a pattern in a short utterance and answered with the phrase `name`."""
    pattern = re.compile(rf"\b(?:{english})\b|{chinese}")

    def intent(heard: Heard) -> str | None:
        plain = heard.plain
        size = len(plain) // 2 if heard.chinese else plain.count(" ") + 1
        return heard.say(name, user=heard.user) if size <= most_words and pattern.search(plain) else None

    return intent


INTENTS: tuple[Callable[[Heard], str | None], ...] = (
    _arithmetic,
    _name_told,
    _name_asked,
    _repeat,
    _spoken_to("stop", r"stop|be quiet|shut up|silence|enough", r"停|闭嘴|安静|别说了|住口", 4),
    _time,
    _date,
    _spoken_to("joke", r"jokes?|make me laugh|something funny", r"笑话|逗我笑|讲个段子"),
    _spoken_to("weather", r"weather|rain(?:ing)? today|sunny|temperature outside", r"天气|下雨|气温"),
    _spoken_to(
        "connect",
        r"connect|configure|open ?ai|language model|chat ?gpt|llm|real (?:model|mind|brain)",
        r"配置|接入|连接|大模型|语言模型",
    ),
    _spoken_to(
        "abilities",
        r"what (?:else )?(?:can|could|do) (?:you|u|i) (?:do|ask|say|know)|help(?: me)?|your abilities|can you do",
        r"你会(?:什么|做什么|干什么|干嘛)|你能(?:做|干)|帮助|帮帮我|有什么功能|能做什么",
    ),
    _spoken_to(
        "identity",
        r"(?:who|what) (?:are|r) (?:you|u)|whats? (?:is )?your name|introduce yourself|about yourself|"
        r"(?:are|r) (?:you|u) (?:a |an )?(?:real|human|robot|bot|ai|person|alive|demo)",
        r"你是(?:谁|什么|真人|机器人|人)|你叫什么|你的名字|介绍.*自己",
    ),
    _spoken_to(
        "how are you",
        r"how (?:are|r) (?:you|u|ya|things)|hows it going|how is it going|how do you do|how have you been|whats up",
        r"你好吗|你怎么样|最近怎么样|过得怎么样|过得好吗",
    ),
    _spoken_to(
        "fine",
        r"(?:im|i am|i m) (?:fine|good|great|okay|ok|well|very well|doing well)|fine thank you|very good|great|nice",
        r"我很好|我也很好|不错|很好|太好了",
        6,
    ),
    _spoken_to("thanks", r"thanks?|thank you|thank u|thx|cheers", r"谢谢|多谢|感谢", 8),
    _spoken_to("goodbye", r"good ?bye|bye(?: bye)?|see you|see ya|good ?night|farewell", r"再见|拜拜|晚安|回头见", 6),
    _spoken_to(
        "greeting",
        r"hello|hallo|hi|hey|greetings|good (?:morning|afternoon|evening|day)",
        r"你好|您好|嗨|哈喽|早上好|下午好|晚上好|早安|大家好",
        5,
    ),
)
"""Tried in this order; the first that does not return None answers."""
