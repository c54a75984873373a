"""A voice service without a network, and a session around it: the real ears, line and conversation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from core.conversation import Conversation, ConversationLimits
from core.events import Doing, Event, Failed, Heard, LineChanged, Replying, ReplyState
from core.frames import LISTEN_RATE, Pcm, Samples
from core.listener import Listener
from core.relay_ears import RelayEars
from core.reply import Timeouts
from core.turn_events import TurnSettings
from core.voice_events import LineUp, ReplyBegan, ReplyEnded, ReplySentence, ReplySound, Turns, UserSaid, VoiceEvent
from core.voice_line import VoiceLine
from tests.fakes import ScriptedDialogue, ToneSynthesizer
from tests.test_listener import HOP, SOUND, HoldableStage, LoudIsVoice

RATE = 24_000


class FakeCall:
    """Implements `core.stages.VoiceCall`: writes down what it is told, tells what a test says."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.samples = 0
        """Pushed since the last `listen`."""
        self.closed = False
        self._events: asyncio.Queue[VoiceEvent | None] = asyncio.Queue()

    def listen(self, *, until_finish: bool = True) -> None:
        self.told.append("listen" if until_finish else "relay")
        self.samples = 0

    def push(self, samples: Samples) -> None:
        self.samples += len(samples)

    def finish(self) -> None:
        self.told.append("finish")

    def ask(self, text: str) -> None:
        self.told.append(f"ask {text}")

    def abort(self) -> None:
        self.told.append("abort")

    async def events(self) -> AsyncIterator[VoiceEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        self.closed = True
        self._events.put_nowait(None)

    def tell(self, *events: VoiceEvent) -> None:
        for event in events:
            self._events.put_nowait(event)


def sound(reply: int, seconds: float = 0.06) -> ReplySound:
    """A packet of a reply."""
    return ReplySound(reply, Pcm(np.full(int(seconds * RATE), 1000, np.int16), RATE))


def reply(number: int, *sentences: str, complete: bool = True) -> tuple[VoiceEvent, ...]:
    """A whole reply."""
    said = [event for text in sentences for event in (ReplySentence(number, text), sound(number), sound(number))]
    return (ReplyBegan(number), *said, ReplyEnded(number, complete))


class Scene:
    """One session. The stage plays at once; `busy()` has it play until `released` or interrupted."""

    def __init__(self, turns: Turns = Turns.OURS, timeout_s: float = 5.0, silent_s: float = 30.0) -> None:
        self.events: list[Event] = []
        self.call = FakeCall()
        self.line = VoiceLine(self.call, "fake", turns, emit=self.events.append, timeout_s=timeout_s)
        self.conversation = Conversation(
            dialogue=ScriptedDialogue(), synthesizer=ToneSynthesizer(), emit=self.events.append, show=lambda a: None,
            limits=ConversationLimits(queued_replies=4, timeouts=Timeouts(dialogue=silent_s)), remote=self.line,
        )  # fmt: skip
        self.stage = HoldableStage(self.conversation)
        self.conversation.use_stage(self.stage)
        self.line.use_conversation(self.conversation)
        common: dict[str, Any] = {
            "voice_activity": LoudIsVoice(), "conversation": self.conversation, "avatar": self.stage,
            "emit": self.events.append,
        }  # fmt: skip
        self.ears: Listener | RelayEars
        if turns is Turns.OURS:
            self.ears = Listener(recognizer=self.line, settings=TurnSettings(), timeout_s=timeout_s + 1, **common)
        else:
            self.ears = RelayEars(line=self.line, turns=turns, tail_s=0.3, max_turn_s=30.0, **common)

    # -- what the user does

    async def hear(self, seconds: float, *, loud: bool) -> None:
        block = SOUND if loud else np.zeros(HOP, np.int16)
        for _ in range(round(seconds * LISTEN_RATE / HOP)):
            self.ears.hear(block)
            await asyncio.sleep(0)
        await self.settled()

    async def say(self, seconds: float = 1.0) -> None:
        """Speak, and be silent long enough."""
        await self.hear(seconds, loud=True)
        await self.hear(1.0, loud=False)

    # -- what the service does

    async def tell(self, *events: VoiceEvent) -> None:
        self.call.tell(*events)
        await self.settled()

    async def answer(self, number: int, text: str, *sentences: str) -> None:
        await self.tell(UserSaid(text), *reply(number, *sentences))

    async def speak_on(self, number: int = 1) -> None:
        """The service has begun a reply that is not over, and the avatar is heard speaking it."""
        self.stage.released.clear()
        self.stage.speaking = True
        await self.tell(ReplyBegan(number), ReplySentence(number, "A long story."), sound(number))

    async def settled(self) -> None:
        for _ in range(60):
            await asyncio.sleep(0)

    # -- what was told

    @property
    def doing(self) -> list[str]:
        return [str(event.activity) for event in self.events if isinstance(event, Doing)]

    @property
    def finals(self) -> list[str]:
        return [e.transcript.text for e in self.events if isinstance(e, Heard) and e.transcript.final]

    @property
    def endings(self) -> list[tuple[str, str]]:
        over = (ReplyState.END, ReplyState.INTERRUPTED, ReplyState.ERROR)
        return [(str(e.state), e.text) for e in self.events if isinstance(e, Replying) and e.state in over]

    @property
    def lines(self) -> list[str]:
        return [str(event.state) for event in self.events if isinstance(event, LineChanged)]

    @property
    def failures(self) -> list[str]:
        return [event.code for event in self.events if isinstance(event, Failed)]

    async def until(self, true: Any) -> None:
        async with asyncio.timeout(10):
            while not true():
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def scene(turns: Turns = Turns.OURS, **more: float) -> AsyncIterator[Scene]:
    """A session that is up."""
    made = Scene(turns, **more)
    before = asyncio.all_tasks()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part.run()) for part in (made.conversation, made.ears, made.line)]
        await made.tell(LineUp())
        yield made
        for task in tasks:
            task.cancel()
    assert made.call.closed
    await made.settled()
    left = asyncio.all_tasks() - before
    assert not left, left


class FakeService:
    """Implements `core.stages.VoiceService`; `calls`: by session."""

    name = "fake"

    def __init__(self, *, turns: str = "ours") -> None:
        self.turns = Turns(turns)
        self.calls: dict[str, FakeCall] = {}
        self.started = False

    async def start(self) -> None:
        self.started = True

    async def close(self) -> None:
        self.started = False

    def open(self, session_id: str) -> FakeCall:
        call = self.calls[session_id] = FakeCall()
        call.tell(LineUp())
        return call
