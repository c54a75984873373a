"""One reply = one cancel scope: exactly one ending, history keeps what was heard, dead stages end the turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from core.acts import Act, Deed
from core.conversation import Conversation, ConversationLimits
from core.errors import Refused
from core.events import Doing, Event, Replying, ReplyState, Sounding
from core.frames import Activity, Pcm, Progress, SpeechChunk
from core.reply import Timeouts
from tests.fakes import ScriptedDialogue, ToneSynthesizer

ENDINGS = {ReplyState.END, ReplyState.INTERRUPTED, ReplyState.ERROR}


class InstantStage:
    """Plays at once (or, when `hold` is set, not before it is released) and tells its listener."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.released = asyncio.Event()
        self.released.set()
        self.heard = Progress(0, 0.5)
        self.cleared = 0
        self.acts: list[tuple[int, Deed]] = []

    def writer(self, reply_id: str, *, lead_s: float | None = None) -> InstantWriter:
        return InstantWriter(self, reply_id)

    def clear(self) -> Progress:
        self.cleared += 1
        return self.heard


class InstantWriter:
    def __init__(self, stage: InstantStage, reply_id: str) -> None:
        self.stage, self.reply_id = stage, reply_id
        self.index, self.text, self.sounding = -1, "", False

    async def begin(self, text: str, acts: Sequence[Act] = ()) -> None:
        self.index, self.text, self.sounding = self.index + 1, text, False
        self.stage.acts += [(self.index, act.deed) for act in acts]

    async def act(self, acts: Sequence[Act]) -> None:
        self.stage.acts += [(self.index, act.deed) for act in acts]

    async def write(self, chunk: SpeechChunk) -> None:
        if not self.sounding:
            self.sounding = True
            self.stage.conversation.utterance_started(self.reply_id, self.index, self.text, float(self.index))

    async def end(self) -> None:
        if self.sounding:
            self.stage.conversation.utterance_ended(self.reply_id, self.index, self.text)

    async def played(self) -> float:
        await self.stage.released.wait()
        return float(self.index + 1)


class Setup:
    def __init__(self, dialogue: ScriptedDialogue | None = None, timeouts: Timeouts | None = None) -> None:
        self.events: list[Event] = []
        self.dialogue = dialogue or ScriptedDialogue()
        self.voice = ToneSynthesizer()
        limits = ConversationLimits(queued_replies=3, timeouts=timeouts or Timeouts())
        self.conversation = Conversation(
            dialogue=self.dialogue, synthesizer=self.voice, emit=self.events.append,
            show=lambda activity: None, limits=limits,
        )  # fmt: skip
        self.stage = InstantStage(self.conversation)
        self.conversation.use_stage(self.stage)
        self.task = asyncio.create_task(self.conversation.run())

    def replies(self) -> list[Replying]:
        return [event for event in self.events if isinstance(event, Replying)]

    async def ending(self, count: int = 1) -> Replying:
        async with asyncio.timeout(5):
            while len(ended := [r for r in self.replies() if r.state in ENDINGS]) < count or self.conversation._reply:
                await asyncio.sleep(0.001)
        return ended[-1]


async def test_a_chat_is_thought_spoken_and_remembered() -> None:
    setup = Setup()
    setup.conversation.chat("hello")
    end = await setup.ending()
    assert (end.state, end.text) == (ReplyState.END, "One two three. Four five six.")
    assert end.at_ms == 2000, "where its sound ended"
    states = [(r.state, r.text) for r in setup.replies()]
    assert states[0] == (ReplyState.START, "")
    assert [text for state, text in states if state is ReplyState.SENTENCE] == setup.voice.spoken
    assert setup.replies()[0].latency_ms is not None
    setup.conversation.chat("again")
    await setup.ending(2)
    history, text = setup.dialogue.calls[1]
    assert [(u.role, u.text) for u in history] == [("user", "hello"), ("assistant", end.text)]
    assert text == "again"
    doing = [event.activity for event in setup.events if isinstance(event, Doing)]
    assert doing[:3] == [Activity.THINKING, Activity.SPEAKING, Activity.IDLE]
    setup.task.cancel()


async def test_interruption_ends_once_and_keeps_only_what_was_heard() -> None:
    setup = Setup()
    setup.stage.released.clear()
    setup.conversation.chat("hello")
    await asyncio.sleep(0.05)
    setup.stage.heard = Progress(1, 0.4)
    assert setup.conversation.interrupt()
    end = await setup.ending()
    assert end.state is ReplyState.INTERRUPTED
    assert end.text == "One two three. Four"
    assert not setup.conversation.interrupt()
    assert sum(r.state in ENDINGS for r in setup.replies()) == 1
    setup.stage.released.set()
    setup.conversation.chat("next")
    await setup.ending(2)
    assert setup.dialogue.calls[1][0][-1].text == "One two three. Four"
    setup.task.cancel()


async def test_interruption_drops_what_waits() -> None:
    setup = Setup()
    setup.stage.released.clear()
    for text in ("one", "two", "three"):
        setup.conversation.say(text)
    await asyncio.sleep(0.02)
    setup.conversation.interrupt()
    await setup.ending()
    await asyncio.sleep(0.02)
    assert setup.voice.spoken == ["one"]
    assert not setup.conversation.busy
    setup.task.cancel()


async def test_replies_queue_in_order_and_the_queue_is_bounded() -> None:
    setup = Setup()
    for text in ("one", "two", "three"):
        setup.conversation.say(text)
    with pytest.raises(Refused):
        setup.conversation.say("four")
    await setup.ending(3)
    assert setup.voice.spoken == ["one", "two", "three"]
    setup.task.cancel()


@pytest.mark.parametrize(
    ("dialogue", "text", "kind", "said"),
    [
        (ScriptedDialogue(fail=True), "x", "chat", "the model is away"),
        (ScriptedDialogue(stall=True), "x", "chat", "dialogue engine did not answer"),
        (None, "broken voice", "say", "the voice is away"),
        (None, "mute voice", "say", "voice did not answer"),
    ],
)
async def test_a_dead_stage_ends_the_turn_with_a_message(
    dialogue: ScriptedDialogue | None, text: str, kind: str, said: str
) -> None:
    setup = Setup(dialogue, Timeouts(dialogue=0.1, synthesizer=0.1))
    getattr(setup.conversation, kind)(text)
    end = await setup.ending()
    assert end.state is ReplyState.ERROR
    assert said in end.text
    assert setup.stage.cleared
    setup.conversation.say("still alive")
    assert (await setup.ending(2)).state is ReplyState.END
    setup.task.cancel()


async def test_ready_made_sound_is_played_without_a_voice() -> None:
    setup = Setup()

    async def sound() -> AsyncIterator[SpeechChunk]:
        import numpy as np

        yield SpeechChunk(Pcm(np.ones(4800, np.int16), 48_000))

    setup.conversation.play(sound)
    assert (await setup.ending()).state is ReplyState.END
    assert setup.voice.spoken == []
    assert [event.status for event in setup.events if isinstance(event, Sounding)] == ["start", "end"]
    setup.task.cancel()


async def test_a_broken_adapter_does_not_break_the_session() -> None:
    class Broken(ScriptedDialogue):
        async def reply(self, history: object, text: str) -> AsyncIterator[str]:
            yield "fine so far, "
            raise KeyError("a bug")

    setup = Setup(Broken())
    setup.conversation.chat("x")
    end = await setup.ending()
    assert end.state is ReplyState.ERROR
    assert "a bug" not in end.text
    setup.conversation.say("still alive")
    assert (await setup.ending(2)).state is ReplyState.END
    setup.task.cancel()


async def test_a_long_text_leaves_the_loop_to_the_other_sessions() -> None:
    setup = Setup()
    turns = 0

    async def neighbour() -> None:
        nonlocal turns
        while not setup.replies():
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(neighbour())
    setup.conversation.say("![](" * 1000)  # markup alone: no sentence comes out of it that would be waited for
    await setup.ending()
    other.cancel()
    setup.task.cancel()
    assert turns >= 20


async def test_an_adapter_that_refuses_to_be_cancelled_does_not_hang_the_session() -> None:
    class Stubborn(ScriptedDialogue):
        async def reply(self, history: object, text: str) -> AsyncIterator[str]:
            yield "on and on, and on and on. "
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(30)

    setup = Setup(Stubborn())
    setup.conversation.chat("x")
    await asyncio.sleep(0.05)
    assert setup.conversation.interrupt()
    setup.conversation.say("still alive")
    assert (await setup.ending(2)).state is ReplyState.END
    setup.task.cancel()
