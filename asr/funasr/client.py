"""Client of the custom protocol: `await FunASRClient().recognize_file("speech.wav")`."""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from asr.funasr.answers import Result, Status
from asr.funasr.audio import seconds_of, sniffed
from asr.funasr.exchange import PEER_LIMIT, Exchange, Link, Progress
from asr.funasr.outgoing import Outgoing
from asr.funasr.schema import MAX_CHUNKS, AudioFormat
from core.errors import RecognizerError

Mode = Literal["auto", "inline", "chunked", "path"]

CHUNK_BYTES = 512 * 1024
"""In base64, with its other fields, well below what every server takes."""
ROOM_FOR_FIELDS = 1024


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was understood. `text` may be empty. `mode`: how the audio went. Times are the server's, None if unknown."""

    text: str
    mode: str
    progress: Progress
    duration_ms: int | None = None
    elapsed_ms: int | None = None
    start_s: float | None = None
    end_s: float | None = None


def tls_context(*, verify: bool = True) -> ssl.SSLContext:
    """For `wss://`; without `verify` a certificate that the server made itself is accepted."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class FunASRClient:
    """Sends audio to a server of the custom protocol, each request on a connection of its own.

    Audio that fits one message of 1 MiB goes inline, which the oldest servers understand too, the rest in chunks; a
    broken upload is resumed. `on_result(text)` is called for words only: neither for a status nor for an empty result.
    `on_status` gets every status. Options are those of `Link`, or `chunk_bytes`.
    """

    def __init__(
        self, url: str = "ws://127.0.0.1:10197", *, on_result: Callable[[str], None] | None = None,
        on_status: Callable[[Status], None] | None = None, chunk_bytes: int = CHUNK_BYTES, **options: Any,
    ) -> None:  # fmt: skip
        if url.startswith("wss:"):
            options.setdefault("tls", tls_context())
        self.link = Link(url, **options)
        self._on_result = on_result
        self._on_status = on_status
        self._chunk_bytes = min(chunk_bytes, (PEER_LIMIT - ROOM_FOR_FIELDS) // 4 * 3)

    async def recognize(
        self, audio: bytes, *, audio_format: str | None = None, sample_rate: int = 16_000, channels: int = 1,
        mode: Mode = "auto", **fields: str,
    ) -> Recognition:  # fmt: skip
        """Recognise encoded audio, or raw 16 bit PCM of that rate. Without `audio_format` the first bytes show it.

        `fields`: hotwords, language, filename, username. Raises `RecognizerError`.
        """
        name = audio_format or sniffed(audio) or "pcm"
        described: dict[str, Any] = {"audio_format": name, "result_format": "json", **fields}
        if name == "pcm":
            described |= {"sample_rate": sample_rate, "channels": channels, "sample_width": 2}
        length = seconds_of(audio, AudioFormat(name, sample_rate, channels)) or 0.0
        inline = None if mode == "chunked" else self._inline(audio, described)
        if inline is None and mode == "inline":
            raise RecognizerError("too much audio for one message", adapter="funasr_custom", code="too_large")
        if len(json.dumps(described)) > PEER_LIMIT // 2:
            raise RecognizerError("too many hot words", adapter="funasr_custom", code="too_large")
        if mode == "inline" or inline is not None:
            start = described
        else:
            start = described | {"sha256": (await asyncio.to_thread(hashlib.sha256, audio)).hexdigest()}
        chunk_bytes = max(self._chunk_bytes, -(-len(audio) // MAX_CHUNKS))
        exchange = Exchange(
            self.link, Outgoing.of(audio, chunk_bytes), start, inline=inline, length_s=lambda: length,
            on_status=self._on_status,
        )  # fmt: skip
        return self._told(await exchange.run(), exchange.progress, "chunked" if inline is None else "inline")

    async def recognize_file(self, path: Path | str, *, mode: Mode = "auto", **options: Any) -> Recognition:
        """Recognise a file. `mode` "path" only names it: for a server that shares the disk, as Fay's does.

        Raises `RecognizerError`, `OSError`.
        """
        if mode == "path":
            return await self.recognize_path(str(await asyncio.to_thread(Path(path).resolve)))
        audio = await asyncio.to_thread(Path(path).read_bytes)
        named = {"filename": Path(path).name[:255]}
        return await self.recognize(audio, mode=mode, **(named | options))

    async def recognize_path(self, url: str) -> Recognition:
        """Recognise a file that the server itself can read. Raises `RecognizerError`."""
        message = json.dumps({"url": url}).encode()
        exchange = Exchange(
            self.link,
            Outgoing.of(b"", CHUNK_BYTES),
            {},
            inline=message,
            length_s=lambda: 0.0,
            on_status=self._on_status,
        )
        return self._told(await exchange.run(), exchange.progress, "path")

    def _inline(self, audio: bytes, described: dict[str, Any]) -> bytes | None:
        """The message that holds all of it, None if not every server would take that."""
        if -(-len(audio) // 3) * 4 + ROOM_FOR_FIELDS > PEER_LIMIT:
            return None
        fields = json.dumps({**described, "status": True}).encode()
        message = b'{"audio_data":"%b",%b' % (binascii.b2a_base64(audio, newline=False), fields[1:])
        return message if len(message) <= PEER_LIMIT else None

    def _told(self, result: Result, progress: Progress, mode: str) -> Recognition:
        if result.text and self._on_result is not None:
            self._on_result(result.text)
        return recognition(result, progress, mode)


def recognition(result: Result, progress: Progress, mode: str) -> Recognition:
    """A result with what came of it."""

    def number(name: str) -> int | None:
        value = result.fields.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    start, end = number("start_ms"), number("end_ms")
    return Recognition(
        result.text, mode, progress, number("duration_ms"), number("elapsed_ms"),
        None if start is None else start / 1000, None if end is None else end / 1000,
    )  # fmt: skip
