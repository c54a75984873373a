"""One connection of the custom protocol's server: which message asks for what, and who gets which answer."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from asr.funasr import answers, schema
from asr.funasr.refusal import Refusal
from asr.funasr.schema import (
    AudioChunk,
    AudioEnd,
    AudioFormat,
    AudioResume,
    AudioStart,
    FileRequest,
    InlineRequest,
    Kind,
)
from asr.funasr.service import RecognitionService, refusal_of, silent
from asr.funasr.upload import Stage
from core.errors import RecognizerError

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 30.0
MAX_PCM = 60 * 16_000 * 2
"""Bytes of live PCM (control form) that one connection may send before it says stop."""
MOST_UNREADABLE = 3
"""Frames that are no JSON, then the connection is closed."""
MOST_OLDER = 8
"""Requests of the older forms that wait on one connection; then it is not read until one is answered."""
CLEAN = (1000, 1001, 1005)


class _Left(Exception):
    """The client is gone: ends what was asked for in an older form."""


class Connection:
    """Serves one client until it leaves."""

    def __init__(self, socket: ServerConnection, service: RecognitionService) -> None:
        self._socket = socket
        self._service = service
        self._uploads = service.uploads
        self._peer = str((socket.remote_address or ("?",))[0])
        self._talks_chunked = False
        self._turn = asyncio.Lock()
        self._room = asyncio.Semaphore(MOST_OLDER)
        self._pcm = bytearray()
        self._unreadable = 0
        self._closing = False
        self.vad_need = False
        """What the client said last; recognition does not depend on it."""
        self.ignored = 0
        """Frames that were no request."""

    async def run(self) -> None:
        """Until the client leaves. What it uploaded stays for a while, what it asked for in an older form does not."""
        try:
            async with asyncio.TaskGroup() as older:
                try:
                    async for frame in self._socket:
                        if self._closing:
                            continue  # read on: the client's goodbye comes after what it had sent before
                        if isinstance(frame, bytes):
                            self._add_pcm(frame)
                        else:
                            await self._take(frame, older)
                except ConnectionClosed:
                    pass
                raise _Left
        except* _Left:
            pass
        finally:
            self._service.memory.give(len(self._pcm))
            self._pcm.clear()
            await self._service.leave(self, clean=self._socket.close_code in CLEAN)

    async def send(self, frame: str) -> None:
        """Send a text frame, or nothing if the client is gone; one that takes nothing for 30 s is."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._socket.send(frame)
        except ConnectionClosed:
            return
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Break the connection off without a word."""
        self._socket.transport.abort()

    async def _take(self, frame: str, older: asyncio.TaskGroup) -> None:
        try:
            message = schema.load(frame)
        except ValueError:
            self._unread(older)
            return
        kind = schema.kind_of(message)
        if kind is Kind.OTHER or not isinstance(message, dict):
            self.ignored += 1
            if self.ignored == 1:  # one line is enough, whatever a client does
                log.warning("a frame was ignored: it is no request")
        elif kind is Kind.CHUNKED:
            self._talks_chunked = True
            await self._chunked(frame, message)
        elif kind is Kind.CONTROL:
            await self._control(schema.control(message), older)
        else:
            await self._older(kind, frame, message, older)

    def _unread(self, tasks: asyncio.TaskGroup) -> None:
        self.ignored += 1
        self._unreadable += 1
        if self._unreadable >= MOST_UNREADABLE:
            self._closing = True
            tasks.create_task(self._socket.close(1003, "JSON is expected"))

    # -- the older forms: one text frame per request, in order, an empty one when it fails

    async def _older(self, kind: Kind, frame: str, message: schema.Fields, tasks: asyncio.TaskGroup) -> None:
        asked: FileRequest | InlineRequest | Refusal
        try:
            if len(frame) > self._service.limits.message:
                raise Refusal("too_large", f"a message has at most {self._service.limits.message} bytes")
            if kind is Kind.FILE:
                asked = schema.file_request(message)
            else:
                asked = schema.inline_request(message, self._service.limits.upload)
                self._service.memory.take(len(asked.audio))
        except Refusal as refusal:
            asked = refusal
        await self._queue(asked, message.get("status") is True or self._talks_chunked, tasks)

    async def _control(self, said: schema.Control, tasks: asyncio.TaskGroup) -> None:
        self.vad_need = said.vad_need
        if said.state not in ("StartTranscription", "StopTranscription"):
            return
        pcm = bytes(self._pcm)
        self._pcm.clear()
        if said.state == "StopTranscription" and pcm:
            await self._queue(InlineRequest(pcm, AudioFormat("pcm")), self._talks_chunked, tasks)
        else:
            self._service.memory.give(len(pcm))

    def _add_pcm(self, data: bytes) -> None:
        data = data[: MAX_PCM - len(self._pcm)]
        if self._service.memory.fits(len(data)):
            self._service.memory.take(len(data))
            self._pcm += data

    async def _queue(
        self, asked: FileRequest | InlineRequest | Refusal, verbose: bool, tasks: asyncio.TaskGroup
    ) -> None:
        await self._room.acquire()
        tasks.create_task(self._serve(asked, verbose))

    async def _serve(self, asked: FileRequest | InlineRequest | Refusal, verbose: bool) -> None:
        try:
            async with self._turn:
                await self.send(await self._reply(asked, verbose))
        finally:
            self._room.release()
            if isinstance(asked, InlineRequest):
                self._service.memory.give(len(asked.audio))

    async def _reply(self, asked: FileRequest | InlineRequest | Refusal, verbose: bool) -> str:
        began = time.monotonic()
        request_id = asked.request_id
        tell = self.send if verbose else silent
        try:
            if isinstance(asked, Refusal):
                raise asked
            if isinstance(asked, FileRequest):
                transcript, seconds = await self._service.recognise_file(asked.url, tell, request_id=request_id)
            else:
                transcript, seconds = await self._service.recognise(
                    lambda: asked.audio, asked.audio_format, tell, request_id=request_id, default="pcm"
                )
        except (Refusal, RecognizerError) as error:
            log.debug("a request of an older form failed: %s", error)
            return answers.refused(refusal_of(error, request_id)) if verbose else ""
        except Exception:
            log.exception("a recognition failed")
            return (
                answers.refused(Refusal("asr_failed", "recognition failed", request_id=request_id)) if verbose else ""
            )
        return answers.result(
            transcript, asked.result_format, request_id=request_id, duration_ms=round(seconds * 1000),
            elapsed_ms=round((time.monotonic() - began) * 1000),
        )  # fmt: skip

    # -- the chunked form

    async def _chunked(self, frame: str, message: schema.Fields) -> None:
        try:
            if len(frame) > self._service.limits.message:
                raise Refusal("chunk_too_large", f"a message has at most {self._service.limits.message} bytes")
            await self._answer(schema.chunked(message, self._service.limits.chunk))
        except Refusal as refusal:
            await self._refuse(message, refusal)

    async def _refuse(self, message: schema.Fields, refusal: Refusal) -> None:
        """An error ends the upload that it is about, unless the upload can go on after `audio_resume`."""
        kind = message.get("type")
        try:
            upload = self._uploads.find(self, refusal.request_id or schema.id_of(message))
            if refusal.code == "incomplete" or (refusal.code == "busy" and kind == "audio_end"):
                upload.failed = True
            elif kind not in ("audio_start", "audio_resume"):
                await self._service.drop(upload)
            refusal.request_id = upload.request_id
        except Refusal:
            pass  # it is about none
        await self.send(answers.refused(refusal))

    async def _answer(self, asked: schema.Chunked) -> None:
        service, uploads = self._service, self._uploads
        if isinstance(asked, AudioStart):
            await self._start(asked)
        elif isinstance(asked, AudioResume):
            upload = uploads.resume(self, self._peer, asked.request_id)
            missing = upload.missing() if upload.stage is Stage.OPEN else []
            held = {"missing": missing, "received": len(upload.chunks)} if upload.chunks else {"missing": missing}
            await self.send(self._ready(upload.request_id, upload.wish.total_chunks, **held))
        elif isinstance(asked, AudioChunk):
            await self._chunk(asked)
        elif isinstance(asked, AudioEnd):
            upload = uploads.find(self, asked.request_id)
            if upload.stage is Stage.OPEN:
                upload.check(asked)
                service.process(upload)
            else:
                await service.deliver(upload)
        else:
            upload = uploads.find(self, asked.request_id)
            raise upload.refusal("cancelled", "cancelled as asked")

    async def _start(self, wish: AudioStart) -> None:
        request_id = wish.request_id or secrets.token_hex(16)
        upload, replaced = self._uploads.begin(self, self._peer, request_id, wish)
        if replaced is not None:
            await self._service.drop(replaced)
        live = await self._service.follow(upload)
        await self.send(self._ready(request_id, wish.total_chunks, live=live or None))

    async def _chunk(self, chunk: AudioChunk) -> None:
        upload = self._uploads.find(self, chunk.request_id)
        self._uploads.add(upload, chunk)
        await self._service.feed(upload)
        received, every = len(upload.chunks), upload.wish.ack
        if every and (received % every == 0 or received == upload.wish.total_chunks):
            await self.send(answers.chunk_received(upload.request_id, chunk.index, received, upload.wish.total_chunks))

    def _ready(self, request_id: str, total: int | None, **fields: object) -> str:
        return answers.ready(request_id, total, self._service.limits.chunk, **fields)
