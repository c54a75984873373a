"""One session with a xiaozhi server as a state machine. Sans-I/O: what came in, what the owner is told."""

from __future__ import annotations

from enum import StrEnum

from core.dialogue.xiaozhi.events import (
    Emotion,
    Event,
    Notice,
    ReplyAudio,
    ReplyText,
    SpeakingStarted,
    SpeakingStopped,
    UserText,
)
from core.dialogue.xiaozhi.messages import Alert, Llm, Mode, ServerMessage, Stt, TtsSentence, TtsStart, TtsStop
from core.frames import Pcm


class State(StrEnum):
    """What a client is doing."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    READY = "ready"
    LISTENING = "listening"
    """Sound goes to the server."""
    PROCESSING = "processing"
    """The user has ended; the reply is awaited."""
    SPEAKING = "speaking"
    ERROR = "error"
    """No connection, and no attempt at one: a setting is wrong."""


ANSWER_S = 5.0
"""An abort that was not answered for so long never will be."""


class Session:
    """`reply` is the number of the newest reply, of this or an earlier session.

    An abort mutes the server until its `tts stop` answers; with several in quick succession each has its own. A reply
    that was on its way when an abort was sent may still begin: if none had begun, the next `tts start` is such a one,
    the one after it is not.
    """

    def __init__(self, reply: int) -> None:
        self.state = State.READY
        self.reply = reply
        self.mode = Mode.AUTO
        self._muted = False
        self._stale_starts = 0
        self._unanswered = 0
        """Aborts."""
        self._aborted_at = 0.0

    @property
    def takes_audio(self) -> bool:
        """Whether sound is to be sent: in auto and manual mode not while the server speaks."""
        return self.state is State.LISTENING or (self.state is State.SPEAKING and self.mode is Mode.REALTIME)

    @property
    def gives_audio(self) -> bool:
        """Whether what comes in is to be heard."""
        return self.state is State.SPEAKING and not self._muted

    def listen(self, mode: Mode) -> None:
        """We sent `listen start`."""
        self.mode = mode
        self.state = State.LISTENING

    def stop(self) -> None:
        """We sent `listen stop`."""
        if self.state is State.LISTENING:
            self.state = State.PROCESSING

    def drop(self) -> None:
        """What we sent since `listen start` is not wanted."""
        if self.state in (State.LISTENING, State.PROCESSING):
            self.state = State.READY

    def detect(self) -> None:
        """We sent a wake word or typed text."""
        if self.state is State.READY:
            self.state = State.PROCESSING

    def abort(self, now: float) -> list[Event]:
        """We sent `abort`, at `now` (seconds of any one clock)."""
        if now - self._aborted_at > ANSWER_S:
            self._muted, self._stale_starts, self._unanswered = False, 0, 0
        self._aborted_at = now
        self._unanswered += 1
        if self.state is State.SPEAKING:
            self._muted = True
            return self._end_reply(complete=False)
        if self.state is State.PROCESSING or not self._muted:
            self._stale_starts += 1
        if self.state is State.PROCESSING:
            self.state = State.READY
        self._muted = True
        return []

    def end(self) -> list[Event]:
        """The connection is over."""
        return self._end_reply(complete=False) if self.state is State.SPEAKING else []

    def take(self, message: ServerMessage) -> list[Event]:
        """A message of the server; what the owner is told of it."""
        match message:
            case TtsStart():
                return self._start()
            case TtsStop():
                return self._stop()
            case Stt(text) if not self._muted:
                return [UserText(text)]
            case Alert(status, text, emotion):
                return [Notice(status, text, emotion)]
            case Llm(emotion, text) if not self._muted:
                return [Emotion(emotion, text)]
            case TtsSentence(text, ends=False) if self.gives_audio and text:
                return [ReplyText(self.reply, text)]
        return []

    def sound(self, pcm: Pcm, arrived: float | None = None) -> list[Event]:
        """A decoded packet."""
        return [ReplyAudio(self.reply, pcm, arrived)] if len(pcm.samples) else []

    def _start(self) -> list[Event]:
        if self._muted and self._stale_starts:
            self._stale_starts -= 1
            return []
        self._muted, self._unanswered = False, 0
        if self.state is State.SPEAKING:
            return []
        self.state = State.SPEAKING
        self.reply += 1
        return [SpeakingStarted(self.reply)]

    def _stop(self) -> list[Event]:
        self._unanswered = max(0, self._unanswered - 1)
        if not self._unanswered:
            self._muted, self._stale_starts = False, 0
        return self._end_reply(complete=True) if self.state is State.SPEAKING else []

    def _end_reply(self, *, complete: bool) -> list[Event]:
        self.state = State.LISTENING if self.mode is Mode.REALTIME else State.READY
        return [SpeakingStopped(self.reply, complete)]
