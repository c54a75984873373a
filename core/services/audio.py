"""A session's sound over the socket, both ways, for pages and programs without WebRTC (docs/websocket-api.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from core.errors import BadRequest
from core.frames import LISTEN_RATE, Pcm, Samples
from core.messages import Message, OpenAudio, audio_closed, audio_opened, parse, wsa_error
from core.services.asr_audio import Pace, PcmReader
from core.services.audio_down import SoundDown, SoundTally
from core.services.base import WebSocketServiceBase
from core.session import Session
from core.sessions import Sessions
from core.websocket_manager import Handler, UnifiedWebSocketManager, WebSocketSession

LONGEST_FRAME = 2 * LISTEN_RATE
"""Bytes of a binary frame: 1 s of PCM."""
AHEAD_S = 5.0
"""So much of the microphone may come faster than it is spoken; then the socket is read more slowly."""


class OpusDecoder(Protocol):
    """One stream of Opus packets (`avatar.opus.packets.PacketDecoder` at `LISTEN_RATE`)."""

    def decode(self, packet: bytes) -> Pcm:
        """The sound of the next packet. Raises `ValueError` for what is none."""


@dataclass(slots=True)
class _Opened:
    """One socket with sound."""

    session: Session
    page: str
    down: SoundDown
    end: Callable[[], None]
    uplink: str
    reader: PcmReader
    opus: OpusDecoder | None
    pace: Pace


class AudioService(WebSocketServiceBase):
    """`open_audio`: the socket gets what its session's avatar plays, and its binary frames are the microphone.

    `new_decoder` makes an Opus decoder, in a thread; it raises `AdapterError`. One socket at a time speaks for a
    session: the newest.
    """

    name = "audio"

    def __init__(
        self, manager: UnifiedWebSocketManager, sessions: Sessions, new_decoder: Callable[[], OpusDecoder]
    ) -> None:
        super().__init__(manager)
        self._sessions = sessions
        self._new_decoder = new_decoder
        self._opened: dict[WebSocketSession, _Opened] = {}
        self._paces: dict[WebSocketSession, Pace] = {}
        """Of the sockets, not of what they open: opening again is no way around it."""
        self.tally = SoundTally()

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `WebSocketServiceBase`."""
        return {"open_audio": self._open, "close_audio": self._close}

    @property
    def sockets(self) -> int:
        """Sockets with sound."""
        return len(self._opened)

    def moved(self, session_id: str, page: str) -> None:
        """Picture and sound go to `page` now: sockets of a page with another name lose theirs."""
        for socket, opened in list(self._opened.items()):
            if opened.session.id == session_id and opened.page not in ("", page):
                self._end(socket, "moved")

    def ended(self, session_id: str) -> None:
        """The session is over."""
        for socket, opened in list(self._opened.items()):
            if opened.session.id == session_id:
                self._end(socket, "ended")

    async def binary(self, socket: WebSocketSession, data: bytes) -> None:
        """The microphone: PCM (16 bit, mono, `LISTEN_RATE`) cut anywhere, or one Opus packet."""
        opened = self._opened.get(socket)
        if opened is None:
            raise BadRequest("the sound is closed: send open_audio first")
        samples = _decoded(opened, data)
        if not opened.session.device:  # else the device's microphone is heard
            opened.session.ears.hear(samples)
        await opened.pace.after(len(samples))

    def closed(self, socket: WebSocketSession) -> None:
        """See `WebSocketServiceBase`."""
        self._end(socket, "")
        self._paces.pop(socket, None)

    # -- messages

    async def _open(self, socket: WebSocketSession, data: Message) -> None:
        wish = parse(OpenAudio, data).content
        session = self._sessions.find(socket.session_id)
        opus = await asyncio.to_thread(self._new_decoder) if wish.uplink == "opus" else None
        if not socket.alive or self._sessions.get(session.id) is not session:
            raise BadRequest("the session is over")
        earlier = self._opened.pop(socket, None)
        down = SoundDown(socket, self.tally)
        socket.send_message(audio_opened(session.id, wish.uplink, wish.ahead_ms))
        end = session.listen(down, wish.ahead_ms / 1000)
        pace = self._paces.setdefault(socket, Pace(AHEAD_S))
        opened = _Opened(session, wish.page, down, end, wish.uplink, PcmReader(), opus, pace)
        if earlier is not None:
            self._let_go(socket, earlier)
        self._opened[socket] = opened
        if wish.uplink != "none":
            self._give_way(socket, session)
            socket.binary_to = self

    async def _close(self, socket: WebSocketSession, data: Message) -> None:
        if socket not in self._opened:
            raise BadRequest("no sound is open: send open_audio first")
        self._end(socket, "closed")

    # -- inside

    def _give_way(self, socket: WebSocketSession, session: Session) -> None:
        for other, opened in self._opened.items():
            if other != socket and opened.session is session and opened.uplink != "none":
                self._mute(other, opened)
                other.send_message(wsa_error("bad_message", "another window of this session speaks now", "open_audio"))

    def _mute(self, socket: WebSocketSession, opened: _Opened) -> None:
        if opened.uplink != "none":
            opened.uplink = "none"
            opened.session.ears.rest()
            if socket.binary_to is self:
                socket.binary_to = None

    def _end(self, socket: WebSocketSession, reason: str) -> None:
        opened = self._opened.pop(socket, None)
        if opened is not None:
            self._let_go(socket, opened)
            if reason:
                socket.send_message(audio_closed(opened.session.id, reason))

    def _let_go(self, socket: WebSocketSession, opened: _Opened) -> None:
        opened.end()
        self._mute(socket, opened)


def _decoded(opened: _Opened, data: bytes) -> Samples:
    if len(data) > LONGEST_FRAME:
        raise BadRequest(f"a binary frame holds 1 s of sound at most ({LONGEST_FRAME} bytes)")
    if opened.opus is None:
        return opened.reader.take(data)
    try:
        return opened.opus.decode(data).samples
    except ValueError as error:
        raise BadRequest(f"no Opus packet: {error}") from None
