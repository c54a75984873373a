"""What an OpenAI-compatible server's refusals mean for whoever set it up, and when to ask again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import openai

from core.errors import RecognizerError

NAME = "openai"
_PASSING = frozenset({408, 409, 425, 429})
_LONGEST_DETAIL = 200
_ADVICE = {
    400: "it refuses the request; check asr.openai.model, language and timestamps",
    401: "it does not accept the key; check asr.openai.api_key",
    402: "the account has no credit left",
    403: "the key may not use this model; check asr.openai.api_key and model",
    404: "no such address or model; check asr.openai.base_url (it usually ends in /v1) and model",
    413: "the turn is too long for it; lower turn.max_turn_s",
    415: "it does not take WAV files",
    422: "it refuses the request; check asr.openai.model, language and timestamps",
    429: "too many requests, or the quota is used up",
}


class Failure(Exception):
    """An attempt that failed: what to report, whether to try again, how long the server wants us to wait (s)."""

    def __init__(self, error: RecognizerError, *, again: bool = False, retry_after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.again = again
        self.retry_after = retry_after


def problem(
    message: str, *, code: str | None = None, retryable: bool = False, quoted: str = "", again: bool = False
) -> Failure:
    """A failure with the adapter's name on it."""
    error = RecognizerError(message, adapter=NAME, code=code, retryable=retryable, quoted=quoted)
    return Failure(error, again=again)


def understood(error: openai.OpenAIError, server: str, key: str) -> Failure:
    """The failure behind an exception of the library; `key` never appears in it."""
    if isinstance(error, openai.APIStatusError):
        return _refusal(error, server, key)
    if isinstance(error, openai.APIConnectionError):
        reason = type(error.__cause__).__name__ if error.__cause__ else "connection error"
        return problem(f"{server} can not be reached or broke off ({reason})", retryable=True, again=True)
    return problem(f"{server} sent something that is no transcription")


def _refusal(error: openai.APIStatusError, server: str, key: str) -> Failure:
    """A status other than 2xx. Key errors are not quoted: servers repeat parts of the key in them."""
    status = error.status_code
    passing = status in _PASSING or status >= 500
    message = f"{server} answered {status}"
    if status in _ADVICE:
        message += f": {_ADVICE[status]}"
    body = error.body
    detail = (body.get("message") or body.get("detail")) if isinstance(body, dict) else body
    quoted = ""
    if isinstance(detail, str) and not detail.startswith("<") and status not in (401, 403):
        quoted = safe(detail, key)
    failure = problem(message, retryable=passing, quoted=quoted, again=passing and not _quota(body))
    failure.retry_after = _retry_after(error.response.headers)
    return failure


def safe(detail: str, key: str) -> str:
    """A server's own words, short, on one line and without the key."""
    text = " ".join(detail.split())
    return (text.replace(key, "***") if key else text)[:_LONGEST_DETAIL]


def _quota(body: object) -> bool:
    """Whether a 429 says that the money is used up: asking again at once does not help."""
    return isinstance(body, dict) and "insufficient_quota" in (body.get("code"), body.get("type"))


def _retry_after(headers: Any) -> float | None:
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
