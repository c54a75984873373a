"""Any OpenAI-compatible server: streaming chat completions (`POST {base_url}/chat/completions`)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import openai

from core.errors import DialogueError
from core.frames import Utterance
from core.provider import Failure, refusal, safe

SYSTEM_PROMPT = (
    "You are Eman, a friendly talking avatar. Everything you write is spoken aloud by a voice, so answer as "
    "one speaks: in the user's language, in one to three short sentences, most important thing first. "
    "No Markdown, no lists, no tables, no code, no web addresses, no emoji, no stage directions. "
    "Your face acts these tags, which are not spoken, with the words that follow them: [happy] [sad] [surprised] "
    "[thinking] [apologetic] [neutral] [nod] [shake] [tilt]. One or two in an answer are enough. "
    "Write numbers, units and abbreviations the way they are said. The user's words come from speech "
    "recognition: forgive small mistakes, and ask briefly when you can not make sense of them. "
    "If you do not know something, say so."
)
_RETRIES = 2
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 8.0
_CONNECT_S = 5.0
_PASSING_WORDS = ("rate_limit", "overload", "server_error", "unavailable", "timeout", "internal")

_ADVICE = {
    400: "it refuses the request; check model, temperature and max_tokens",
    401: "it does not accept the key; check dialogue.openai.api_key",
    402: "the account has no credit left",
    403: "the key may not use this model; check dialogue.openai.api_key and model",
    404: "no such address or model; check dialogue.openai.base_url (it usually ends in /v1) and model",
    413: "the conversation is too long for it; lower dialogue.history_turns",
    422: "it refuses the request; check model, temperature and max_tokens",
    429: "too many requests, or the quota is used up",
}


class OpenAIDialogue:
    """Streams answers of a chat model.

    `base_url`: ends before "/chat/completions". `api_key`: may be empty, then no Authorization header is
    sent. `system_prompt`: None for `SYSTEM_PROMPT`. `max_tokens`: None lets the server decide.
    `history_turns`: earlier questions (with their answers) that are sent along. `timeout_s`: seconds of
    silence allowed before the first and between later pieces. Connection errors, 429 and 5xx are tried
    again twice while nothing has been said yet, and only when the server asks for no longer wait than
    8 seconds. `sleep` and `jitter` (0..1) exist for tests.
    """

    name = "openai"

    def __init__(
        self,
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key: str = "",
        model: str = "gpt-4o-mini",
        system_prompt: str | None = None,
        temperature: float | None = 0.7,
        max_tokens: int | None = 400,
        history_turns: int = 12,
        timeout_s: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key.strip()
        self._system_prompt = SYSTEM_PROMPT if system_prompt is None else system_prompt
        self._history_turns = history_turns
        self._timeout = timeout_s
        self._sleep = sleep
        self._jitter = jitter
        self._request: dict[str, Any] = {"model": model, "stream": True}
        if temperature is not None:
            self._request["temperature"] = temperature
        if max_tokens is not None:
            self._request["max_tokens"] = max_tokens
        self._client: openai.AsyncOpenAI | None = None

    async def start(self) -> None:
        """Open the connection pool; the server is first asked with the first question. Raises `DialogueError`."""
        if self._client is not None:
            return
        if not self._base_url.startswith(("http://", "https://")):
            raise self._error(f"dialogue.openai.base_url must begin with http:// or https://, not {self._base_url!r}")
        if not (self._api_key.isascii() and self._api_key.isprintable()):
            raise self._error("dialogue.openai.api_key holds characters that no key has; copy it again")
        self._client = await asyncio.to_thread(self._connect)

    def _connect(self) -> openai.AsyncOpenAI:
        """The client, with everything loaded that it would otherwise load during the first answer."""
        client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",
            max_retries=0,
            timeout=openai.Timeout(self._timeout, connect=min(self._timeout, _CONNECT_S)),
        )
        _ = client.chat.completions, openai.types.chat.ChatCompletionChunk
        return client

    async def close(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def reply(self, history: Sequence[Utterance], text: str) -> AsyncGenerator[str, None]:
        """Stream the answer. Closing the iterator closes the HTTP response. Raises `DialogueError`."""
        for attempt in range(_RETRIES + 1):
            said = False
            try:
                async with aclosing(self._once(history, text)) as pieces:
                    async for piece in pieces:
                        said = True
                        yield piece
                return
            except Failure as failure:
                wait = self._wait(attempt, failure.retry_after)
                if said or not failure.again or attempt == _RETRIES or wait > _LONGEST_WAIT:
                    raise failure.error from None
            await self._sleep(wait)

    def _wait(self, attempt: int, retry_after: float | None) -> float:
        """Seconds before the next attempt: at least what the server asks for, else doubling, with jitter."""
        backoff = _FIRST_WAIT * 2**attempt * (1 + self._jitter())
        return backoff if retry_after is None else max(retry_after, 0.0) + _FIRST_WAIT * self._jitter()

    def _messages(self, history: Sequence[Utterance], text: str) -> list[dict[str, str]]:
        starts = [index for index, turn in enumerate(history) if turn.role == "user"]
        kept: Sequence[Utterance] = ()
        if self._history_turns and starts:
            kept = history[starts[-self._history_turns] if len(starts) > self._history_turns else 0 :]
        messages = [{"role": turn.role, "content": turn.text} for turn in kept if turn.text.strip()]
        system = [{"role": "system", "content": self._system_prompt}] if self._system_prompt else []
        # A lone surrogate (half an emoji from a page) can not be sent as UTF-8.
        question = text.encode("utf-8", "replace").decode()
        return [*system, *messages, {"role": "user", "content": question}]

    async def _once(self, history: Sequence[Utterance], text: str) -> AsyncGenerator[str, None]:
        """One attempt. Raises `Failure`."""
        if self._client is None:
            raise Failure(self._error("the dialogue engine is not started"))
        # The library would add what OPENAI_ORG_ID and OPENAI_PROJECT_ID hold, for whatever server this is.
        headers: dict[str, Any] = {"OpenAI-Organization": openai.omit, "OpenAI-Project": openai.omit}
        if not self._api_key:
            headers["Authorization"] = openai.omit
        said = False
        try:
            async with asyncio.timeout(self._timeout):
                request: Any = {**self._request, "messages": self._messages(history, text)}
                stream: Any = await self._client.chat.completions.create(**request, extra_headers=headers)
            try:
                while (chunk := await self._next(stream)) is not None:
                    if words := self._words(chunk):
                        said = True
                        yield words
            finally:
                await stream.close()
        except (TimeoutError, openai.APITimeoutError):
            silence = f"{self._server} said nothing for {self._timeout:g} s"
            raise Failure(self._error(silence, code="dialogue_timeout", retryable=True)) from None
        except (openai.OpenAIError, ValueError) as error:
            raise self._failure(error) from None
        if not said:
            hint = f"{self._server} sent an empty answer (is max_tokens too small for a model that reasons?)"
            raise Failure(self._error(hint))

    async def _next(self, stream: openai.AsyncStream[Any]) -> Any:
        """The next chunk, None at the end of the stream. Raises `TimeoutError` when the server stalls."""
        async with asyncio.timeout(self._timeout):
            return await anext(stream, None)

    def _words(self, chunk: Any) -> str:
        """What one chunk says; "" for usage, role, tool and reasoning chunks."""
        if getattr(chunk, "object", None) == "error":
            raise Failure(
                self._error(f"{self._server} broke off", quoted=safe(getattr(chunk, "message", ""), self._api_key))
            )
        for choice in getattr(chunk, "choices", None) or ():
            content = getattr(getattr(choice, "delta", None), "content", None)
            if isinstance(content, str) and content:
                return content
        return ""

    @property
    def _server(self) -> str:
        return f"the language model at {urlsplit(self._base_url).netloc.rpartition('@')[2]}"

    def _error(
        self, message: str, *, code: str | None = None, retryable: bool = False, quoted: str = ""
    ) -> DialogueError:
        return DialogueError(message, adapter=self.name, code=code, retryable=retryable, quoted=quoted)

    def _failure(self, error: openai.OpenAIError | ValueError) -> Failure:
        if isinstance(error, openai.APIStatusError):
            return self._refusal(error)
        if isinstance(error, openai.APIConnectionError):
            reason = type(error.__cause__).__name__ if error.__cause__ else "connection error"
            message = f"{self._server} can not be reached or broke off ({reason})"
            return Failure(self._error(message, retryable=True), again=True)
        if isinstance(error, openai.APIError):
            kind = f"{error.code} {error.type}".lower()
            passing = any(word in kind for word in _PASSING_WORDS) or any(f"{code}" in kind for code in (429, 500, 503))
            report = self._error(
                f"{self._server} broke off", retryable=passing, quoted=safe(error.message, self._api_key)
            )
            return Failure(report, again=passing)
        return Failure(self._error(f"{self._server} sent something that is no chat completion stream"))

    def _refusal(self, error: openai.APIStatusError) -> Failure:
        refused = refusal(
            self._server, error.status_code, error.response.headers, error.body, key=self._api_key, advice=_ADVICE
        )
        report = self._error(refused.message, retryable=refused.passing, quoted=refused.quoted)
        return Failure(report, again=refused.again, retry_after=refused.retry_after)
