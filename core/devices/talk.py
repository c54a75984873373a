"""One device's conversation as a state machine. Sans-I/O: what came in, what is to be done.

The device says when it listens and who ends the user's turn; our conversation says what it hears and speaks.
"""

from __future__ import annotations

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
from core.devices.moods import MOODS
from core.devices.wake_words import WakeWords
from core.dialogue.xiaozhi.messages import (
    Abort,
    ClientHello,
    ClientMessage,
    Goodbye,
    ListenDetect,
    ListenStart,
    ListenStop,
    Mode,
    Ping,
)
from core.events import Event, Failed, Heard, Replying, ReplyState, Typed
from core.frames import Expression
from core.turn_events import ListenMode


class Talk:
    """The device speaks from `tts start` to `tts stop`: replies that follow each other at once are one to it."""

    def __init__(self, wake_words: WakeWords) -> None:
        self._wake_words = wake_words
        self.mode = Mode.AUTO
        self._listening = False
        self._speaking = False
        self._reply = ""
        self._muted = ""
        self._mood = Expression.NEUTRAL
        self._felt = ""
        """The reply that `_mood` is of."""

    @property
    def takes_sound(self) -> bool:
        """Whether what the microphone sends is for the ears. In auto mode a device hears itself while it speaks."""
        return self._listening and not (self._speaking and self.mode is Mode.AUTO)

    @property
    def speaking(self) -> bool:
        """Whether the device was told that it speaks."""
        return self._speaking

    # -- the device

    def take(self, message: ClientMessage) -> list[Effect]:
        """A message of the device, after its first hello; what can't be used changes nothing."""
        match message:
            case ClientHello():
                return [Hello()]  # a second one: the answer was lost
            case ListenStart(mode=mode):
                return self._start(mode)
            case ListenStop():
                return self._stop()
            case ListenDetect(text=text):
                return self._detect(text)
            case Abort():
                return [*self._end(Hush(), Say(messages.tts_stop()), always=True), Interrupt()]
            case Goodbye():
                return [Leave()]
            case Ping():
                return [Pong()]
        return []

    def _start(self, mode: Mode) -> list[Effect]:
        self.mode, self._listening = mode, True
        if mode is Mode.MANUAL:
            return [Interrupt(), Open(ListenMode.PUSH_TO_TALK), Key(True)]
        return [Open(ListenMode.OPEN)]

    def _stop(self) -> list[Effect]:
        if not self._listening:
            return []
        self._listening = False
        return [Key(False)]  # in the other modes it ends a turn, too

    def _detect(self, text: str) -> list[Effect]:
        if not text.strip():
            return []
        return [Greet()] if text in self._wake_words else [Ask(text)]

    # -- our side

    def on_event(self, event: Event) -> list[Effect]:
        """Something happened in the session."""
        match event:
            case Heard(transcript) if transcript.final and transcript.text:
                return [Say(messages.stt(transcript.text))]
            case Typed(text):
                return [Say(messages.stt(text))]
            case Failed(message=message):
                return [Say(messages.alert(message))]
            case Replying():
                return self._on_reply(event)
        return []

    def on_sound(self, reply_id: str) -> list[Effect] | None:
        """Sound of this reply is about to be sent: what must come before it; None when it must not be sent."""
        if not reply_id or reply_id == self._muted:
            return None  # devices play what is said, nothing beside it
        return self._begin(reply_id)

    def on_cleared(self, reply_id: str) -> list[Effect]:
        """What was handed over of this reply is void. One that never sounded leaves the end of the one before."""
        return [Hush()] if reply_id and reply_id == self._reply else []

    def stopped(self) -> None:
        """The device was told that the reply is over, as it was played to its end."""
        self._speaking = False

    def _on_reply(self, event: Replying) -> list[Effect]:
        if event.reply_id == self._muted:
            return []
        match event.state:
            case ReplyState.SENTENCE:
                return [*self._begin(event.reply_id), *self._sentence(event)]
            case ReplyState.END if event.reply_id == self._reply:
                return [EndReply()]
            case ReplyState.INTERRUPTED | ReplyState.ERROR if event.reply_id == self._reply:
                return self._end(Hush(), Say(messages.tts_stop()))
        return []

    def _sentence(self, event: Replying) -> list[Effect]:
        effects: list[Effect] = []
        mood = event.mood or (self._mood if event.reply_id == self._felt else Expression.NEUTRAL)
        self._felt = event.reply_id
        if mood is not self._mood:
            self._mood = mood
            effects.append(Subtitle(messages.llm(*MOODS[mood])))
        if event.text:
            effects.append(Subtitle(messages.sentence_start(event.text)))
        return effects

    def _begin(self, reply_id: str) -> list[Effect]:
        if self._speaking and reply_id == self._reply:
            return []
        self._reply = reply_id
        if self._speaking:
            return [GoOn()]
        self._speaking = True
        rest: list[Effect] = [Rest()] if self.mode is Mode.AUTO and self._listening else []
        return [*rest, Say(messages.tts_start())]

    def _end(self, *effects: Effect, always: bool = False) -> list[Effect]:
        """Nothing more of the reply that sounds."""
        spoke, self._speaking = self._speaking, False
        self._muted = self._reply
        return list(effects) if spoke or always else []
