"""One session's line to a remote voice service, run by our own turn-taking.

To the ears it is a recogniser: what the service understood is the transcript. To the conversation it is a remote voice:
the reply to that transcript, or to what was typed, comes as live speech. What the service says unasked is spoken, too.

While the service still sends a reply, a new turn is kept here: to listen again it would have to drop the rest, and it
is not known yet whether the user means to interrupt. The turn is sent when they do, or when it is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from core.conversation import Conversation
from core.errors import DialogueError, RecognizerError, Refused
from core.events import Event, Heard
from core.frames import Samples, Transcript
from core.stages import VoiceCall
from core.voice_events import (
    Announcement,
    LineDown,
    LineFailed,
    LineUp,
    ReplyBegan,
    ReplyEnded,
    ReplyMood,
    ReplySentence,
    ReplySound,
    Turns,
    UserSaid,
    VoiceEvent,
)
from core.voice_link import VoiceLink
from core.voice_reply import VoiceReply
from core.voice_turn import VoiceTurn

logger = logging.getLogger(__name__)

HELD_TIMEOUT_S = 3.0
"""The avatar is not held for longer than this by a turn of which the service says nothing."""
WORDS_GRACE_S = 0.3
"""A reply that begins before the service has told what the user said waits so long for it."""


class Relay(Protocol):
    """Ears that leave it to the service when the user has spoken."""

    def understood(self, text: str) -> None:
        """The service heard this."""


class VoiceLine:
    """Implements `core.stages.Recognizer` and `core.conversation.RemoteVoice` for one session.

    `run` keeps the line open. `timeout_s`: how long the service may take to understand a turn, or to be reached.
    """

    languages: tuple[str, ...] = ("*",)

    def __init__(
        self, call: VoiceCall, name: str, turns: Turns, *, emit: Callable[[Event], None], timeout_s: float
    ) -> None:
        self.name = name
        self._turns = turns
        self._call = call
        self._emit = emit
        self._timeout = timeout_s
        self._conversation: Conversation | None = None
        self._relay: Relay | None = None
        self.relaying = False
        """The service judges what is pushed."""
        self._link = VoiceLink(name, emit, timeout_s)
        self._turn: VoiceTurn | None = None
        """The turn that the user is in."""
        self._asked: VoiceTurn | None = None
        """The turn that is over and not understood yet."""
        self._expected: VoiceReply | None = None
        """The reply that is to begin."""
        self._current: VoiceReply | None = None
        """The reply that the service sends."""
        self._ready: tuple[str, VoiceReply] | None = None
        """What was just understood, with the reply to it, until somebody takes it."""
        self._mood: ReplyMood | None = None
        """Of the reply that is to begin."""
        self._grace: asyncio.TimerHandle | None = None

    def use_conversation(self, conversation: Conversation) -> None:
        """Who speaks the replies; set once, before `run`."""
        self._conversation = conversation

    def use_relay(self, relay: Relay) -> None:
        """Who is told what the service understood by itself; set once, where there is one."""
        self._relay = relay

    # -- core.stages.Recognizer

    async def start(self) -> None:
        """Nothing: see `run`."""

    async def close(self) -> None:
        """Nothing: see `run`."""

    def open(self, on_partial: Callable[[Transcript], None]) -> VoiceTurn:
        """The user begins to speak. No partial transcripts come."""
        if self._turn is not None and self._turn.live:  # it is over, and about to be sent: then as a whole
            self._turn.live = False
            self._abort()
        self._turn = VoiceTurn(self)
        self._go_on()
        return self._turn

    # -- core.conversation.RemoteVoice

    def answer(self, text: str, *, typed: bool) -> VoiceReply:
        """See `core.conversation.RemoteVoice`."""
        ready, self._ready = self._ready, None
        if not typed and ready is not None and ready[0] == text:
            ready[1].taken = True
            return ready[1]

        async def ask(reply: VoiceReply) -> None:
            await self._link.connected()
            self._make_way()
            self._expected = reply
            self._call.ask(text)

        return VoiceReply(self._unwanted, ask)

    # -- the relay

    @property
    def busy(self) -> bool:
        """Whether the service owes something: what it heard, or a reply, or the rest of one."""
        return self._asked is not None or self._expected is not None or self._current is not None

    @property
    def in_turn(self) -> bool:
        """Whether a turn that ends with `finish` was begun, and not sent yet."""
        return self._turn is not None

    def relay(self) -> None:
        """From here on what is pushed is for the service to judge; `relaying` tells how long."""
        self.relaying = True
        self._call.listen(until_finish=False)

    def hush(self) -> None:
        """No more sound for the service to judge; what it is judging is dropped."""
        if self.relaying and self.busy:
            self.relaying = False
            self._call.finish()  # and not the reply with it
        elif self.relaying:
            self._abort()

    def push(self, samples: Samples) -> None:
        """Sound for the service to judge."""
        self._call.push(samples)

    # -- turns (core/voice_turn.py)

    @property
    def up(self) -> bool:
        """Whether the service is there."""
        return self._link.up

    def send(self, turn: VoiceTurn) -> None:
        """The turn is over: everything of it goes to the service, whatever that is doing."""
        if self._link.failure is not None:
            self.drop(turn)
            turn.fail(_complaint(self._link.failure))
            return
        if not turn.live:
            self._make_way()
            turn.go_live(self._call)
        self._turn = None if self._turn is turn else self._turn
        self._asked = turn
        self._call.finish()

    def patience(self) -> float:
        """How long to wait for what the user said."""
        held = self._conversation is not None and self._conversation.held
        return min(HELD_TIMEOUT_S, self._timeout) if held else self._timeout

    def give_up(self, turn: VoiceTurn) -> RecognizerError | None:
        """The service says nothing of the turn: it is to forget it. What to complain of; None: of nothing."""
        held = self._conversation is not None and self._conversation.held
        self.drop(turn)
        if self._link.failure is not None:
            return _complaint(self._link.failure)
        if not self.up:
            return RecognizerError("there is no connection to the voice service", code="voice_down", retryable=True)
        if held:
            return None
        return RecognizerError("the voice service did not understand that", code="voice_no_answer", retryable=True)

    def understood(self, turn: VoiceTurn, text: str) -> None:
        """The turn's words go out now, and whoever asks for an answer to them gets the reply."""
        if turn.reply is not None:
            self._ready = text, turn.reply

    def drop(self, turn: VoiceTurn) -> None:
        """Nothing comes of the turn."""
        if self._turn is turn:
            self._turn = None
            if turn.live:
                self._abort()
        elif self._asked is turn:
            self._asked = None
            self._abort()
            self._end_current()  # it can only be one that began before the words
            self._go_on()
        elif turn.reply is not None and not turn.reply.taken:
            self._ready = None
            turn.reply.stop()

    # -- running

    async def run(self) -> None:
        """Keep the line open until cancelled. Whatever happens to it, the session lives."""
        try:
            async for event in self._call.events():
                await self._take(event)
        except Exception:
            logger.exception("the line to the voice service broke")
            self._fail(DialogueError("the voice service's line broke", adapter=self.name, code="voice_broken"))
        finally:
            if self._grace is not None:
                self._grace.cancel()
            await self._call.close()
        await asyncio.Event().wait()

    async def _take(self, event: VoiceEvent) -> None:
        match event:
            case UserSaid(text):
                turn = self._asked
                self._heard(text)
                if turn is not None:
                    await turn.handed_over()  # what comes next is not the answer that is asked for now
            case ReplyBegan(number):
                self._began(number)
            case ReplySentence(number, text):
                if (reply := self._reply(number)) is not None and text.strip():
                    reply.sentence(text.strip())
                    await reply.room()
            case ReplySound(number, pcm, arrived):
                if (reply := self._reply(number)) is not None:
                    reply.sound(pcm, arrived)
                    await reply.room()
            case ReplyMood():
                if self._current is not None:
                    self._current.mood(event.expression)
                else:
                    self._mood = event
            case ReplyEnded(number, complete):
                if self._reply(number) is not None:
                    self._end_current(None if complete else self._lost())
                    self._go_on()
            case LineUp():
                self._link.came()
            case LineDown(error):
                self._went(error)
            case LineFailed(error):
                self._fail(error)
            case Announcement(text):
                self._link.announce(text)

    # -- what the service says

    def _heard(self, text: str) -> None:
        turn, self._asked = self._asked, None
        if turn is not None:
            self._end_grace()
            if self._current is not None:  # it had begun already
                turn.reply, self._current.words_due = self._current, False
            elif text.strip():
                turn.reply = self._expected = VoiceReply(self._unwanted)
            turn.resolve(text.strip())
            if turn.reply is None:
                self._go_on()
        elif self._current is not None and self._current.words_due:
            self._current.words_due = False
            self._show(text)
        elif self._relay is not None and self.relaying and self._expected is None and text.strip():
            reply = self._expected = VoiceReply(self._unwanted)
            self._ready = text.strip(), reply
            self._show(text)
            self._relay.understood(text.strip())
            if not reply.taken:
                reply.stop()
        # else it repeats what was typed, or is of a turn that was given up

    def _began(self, number: int) -> None:
        self._end_current()
        reply, self._expected = self._expected, None
        if reply is None:
            reply = VoiceReply(self._unwanted)
            self._current = reply
            if self._asked is not None:
                reply.words_due = True
                loop = asyncio.get_running_loop()
                self._grace = loop.call_later(WORDS_GRACE_S, self._speak_without_words, reply)
            else:
                reply.words_due = self.relaying
                self._speak(reply, "push")
        self._current = reply if not reply.over else None
        reply.number = number
        if self._mood is not None:
            reply.mood(self._mood.expression)
            self._mood = None
        if self._turn is not None:
            self._turn.live = False  # the service doesn't listen while it speaks
        self.relaying = self.relaying and self._turns is Turns.OPEN

    def _speak_without_words(self, reply: VoiceReply) -> None:
        """The service answered, and did not say what it had heard."""
        self._grace = None
        turn, self._asked = self._asked, None
        if turn is not None:
            turn.resolve("")
            self._speak(reply, "speech")

    def _speak(self, reply: VoiceReply, source: str) -> None:
        assert self._conversation is not None
        reply.taken = True
        try:
            self._conversation.tell(reply, self.name, source=source)
        except Refused as error:
            logger.warning("a reply of the voice service is left out: %s", error.loggable)

    def _show(self, text: str) -> None:
        if text.strip():
            self._emit(Heard(Transcript(text.strip(), engine=self.name)))

    def _reply(self, number: int) -> VoiceReply | None:
        """The reply of that number if it is still wanted."""
        return self._current if self._current is not None and self._current.number == number else None

    # -- who has the service

    def _make_way(self) -> None:
        """What the service is doing is dropped there; what came of it so far is played to its end."""
        live = self._turn is not None and self._turn.live
        if self._turn is not None:
            self._turn.live = False
        if live or self.busy or self.relaying:
            self._abort()
        self._drop_pending()

    def _drop_pending(self, error: DialogueError | None = None) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.resolve("")
        self._end_current(error)
        expected, self._expected = self._expected, None
        if expected is not None:
            expected.end(error)
        self._mood = None

    def _end_current(self, error: DialogueError | None = None) -> None:
        current, self._current = self._current, None
        if current is None:
            return
        if self._grace is not None:  # no words have come, and now none will
            self._end_grace()
            if error is None:
                self._speak_without_words(current)
            elif self._asked is not None:
                self._asked.fail(_complaint(error))
                self._asked = None
        current.end(error)

    def _end_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _unwanted(self, reply: VoiceReply) -> None:
        """Nobody wants to hear the rest of it."""
        if reply is self._current:
            self._current = None
        elif reply is self._expected:
            self._expected = None
        else:
            return
        self._mood = None
        if not self.busy:  # else the service has gone on to the next one by itself
            self._abort()
        self._go_on()

    def _go_on(self) -> None:
        """If the service is free it gets the turn that the user is in."""
        if self._turn is not None and not self._turn.live and not self.busy:
            self._turn.go_live(self._call)

    def _abort(self) -> None:
        self.relaying = False
        self._call.abort()

    # -- up and down

    def _went(self, error: DialogueError | None) -> None:
        self._link.went()
        self._end_current(self._lost())
        expected, self._expected = self._expected, None
        if expected is not None:
            expected.end(self._lost())
        self._link.lost(error)
        self._go_on()

    def _fail(self, error: DialogueError) -> None:
        if not self._link.failed(error):
            return
        logger.warning("no line to the voice service: %s: %s", error.code, error.loggable)
        if not error.retryable:
            turn, self._asked = self._asked, None
            if turn is not None:
                turn.fail(_complaint(error))
            self._drop_pending(error)

    def _lost(self) -> DialogueError:
        message = "the connection to the voice service was lost"
        return DialogueError(message, adapter=self.name, code="voice_lost", retryable=True)


def _complaint(error: DialogueError) -> RecognizerError:
    return RecognizerError(str(error), adapter=error.adapter, code=error.code, retryable=error.retryable)
