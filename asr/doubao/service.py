"""Doubao for programs: a file or a live stream in, its text out."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any

from asr.doubao.client import STTClient
from asr.doubao.endpoint import HOST, PATH, RESOURCE_ID, Endpoint
from asr.doubao.options import Options, Stats
from asr.doubao.request import RecognitionConfig
from asr.doubao.retry import CircuitBreaker
from asr.doubao.session import OnResult
from asr.doubao.sound_file import packets
from asr.doubao.transcript import RecognitionResult


class DoubaoService:
    """Any number of recognitions at the same time, each with a session of its own."""

    def __init__(self, endpoint: Endpoint, config: RecognitionConfig, options: Options) -> None:
        self._endpoint = endpoint
        self._config = config
        self._options = options
        self._breaker = CircuitBreaker()
        self.stats = Stats()
        """What happened at the service."""

    async def recognize_file(self, path: Path | str, result_callback: OnResult | None = None) -> RecognitionResult:
        """Everything said in an audio file of any format that PyAV reads. Raises `RecognizerError`.

        `result_callback` gets each newer `RecognitionResult`, the final one last; see `create_text_only_callback`.
        """
        async with contextlib.aclosing(packets(Path(path))) as audio:
            return await self.recognize_stream(audio, result_callback)

    async def recognize_stream(
        self, audio: AsyncIterable[bytes], result_callback: OnResult | None = None
    ) -> RecognitionResult:
        """The same for live audio: pieces of 16 kHz 16-bit mono PCM, of 200 ms at best, until the iterator ends."""
        client = STTClient(self._endpoint, self._config, self._options, breaker=self._breaker, stats=self.stats)
        try:
            await client.start_recognition(result_callback)
            async for piece in audio:
                if not await client.send_audio(piece):
                    break  # finish() tells why
            return await client.finish()
        finally:
            await client.close()


def create_asr_service(
    *,
    app_key: str = "",
    access_key: str = "",
    api_key: str = "",
    host: str = HOST,
    path: str = PATH,
    resource_id: str = RESOURCE_ID,
    config: RecognitionConfig | None = None,
    **options: Any,
) -> DoubaoService:
    """A service with these credentials. `options` are fields of `Options`. Raises `RecognizerError` for wrong ones."""
    endpoint = Endpoint(host, path, resource_id, app_key, access_key, api_key)
    endpoint.check()
    chosen = Options(**options)
    chosen.check()
    return DoubaoService(endpoint, config or RecognitionConfig(), chosen)
