"""Speech over the socket: `start_asr_recognition`, audio, `stop_asr_recognition`.

Audio for a live session goes to its ears, where voice activity and turn-taking do the rest. A socket whose id is no
live session has a recognition of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from core.errors import BadRequest, RecognizerError, Refused, SessionNotFound
from core.events import Event, Failed
from core.frames import LISTEN_RATE
from core.identity import session_id_of
from core.messages import AudioData, Message, Recognition, StartRecognition, messages_for, microphone, parse, wsa_error
from core.microphones import Microphone, MicrophoneKind
from core.services.asr_audio import Pace, PcmReader, decoded
from core.services.asr_recognition import OwnRecognition, RecognitionLimits, Tracker
from core.services.base import WebSocketServiceBase
from core.session import Session
from core.sessions import Sessions
from core.stages import Recognizer
from core.websocket_manager import Handler, UnifiedWebSocketManager, WebSocketSession

logger = logging.getLogger(__name__)

MAX_RECOGNITIONS = 64
"""Sockets that may have a recognition of their own at once."""
_PIECE = LISTEN_RATE // 2


@dataclass(slots=True)
class _Intake:
    """What comes in over one socket, from start to stop: `own`, or a `microphone` of a live `session`."""

    session_id: str
    pace: Pace
    own: OwnRecognition | None = None
    session: Session | None = None
    microphone: Microphone | None = None
    reader: PcmReader = field(default_factory=PcmReader)


class ASRWebSocketService(WebSocketServiceBase):
    """Takes speech over `/ws`, as base64 in `asr_audio_data` or as binary frames: 16-bit mono PCM at 16 kHz.

    `timeout_s`: how long a transcript may take; `max_turn_s`: how long a turn of a socket's own recognition may be,
    and how much sound may come faster than it is spoken.
    """

    name = "asr"

    def __init__(
        self,
        manager: UnifiedWebSocketManager,
        recognizer: Recognizer,
        sessions: Sessions,
        tracker: Tracker,
        *,
        timeout_s: float,
        max_turn_s: float,
        failed: Callable[[str, Failed], None] = lambda session_id, failure: None,
    ) -> None:
        super().__init__(manager)
        self._failed = failed
        self._recognizer = recognizer
        self._sessions = sessions
        self._tracker = tracker
        self._limits = RecognitionLimits(timeout_s, max_turn_s)
        self._intakes: dict[WebSocketSession, _Intake] = {}
        self._paces: dict[WebSocketSession, Pace] = {}
        self._own: dict[WebSocketSession, OwnRecognition] = {}
        self._left: set[OwnRecognition] = set()
        """Of sockets that are gone: a transcript may still come."""

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `WebSocketServiceBase`."""
        return {
            "start_asr_recognition": self._start,
            "asr_audio_data": self._audio,
            "stop_asr_recognition": self._stop,
        }

    async def binary(self, socket: WebSocketSession, data: bytes) -> None:
        """Audio of a socket that has started a recognition."""
        await self._take(socket, data)

    def closed(self, socket: WebSocketSession) -> None:
        """What the socket was saying has no end: it is dropped. Transcripts that are on their way still come."""
        self._end(socket)
        self._paces.pop(socket, None)
        if (own := self._own.pop(socket, None)) is not None:
            own.drop()
            self._left.add(own)

    async def close(self) -> None:
        """End all recognitions."""
        self._intakes.clear()
        await asyncio.gather(*(own.close() for own in {*self._own.values(), *self._left}))
        self._own.clear()
        self._left.clear()

    # -- messages

    async def _start(self, socket: WebSocketSession, data: Message) -> None:
        wish = parse(StartRecognition, data)
        self._check_id(socket, wish)
        if wish.sample_rate is not None and str(wish.sample_rate).strip() != str(LISTEN_RATE):
            raise BadRequest(f"sample_rate: only {LISTEN_RATE} is understood")
        if wish.format is not None and wish.format.strip().lower() != "pcm":
            raise BadRequest("format: only pcm is understood (16-bit little-endian, mono)")
        if (session := self._session(socket.session_id)) is not None:
            self._speak(socket, session)
        else:
            self._start_own(socket)

    async def _audio(self, socket: WebSocketSession, data: Message) -> None:
        piece = parse(AudioData, data)
        self._check_id(socket, piece)
        await self._take(socket, decoded(piece.audio), piece.sequence)

    async def _stop(self, socket: WebSocketSession, data: Message) -> None:
        self._check_id(socket, parse(Recognition, data))
        intake = self._intake(socket)
        if intake.session is not None and intake.microphone is not None and intake.microphone.heard:
            intake.session.ears.talk_key(False)
            intake.microphone.close(finished=True)
        self._end(socket)
        if intake.reader.repeats or intake.reader.gaps:
            logger.warning("audio of session %s: %d pieces repeated, %d missing",
                           intake.session_id, intake.reader.repeats, intake.reader.gaps)  # fmt: skip
        if intake.own is not None:
            self._attempt(socket, intake.own, intake.own.stop, data["type"])

    # -- inside

    def _begin(self, socket: WebSocketSession) -> _Intake:
        # the pace is the socket's, or starting again and again would be a way around it
        pace = self._paces.setdefault(socket, Pace(self._limits.max_turn_s))
        intake = self._intakes[socket] = _Intake(socket.session_id, pace)
        socket.binary_to = self
        return intake

    def _speak(self, socket: WebSocketSession, session: Session) -> None:
        def told(heard: bool, by: str) -> None:
            socket.send_message(microphone(session.id, heard, by))

        earlier = self._intakes.get(socket)
        before = earlier.microphone if earlier is not None and earlier.session is session else None
        intake = self._begin(socket)
        intake.session = session
        intake.microphone = session.microphones.open(MicrophoneKind.RECOGNITION, told, instead_of=before)

    def _end(self, socket: WebSocketSession) -> None:
        intake = self._intakes.pop(socket, None)
        if intake is not None and intake.microphone is not None:
            intake.microphone.close()
        if socket.binary_to is self:
            socket.binary_to = None

    def _start_own(self, socket: WebSocketSession) -> None:
        self._left = {own for own in self._left if own.busy}
        if len(self._own) + len(self._left) >= MAX_RECOGNITIONS and socket not in self._own:
            raise Refused("too many recognitions are running", code="busy", retryable=True)
        own = self._own.get(socket)
        if own is None:
            own = self._own[socket] = self._recognition(socket.session_id)
        self._begin(socket).own = own
        self._attempt(socket, own, own.start, "start_asr_recognition")

    def _recognition(self, session_id: str) -> OwnRecognition:
        def tell(event: Event) -> None:
            if isinstance(event, Failed):
                self._failed(session_id, event)
            for message in messages_for(event, session_id, ""):
                self._manager.deliver(session_id, message)

        return OwnRecognition(session_id, self._recognizer, self._tracker, tell, self._limits)

    async def _take(self, socket: WebSocketSession, data: bytes, sequence: int | None = None) -> None:
        intake = self._intake(socket)
        samples = intake.reader.take(data, sequence)
        for start in range(0, len(samples), _PIECE):
            piece = samples[start : start + _PIECE]
            if intake.own is not None:
                if not self._attempt(socket, intake.own, partial(intake.own.hear, piece), "asr_audio_data"):
                    return
            elif intake.microphone is not None and self._session(intake.session_id) is intake.session:
                intake.microphone.hear(piece)
            else:
                self._end(socket)
                raise BadRequest("the session is over: start again")
            await intake.pace.after(len(piece))
            socket.touch()  # what it sends waits here: it is not silent
            if self._intakes.get(socket) is not intake:
                return  # closed while this one waited

    def _intake(self, socket: WebSocketSession) -> _Intake:
        intake = self._intakes.get(socket)
        if intake is None:
            raise BadRequest("no recognition is running: send start_asr_recognition first")
        return intake

    def _attempt(self, socket: WebSocketSession, own: OwnRecognition, act: Callable[[], None], ref: str) -> bool:
        try:
            act()
        except RecognizerError as error:
            socket.send_message(wsa_error(error.code, str(error), ref))
            self._end(socket)
            own.fail(error)
            return False
        return True

    def _session(self, session_id: str) -> Session | None:
        try:
            return self._sessions.find(session_id)
        except SessionNotFound:
            return None

    @staticmethod
    def _check_id(socket: WebSocketSession, message: Recognition) -> None:
        for value in (message.session_id, message.sessionid):
            if value is not None and session_id_of(value) != socket.session_id:
                raise BadRequest("session_id: this socket is logged in as another session")
