"""Removes from streamed text what must never be spoken: Markdown, HTML, addresses, reasoning, emoji.

Tags for the face ("[happy]") and stage directions that it can act ("*nods*") become marks (`core.acts.MARKS`).
Works one character at a time and holds back only what is still ambiguous, so the result does not depend
on how the text was split. Everything ambiguous is decided at the latest by a newline or by a bound.
Grammar followed: CommonMark 0.31 and the GitHub tables and strikethrough extensions, as far as they are
found in answers of language models; where plain-language arithmetic disagrees ("7 * 6"), arithmetic wins.
"""

from __future__ import annotations

import re
import unicodedata

from core.acts import mark_of_direction, mark_of_tag

_LONGEST_TAG = 400
_LONGEST_LINK = 800
_LONGEST_ROW = 600
_LONGEST_ADDRESS = 2000
_LONGEST_DIRECTION = 60

_HIDDEN = frozenset({"think", "thinking", "thought", "reasoning", "reflection", "script", "style"})
_BLOCKS = frozenset({"br", "p", "div", "li", "ul", "ol", "tr", "table", "hr", "h1", "h2", "h3", "h4", "h5", "h6"})
_TAG = re.compile(r"<(/?)([A-Za-z][\w:-]*)(?:\s+[\w:-]+=(?:\"[^\"]*\"|'[^']*'|[^\s\"'>]+))*\s*/?>|<\|[^|>\s]{1,40}\|>")
_TAG_SO_FAR = re.compile(
    r"<(?:/?(?:[A-Za-z][\w:-]*(?:\s+[\w:-]+=(?:\"[^\"]*\"|'[^']*'|[^\s\"'>]+))*"
    r"(?:\s+(?:[\w:-]+(?:=(?:\"[^\"]*|'[^']*|[^\s\"'>]*)?)?)?|\s*/)?)?|!-{0,2}|\|[^|>\s]{0,40}\|?)"
)
_ANGLE_ADDRESS = re.compile(r"<(?:(?:https?|ftp|mailto):|[\w.+-]+@)[^\s<>]*")
_ENTITY = re.compile(r"&(#?\w{1,8});")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'", "#39": "'", "nbsp": " "}

_RULE_SO_FAR = re.compile(r"([-*_=])(?:[ \t]*\1)*[ \t]*")
_RULE = re.compile(r"([-*_=])(?:[ \t]*\1){2,}[ \t]*\n")
_BULLET = re.compile(r"[-*•][ \t]+(?:\[[ xX]\][ \t]+)?")
_BULLET_SO_FAR = re.compile(r"[-*•](?:[ \t]+(?:\[(?:[ xX](?:\][ \t]*)?)?)?)?")
_HEADING = re.compile(r"#{1,6}[ \t]+")
_HEADING_SO_FAR = re.compile(r"#{1,6}")
_TABLE_LINE = re.compile(r":?-+:?")

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+@-]*")
_EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_SCHEME = re.compile(r"(?:https?|ftp|mailto|file)")
_GLUED_SCHEME = re.compile(r".+?(?=(?:https?|ftp)$)")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]+\.)+(?:com|org|net|io|dev|ai|cn|edu|gov|co|app|me|de|uk)")
_ADDRESS = re.compile(r"[^\s<>\"`{}|\\^\u0080-\U0010ffff]+")

_ACTED = (
    "smiles|smiling|laughs|laughing|waves|waving|nods|nodding|sighs|sighing|grins|grinning|winks|winking|chuckles|"
    "chuckling|giggles|giggling|smirks|shrugs|claps|bows|blushes|gasps|coughs|pauses|blinks|leans|tilts|whispers|"
    "cheers|yawns|gestures|beams|sobs|snickers|frowns|hums|clears throat|clears my throat|takes a breath|"
    "takes a deep breath|rolls eyes|rolls my eyes|raises an eyebrow|looks up|looks down|looks away|looks around|"
    "shakes head|shakes my head|shakes his head|shakes her head|shaking my head"
)
_ACTED_FIRST = frozenset(words.split()[0] for words in _ACTED.split("|"))
_DIRECTION = re.compile(
    rf"(?:[a-z]+ly )?(?:{_ACTED})\b[^*\n]*"
    "|[一-鿿]{0,4}?(?:笑|点头|挥手|眨眼|叹气|鞠躬|摇头|歪头|耸肩|停顿)[一-鿿]{0,3}"
)

_SPOKEN_SYMBOLS = frozenset("°℃℉№©®™")
_MARKDOWN_PUNCTUATION = frozenset("\\`*_{}<>#+-.!|~&:\"'")

_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_LINK_WORDS = ("link", "链接")
_EMAIL_WORDS = ("email address", "邮箱地址")
_CODE_WORDS = ("Code omitted.", "代码略。")


class MarkupFilter:
    """One stream of text. `feed` returns what may be spoken so far, with newlines where a block ends."""

    def __init__(self) -> None:
        self._held = ""
        self._skip_to: re.Pattern[str] | None = None
        self._line_start = True
        self._left = "\n"
        self._solid = ""
        self._starred = False
        self._chinese = 0

    def feed(self, text: str) -> str:
        """Take the next piece of raw text, of any size."""
        out: list[str] = []
        for char in text:
            if char == "\r":
                continue
            self._held += "\n" if char in "\u2028\u2029" else char
            while self._held and (done := self._step()) is not None:
                out.append(done)
        return "".join(out)

    def finish(self) -> str:
        """End of the text: what was held back. Unclosed code and reasoning are dropped."""
        return self.feed("\n").removesuffix("\n")

    def _step(self) -> str | None:
        """Consume something from the front of what is held; None while that needs more text."""
        if self._skip_to is not None:
            return self._skip(self._skip_to)
        if self._line_start:
            return self._block()
        handler = _INLINE.get(self._held[0])
        if handler is not None:
            return handler(self)
        if _WORD.match(self._held):
            return self._word()
        return self._take(1, _speakable(self._held[0]))

    def _take(self, count: int, spoken: str) -> str:
        raw = self._held[:count]
        self._held = self._held[count:]
        self._left = raw[-1:] or self._left
        self._solid = raw.rstrip()[-1:] or self._solid
        self._chinese = self._chinese or int(_CJK.search(spoken) is not None)
        if raw.endswith("\n"):
            self._line_start, self._starred, self._solid = True, False, ""
        return spoken

    def _act(self, count: int, mark: str) -> str:
        """Take a tag or a stage direction; what is around it is read as if it were not there."""
        self._held = self._held[count:]
        self._line_start = self._line_start or not self._solid
        return mark

    def _replace(self, count: int, raw: str) -> str:
        """Put `raw` in the place of the first `count` characters; it is looked at again."""
        self._held = raw + self._held[count:]
        return ""

    def _skip(self, end: re.Pattern[str]) -> str | None:
        found = end.search(self._held)
        if found is None:
            self._held = self._held[-24:]
            return None
        self._skip_to = None
        return self._take(found.end(), "")

    def _block(self) -> str | None:
        """What a line begins with: rules, bullets, headings, quotes, tables, fences."""
        text = self._held
        if text[0] in " \t":
            return self._take(1, " ")
        if text[0] == ">" and (len(text) == 1 or text[1] not in "=0123456789"):
            return None if len(text) == 1 else self._take(1, "")
        if text[0] == "|":
            return self._table_row()
        if (
            any(pattern.fullmatch(text) for pattern in (_RULE_SO_FAR, _BULLET_SO_FAR, _HEADING_SO_FAR))
            and len(text) < 80
        ):
            return None
        if found := _RULE.match(text):
            return self._take(found.end(), "")
        self._line_start = False
        found = _BULLET.match(text) or _HEADING.match(text)
        return self._take(found.end(), "") if found else ""

    def _table_row(self) -> str | None:
        row, newline, _ = self._held.partition("\n")
        if not newline and len(row) < _LONGEST_ROW:
            return None
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
        if len(row.strip()) < 3 or not row.rstrip().endswith("|"):
            self._line_start = False
            return self._take(1, "|")
        if all(_TABLE_LINE.fullmatch(cell) for cell in cells):
            return self._take(len(row) + 1, "")
        inner = MarkupFilter()
        return self._take(len(row) + 1, inner.feed(", ".join(filter(None, cells))) + inner.finish() + "\n")

    def _ticks(self) -> str | None:
        run = len(self._held) - len(self._held.lstrip("`"))
        if run < 3:
            return None if run == len(self._held) else self._take(run, "")
        self._skip_to = re.compile("```")
        return self._take(3, f"\n{_CODE_WORDS[self._chinese]}\n")

    def _angle(self) -> str | None:
        text = self._held
        if address := _ANGLE_ADDRESS.match(text):
            if address.end() == len(text) and len(text) < _LONGEST_ADDRESS:
                return None
            return self._take(address.end() + (text[address.end()] == ">"), _LINK_WORDS[self._chinese])
        if text.startswith("<!--"):
            self._skip_to = re.compile("-->")
            return self._take(4, "")
        if found := _TAG.match(text):
            name = (found[2] or "").lower()
            if name in _HIDDEN and not found[1]:
                self._skip_to = re.compile(rf"</{name}\s*>", re.IGNORECASE)
            return self._take(found.end(), "\n" if name in _BLOCKS else "")
        if _TAG_SO_FAR.fullmatch(text) and len(text) < _LONGEST_TAG:
            return None
        return self._take(1, "<")

    def _entity(self) -> str | None:
        if found := _ENTITY.match(self._held):
            return self._take(found.end(), _ENTITIES.get(found[1], ""))
        return None if re.fullmatch(r"&#?\w{0,8}", self._held) else self._take(1, "&")

    def _bracket(self) -> str | None:
        """[text](address), [text][reference], ![image](address), [1], [^note]; else a plain bracket."""
        mark = 1 if self._held[0] == "!" else 0
        if mark and self._held == "!":
            return None
        if mark and self._held[1] != "[":
            return self._take(1, "!")
        close = _closing(self._held, mark, "[", "]")
        if close is None:
            return self._take(1, self._held[0])
        if close < 0:
            return None
        if not mark and (tag := mark_of_tag(self._held[1:close])):
            return self._act(close + 1, tag)
        if close + 1 == len(self._held):
            return None
        label, after = self._held[mark + 1 : close], self._held[close + 1]
        if after in "([":
            end = _closing(self._held, close + 1, after, ")" if after == "(" else "]")
            if end is not None:
                return None if end < 0 else self._replace(end + 1, label)
        if label.startswith("^") or label.isdecimal():
            return self._take(close + 1, "")
        if _DIRECTION.fullmatch(label.lower()):
            return self._act(close + 1, mark_of_direction(label))
        return self._take(1, self._held[0])

    def _citation(self) -> str | None:
        opening = self._held[0]
        body, close, _ = self._held.partition(_WIDE[opening])
        if not close:
            return None if len(body) < 60 and "\n" not in body else self._take(1, opening)
        label = body[1:]
        if tag := mark_of_tag(label):
            return self._act(len(body) + 1, tag)
        if _DIRECTION.fullmatch(label.lower()):
            return self._act(len(body) + 1, mark_of_direction(label))
        return self._take(len(body) + 1, "") if "†" in body else self._take(1, opening)

    def _emphasis(self) -> str | None:
        mark = self._held[0]
        run = len(self._held) - len(self._held.lstrip(mark))
        if run == len(self._held):
            return None
        right = self._held[run]
        if _is_operator(mark, run, self._left, self._solid, right, self._starred):
            return self._take(run, mark * run)
        if mark == "*" and run == 1 and not right.isspace() and not self._starred:
            direction = self._direction("*")
            if direction is not False:
                return None if direction is None else self._take_direction(direction)
        if mark == "*" and run == 1:
            self._starred = not self._starred
        return self._take(run, "")

    def _parenthesis(self) -> str | None:
        direction = self._direction("）" if self._held[0] == "（" else ")")
        if direction is False:
            return self._take(1, self._held[0])
        return None if direction is None else self._take_direction(direction)

    def _take_direction(self, count: int) -> str:
        return self._act(count, mark_of_direction(self._held[1 : count - 1]))

    def _direction(self, close: str) -> int | bool | None:
        """Length of the stage direction ("*smiles*") at the front, None while unknown, False if it is none."""
        body, found, _ = self._held[1:].partition(close)
        if found:
            return len(body) + 2 if _DIRECTION.fullmatch(body.lower()) else False
        if "\n" in body or len(body) > _LONGEST_DIRECTION or not _may_act(body.lower()):
            return False
        return None

    def _backslash(self) -> str | None:
        if len(self._held) == 1:
            return None
        after = self._held[1]
        if after in "()[]":
            return self._take(2, "")
        return self._take(2, after) if after in _MARKDOWN_PUNCTUATION else self._take(1, "\\")

    def _dollar(self) -> str | None:
        if len(self._held) == 1:
            return None
        return self._take(2, "") if self._held[1] == "$" else self._take(1, "$")

    def _word(self) -> str | None:
        """A run that may be an address; whole words are held until they end."""
        found = _WORD.match(self._held)
        assert found is not None
        word = found[0]
        if found.end() == len(self._held):
            return None if len(word) < _LONGEST_ADDRESS else self._take(len(word), word)
        after = self._held[found.end()]
        lower = word.lower()
        if after == ":" and (glued := _GLUED_SCHEME.match(lower)):
            return self._take(glued.end(), word[: glued.end()])
        if (after == ":" and _SCHEME.fullmatch(lower)) or (after == "/" and _DOMAIN.fullmatch(lower)):
            return self._address()
        if lower.startswith("www.") and len(lower) > 4:
            return self._address()
        core = word.rstrip("._%+@-") or word
        if _EMAIL.fullmatch(core):
            return self._take(len(core), _EMAIL_WORDS[self._chinese])
        return self._take(len(core), core)

    def _address(self) -> str | None:
        found = _ADDRESS.match(self._held)
        assert found is not None
        if found.end() == len(self._held) and len(self._held) < _LONGEST_ADDRESS:
            return None
        address = found[0].rstrip(".,;:!?'*_~")
        while address.endswith((")", "]")) and address.count(address[-1]) > address.count(_OPENING[address[-1]]):
            address = address[:-1].rstrip(".,;:!?'*_~")
        if _SCHEME.fullmatch(address.lower()):
            return self._take(len(address), address)
        return self._take(len(address), _LINK_WORDS[self._chinese])


_OPENING = {")": "(", "]": "["}
_WIDE = {"【": "】", "［": "］"}

_INLINE = {
    "`": MarkupFilter._ticks,
    "<": MarkupFilter._angle,
    "&": MarkupFilter._entity,
    "[": MarkupFilter._bracket,
    "!": MarkupFilter._bracket,
    "【": MarkupFilter._citation,
    "［": MarkupFilter._citation,
    "*": MarkupFilter._emphasis,
    "_": MarkupFilter._emphasis,
    "~": MarkupFilter._emphasis,
    "(": MarkupFilter._parenthesis,
    "（": MarkupFilter._parenthesis,
    "\\": MarkupFilter._backslash,
    "$": MarkupFilter._dollar,
}


def _speakable(char: str) -> str:
    """`char` itself, a space for any white space, nothing for emoji, controls and invisible characters."""
    if char == "\n" or char in _SPOKEN_SYMBOLS:
        return char
    if char.isspace():
        return " "
    kind = unicodedata.category(char)
    invisible = kind[0] == "C" or char == "\ufffd" or "\ufe00" <= char <= "\ufe0f" or char == "\u20e3"
    return "" if invisible or kind == "So" or "\U0001f3fb" <= char <= "\U0001f3ff" else char


def _is_operator(mark: str, run: int, left: str, solid: str, right: str, starred: bool) -> bool:
    """Whether a run of `*`, `_` or `~` is arithmetic or part of a name rather than markup."""
    if mark == "~":
        return run == 1
    if mark == "_":
        return left.isalnum() and right.isalnum()
    if left.isspace() and right.isspace():
        return bool(solid)
    if run == 2:
        return left.isdecimal() and right.isdecimal()
    if run > 2:
        return False
    tight = _operand(left, ")]") and _operand(right, "([-")
    return tight or (left.isdecimal() and right.isspace() and not starred) or _spaced(left, solid, right)


def _operand(char: str, brackets: str) -> bool:
    return char in brackets or (char.isascii() and char.isalnum())


def _spaced(left: str, solid: str, right: str) -> bool:
    """ "7 *6": a star after a space, between two numbers."""
    return left.isspace() and solid.isdecimal() and right.isdecimal()


def _closing(text: str, start: int, opening: str, closing: str) -> int | None:
    """Index of the bracket that closes the one at `start`, -1 while it may still come, None if it won't."""
    depth = 0
    for index in range(start, len(text)):
        char = text[index]
        if char == "\n":
            return None
        depth += (char == opening) - (char == closing)
        if depth == 0:
            return index
    return -1 if len(text) - start < (_LONGEST_LINK if opening == "(" else 200) else None


def _may_act(body: str) -> bool:
    """Whether the beginning of a possible stage direction can still become one."""
    words = body.split(" ")
    if words[0].endswith("ly") and len(words) > 1:
        words = words[1:]
    first = words[0]
    if len(words) > 1:
        return first in _ACTED_FIRST
    return len(first) <= 14 and (first.isalpha() or not first)
