"""Logging: every line carries the session it belongs to; secrets and transcripts never appear.

What users say and what the avatar answers is never passed to a logger; code logs lengths and ids.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

session_id: ContextVar[str] = ContextVar("session_id", default="-")
"""The session that the current task works for. Tasks inherit it from the task that starts them."""

_SECRET = re.compile(
    r"(?i)((?:api[_-]?key|access[_-]?key|token|secret|password|pwd|credential)[\"']?\s*[=:]\s*[\"']?"
    r"|bearer\s+)[^\s\"',}&]+"
)
_LOGIN = re.compile(r"(://[^\s/:@]{1,200}:)[^\s/@]+(?=@)")


class _SessionFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.session = session_id.get()
        return True


class RedactingFormatter(logging.Formatter):
    """Masks what looks like a credential, wherever it came from (a library's exception text, a URL)."""

    def format(self, record: logging.LogRecord) -> str:
        return _LOGIN.sub(r"\1***", _SECRET.sub(r"\1***", super().format(record)))


def configure(level: str) -> None:
    """Log to stderr at `level` (debug, info, warning, error); libraries stay at warning or above."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_SessionFilter())
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)-7s [%(session)s] %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("core", "asr", "avatar", "app"):
        logging.getLogger(name).setLevel(level.upper())


@contextmanager
def bound(session: str) -> Iterator[None]:
    """Mark everything logged inside (and by tasks started inside) with this session id."""
    token = session_id.set(session)
    try:
        yield
    finally:
        session_id.reset(token)
