"""The ears without a network: what the page is told on every path, and who holds the avatar."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from core.conversation import Conversation
from core.errors import RecognizerError
from core.events import Doing, Event, Heard
from core.frames import LISTEN_RATE, MEDIA_RATE, Progress, Samples, Transcript
from core.listener import Listener
from core.turn_events import TurnSettings
from tests.fakes import ScriptedDialogue, ToneSynthesizer
from tests.test_reply import InstantStage

HOP = 512
SOUND = np.random.default_rng(1).normal(0, 1000, HOP).astype(np.int16)


@dataclass(frozen=True)
class Frame:
    time: float
    probability: float
    level_db: float


class LoudIsVoice:
    """Voice activity that takes any sound for speech."""

    def __init__(self) -> None:
        self._count = 0

    def push(self, samples: Samples, /) -> Sequence[Frame]:
        assert len(samples) == HOP
        self._count += HOP
        loud = bool(samples.any())
        return [Frame(self._count / LISTEN_RATE, 0.95 if loud else 0.01, -30.0 if loud else -70.0)]


class Recognizer:
    """Gives `final` at the end, and `partial` whenever a test says so; fails on demand."""

    name = "told"
    languages = ("en",)

    def __init__(self) -> None:
        self.final: str | None = "hello there"
        self.refuses = False
        self.partial: Callable[[Transcript], None] = lambda transcript: None
        self.answer = asyncio.Event()
        self.answer.set()

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    def open(self, on_partial: Callable[[Transcript], None]) -> RecognizerStream:
        if self.refuses:
            raise RecognizerError("no room", retryable=True)
        self.partial = on_partial
        return RecognizerStream(self)


class RecognizerStream:
    def __init__(self, owner: Recognizer) -> None:
        self._owner = owner

    def push(self, samples: Samples) -> None:
        """Heard."""

    async def finish(self) -> Transcript:
        await self._owner.answer.wait()
        if self._owner.final is None:
            raise RecognizerError("away", retryable=True)
        return Transcript(self._owner.final)

    async def cancel(self) -> None:
        """Dropped."""


class HoldableStage(InstantStage):
    """Plays until it is released; can be held."""

    def __init__(self, conversation: Conversation) -> None:
        super().__init__(conversation)
        self.held = False
        self.speaking = False

    def clear(self) -> Progress:
        self.held = self.speaking = False
        self.released.set()
        return super().clear()

    def hold(self) -> bool:
        was, self.held = self.held, self.speaking
        return self.held and not was

    def resume(self) -> bool:
        was, self.held = self.held, False
        return was

    def played(self, seconds: float, ago: float, /) -> Samples:
        return np.zeros(round(seconds * MEDIA_RATE), np.int16)


class Ears:
    """A listener, its conversation and what they told."""

    def __init__(self, model: Model | None = None) -> None:
        self.events: list[Event] = []
        self.recognizer = Recognizer()
        self.conversation = Conversation(
            dialogue=ScriptedDialogue(), synthesizer=ToneSynthesizer(), emit=self.events.append, show=lambda a: None
        )
        self.stage = HoldableStage(self.conversation)
        self.conversation.use_stage(self.stage)
        self.listener = Listener(
            recognizer=self.recognizer, voice_activity=LoudIsVoice(), settings=TurnSettings(),
            conversation=self.conversation, avatar=self.stage, emit=self.events.append, timeout_s=5.0, model=model,
        )  # fmt: skip

    async def speak_avatar(self) -> None:
        """The avatar says something and does not come to an end."""
        self.stage.released.clear()
        self.stage.speaking = True
        self.conversation.say("one two three")
        await self.settled()

    async def hear(self, seconds: float, *, loud: bool) -> None:
        block = SOUND if loud else np.zeros(HOP, np.int16)
        for _ in range(round(seconds * LISTEN_RATE / HOP)):
            self.listener.hear(block)
            await asyncio.sleep(0)
        await self.settled()

    async def settled(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    @property
    def doing(self) -> list[str]:
        return [str(event.activity) for event in self.events if isinstance(event, Doing)]

    @property
    def finals(self) -> list[str]:
        return [e.transcript.text for e in self.events if isinstance(e, Heard) and e.transcript.final]


@contextlib.asynccontextmanager
async def ears(model: Model | None = None) -> AsyncIterator[Ears]:
    made = Ears(model)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(made.conversation.run()), group.create_task(made.listener.run())]
        yield made
        for task in tasks:
            task.cancel()


async def test_e1_states_of_a_plain_turn() -> None:
    async with ears() as scene:
        await scene.hear(1, loud=True)
        assert scene.doing == ["listening"]
        await scene.hear(1, loud=False)
        assert scene.doing == ["listening", "recognizing", "thinking", "speaking", "idle"]
        assert scene.finals == ["hello there"]


async def test_e1_a_click_ends_with_what_goes_on() -> None:
    async with ears() as scene:
        await scene.hear(0.1, loud=True)
        await scene.hear(1, loud=False)
        assert scene.doing == ["listening", "idle"]
        assert scene.finals == [""]


async def test_e1_nothing_recognised_while_the_avatar_speaks_does_not_leave_recognizing_behind() -> None:
    async with ears() as scene:
        await scene.hear(1, loud=True)
        await scene.speak_avatar()  # somebody has it speak meanwhile
        scene.recognizer.final = ""
        await scene.hear(1, loud=False)
        assert scene.doing[-1] == "speaking"


async def test_e1_a_recogniser_that_can_not_begin_says_so_and_the_state_goes_on() -> None:
    async with ears() as scene:
        scene.recognizer.refuses = True
        await scene.hear(1, loud=True)
        await scene.hear(1, loud=False)
        assert scene.doing == ["error", "idle"]


async def test_e1_the_avatar_falls_silent_while_the_user_speaks() -> None:
    async with ears() as scene:
        await scene.speak_avatar()
        await scene.hear(0.1, loud=True)
        scene.stage.speaking = False
        scene.stage.released.set()
        await scene.hear(0.3, loud=True)
        assert scene.doing == ["speaking", "listening"]


@pytest.mark.parametrize("final", ["", "mm-hm", "好的"])
async def test_what_was_no_interruption_lets_the_avatar_go_on(final: str) -> None:
    async with ears() as scene:
        await scene.speak_avatar()
        scene.recognizer.final = final
        scene.recognizer.answer.clear()
        await scene.hear(0.4, loud=True)
        assert scene.stage.held
        await scene.hear(1, loud=False)
        assert scene.stage.held  # the transcript is not there yet
        scene.recognizer.answer.set()
        await scene.settled()
        assert not scene.stage.held
        assert scene.stage.speaking
        assert scene.doing == ["speaking", "listening", "recognizing", "speaking"]
        assert scene.finals == [""]


async def test_a_word_in_the_partial_interrupts_before_the_turn_ends() -> None:
    async with ears() as scene:
        await scene.speak_avatar()
        await scene.hear(0.4, loud=True)
        scene.recognizer.partial(Transcript("stop", final=False))
        await scene.settled()
        assert scene.stage.cleared == 1
        assert scene.doing == ["speaking", "listening", "interrupted", "listening"]


async def test_late_partials_of_an_earlier_turn_interrupt_nothing() -> None:
    async with ears() as scene:
        await scene.hear(1, loud=True)
        late = scene.recognizer.partial
        scene.recognizer.final = ""
        await scene.hear(1, loud=False)
        await scene.speak_avatar()
        await scene.hear(0.4, loud=True)
        late(Transcript("what I said before", final=False))
        await scene.settled()
        assert scene.stage.held
        assert scene.stage.cleared == 0


async def test_speaking_again_while_the_transcript_is_awaited_keeps_the_avatar_held() -> None:
    async with ears() as scene:
        await scene.speak_avatar()
        scene.recognizer.final = "mm-hm"
        scene.recognizer.answer.clear()
        await scene.hear(0.4, loud=True)
        await scene.hear(0.6, loud=False)
        await scene.hear(0.4, loud=True)
        scene.recognizer.answer.set()
        await scene.settled()
        assert scene.stage.held  # the first came to nothing, the second goes on
        await scene.hear(0.6, loud=False)
        assert not scene.stage.held


@pytest.mark.parametrize("how", ["off", "rest"])
async def test_a_microphone_that_goes_away_lets_the_avatar_go_on(how: str) -> None:
    async with ears() as scene:
        await scene.speak_avatar()
        await scene.hear(0.4, loud=True)
        assert scene.stage.held
        if how == "off":
            scene.listener.set_mode("off")
        else:
            scene.listener.rest()
        await scene.settled()
        assert not scene.stage.held
        assert scene.doing[-1] == "speaking"


async def test_a_recogniser_that_refuses_while_the_avatar_is_held_lets_it_go_on() -> None:
    async with ears() as scene:
        await scene.speak_avatar()
        scene.recognizer.refuses = True
        await scene.hear(0.4, loud=True)
        await scene.hear(1, loud=False)
        assert not scene.stage.held
        assert scene.doing[-1] == "speaking"


class Model:
    """An end-of-turn model that is told what to think."""

    seconds = 8.0

    def __init__(self, answer: float | None) -> None:
        self.answer = answer
        self.heard: list[int] = []

    async def probability(self, samples: Samples, /) -> float | None:
        self.heard.append(len(samples))
        return self.answer


@pytest.mark.parametrize(
    ("answer", "ended_after_0_4_s", "ended_after_1_s"),
    [(1.0, True, True), (0.0, False, False), (None, False, True)],
)
async def test_the_end_of_turn_model_is_asked_once_per_pause(
    answer: float | None, ended_after_0_4_s: bool, ended_after_1_s: bool
) -> None:
    model = Model(answer)
    async with ears(model) as scene:
        await scene.hear(1, loud=True)
        await scene.hear(0.4, loud=False)
        assert ("recognizing" in scene.doing) == ended_after_0_4_s
        await scene.hear(0.6, loud=False)
        assert ("recognizing" in scene.doing) == ended_after_1_s
        assert len(model.heard) == 1
        assert model.heard[0] >= LISTEN_RATE
