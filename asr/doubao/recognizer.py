"""Doubao behind the product's recogniser contract: one session of the service per turn."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence

import numpy as np

from asr.doubao.backlog import PACKET_BYTES
from asr.doubao.client import STTClient
from asr.doubao.endpoint import HOST, PATH, RESOURCE_ID, Endpoint
from asr.doubao.errors import NAME
from asr.doubao.options import Options, Stats
from asr.doubao.request import LANGUAGES, RecognitionConfig
from asr.doubao.retry import CircuitBreaker
from asr.doubao.transcript import RecognitionResult
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from core.turn_room import TurnRoom


class DoubaoStream:
    """One turn. Times of its transcripts are seconds since the first sample pushed."""

    def __init__(self, client: STTClient, on_partial: Callable[[Transcript], None], max_turn_s: float) -> None:
        self._client = client
        self._on_partial = on_partial
        self._room = TurnRoom(max_turn_s)
        self._packet = bytearray()
        self._heard = 0
        self._newest = ""
        self._closed = False
        client.begin(self._take)

    @property
    def failure(self) -> RecognizerError | None:
        """Why the turn is lost, as soon as that is known; None while it goes on."""
        return self._client.failure

    @property
    def truncated(self) -> bool:
        """Whether audio was ignored because the turn was longer than `max_turn_s`."""
        return self._room.truncated

    def push(self, samples: Samples) -> None:
        """Add int16 audio at `LISTEN_RATE`, shape (n,), any n. Never blocks; ignored beyond `max_turn_s`."""
        if self._closed:
            return
        samples = self._room.take(samples)
        self._heard += len(samples)
        self._packet += np.ascontiguousarray(samples, dtype="<i2").tobytes()
        while len(self._packet) >= PACKET_BYTES:
            self._client.offer(bytes(self._packet[:PACKET_BYTES]))
            del self._packet[:PACKET_BYTES]

    async def finish(self) -> Transcript:
        """The final transcript. Raises `RecognizerError`."""
        if not self._closed:
            self._closed = True
            self._client.offer(bytes(self._packet), is_last=True)
        if self._heard == 0:
            await self._client.close()
            return Transcript("", engine=NAME)
        return self._transcript(await self._client.finish())

    async def cancel(self) -> None:
        """Drop the turn. Idempotent, also after `finish`."""
        self._closed = True
        await self._client.close()

    def _take(self, result: RecognitionResult) -> None:
        changed, self._newest = result.text != self._newest, result.text
        if changed and result.text and not result.is_final:
            self._on_partial(self._transcript(result))

    def _transcript(self, result: RecognitionResult) -> Transcript:
        end = min(result.end, self._heard / LISTEN_RATE)
        return Transcript(result.text.strip(), result.is_final, min(result.start, end), end, engine=NAME)


class DoubaoRecognizer:
    """Credentials, settings and what all turns share: the circuit breaker, the limit of sessions, the figures.

    `host`, `path`, `resource_id`, `app_key` and `access_key` or `api_key`: see `Endpoint`. `sequence_mode`,
    `max_speed` and the timeouts: see `Options`. `language` to `speech_ms`: see `RecognitionConfig`.
    `max_turn_s`: audio beyond it is ignored. `max_sessions`: turns at the same time, others wait; 0 for no limit.
    """

    name = NAME

    def __init__(
        self,
        *,
        host: str = HOST,
        path: str = PATH,
        resource_id: str = RESOURCE_ID,
        app_key: str = "",
        access_key: str = "",
        api_key: str = "",
        sequence_mode: str = "explicit",
        language: str = "",
        hotwords: Sequence[str] = (),
        itn: bool = True,
        punctuation: bool = True,
        remove_fillers: bool = False,
        two_pass: bool = False,
        end_window_ms: int = 800,
        speech_ms: int = 1000,
        max_turn_s: float = 60.0,
        max_sessions: int = 0,
        max_speed: float = 10.0,
        connect_timeout_s: float = 10.0,
        first_response_timeout_s: float = 5.0,
        final_timeout_s: float = 4.0,
        keep_alive_s: float = 2.0,
    ) -> None:
        self._endpoint = Endpoint(host, path, resource_id, app_key, access_key, api_key)
        self._config = RecognitionConfig(
            language=language, hotwords=tuple(hotwords), itn=itn, punctuation=punctuation,
            remove_fillers=remove_fillers, two_pass=two_pass, end_window_ms=end_window_ms, speech_ms=speech_ms,
        )  # fmt: skip
        self._options = Options(
            sequence_mode=sequence_mode, max_speed=max_speed, connect_timeout_s=connect_timeout_s,
            first_response_timeout_s=first_response_timeout_s, final_timeout_s=final_timeout_s,
            keep_alive_s=keep_alive_s, max_audio_s=max_turn_s + 1,
        )  # fmt: skip
        self._max_turn_s = max_turn_s
        self._slots = asyncio.Semaphore(max_sessions) if max_sessions else None
        self._breaker = CircuitBreaker()
        self._clients: set[STTClient] = set()
        self._tls: ssl.SSLContext | None = None
        self.stats = Stats()
        """What happened at the service since the start."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Chinese and English, or the one that the nostream path was told."""
        primary = self._config.language.partition("-")[0]
        return ("zh", "en") if primary in ("", "zh") else (primary,)

    async def start(self) -> None:
        """Check the settings; the service is not contacted. Raises `RecognizerError` saying what to set."""
        self._endpoint.check()
        self._options.check()
        self._check_language()
        if self._endpoint.url.startswith("wss:"):
            self._tls = await asyncio.to_thread(ssl.create_default_context)

    async def close(self) -> None:
        """Drop what is open. Idempotent."""
        await asyncio.gather(*(client.close() for client in list(self._clients)))

    def open(self, on_partial: Callable[[Transcript], None]) -> DoubaoStream:
        """Begin a turn: the connection is made in the background, audio pushed meanwhile is kept and sent."""
        client = STTClient(
            self._endpoint, self._config, self._options,
            breaker=self._breaker, stats=self.stats, slots=self._slots, tls=self._tls,
        )  # fmt: skip
        stream = DoubaoStream(client, on_partial, self._max_turn_s)
        self._clients.add(client)
        client.when_closed(self._clients.discard)
        return stream

    def _check_language(self) -> None:
        language = self._config.language
        primary = language.partition("-")[0]
        problem = ""
        if primary in ("", "zh") or (primary == "en" and "nostream" not in self._endpoint.path):
            return
        if primary not in LANGUAGES:
            problem = f"asr.doubao.language must be empty, zh, {', '.join(LANGUAGES)}, or a full name such as ja-JP"
        elif "nostream" not in self._endpoint.path:
            problem = f"asr.doubao.language {language!r} needs asr.doubao.path /api/v3/sauc/bigmodel_nostream"
        if problem:
            raise RecognizerError(problem, adapter=NAME, code=f"{NAME}_settings")
