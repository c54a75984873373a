"""One device's WebSocket: its one writer, what it reads, how it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from aiohttp import WSMessage, WSMsgType, web

from core.devices.outbox import Control, Item, Outbox, Packet, Stop, Text
from core.dialogue.xiaozhi import protocol
from core.dialogue.xiaozhi.framing import Frame, encode
from core.dialogue.xiaozhi.messages import Json
from core.websocket_session import close_websocket, cut

logger = logging.getLogger(__name__)

PING_S = 20.0
"""A device that sent nothing for so long is asked for a sign of life."""
SILENT_S = 40.0
"""One that sent nothing for so long, not even a pong, is gone."""
SEND_TIMEOUT_S = 3.0
"""One that takes not one message for so long is gone."""
MESSAGES_IN_A_ROW = 4
"""Messages of one device that are handled before others get their turn: each may hold 0.1 s of sound to be decoded."""

_OVER = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


class DeviceLine:
    """`stopped` is called just before a reply's `tts stop` is sent. `session_id` goes into every message."""

    def __init__(self, websocket: web.WebSocketResponse, name: str) -> None:
        self._websocket = websocket
        self.name = name
        self.session_id = ""
        self.version = 1
        """Of the binary messages."""
        self.stopped: Callable[[], None] = lambda: None
        self.outbox = Outbox(self._awake)
        self._wake = asyncio.Event()
        self._code: int | None = None
        self._heard_at = time.monotonic()
        self._pinged = False
        self._in_a_row = 0
        self._writer = asyncio.create_task(self._write(), name=f"device {name} writer")

    @property
    def leaving(self) -> bool:
        """Whether we are closing it."""
        return self._code is not None

    def text(self, message: Json) -> str:
        """A message as it goes over the wire."""
        return protocol.encode({"session_id": self.session_id, **message}) or "{}"

    def say(self, message: Json) -> None:
        """Queue a message. A device that reads nothing any more is given up."""
        self.outbox.say(self.text(message))
        if self.outbox.overrun and not self.leaving:
            logger.warning("device %s reads nothing: dropped", self.name)
            self.cut()

    async def receive(self, until: float) -> WSMessage | None:
        """The next text or binary message; None when the connection is over. `until`: see below.

        Raises `TimeoutError` when nothing came until then (monotonic seconds).
        """
        while True:
            now = time.monotonic()
            if now - self._heard_at > SILENT_S:
                logger.info("device %s vanished", self.name)
                self.cut()
                return None
            if now >= until:
                raise TimeoutError
            message = await self._message(min(until, self._heard_at + (SILENT_S if self._pinged else PING_S)) - now)
            if message is None:
                continue
            self._heard_at, self._pinged = time.monotonic(), False
            self._in_a_row = (self._in_a_row + 1) % MESSAGES_IN_A_ROW
            if not self._in_a_row:
                await asyncio.sleep(0)
            if message.type in _OVER:
                return None
            if message.type is WSMsgType.PING:
                self.outbox.control(False, message.data)
            elif message.type is not WSMsgType.PONG:
                return message

    def leave(self, code: int) -> None:
        """Close it with this code once what waits has been sent; sound is not waited for. Idempotent."""
        if self._code is None:
            self._code = code
            self.outbox.hush()
            self._wake.set()

    def cut(self) -> None:
        """Drop the connection at once."""
        self._writer.cancel()
        cut(self._websocket)

    async def close(self, code: int) -> None:
        """As `leave`, and wait until it is done; a few seconds at the most."""
        self.leave(code)
        await asyncio.wait({self._writer})

    # -- inside

    async def _message(self, timeout_s: float) -> WSMessage | None:
        try:
            return await self._websocket.receive(timeout=max(0.01, timeout_s))
        except TimeoutError:
            if time.monotonic() - self._heard_at >= PING_S and not self._pinged:
                self._pinged = True
                self.outbox.control(True)
            return None

    def _awake(self) -> None:
        self._wake.set()

    async def _write(self) -> None:
        try:
            while True:
                item = self.outbox.next(time.monotonic())
                if item is not None and not isinstance(item, float):
                    async with asyncio.timeout(SEND_TIMEOUT_S):
                        await self._send(item)
                elif self._code is None:
                    await self._pause(item)
                else:
                    return await close_websocket(self._websocket, self._code, self.name)
        except TimeoutError:
            logger.warning("device %s took nothing for %g s: dropped", self.name, SEND_TIMEOUT_S)
            cut(self._websocket)
        except ConnectionError as error:
            logger.info("device %s is gone: %r", self.name, error)
            cut(self._websocket)

    async def _pause(self, seconds: float | None) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _send(self, item: Item) -> None:
        if isinstance(item, Stop):
            self.stopped()
        match item:
            case Packet(data=data):
                await self._websocket.send_frame(encode(Frame(data), self.version), WSMsgType.BINARY)
            case Control(ping=ping, data=data):
                await self._websocket.send_frame(data, WSMsgType.PING if ping else WSMsgType.PONG)
            case Text(text=text) | Stop(text=text):
                await self._websocket.send_frame(text.encode(), WSMsgType.TEXT)
