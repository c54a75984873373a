"""Any OpenAI-compatible server: `POST {base_url}/audio/transcriptions` with the whole turn as a WAV file."""

from __future__ import annotations

import asyncio
import random
import re
import wave
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from asr.buffered import BufferedStream, BufferLimits
from asr.openai_answer import LARGEST, transcript
from asr.openai_errors import NAME, problem, understood
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from core.provider import Failure

_OFFICIAL = "api.openai.com"
_FIRST_WAIT_S = 0.25
_CONNECT_S = 5.0


class OpenAIRecognizer:
    """Sends each turn when it is over.

    `base_url`: ends before "/audio/transcriptions". `api_key`: may be empty, then no Authorization header is sent.
    `language`: ISO 639 or BCP-47, "" lets the server find out. `prompt`: names and words to expect. `temperature`:
    None leaves it to the server. `timestamps`: ask for segments (verbose_json: whisper-1 and most servers of one's
    own), which give exact times, a confidence, and a way to drop what was made up from noise. `timeout_s`: for one
    turn with all attempts. Connection errors, 429 and 5xx are tried again up to `retries` times within it.
    `partial_interval_s`: every so many seconds of audio the turn so far is sent as well, for partial results; each is
    a request that costs what requests cost; 0 for none. `sleep` and `jitter` (0..1) exist for tests.
    """

    name = NAME

    def __init__(
        self,
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key: str = "",
        model: str = "gpt-4o-mini-transcribe",
        language: str = "",
        prompt: str = "",
        temperature: float | None = None,
        timestamps: bool = False,
        timeout_s: float = 8.0,
        retries: int = 2,
        partial_interval_s: float = 0.0,
        max_turn_s: float = 60.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key.strip()
        self._language = language.strip().replace("_", "-").partition("-")[0].lower()
        self._timeout = timeout_s
        self._retries = retries
        self._limits = BufferLimits(max_turn_s, partial_interval_s)
        self._sleep = sleep
        self._jitter = jitter
        self._request: dict[str, Any] = {"model": model, "response_format": "verbose_json" if timestamps else "json"}
        if self._language:
            self._request["language"] = self._language
        if prompt:
            self._request["prompt"] = prompt
        if temperature is not None:
            self._request["temperature"] = temperature
        self._client: openai.AsyncOpenAI | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """The configured one, or any."""
        return (self._language or "*",)

    async def start(self) -> None:
        """Check the settings; the server is first asked with the first turn. Raises `RecognizerError`."""
        if self._client is not None:
            return
        if complaint := self._complaint():
            raise RecognizerError(complaint, adapter=NAME, code=f"{NAME}_settings")
        self._client = await asyncio.to_thread(self._connect)

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def open(self, on_partial: Callable[[Transcript], None]) -> BufferedStream:
        """Begin a turn."""
        return BufferedStream(NAME, self._transcribe, on_partial, self._limits)

    def _complaint(self) -> str:
        """What is wrong with the settings, "" if nothing."""
        url = urlsplit(self._base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            return f"asr.openai.base_url must begin with http:// or https://, not {self._base_url!r}"
        if not (self._api_key.isascii() and self._api_key.isprintable()):
            return "asr.openai.api_key holds characters that no key has; copy it again"
        if not self._api_key and url.hostname == _OFFICIAL:
            return (
                "asr.openai.api_key is missing: put it into EMAN_ASR__OPENAI__API_KEY, "
                "or set asr.openai.base_url to a server of your own"
            )
        if not re.fullmatch(r"([a-z]{2,3})?", self._language):
            return f'asr.openai.language must be a code such as en or zh, or "", not {self._language!r}'
        return ""

    def _connect(self) -> openai.AsyncOpenAI:
        """The client, with everything loaded that it would otherwise load during the first turn."""
        client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",
            max_retries=0,
            timeout=openai.Timeout(self._timeout, connect=min(self._timeout, _CONNECT_S)),
        )
        _ = client.audio.transcriptions
        return client

    async def _transcribe(self, samples: Samples) -> Transcript:
        """All attempts for one turn. Raises `RecognizerError`."""
        body = wav(samples)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._attempts(body)
        except (TimeoutError, openai.APITimeoutError):
            message = f"{self._server} did not answer within {self._timeout:g} s"
            raise problem(message, code="asr_timeout", retryable=True).error from None

    async def _attempts(self, body: bytes) -> Transcript:
        for attempt in range(self._retries + 1):
            try:
                return transcript(await self._once(body), self._server, self._api_key)
            except Failure as failure:
                backoff = _FIRST_WAIT_S * 2**attempt * (1 + self._jitter())
                wait = backoff if failure.retry_after is None else max(failure.retry_after, backoff)
                if not failure.again or attempt == self._retries or wait >= self._timeout:
                    raise failure.error from None
            await self._sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, body: bytes) -> bytes:
        """One request; the body of its answer. Raises `Failure`."""
        if self._client is None:
            raise problem("the recogniser is not started")
        # The library would add what OPENAI_ORG_ID and OPENAI_PROJECT_ID hold, for whatever server this is.
        headers: dict[str, Any] = {"OpenAI-Organization": openai.omit, "OpenAI-Project": openai.omit}
        if not self._api_key:
            headers["Authorization"] = openai.omit
        create = self._client.audio.transcriptions.with_streaming_response.create
        answer = bytearray()
        try:
            async with create(file=("turn.wav", body, "audio/wav"), **self._request, extra_headers=headers) as response:
                async for piece in response.iter_bytes():
                    answer += piece
                    if len(answer) > LARGEST:
                        raise problem(f"{self._server} sent far more than a transcription")
        except openai.APITimeoutError:
            raise
        except httpx2.TimeoutException:
            raise TimeoutError from None
        except httpx2.HTTPError as error:  # the library wraps what fails before the body only
            message = f"{self._server} broke off ({type(error).__name__})"
            raise problem(message, retryable=True, again=True) from None
        except openai.OpenAIError as error:
            raise understood(error, self._server, self._api_key) from None
        return bytes(answer)

    @property
    def _server(self) -> str:
        return f"the transcription server at {urlsplit(self._base_url).netloc.rpartition('@')[2]}"


def wav(samples: Samples) -> bytes:
    """16-bit mono WAV of int16 audio at `LISTEN_RATE`, shape (n,)."""
    target = BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(LISTEN_RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return target.getvalue()
