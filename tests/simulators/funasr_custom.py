"""Strict servers of the custom FunASR protocol as they exist in the field. They share no code with the product.

`FayServer`: only `{"url": path}`, one queue, bare text back, deletes the file, silent when something is wrong.
`InlineServer`: only `audio_data`. `ChunkServer`: only uploads in chunks. All have the limit of 1 MiB per message that
their library sets by default; each departure from what they understand is kept in `violations` and ends the connection.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import io
import json
import re
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

Recognise = Callable[[bytes], str]
"""PCM (16 bit mono 16 kHz) → words."""


def pcm_of(audio: bytes) -> bytes:
    """The samples of a WAV of the only kind that these servers know."""
    with wave.open(io.BytesIO(audio)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (16_000, 1, 2):
            raise Violation("WAV is not 16 kHz mono 16 bit")
        return file.readframes(file.getnframes())


class Violation(Exception):
    """The client did what this server does not understand."""


class _Server:
    """Life cycle and book-keeping. `answers`: what to say instead of what was recognised, one frame at a time."""

    subprotocols: tuple[Subprotocol, ...] | None = None

    def __init__(self, recognise: Recognise, *, limit: int | None = 2**20) -> None:
        self.recognise = recognise
        self.violations: list[str] = []
        self.connections = 0
        self.requests = 0
        self._limit = limit
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._handle, "127.0.0.1", 0, max_size=self._limit, ping_interval=10, subprotocols=self.subprotocols
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    async def _handle(self, socket: ServerConnection) -> None:
        self.connections += 1
        try:
            async for frame in socket:
                await self.take(socket, frame)
        except ConnectionClosed:
            return
        except Violation as violation:
            self.violations.append(str(violation))
            await self.refuse(socket, str(violation))

    async def take(self, socket: ServerConnection, frame: str | bytes) -> None:
        """One frame of the client."""
        raise NotImplementedError

    async def refuse(self, socket: ServerConnection, reason: str) -> None:
        """The client broke the protocol."""
        await socket.close(1002, reason[:100])


def message_of(frame: str | bytes) -> dict[str, Any]:
    """The JSON object of a text frame."""
    if isinstance(frame, bytes):
        raise Violation("binary frame")
    try:
        message = json.loads(frame)
    except ValueError:
        raise Violation("no JSON") from None
    if not isinstance(message, dict):
        raise Violation("no object")
    return message


class FayServer(_Server):
    """As in Fay: one queue and one worker for everybody."""

    def __init__(self, recognise: Recognise) -> None:
        super().__init__(recognise)
        self._queue = asyncio.Lock()

    async def take(self, socket: ServerConnection, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            return
        message = message_of(frame)
        if "url" not in message:
            if not {"vad_need", "state"} & set(message):
                raise Violation("neither url nor state")
            return
        if set(message) != {"url"} or not isinstance(message["url"], str):
            raise Violation("url with something else")
        path = Path(message["url"])
        if not path.is_absolute():
            raise Violation("relative path")
        if not await asyncio.to_thread(path.is_file):
            raise Violation("no such file")
        async with self._queue:
            self.requests += 1
            pcm = pcm_of(await asyncio.to_thread(path.read_bytes))
            await asyncio.to_thread(path.unlink)
            await socket.send(self.recognise(pcm))


class InlineServer(_Server):
    """Everything in one message."""

    async def take(self, socket: ServerConnection, frame: str | bytes) -> None:
        message = message_of(frame)
        if "type" in message:
            raise Violation("type")
        if not isinstance(message.get("audio_data"), str):
            raise Violation("no audio_data")
        try:
            audio = base64.b64decode(message["audio_data"], validate=True)
        except binascii.Error:
            raise Violation("audio_data is no base64") from None
        if not audio:
            raise Violation("no audio")
        if not audio.startswith(b"RIFF"):
            raise Violation("no WAV")
        self.requests += 1
        await socket.send(self.recognise(pcm_of(audio)))


class ChunkServer(_Server):
    """Uploads in chunks. What it can't do, or does wrong, is chosen:

    `ready`, `acks`: says that it is ready, confirms chunks. `resume`: knows `audio_resume`. `cut_after`: breaks the
    connection off after that many chunks, one time per number; `forgets` what came before. `errors`: sends these codes
    instead of results, then results. `max_chunk`: bytes of a chunk. `bare`: the result as bare text.
    """

    def __init__(
        self, recognise: Recognise, *, limit: int = 2**20, ready: bool = True, acks: bool = True, resume: bool = True,
        cut_after: tuple[int, ...] = (), errors: tuple[str, ...] = (), max_chunk: int = 524_288, bare: bool = True,
        forgets: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(recognise, limit=limit)
        self.ready, self.acks, self.resume, self.bare = ready, acks, resume, bare
        self.cuts, self.errors, self.max_chunk = list(cut_after), list(errors), max_chunk
        self.forgets = forgets
        self.uploads: dict[str, dict[str, Any]] = {}
        self.chunks: list[int] = []
        self.resumed = 0
        self.cancelled = 0

    async def take(self, socket: ServerConnection, frame: str | bytes) -> None:
        if socket.transport.is_closing():
            return  # broken off: what came before that was lost with it
        message = message_of(frame)
        handler = {
            "audio_start": self._start, "audio_chunk": self._chunk, "audio_end": self._end,
            "audio_resume": self._resume, "audio_cancel": self._cancel,
        }.get(str(message.get("type")))  # fmt: skip
        if handler is None:
            raise Violation("unknown type")
        request_id = message.get("request_id")
        if not isinstance(request_id, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", request_id):
            raise Violation("bad request_id")
        await handler(socket, request_id, message)

    async def refuse(self, socket: ServerConnection, reason: str) -> None:
        await self._status(socket, "error", None, code="bad_request", retryable=False, message=reason)
        await super().refuse(socket, reason)

    async def _status(self, socket: ServerConnection, status: str, request_id: str | None, **fields: Any) -> None:
        frame = {"type": "status", "status": status, "message": status, "request_id": request_id, **fields}
        await socket.send(json.dumps({key: value for key, value in frame.items() if value is not None}))

    async def _start(self, socket: ServerConnection, request_id: str, message: dict[str, Any]) -> None:
        if request_id in self.uploads:
            raise Violation("started twice")
        total = message.get("total_chunks")
        if type(total) is not int or not 1 <= total <= 4096:
            raise Violation("bad total_chunks")
        if message.get("audio_format") not in ("wav", "pcm"):
            raise Violation("bad audio_format")
        self.uploads[request_id] = {"start": message, "chunks": {}, "socket": socket}
        if self.ready:
            await self._status(socket, "ready", request_id, total_chunks=total, max_chunk_bytes=self.max_chunk)

    def _upload(self, socket: ServerConnection, request_id: str) -> dict[str, Any]:
        upload = self.uploads.get(request_id)
        if upload is None or upload["socket"] is not socket:
            raise Violation("no such upload")
        return upload

    async def _chunk(self, socket: ServerConnection, request_id: str, message: dict[str, Any]) -> None:
        upload = self._upload(socket, request_id)
        index, total = message.get("chunk_index"), upload["start"]["total_chunks"]
        if type(index) is not int or not 0 <= index < total:
            raise Violation("bad chunk_index")
        try:
            data = base64.b64decode(message.get("data", 0), validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise Violation("data is no base64") from None
        if not data or len(data) > self.max_chunk:
            raise Violation("bad size of chunk")
        if message.get("size", len(data)) != len(data):
            raise Violation("size is wrong")
        if upload["chunks"].setdefault(index, data) != data:
            raise Violation("chunk came before with other bytes")
        self.chunks.append(index)
        if self.cuts and len(self.chunks) == self.cuts[0]:
            self.cuts.pop(0)
            if self.forgets:
                self.uploads.clear()
            socket.transport.abort()
        elif self.acks:
            received = len(upload["chunks"])
            await self._status(
                socket, "chunk_received", request_id, chunk_index=index, received=received, total_chunks=total
            )

    async def _end(self, socket: ServerConnection, request_id: str, _: dict[str, Any]) -> None:
        upload = self._upload(socket, request_id)
        start, chunks = upload["start"], upload["chunks"]
        missing = [index for index in range(start["total_chunks"]) if index not in chunks]
        if missing:
            raise Violation("incomplete")
        audio = b"".join(chunks[index] for index in sorted(chunks))
        if start.get("total_size", len(audio)) != len(audio):
            raise Violation("total_size is wrong")
        if start.get("sha256", hashlib.sha256(audio).hexdigest()) != hashlib.sha256(audio).hexdigest():
            raise Violation("sha256 is wrong")
        if self.errors:
            code = self.errors.pop(0)
            if code != "busy":
                del self.uploads[request_id]
            await self._status(socket, "error", request_id, code=code, retryable=code in ("busy", "timeout"))
            return
        await self._status(socket, "processing", request_id, bytes=len(audio))
        del self.uploads[request_id]
        self.requests += 1
        text = self.recognise(pcm_of(audio) if start["audio_format"] == "wav" else audio)
        final = {"type": "result", "request_id": request_id, "text": text, "is_final": True}
        await socket.send(text if self.bare else json.dumps(final))

    async def _resume(self, socket: ServerConnection, request_id: str, _: dict[str, Any]) -> None:
        if not self.resume:
            return  # it does not know the word
        upload = self.uploads.get(request_id)
        if upload is None:
            await self._status(socket, "error", request_id, code="no_session", retryable=False)
            return
        self.resumed += 1
        upload["socket"] = socket
        total = upload["start"]["total_chunks"]
        missing = [index for index in range(total) if index not in upload["chunks"]]
        await self._status(socket, "ready", request_id, total_chunks=total, missing=missing)

    async def _cancel(self, socket: ServerConnection, request_id: str, _: dict[str, Any]) -> None:
        self._upload(socket, request_id)
        del self.uploads[request_id]
        self.cancelled += 1
        await self._status(socket, "error", request_id, code="cancelled", retryable=False)
