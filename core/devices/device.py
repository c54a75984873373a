"""One connected device: its line on one side, its session on the other, and the state machine between them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from aiohttp import WSMsgType

from core.devices import messages
from core.devices.effects import (
    Ask,
    Effect,
    EndReply,
    GoOn,
    Greet,
    Hello,
    Hush,
    Interrupt,
    Key,
    Leave,
    Open,
    Pong,
    Rest,
    Say,
    Subtitle,
)
from core.devices.line import DeviceLine
from core.devices.options import TalkOptions
from core.devices.outbox import BURST_S, TAIL_S
from core.devices.talk import Talk
from core.devices.tally import DeviceTally
from core.devices.uplink import Uplink
from core.devices.voice import PACKET_S, Voice
from core.dialogue.xiaozhi.messages import Ping
from core.dialogue.xiaozhi.protocol import read_from_client
from core.envelope import spoken_text
from core.errors import EmanError
from core.events import Event, Failed, Heard, Replying, Typed
from core.frames import LinkState, SoundPiece
from core.microphones import Microphone, MicrophoneKind
from core.session import Session
from core.turn_events import ListenMode

logger = logging.getLogger(__name__)

NORMAL, GOING_AWAY = 1000, 1001
FLUSH_S = 0.1
"""Sound that fills no packet waits so long for more."""


class Device:
    """Implements `core.stages.SoundSink`. From `attach` to `detach` the session is the device's.

    `may_send` tells whether another text message may come now, or there were too many.
    Raises `AdapterError` where there is no libopus.
    """

    def __init__(self, line: DeviceLine, version: int, options: TalkOptions, may_send: Callable[[], bool]) -> None:
        self._line = line
        self._may_send = may_send
        self._options = options
        self._talk = Talk(options.wake_words)
        self._uplink = Uplink(version)
        self._voice = Voice()
        self._session: Session | None = None
        self._microphone: Microphone | None = None
        self._end: Callable[[], None] = lambda: None
        self._flusher: asyncio.TimerHandle | None = None
        self._active_at = time.monotonic()
        line.version = version
        line.stopped = self._talk.stopped

    def attach(self, session: Session) -> None:
        """Speak for this session from now on, and tell the device."""
        self._session = session
        session.device = self._line.name
        self._microphone = session.microphones.open(MicrophoneKind.DEVICE)
        self._line.session_id = session.id
        self._line.say(messages.hello(session.id))
        self._end = session.listen(self, BURST_S, lambda: TAIL_S)

    def detach(self) -> None:
        """The device is gone, or has connected again; the session may be taken up. Idempotent."""
        session, self._session = self._session, None
        if self._flusher is not None:
            self._flusher.cancel()
        self._end()
        if session is not None and not session.broken:
            session.device = ""
            if self._microphone is not None:
                self._microphone.close()
            session.ears.set_mode(ListenMode.OPEN)
            if session.link is not LinkState.CONNECTED:  # nobody else hears the reply
                session.interrupt()

    def leave(self, code: int) -> None:
        """Say goodbye and close."""
        self._line.outbox.hush()
        self._line.say(messages.goodbye())
        self._line.leave(code)

    async def run(self) -> None:
        """Serve the device until it goes, or nothing was said for `idle_s`."""
        while self._session is not None and not self._line.leaving:
            try:
                message = await self._line.receive(self._active_at + self._options.idle_s)
            except TimeoutError:
                if self._talk.speaking:  # a long sentence
                    self._active_at = time.monotonic()
                    continue
                logger.info("device %s: nothing was said for %g s", self._line.name, self._options.idle_s)
                self.leave(NORMAL)
                return
            if message is None:
                return
            if message.type is WSMsgType.BINARY:
                self._hear(message.data)
            elif message.type is WSMsgType.TEXT:
                self._take(message.data)

    @property
    def tally(self) -> DeviceTally:
        """What of its sound was lost so far."""
        return DeviceTally(self._uplink.unusable, self._uplink.dropped, self._line.outbox.dropped)

    # -- the session's side

    def on_event(self, event: Event) -> None:
        """Something happened in the session."""
        if _is_voice(event):
            self._active_at = time.monotonic()
        self._do(self._talk.on_event(event))

    def sound(self, piece: SoundPiece) -> None:
        """See `core.stages.SoundSink`."""
        first = self._talk.on_sound(piece.reply_id)
        if first is None:
            return
        self._do(first)
        playing = self._line.outbox.ahead_s(time.monotonic()) > 0
        self._send(self._voice.packets(piece, playing=playing))
        if self._flusher is not None:
            self._flusher.cancel()
        self._flusher = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def cleared(self, reply_id: str, at: float) -> None:
        """See `core.stages.SoundSink`."""
        self._do(self._talk.on_cleared(reply_id))

    # -- the device's side

    def _hear(self, data: bytes) -> None:
        if self._microphone is not None and self._talk.takes_sound:
            self._microphone.hear(self._uplink.samples(data, time.monotonic()))

    def _take(self, text: str) -> None:
        if not self._may_send():
            logger.debug("device %s: too many messages", self._line.name)
            return
        message = read_from_client(text)
        if not isinstance(message, Ping):
            self._active_at = time.monotonic()
        logger.debug("device %s: %s", self._line.name, type(message).__name__)
        self._do(self._talk.take(message))

    # -- what is to be done

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if self._session is not None:
                self._tell(effect)
                self._act(effect, self._session)

    def _tell(self, effect: Effect) -> None:
        line = self._line
        match effect:
            case Say(message=message):
                line.say(message)
            case Subtitle(message=message):
                line.outbox.subtitle(line.text(message))
            case Hello():
                line.say(messages.hello(line.session_id))
            case Pong():
                line.say(messages.pong(round(time.time() * 1000)))
            case GoOn():
                line.outbox.go_on()
            case Hush():
                self._hush()
            case EndReply():
                self._flush()
                line.outbox.stop(line.text(messages.tts_stop()))
            case Leave():
                line.leave(NORMAL)

    def _act(self, effect: Effect, session: Session) -> None:
        match effect:
            case Open(mode=mode):
                session.ears.set_mode(mode)
            case Key(down=down):
                session.ears.talk_key(down)
            case Rest():  # not now: the stage may be in the middle of playing
                asyncio.get_running_loop().call_soon(session.ears.rest)
            case Interrupt():
                session.interrupt()
            case Ask(text=text):
                self._submit(lambda: session.conversation.chat(self._spoken(text), interrupt=True))
            case Greet() if self._options.greeting:
                self._submit(lambda: session.conversation.say(self._options.greeting, interrupt=True))

    def _submit(self, speak: Callable[[], None]) -> None:
        try:
            speak()
        except EmanError as error:
            self._line.say(messages.alert(str(error)))

    def _spoken(self, text: str) -> str:
        return spoken_text(text, self._options.max_text_chars)

    def _hush(self) -> None:
        self._voice.drop()
        self._line.outbox.hush()

    def _flush(self) -> None:
        self._send(self._voice.flush())

    def _send(self, packets: list[bytes]) -> None:
        for packet in packets:
            self._line.outbox.sound(packet, PACKET_S)


def _is_voice(event: Event) -> bool:
    match event:
        case Heard(transcript):
            return bool(transcript.text)
        case Typed() | Replying() | Failed():
            return True
    return False
