"""Logging: every line carries the session it belongs to; secrets and transcripts never appear.

What users say and what the avatar answers is never passed to a logger; code logs lengths and ids. What looks like
a credential is masked in both formats, wherever it comes from: a message, an exception's text, an extra field.
Of an exception that we did not raise on purpose, the log tells type and place but not its message, which may quote what
it choked on ("can't encode '...'"); errors of the system, of programming and of the database, which quote nothing of
users, are told in full. This holds for tracebacks and for exceptions among a line's arguments.

console   2026-11-21 10:15:02,123 INFO    [204346] core.sessions: session 204346 opened (1 of 8)
json      {"time": "2026-11-21T10:15:02.123Z", "level": "info", "session": "204346", "logger": "core.sessions",
           "message": "session 204346 opened (1 of 8)"}, with "exception" and "extra" where there are any
"""

from __future__ import annotations

import copy
import json
import logging
import re
import sqlite3
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from core.errors import EmanError

session_id: ContextVar[str] = ContextVar("session_id", default="-")
"""The session that the current task works for. Tasks inherit it from the task that starts them."""

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("console", "json")
OURS = ("core", "asr", "avatar", "app")
"""Loggers whose level is set; libraries, whose debug lines carry what is said, stay at warning."""

_SECRET_NAME = r"(?:api[_-]?key|access[_-]?key|token|secret|password|pwd|credential)"
_SECRET = re.compile(rf"(?i)({_SECRET_NAME}[\"']?\s*[=:]\s*[\"']?|bearer\s+)[^\s\"',}}&]+")
_NAMED_SECRET = re.compile(rf"(?i){_SECRET_NAME}$|^authorization$")
_BARE_SECRET = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+|\bsk-[\w-]{16,}")
"""Signed tokens (JWT) and OpenAI's keys, whatever stands before them."""
_LOGIN = re.compile(r"(://[^\s/:@]{1,200}:)[^\s/@]+(?=@)")
_TASK_ERROR = re.compile(r"exception=(\w+)\(.*\)", re.DOTALL)
"""How asyncio names a task that failed: with the repr of its exception."""
_TOLD_IN_FULL = (
    OSError, TypeError, AttributeError, NameError, ImportError, MemoryError, RecursionError, sqlite3.Error,
)  # fmt: skip
_LEFT_OUT = "(message left out)"
_FRAMES = 50
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "session", "taskName"}


def redacted(text: str) -> str:
    """`text` with everything that looks like a credential masked."""
    return _BARE_SECRET.sub("***", _LOGIN.sub(r"\1***", _SECRET.sub(r"\1***", text)))


class _SessionFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.session = session_id.get()
        return True


def exception_text(error: BaseException, told: frozenset[int] = frozenset()) -> str:
    """Tracebacks of an exception and of those behind it, without what may quote users (see above)."""
    told |= {id(error)}
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = ""
    if cause is not None and id(cause) not in told:
        before = exception_text(cause, told) + "\n\nThen:\n\n"
    frames = "".join(traceback.format_tb(error.__traceback__, limit=-_FRAMES))
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    text = f"{before}Traceback (most recent call last):\n{frames}{name}: {_message_of(error)}"
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            text += "\n\nOne of them:\n\n" + exception_text(part, told)
    return text


def _message_of(error: BaseException) -> str:
    if isinstance(error, EmanError):
        return error.loggable
    if isinstance(error, _TOLD_IN_FULL):
        return str(error)
    return _LEFT_OUT if str(error) else ""


class _Told:
    """An exception among a record's arguments, as the log may tell it."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __str__(self) -> str:
        message, name = _message_of(self._error), type(self._error).__name__
        return f"{name} {message}" if message == _LEFT_OUT else message or name

    def __repr__(self) -> str:
        return f"{type(self._error).__name__}({_message_of(self._error)})"


def _told(value: object) -> object:
    return _Told(value) if isinstance(value, BaseException) else value


def _message(record: logging.LogRecord) -> str:
    text = str(_told(record.msg))
    if isinstance(record.args, tuple) and record.args:
        text %= tuple(map(_told, record.args))
    elif record.args:
        text %= record.args
    return redacted(_TASK_ERROR.sub(r"exception=\1(...)", text) if record.name == "asyncio" else text)


class RedactingFormatter(logging.Formatter):
    """One line (and a traceback) per record, for people."""

    def format(self, record: logging.LogRecord) -> str:
        line = copy.copy(record)  # other handlers get it as it was
        line.msg, line.args = _message(record), None
        line.exc_info, line.exc_text = None, None
        if record.exc_info and record.exc_info[1] is not None:
            line.exc_text = redacted(exception_text(record.exc_info[1]))
        return super().format(line)


class JsonFormatter(logging.Formatter):
    """One JSON object per record, on one line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "session": getattr(record, "session", "-"),
            "logger": record.name,
            "message": _message(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = redacted(exception_text(record.exc_info[1]))
        if record.stack_info:
            line["stack"] = redacted(record.stack_info)
        extra = {key: _plain(key, value) for key, value in vars(record).items() if key not in _STANDARD}
        if extra:
            line["extra"] = extra
        return json.dumps(line, ensure_ascii=False).encode(errors="replace").decode()


def _plain(key: str, value: object) -> object:
    """An extra field as JSON can carry it, without secrets at any depth."""
    if _NAMED_SECRET.search(key):
        return "***"
    if isinstance(value, Mapping):
        return {str(name): _plain(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain("", item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else redacted(str(value))


def configure(level: str, format: str = "console") -> None:
    """Log to stderr at `level` (see `LEVELS`) in a format of `FORMATS`; libraries stay at warning or above."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_SessionFilter())
    if format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)-7s [%(session)s] %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    set_level(level)


def set_level(level: str) -> None:
    """Change the level of our loggers while they run. Raises `ValueError` for a word that is not in `LEVELS`."""
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}")
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())


def level() -> str:
    """The level in force."""
    return logging.getLevelName(logging.getLogger("core").getEffectiveLevel()).lower()


@contextmanager
def bound(session: str) -> Iterator[None]:
    """Mark everything logged inside (and by tasks started inside) with this session id."""
    token = session_id.set(session)
    try:
        yield
    finally:
        session_id.reset(token)
