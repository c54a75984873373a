"""FunASR's official runtime servers (Python or C++; offline, online, 2pass) as a recogniser."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from asr.funasr.runtime_client import NAME, RuntimeClient, RuntimeEndpoint, RuntimeResult
from asr.funasr.runtime_protocol import LEAST_PATIENCE_S, Dialect, Mode, RuntimeConfig
from core.errors import RecognizerError
from core.frames import Samples, Transcript


class FunasrRuntimeStream:
    """One turn. Times of its transcripts are seconds since the first sample pushed."""

    def __init__(self, owner: FunasrRuntimeRecognizer, on_partial: Callable[[Transcript], None]) -> None:
        self._owner = owner
        self._on_partial = on_partial
        self._finished = False
        self.client = owner.connect(self._on_text)

    @property
    def failure(self) -> RecognizerError | None:
        """Why the turn is lost, as soon as that is known; None while it goes on."""
        return self.client.failure

    def push(self, samples: Samples) -> None:
        """Add int16 audio at `LISTEN_RATE`, shape (n,), any n. Never blocks; ignored beyond `max_turn_s`."""
        self.client.push(np.ascontiguousarray(samples, dtype="<i2").tobytes())

    async def finish(self) -> Transcript:
        """The final transcript. Raises `RecognizerError`."""
        self._finished = True
        result = await self.client.finish()
        self._owner.learn(result)
        return self._transcript(result)

    async def cancel(self) -> None:
        """Drop the turn. Idempotent, also after `finish`."""
        self._finished = True
        await self.client.cancel()

    def _on_text(self, text: str) -> None:
        if text and not self._finished:
            self._on_partial(Transcript(text, final=False, end=self.client.audio_s, engine=NAME))

    def _transcript(self, result: RuntimeResult) -> Transcript:
        length = self.client.audio_s
        if not result.text:
            return Transcript("", engine=NAME)
        start, end = result.span or (0.0, length)
        start, end = min(start, length), min(end, length)
        if not start < end:
            start, end = 0.0, length
        return Transcript(result.text, start=start, end=end, engine=NAME)


class FunasrRuntimeRecognizer:
    """Connects to a server for each turn.

    `url`: ws:// or wss://. `verify_tls`, `ca_file`: the servers' own certificates are self-signed. `mode`: 2pass,
    online or offline. `chunk_size` to `svs_itn` are sent: see `RuntimeConfig`.
    `final_timeout_s`: a server is given that after the end, or half the turn's length.
    `max_turn_s`: audio beyond it is ignored.
    """

    name = NAME

    def __init__(
        self,
        *,
        url: str = "ws://127.0.0.1:10095",
        mode: str = "2pass",
        languages: Sequence[str] = ("zh", "en"),
        verify_tls: bool = True,
        ca_file: str = "",
        chunk_size: Sequence[int] = (5, 10, 5),
        chunk_interval: int = 10,
        hotwords: Sequence[str] | Mapping[str, int] = (),
        itn: bool = True,
        svs_lang: str = "",
        svs_itn: bool = True,
        connect_timeout_s: float = 5.0,
        final_timeout_s: float = LEAST_PATIENCE_S,
        max_turn_s: float = 60.0,
    ) -> None:
        self.languages = tuple(languages)
        self._endpoint = RuntimeEndpoint(url, verify_tls, ca_file, connect_timeout_s)
        self._problem = "" if mode in tuple(Mode) else f"mode must be one of {', '.join(Mode)}"
        self._config = RuntimeConfig(
            mode=Mode.TWO_PASS if self._problem else Mode(mode), chunk_size=tuple(chunk_size),
            chunk_interval=chunk_interval, hotwords=hotwords, itn=itn, svs_lang=svs_lang, svs_itn=svs_itn,
        )  # fmt: skip
        self._final_timeout_s = final_timeout_s
        self._max_turn_s = max_turn_s
        self._tls: ssl.SSLContext | None = None
        self._dialect = Dialect.UNKNOWN
        self._streams: set[FunasrRuntimeStream] = set()

    async def start(self) -> None:
        """Check the settings; the server is not contacted. Raises `RecognizerError` saying what to set."""
        problem = self._problem or self._endpoint.problem() or self._config.problem()
        if problem:
            raise RecognizerError(f"asr.funasr_runtime: {problem}", adapter=NAME, code="funasr_settings")
        try:
            self._tls = self._endpoint.tls()
        except OSError as error:
            advice = f"asr.funasr_runtime: ca_file can't be read: {error}"
            raise RecognizerError(advice, adapter=NAME, code="funasr_settings") from error

    async def close(self) -> None:
        """Drop all turns. Idempotent."""
        await asyncio.gather(*(stream.cancel() for stream in list(self._streams)))

    def open(self, on_partial: Callable[[Transcript], None]) -> FunasrRuntimeStream:
        """Begin a turn: connects in the background, nothing that is pushed meanwhile is lost."""
        stream = FunasrRuntimeStream(self, on_partial)
        self._streams.add(stream)
        stream.client.when_over(lambda: self._streams.discard(stream))
        return stream

    def connect(self, on_text: Callable[[str], None]) -> RuntimeClient:
        """A connection to the server for one utterance."""
        return RuntimeClient(
            self._endpoint, self._config, on_text=on_text, max_audio_s=self._max_turn_s,
            final_timeout_s=self._final_timeout_s, expected=self._dialect, tls=self._tls,
        )  # fmt: skip

    def learn(self, result: RuntimeResult) -> None:
        """Which server it is; the next turn need not find out."""
        if result.dialect is not Dialect.UNKNOWN:
            self._dialect = result.dialect
