"""What an OpenAI-compatible server's refusals mean for whoever set it up, and when to ask again."""

from __future__ import annotations

import openai

from core.errors import RecognizerError
from core.provider import Failure, refusal

NAME = "openai"
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
    refused = refusal(server, error.status_code, error.response.headers, error.body, key=key, advice=_ADVICE)
    failure = problem(refused.message, retryable=refused.passing, quoted=refused.quoted, again=refused.again)
    failure.retry_after = refused.retry_after
    return failure
