"""What a service's HTTP refusals mean for whoever set it up, and when to ask it again. Pure; for adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from core.errors import AdapterError

_PASSING = frozenset({408, 409, 425, 429})
_KEY_REFUSED = (401, 403)
_LONGEST_DETAIL = 200


class Failure(Exception):
    """An attempt that failed: what to report, whether to try again, how long the server wants us to wait (s)."""

    def __init__(self, error: AdapterError, *, again: bool = False, retry_after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.again = again
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status other than 2xx. `quoted`: the server's own words; `retry_after`: seconds it wants us to wait."""

    message: str
    quoted: str
    passing: bool
    """The same request may succeed later."""
    again: bool
    """It is worth asking again at once: passing, and not for want of money."""
    retry_after: float | None


def refusal(
    server: str, status: int, headers: Mapping[str, str], body: object, *, key: str, advice: Mapping[int, str]
) -> Refusal:
    """Understand a refusal. `server` names it for people, `advice` says what to do about a status.

    `body`: parsed JSON, or text. Refusals of the key are not quoted: servers repeat parts of the key in them.
    """
    passing = status in _PASSING or status >= 500
    message = f"{server} answered {status}" + (f": {advice[status]}" if status in advice else "")
    detail = (body.get("message") or body.get("detail")) if isinstance(body, dict) else body
    quoted = ""
    if isinstance(detail, str) and not detail.startswith("<") and status not in _KEY_REFUSED:
        quoted = safe(detail, key)
    return Refusal(message, quoted, passing, passing and not _quota(body), retry_after(headers))


def safe(detail: object, key: str) -> str:
    """A server's own words, short, on one line and without the key."""
    text = " ".join(str(detail).split())
    return (text.replace(key, "***") if key else text)[:_LONGEST_DETAIL]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks for, as seconds or as a date (RFC 9110, 10.2.3) or in milliseconds."""
    text = headers.get("retry-after", "")
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        return float(text)
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None


def _quota(body: object) -> bool:
    """Whether a 429 says that the money is used up: asking again at once does not help."""
    return isinstance(body, dict) and "insufficient_quota" in (body.get("code"), body.get("type"))
