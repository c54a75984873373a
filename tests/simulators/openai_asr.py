"""A strict stand-in for `POST /audio/transcriptions`: refuses what the real one would, misbehaves on demand.

Written from the public description of the interface; shares no code with our client.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.test_utils import TestServer

KEY = "sk-test-asr-0123456789"
MODEL = "sim-whisper"
JSON_ONLY = "sim-transcribe"
"""A model that gives plain json only, as OpenAI's newer ones do."""
_FIELDS = (
    "file",
    "model",
    "language",
    "prompt",
    "response_format",
    "temperature",
    "timestamp_granularities[]",
    "stream",
)
_LARGEST = 25 << 20

Recognise = Callable[[bytes], str]
"""PCM s16le mono 16 kHz → words."""


@dataclass(frozen=True)
class Answer:
    """How one request is answered; by default with what the recogniser says."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent as it is in the place of a transcription."""
    content_type: str = "application/json"
    delay: float = 0.0
    stall: bool = False
    """Accepts the request and never answers."""
    drop: bool = False
    """Cuts the connection in the middle of the answer."""


class Refusal(Exception):
    """The request breaks a rule."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class TranscriptionServer:
    """`answers` are used up one per accepted request, the last one repeats. `forms` are the accepted requests."""

    def __init__(self, recognise: Recognise, *answers: Answer, key: str | None = KEY) -> None:
        self.recognise = recognise
        self.answers = list(answers) or [Answer()]
        self.key = key
        self.forms: list[dict[str, str]] = []
        self.seconds: list[float] = []
        self.refused: list[str] = []
        self.attempts = 0
        self.arrived = asyncio.Event()
        self.gone = asyncio.Event()
        """Set when a client closed its connection before it had its answer."""
        self._site: TestServer | None = None

    @property
    def base_url(self) -> str:
        assert self._site is not None
        return str(self._site.make_url("/v1"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[TranscriptionServer]:
        app = web.Application(client_max_size=_LARGEST + (1 << 20))
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._site = TestServer(app)
        await self._site.start_server()
        try:
            yield self
        finally:
            await self._site.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.attempts += 1
        try:
            form, pcm = await self._checked(request)
        except Refusal as refusal:
            self.refused.append(str(refusal))
            error = {"message": str(refusal), "type": "invalid_request_error", "param": None, "code": refusal.code}
            return web.json_response({"error": error}, status=refusal.status)
        self.forms.append(form)
        self.seconds.append(len(pcm) / 32_000)
        self.arrived.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        try:
            await asyncio.sleep(answer.delay)
            if answer.stall:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.gone.set()
            raise
        if answer.drop:
            return await _dropped(request)
        body = answer.body
        if body is None and answer.status == 200:
            body = json.dumps(_transcription(form, self.recognise(pcm), len(pcm) / 32_000)).encode()
        elif body is None:
            body = json.dumps({"error": {"message": f"status {answer.status}", "type": "sim", "code": None}}).encode()
        return web.Response(status=answer.status, headers=answer.headers, body=body, content_type=answer.content_type)

    async def _checked(self, request: web.Request) -> tuple[dict[str, str], bytes]:
        if request.path != "/v1/audio/transcriptions":
            raise Refusal(404, f"Invalid URL ({request.method} {request.path})")
        if request.method != "POST":
            raise Refusal(405, f"method {request.method}")
        header = request.headers.get("Authorization")
        if self.key is None and header is not None:
            raise Refusal(400, "no Authorization header expected")
        if self.key is not None and header != f"Bearer {self.key}":
            raise Refusal(401, f"Incorrect API key provided: {header}", "invalid_api_key")
        if request.content_type != "multipart/form-data":
            raise Refusal(415, f"content type {request.content_type}")
        form, sound = await _parts(request)
        _check_fields(form)
        return form, _pcm(sound)


async def _parts(request: web.Request) -> tuple[dict[str, str], bytes]:
    form: dict[str, str] = {}
    sound: bytes | None = None
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name not in _FIELDS:
            raise Refusal(400, f"unknown field {getattr(part, 'name', None)}")
        if part.name == "file":
            if sound is not None:
                raise Refusal(400, "file is given twice")
            name = part.filename or ""
            if not re.fullmatch(r"[^/]+\.(flac|mp3|mp4|mpeg|mpga|m4a|ogg|wav|webm)", name):
                raise Refusal(400, f"Invalid file format: {name!r}")
            if name.endswith(".wav") and part.headers.get("Content-Type") not in ("audio/wav", "audio/x-wav"):
                raise Refusal(400, "a .wav that does not say that it is one")
            sound = bytes(await part.read())
            continue
        if part.name in form:
            raise Refusal(400, f"{part.name} is given twice")
        form[part.name] = await part.text()
    if sound is None:
        raise Refusal(400, "file is missing")
    return form, sound


def _check_fields(form: dict[str, str]) -> None:
    model = form.get("model")
    if model is None:
        raise Refusal(400, "you must provide a model parameter")
    if model not in (MODEL, JSON_ONLY):
        raise Refusal(404, f"The model `{model}` does not exist", "model_not_found")
    language = form.get("language")
    if language is not None and not re.fullmatch("[a-z]{2,3}", language):
        raise Refusal(400, f"Invalid language '{language}'. Language parameter must be specified in ISO-639-1 format.")
    wanted = form.get("response_format", "json")
    if wanted not in ("json", "text", "srt", "verbose_json", "vtt") or (model == JSON_ONLY and wanted != "json"):
        raise Refusal(400, f"response_format '{wanted}' is not compatible with model '{model}'")
    if "timestamp_granularities[]" in form and wanted != "verbose_json":
        raise Refusal(400, "timestamp_granularities needs verbose_json")
    try:
        temperature = float(form.get("temperature", "0"))
    except ValueError:
        raise Refusal(400, "temperature is no number") from None
    if not 0 <= temperature <= 1:
        raise Refusal(400, "temperature out of range")


def _pcm(sound: bytes) -> bytes:
    """The samples of a WAV whose header is right in every field."""
    if len(sound) > _LARGEST:
        raise Refusal(413, f"Maximum content size limit ({_LARGEST}) exceeded")
    if len(sound) < 44 or sound[:4] != b"RIFF" or sound[8:16] != b"WAVEfmt " or sound[36:40] != b"data":
        raise Refusal(400, "Audio file might be corrupted or unsupported")
    riff, fmt_size, fmt, channels, rate, per_second, block, bits, data = struct.unpack("<4xI8xIHHIIHH4xI", sound[:44])
    if (fmt_size, fmt, channels, rate, per_second, block, bits) != (16, 1, 1, 16_000, 32_000, 2, 16):
        raise Refusal(400, "not 16-bit mono PCM at 16 kHz")
    if riff != len(sound) - 8 or data != len(sound) - 44 or data % 2:
        raise Refusal(400, "the sizes in the header are wrong")
    if data < 3200:
        raise Refusal(400, "Audio file is too short. Minimum audio length is 0.1 seconds.", "audio_too_short")
    return sound[44:]


def _transcription(form: dict[str, str], text: str, seconds: float) -> dict[str, Any]:
    if form.get("response_format") != "verbose_json":
        return {"text": text, "usage": {"type": "duration", "seconds": round(seconds)}}
    segment = {"id": 0, "seek": 0, "start": 0.2, "end": round(seconds, 2), "text": f" {text}", "tokens": [],
               "temperature": 0.0, "avg_logprob": -0.25, "compression_ratio": 1.2, "no_speech_prob": 0.02}  # fmt: skip
    segments = [segment] if text else []
    return {"task": "transcribe", "language": "english", "duration": seconds, "text": text, "segments": segments}


async def _dropped(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"text": "half')
    await asyncio.sleep(0.01)
    if request.transport is not None:
        request.transport.abort()
    return response
