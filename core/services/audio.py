"""A session's sound over the socket, both ways, for pages and programs without WebRTC (docs/websocket-api.md)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from core.errors import BadRequest, Refused
from core.frames import LISTEN_RATE, Pcm, Samples
from core.messages import AudioDelay, Message, OpenAudio, audio_closed, audio_opened, microphone, parse
from core.microphones import Microphone, MicrophoneKind
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
UNDER_WAY_S = 2.0
"""Sound that a client sent before it knew that its microphone was closed is no mistake for so long."""
MOST_SOCKETS = 4
"""Of one session, with sound: windows, and programs that listen."""


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
    opus: OpusDecoder | None
    pace: Pace
    reader: PcmReader = field(default_factory=PcmReader)
    microphone: Microphone | None = None


class AudioService(WebSocketServiceBase):
    """`open_audio`: the socket gets what its session's avatar plays, and its binary frames are a microphone.

    `new_decoder` makes an Opus decoder, in a thread; it raises `AdapterError`.
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
        self._under_way: dict[WebSocketSession, float] = {}
        """Until when sound may still come of sockets whose microphone we closed."""
        self.tally = SoundTally()

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `WebSocketServiceBase`."""
        return {"open_audio": self._open, "audio_delay": self._delay, "close_audio": self._close}

    @property
    def sockets(self) -> int:
        """Sockets with sound."""
        return len(self._opened)

    def speaks(self, socket: WebSocketSession) -> bool:
        """Whether the socket has a microphone, heard or not."""
        opened = self._opened.get(socket)
        return opened is not None and opened.uplink != "none"

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
        if opened is None or opened.microphone is None:
            if time.monotonic() < self._under_way.get(socket, 0.0):
                return
            socket.binary_to = None
            raise BadRequest("the sound is closed: send open_audio first")
        samples = _decoded(opened, data)
        opened.microphone.hear(samples)
        await opened.pace.after(len(samples))

    def closed(self, socket: WebSocketSession) -> None:
        """See `WebSocketServiceBase`."""
        self._end(socket, "")
        self._paces.pop(socket, None)
        self._under_way.pop(socket, None)

    # -- messages

    async def _open(self, socket: WebSocketSession, data: Message) -> None:
        wish = parse(OpenAudio, data).content
        session = self._sessions.find(socket.session_id)
        opus = await asyncio.to_thread(self._new_decoder) if wish.uplink == "opus" else None
        if not socket.alive or self._sessions.get(session.id) is not session:
            raise BadRequest("the session is over")
        self._check_room(socket, session)
        earlier = self._opened.pop(socket, None)
        down = SoundDown(socket, self.tally)
        socket.send_message(audio_opened(session.id, wish.uplink, wish.ahead_ms))
        down.delay_s = wish.delay_ms / 1000
        end = session.listen(down, wish.ahead_ms / 1000, lambda: down.delay_s)
        pace = self._paces.setdefault(socket, Pace(AHEAD_S))
        opened = self._opened[socket] = _Opened(session, wish.page, down, end, wish.uplink, opus, pace)
        if wish.uplink != "none":
            opened.microphone = self._microphone(socket, opened, earlier)
        if earlier is not None:
            self._let_go(socket, earlier)
        if opened.microphone is not None:
            socket.binary_to = self

    async def _delay(self, socket: WebSocketSession, data: Message) -> None:
        wish = parse(AudioDelay, data).content
        opened = self._opened.get(socket)
        if opened is None:
            raise BadRequest("no sound is open: send open_audio first")
        opened.down.delay_s = wish.delay_ms / 1000

    async def _close(self, socket: WebSocketSession, data: Message) -> None:
        if socket not in self._opened:
            raise BadRequest("no sound is open: send open_audio first")
        self._end(socket, "closed")

    # -- inside

    def _check_room(self, socket: WebSocketSession, session: Session) -> None:
        others = sum(opened.session is session for other, opened in self._opened.items() if other != socket)
        if others >= MOST_SOCKETS:
            text = f"{MOST_SOCKETS} sockets have this session's sound already: send close_audio on one of them"
            raise Refused(text, code="busy", retryable=True)

    def _microphone(self, socket: WebSocketSession, opened: _Opened, earlier: _Opened | None) -> Microphone:
        session = opened.session

        def told(heard: bool, by: str) -> None:
            # a page that changes over to WebRTC has the same microphone there
            if heard or by != MicrophoneKind.WEBRTC or not opened.page or opened.page != session.page:
                socket.send_message(microphone(session.id, heard, by))

        before = earlier.microphone if earlier is not None and earlier.session is session else None
        return session.microphones.open(MicrophoneKind.WEBSOCKET, told, instead_of=before)

    def _end(self, socket: WebSocketSession, reason: str) -> None:
        opened = self._opened.pop(socket, None)
        if opened is not None:
            self._let_go(socket, opened)
            if reason:
                socket.send_message(audio_closed(opened.session.id, reason))
            if reason in ("moved", "ended") and opened.microphone is not None:
                self._under_way[socket] = time.monotonic() + UNDER_WAY_S
                socket.binary_to = socket.binary_to or self

    def _let_go(self, socket: WebSocketSession, opened: _Opened) -> None:
        opened.end()
        if opened.microphone is not None:
            opened.microphone.close()
            if socket.binary_to is self:
                socket.binary_to = None


def _decoded(opened: _Opened, data: bytes) -> Samples:
    if len(data) > LONGEST_FRAME:
        raise BadRequest(f"a binary frame holds 1 s of sound at most ({LONGEST_FRAME} bytes)")
    if opened.opus is None:
        return opened.reader.take(data)
    try:
        return opened.opus.decode(data).samples
    except ValueError as error:
        raise BadRequest(f"no Opus packet: {error}") from None
