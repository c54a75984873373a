"""A strict Doubao: refuses whatever the real service refuses, and fails on demand. Shares no code with the product.

It numbers every message of a connection itself and compares the numbers that are carried; cuts the audio into
sentences at silences, as long as the request's `end_window_size`; has `recognise` turn each of them into text.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

APP_KEY, ACCESS_KEY, API_KEY = "app-1", "secret-of-the-old-console", "secret-of-the-new-console"
RESOURCE = "volc.bigasr.sauc.duration"
LOG_ID = "20260101000000ABCDEF"
QUIET = 200
"""Peak below which 10 ms count as silence."""
FRAME = 320
"""Bytes in 10 ms."""

Recognise = Callable[[bytes], str]


@dataclass(frozen=True)
class Error:
    """An error frame, then the end of the session."""

    code: int
    text: str = "made to fail"
    zipped: bool = False
    plain: bool = False


@dataclass(frozen=True)
class Drop:
    """The TCP connection breaks (1006)."""


@dataclass(frozen=True)
class Close:
    """A close frame; None for one without a code (1005)."""

    code: int | None


@dataclass(frozen=True)
class Raw:
    """Bytes, or a text message, in place of an answer; the session goes on."""

    message: bytes | str


@dataclass(frozen=True)
class Hang:
    """No answer any more, to anything."""


Fault = Error | Drop | Close | Raw | Hang


@dataclass(frozen=True)
class Trouble:
    """`fault` at packet number `packet` of a connection: 0 is the full request, 1 the first audio, -1 the last."""

    packet: int
    fault: Fault


@dataclass
class Refusal(Exception):
    """What the client did wrong."""

    code: int
    text: str


@dataclass
class Visit:
    """One connection as the simulator saw it."""

    headers: dict[str, str]
    request: dict[str, Any] = field(default_factory=dict)
    numbers: list[int | None] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    refusal: Refusal | None = None
    ended: bool = False

    @property
    def audio(self) -> bytes:
        return b"".join(self.packets)


@dataclass
class DoubaoServer:
    """`async with DoubaoServer(recognise) as server:` then connect to `server.host`.

    `every_packet`: an answer to each packet, or only when the text changed. `bare`: partials without numbers.
    `listed`: "result" is a list. `troubles`: by number of the connection, from 0, counting accepted ones.
    `statuses`: HTTP statuses with which the first connections are refused, `elsewhere` as their Location.
    """

    recognise: Recognise
    every_packet: bool = True
    zipped: bool = False
    bare: bool = False
    listed: bool = False
    acknowledges: bool = False
    idle_timeout_s: float = 8.0
    troubles: dict[int, Trouble] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    elsewhere: str = ""
    tls: ssl.SSLContext | None = None
    visits: list[Visit] = field(default_factory=list)
    attempts: int = 0
    most_at_once: int = 0
    _open: int = 0
    _server: Server | None = None

    @property
    def host(self) -> str:
        """For the client's setting."""
        assert self._server is not None
        scheme = "wss" if self.tls else "ws"
        return f"{scheme}://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    async def __aenter__(self) -> DoubaoServer:
        self._server = await serve(
            self._talk, "127.0.0.1", 0, process_request=self._admit, process_response=self._sign, ping_interval=None,
            compression=None, max_size=2**20, close_timeout=0.5, ssl=self.tls,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.attempts += 1
        headers = request.headers
        status = None
        new = headers.get("X-Api-Key")
        old = (headers.get("X-Api-App-Key"), headers.get("X-Api-Access-Key"))
        if self.statuses:
            status = self.statuses.pop(0)
        elif not headers.get("X-Api-Resource-Id") or not headers.get("X-Api-Connect-Id"):
            status = 400
        elif (new is not None and new != API_KEY) or (new is None and old != (APP_KEY, ACCESS_KEY)):
            status = 401
        elif headers["X-Api-Resource-Id"] != RESOURCE:
            status = 403
        if status is None:
            return None
        answer = connection.respond(HTTPStatus(status), "refused\n")
        if self.elsewhere:
            answer.headers["Location"] = self.elsewhere
        return answer

    def _sign(self, _: ServerConnection, __: Request, response: Response) -> None:
        response.headers["X-Tt-Logid"] = LOG_ID

    async def _talk(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        visit = Visit(dict(socket.request.headers.raw_items()))
        trouble = self.troubles.get(len(self.visits))
        self.visits.append(visit)
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        try:
            await _Conversation(self, socket, visit, trouble).run()
        except ConnectionClosed:
            pass
        finally:
            self._open -= 1


class _Conversation:
    def __init__(self, server: DoubaoServer, socket: ServerConnection, visit: Visit, trouble: Trouble | None) -> None:
        self.server = server
        self.socket = socket
        self.visit = visit
        self.trouble = trouble
        self.sentences = Sentences(server.recognise)
        self.answered = ""
        self.count = 0
        self.over = False

    async def run(self) -> None:
        while not self.over:
            try:
                async with asyncio.timeout(self.server.idle_timeout_s):
                    message = await self.socket.recv()
            except TimeoutError:
                waited = f"Timeout waiting next packet: {self.server.idle_timeout_s:.6f} seconds"
                await self.fail(Error(45000081, waited))
                return
            try:
                last = self.take(message)
            except Refusal as refusal:
                self.visit.refusal = refusal
                await self.fail(Error(refusal.code, refusal.text))
                return
            if self.trouble and (
                len(self.visit.packets) == self.trouble.packet or (last and self.trouble.packet == -1)
            ):
                fault, self.trouble = self.trouble.fault, None
                if await self.misbehave(fault):
                    return
            await self.answer(last)
        self.visit.ended = True

    # -- what the client may say

    def take(self, message: str | bytes) -> bool:
        """Check a message and keep what it carries; whether it is the last one."""
        if isinstance(message, str):
            raise Refusal(45000000, "decode ws request failed: text message")
        kind, flags, zipped, number, payload = unpack(message)
        last = bool(flags & 2)
        expected = -(self.count + 1) if last else self.count + 1
        if number is not None and number != expected:
            raise undecodable(f"autoAssignedSequence ({expected}) mismatch sequence in request ({number})")
        self.count += 1
        self.visit.numbers.append(number)
        if zipped:
            if not payload:
                raise undecodable("gunzip: EOF")
            try:
                payload = gzip.decompress(payload)
            except (OSError, EOFError) as error:
                raise undecodable(f"gunzip: {error}") from None
        if self.count == 1:
            if kind != 1:
                raise Refusal(45000001, "the first message must be a full client request")
            if last:
                raise Refusal(45000001, "the full client request is flagged as last")
            self.visit.request = checked_request(payload)
            self.sentences.window = self.visit.request["request"].get("end_window_size", 800)
        else:
            if kind != 2:
                raise Refusal(45000001, "duplicate full client request")
            self.visit.packets.append(payload)
            self.sentences.add(payload, last)
        return last

    # -- what we answer

    async def answer(self, last: bool) -> None:
        if self.server.acknowledges:
            await self.socket.send(b"\x11\xb1\x00\x00" + struct.pack(">i", self.count))
        text = self.sentences.text
        if not (last or self.count == 1 or self.server.every_packet or text != self.answered):
            return
        self.answered = text
        result: Any = {"text": text, "additions": {"log_id": LOG_ID}, "utterances": self.sentences.utterances()}
        body = {
            "audio_info": {"duration": self.sentences.duration},
            "result": [result] if self.server.listed else result,
        }
        payload = json.dumps(body).encode()
        numbered = last or not self.server.bare
        head = bytes((0x11, 0x90 | (3 if last else 1 if numbered else 0), 0x11 if self.server.zipped else 0x10, 0))
        number = struct.pack(">i", -self.count if last else self.count) if numbered else b""
        if self.server.zipped:
            payload = gzip.compress(payload)
        self.over = last
        await self.socket.send(head + number + struct.pack(">I", len(payload)) + payload)

    async def fail(self, error: Error) -> None:
        body = error.text.encode() if error.plain else json.dumps({"error": error.text}).encode()
        body = gzip.compress(body) if error.zipped else body
        head = b"\x11\xf0" + (b"\x11" if error.zipped else b"\x10") + b"\x00"
        self.over = True
        await self.socket.send(head + struct.pack(">II", error.code, len(body)) + body)

    async def misbehave(self, fault: Fault) -> bool:
        """Whether the session is over."""
        match fault:
            case Error():
                await self.fail(fault)
            case Drop():
                self.socket.transport.abort()
            case Close(code=None):
                async with self.socket.send_context():
                    self.socket.protocol.send_close()
            case Close(code=int(code)):
                await self.socket.close(code)
            case Raw(message=message):
                await self.socket.send(message)
                return False
            case Hang():
                await self.socket.wait_closed()
        return True


class Sentences:
    """Cuts audio at silences of `window` ms and has each piece recognised."""

    def __init__(self, recognise: Recognise) -> None:
        self.window = 800
        self._recognise = recognise
        self._audio = bytearray()
        self._judged = 0
        self._start: int | None = None
        self._loud = 0
        self._done: list[dict[str, Any]] = []
        self._going: dict[str, Any] | None = None

    @property
    def duration(self) -> int:
        return len(self._audio) // 32

    @property
    def text(self) -> str:
        return " ".join(u["text"] for u in self.utterances())

    def utterances(self) -> list[dict[str, Any]]:
        return [*self._done, *([self._going] if self._going else [])]

    def add(self, data: bytes, last: bool) -> None:
        self._audio += data
        while self._judged + FRAME <= len(self._audio):
            frame = np.frombuffer(self._audio[self._judged : self._judged + FRAME], "<i2")
            self._judged += FRAME
            if np.abs(frame.astype(np.int32)).max() > QUIET:
                self._start = self._judged - FRAME if self._start is None else self._start
                self._loud = self._judged
            elif self._start is not None and self._judged - self._loud >= self.window * 32:
                self._recognise_piece(definite=True)
        if self._start is not None:
            self._recognise_piece(definite=last)

    def _recognise_piece(self, *, definite: bool) -> None:
        assert self._start is not None
        text = self._recognise(bytes(self._audio[self._start : self._loud]))
        piece = {"text": text, "start_time": self._start // 32, "end_time": self._loud // 32, "definite": definite}
        self._going = piece if text else None
        if definite:
            self._done += [piece] if text else []
            self._going, self._start = None, None


def undecodable(reason: str) -> Refusal:
    return Refusal(45000000, f"decode ws request failed: unable to decode V1 protocol message: {reason}")


def unpack(message: bytes) -> tuple[int, int, bool, int | None, bytes]:
    """Type, flags, whether zipped, sequence, payload."""
    if len(message) < 8:
        raise undecodable(f"{len(message)} bytes")
    version, words = message[0] >> 4, message[0] & 15
    kind, flags = message[1] >> 4, message[1] & 15
    if version != 1 or words < 1:
        raise undecodable(f"version {version}, header size {words}")
    if kind not in (1, 2):
        raise undecodable(f"unexpected message type {kind:#06b}")
    if flags > 3:
        raise undecodable(f"unexpected flags {flags:#06b}")
    if message[2] >> 4 not in (0, 1) or (message[2] >> 4 == 0 and kind == 1):
        raise undecodable(f"unsupported serialization {message[2] >> 4:#06b}")
    if message[2] & 15 not in (0, 1):
        raise undecodable(f"unsupported compression {message[2] & 15:#06b}")
    at = words * 4
    number = None
    if flags & 1:
        if len(message) < at + 4:
            raise undecodable("no sequence")
        (number,) = struct.unpack_from(">i", message, at)
        at += 4
    if len(message) < at + 4:
        raise undecodable("no payload size")
    (size,) = struct.unpack_from(">I", message, at)
    payload = message[at + 4 :]
    if size != len(payload):
        raise undecodable(f"declared body size mismatch: actual={len(payload)} expected={size}")
    return kind, flags, message[2] & 15 == 1, number, payload


def checked_request(payload: bytes) -> dict[str, Any]:
    """The full request's JSON, if the service would take it."""
    try:
        body = json.loads(payload)
        audio, request = body["audio"], body["request"]
        chosen, model = audio["format"], request["model_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(45000001, f"invalid request: {type(error).__name__} {error}") from None
    if model != "bigmodel":
        raise Refusal(45000001, f"model_name {model!r}")
    if chosen not in ("pcm", "wav", "ogg", "mp3"):
        raise Refusal(45000151, f"audio format {chosen!r} is not supported")
    if audio.get("rate", 16000) != 16000 or audio.get("bits", 16) != 16 or audio.get("channel", 1) not in (1, 2):
        raise Refusal(45000151, "rate, bits or channel is not supported")
    if request.get("end_window_size", 800) < 200:
        raise Refusal(45000001, "end_window_size is less than 200")
    context = request.get("corpus", {}).get("context", "")
    if not isinstance(context, str):
        raise Refusal(45000001, "corpus.context is not a string")
    return dict(body)
