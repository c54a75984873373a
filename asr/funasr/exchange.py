"""One request to a server of the custom protocol, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import json
import logging
import math
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from asr.funasr.answers import Result, Status, classify
from asr.funasr.outgoing import Outgoing
from core.errors import RecognizerError

log = logging.getLogger(__name__)

NAME = "funasr_custom"
PEER_LIMIT = 2**20
"""Longest message that every server takes (the default of the library that most are written with)."""
TOO_BIG = 1009
SMALLEST_CHUNK = 32_768
LEAST_BYTES_PER_S = 2000
"""Of audio whose length is not known: compressed to 16 kbit/s."""
_MESSAGES = {False: "the FunASR server can't be reached", True: "the FunASR server does not answer"}


@dataclass(frozen=True, slots=True)
class Link:
    """Where the server is, and how patient its client is. Times in seconds.

    `retries`: of one frame, that is attempts in a row in which the server got no further. `window`: chunks on their
    way that the server has not confirmed.
    """

    url: str = "ws://127.0.0.1:10197"
    connect_timeout_s: float = 30.0
    receive_timeout_s: float = 30.0
    ready_timeout_s: float = 3.0
    retries: int = 3
    backoff_s: float = 0.2
    window: int = 16
    tls: ssl.SSLContext | None = None

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[ClientConnection]:
        """A connection. Raises `OSError`, `WebSocketException`, `TimeoutError`."""
        async with connect(
            self.url, subprotocols=[Subprotocol("binary")], open_timeout=self.connect_timeout_s, ping_interval=None,
            close_timeout=1, max_size=16 * PEER_LIMIT, compression=None, proxy=None, ssl=self.tls,
        ) as socket:  # fmt: skip
            yield socket


class Refused(Exception):
    """The server ended the request with an error."""

    def __init__(self, status: Status) -> None:
        super().__init__()
        self.code = status.text("code") or "error"
        self.message = status.text("message")
        self.retryable = status.fields.get("retryable") is True
        self.resumable = self.code in ("incomplete", "busy")


@dataclass(slots=True)
class Progress:
    """What became of a request so far."""

    connections: int = 0
    resumed: int = 0
    bytes_sent: int = 0
    """Of audio, over all connections."""
    statuses: dict[str, int] = field(default_factory=dict)
    """How often the server said which."""


class Exchange:
    """One request: `outgoing` is uploaded in chunks after an `audio_start` with the fields of `start`. With `inline`,
    that message is tried first. `length_s`: of the audio, 0 while unknown. `on_status` gets every status, on the loop.
    """

    def __init__(
        self, link: Link, outgoing: Outgoing, start: dict[str, Any], *, inline: bytes | None = None,
        length_s: Callable[[], float], on_status: Callable[[Status], None] | None = None,
    ) -> None:  # fmt: skip
        self.progress = Progress()
        self._link = link
        self._outgoing = outgoing
        self._start = start
        self._inline = inline
        self._length_s = length_s
        self._on_status = on_status
        self._request_id = secrets.token_hex(16)
        self._known = False
        self._reset()

    def _reset(self) -> None:
        self._ended: Exception | None = None
        self._result: Result | None = None
        self._ready: Status | None = None
        self._resuming = False
        self._confirms = False
        self._deaf = self._link.window <= 0
        self._deadline = math.inf

    async def run(self) -> Result:
        """The result. Raises `RecognizerError` (retryable when another try may succeed)."""
        failures = 0
        while True:
            held = self._outgoing.held
            try:
                return await self._attempt()
            except Refused as refused:
                again = refused.retryable or self._resuming
                self._known = self._known and refused.resumable
                problem = _refusal(refused, again)
            except ConnectionClosed as closed:
                problem = self._closed(closed)
            except (OSError, WebSocketException, TimeoutError) as error:
                problem = RecognizerError(_MESSAGES[isinstance(error, TimeoutError)], adapter=NAME, retryable=True)
            failures = 1 if self._outgoing.held > held else failures + 1
            if not problem.retryable or failures > self._link.retries:
                raise problem
            log.warning("the FunASR server is tried again: %s", problem.loggable)
            await asyncio.sleep(self._link.backoff_s * 2 ** (failures - 1))

    def _closed(self, closed: ConnectionClosed) -> RecognizerError:
        code = closed.rcvd.code if closed.rcvd else None
        can_shrink = len(self._outgoing) > 0 and (
            self._inline is not None or self._outgoing.chunk_bytes > SMALLEST_CHUNK
        )
        if code == TOO_BIG and can_shrink:
            if self._inline is None:
                self._outgoing.recut(self._outgoing.chunk_bytes // 2)
            self._inline, self._known = None, False
        reason = "without a word" if code is None else f"with code {code}"
        message = f"the FunASR server closed the connection {reason} before the result"
        return RecognizerError(message, adapter=NAME, retryable=code != TOO_BIG or can_shrink)

    async def _attempt(self) -> Result:
        self._reset()
        async with self._link.connected() as socket:
            self.progress.connections += 1
            reader = asyncio.create_task(self._read(socket), name="funasr reader")
            try:
                if self._inline is not None:
                    await self._send(socket, self._inline)
                else:
                    await self._begin(socket)
                    await self._upload(socket)
                return await self._answer()
            except asyncio.CancelledError:
                await self._cancel(socket)
                raise
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def _cancel(self, socket: ClientConnection) -> None:
        """The server need not keep what nobody will ask for."""
        if self._inline is None and self._result is None:
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(0.5):
                    await socket.send(json.dumps({"type": "audio_cancel", "request_id": self._request_id}))

    # -- reading

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                frame = await socket.recv()
                if isinstance(frame, str):
                    self._take(classify(frame))
        except (ConnectionClosed, Refused) as error:
            self._ended = error
        finally:
            self._outgoing.changed.set()

    def _take(self, said: Status | Result | None) -> None:
        if isinstance(said, Result):
            if said.fields.get("request_id") in (None, self._request_id):
                self._result = self._result or said
        elif said is not None and said.request_id in (None, self._request_id):
            self.progress.statuses[said.kind] = self.progress.statuses.get(said.kind, 0) + 1
            if self._on_status is not None:
                self._on_status(said)
            self._heed(said)
        self._outgoing.changed.set()

    def _heed(self, said: Status) -> None:
        index = said.number("chunk_index")
        if said.kind == "error":
            raise Refused(said)
        if said.kind == "ready":
            self._ready = said
        elif said.kind == "chunk_received" and index is not None:
            self._confirms = self._outgoing.acknowledged(index) or self._confirms
        elif said.kind == "processing" and self._deadline < math.inf:
            self._deadline = self._patience((said.number("duration_ms") or 0) / 1000)

    # -- writing

    async def _begin(self, socket: ClientConnection) -> None:
        if self._known and await self._resume(socket):
            self.progress.resumed += 1
            return
        self._request_id, self._known = secrets.token_hex(16), True
        self._outgoing.connected()
        start = {"type": "audio_start", "request_id": self._request_id, "ack": max(self._link.window // 4, 1)}
        if self._outgoing.whole:
            start |= {"total_chunks": len(self._outgoing), "total_size": self._outgoing.size}
            start |= {"chunk_size": self._outgoing.chunk_bytes}
        await self._send(socket, json.dumps(start | self._start).encode())
        if not await self._until(lambda: self._ready is not None, self._link.ready_timeout_s):
            self._known = False
            log.info("the FunASR server does not say that it is ready; going on")

    async def _resume(self, socket: ClientConnection) -> bool:
        """Whether the server goes on with what it has; one that does not know it answers with an error, or nothing."""
        self._resuming = True
        await self._send(socket, json.dumps({"type": "audio_resume", "request_id": self._request_id}).encode())
        await self._until(lambda: self._ready is not None, self._link.ready_timeout_s)
        self._resuming = False
        if self._ready is None:
            return False
        missing = self._ready.numbers("missing") or []
        received = self._ready.number("received")
        top = len(self._outgoing) if received is None else received + len(missing)
        if "total_chunks" not in self._ready.fields and received is None:
            top = 0  # it has an unknown number of them: all are sent again
        self._outgoing.connected(set(range(top)) - set(missing))
        self._ready = None
        return True

    async def _upload(self, socket: ClientConnection) -> None:
        outgoing = self._outgoing
        while self._result is None:
            index = outgoing.next()
            if index is None and outgoing.whole:
                break
            if index is None:
                await self._until(lambda: outgoing.next() is not None or outgoing.whole, None)
            elif await self._room():
                data = outgoing.chunk(index)
                await self._send(socket, chunk_frame(self._request_id, index, data))
                self.progress.bytes_sent += len(data)
                outgoing.sent(index)
        await self._send(socket, json.dumps({"type": "audio_end", "request_id": self._request_id}).encode())

    async def _room(self) -> bool:
        """Wait for room in the window. A server that confirms nothing is not waited for a second time."""

        def room() -> bool:
            return self._deaf or self._outgoing.unacknowledged < self._link.window

        timeout_s = self._link.receive_timeout_s if self._confirms else self._link.ready_timeout_s
        if not await self._until(room, timeout_s):
            if self._confirms:
                raise TimeoutError
            self._deaf = True
        return self._result is None

    async def _answer(self) -> Result:
        self._deadline = self._patience(0)
        while self._result is None:
            deadline = self._deadline
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise TimeoutError
            await self._until(lambda: self._deadline != deadline, left)  # noqa: B023  called within this round only
        return self._result

    def _patience(self, told_s: float) -> float:
        """When to give up waiting for the result: twice the audio's length from now, at least the time for a frame."""
        length = self._length_s() or told_s or self._outgoing.size / LEAST_BYTES_PER_S
        return asyncio.get_running_loop().time() + max(self._link.receive_timeout_s, 2 * length)

    async def _until(self, reached: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait for that, or for the result; False when it takes too long. Raises what ended the connection."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._result is None and not reached():
                    if self._ended is not None:
                        raise self._ended
                    self._outgoing.changed.clear()
                    await self._outgoing.changed.wait()
        except TimeoutError:
            return False
        return True

    async def _send(self, socket: ClientConnection, message: bytes) -> None:
        if self._ended is not None:
            raise self._ended
        try:
            async with asyncio.timeout(self._link.receive_timeout_s):
                await socket.send(message, text=True)
        except ConnectionClosed:
            await self._until(lambda: False, 1)  # what the server said before matters more
            raise


def chunk_frame(request_id: str, index: int, data: bytes | memoryview) -> bytes:
    """An `audio_chunk` message. Put together by hand: to look for what JSON must escape costs more than all else."""
    head = f'{{"type":"audio_chunk","request_id":"{request_id}","chunk_index":{index},"size":{len(data)},"data":"'
    return b"".join((head.encode(), binascii.b2a_base64(data, newline=False), b'"}'))


def _refusal(refused: Refused, again: bool) -> RecognizerError:
    message = f"the FunASR server refused: {refused.code}"
    return RecognizerError(message, adapter=NAME, code=refused.code, retryable=again, quoted=refused.message)
