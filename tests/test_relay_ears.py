"""Ears that leave the user's turns to the voice service: what is sent when, and what the page is shown."""

from __future__ import annotations

import asyncio

import pytest

from core.frames import LISTEN_RATE
from core.voice_events import LineDown, LineUp, ReplyBegan, ReplyEnded, ReplySentence, Turns, UserSaid
from tests.test_listener import HOP, SOUND
from tests.voice_fakes import reply, scene, sound

BOTH = pytest.mark.parametrize("turns", [Turns.SERVICE, Turns.OPEN])


@BOTH
async def test_e1_the_service_hears_everything_and_its_turns_are_answered(turns: Turns) -> None:
    async with scene(turns) as it:
        await it.hear(0.5, loud=False)
        await it.hear(1.0, loud=True)
        assert it.call.told == ["relay"]
        assert it.call.samples == pytest.approx(1.5 * LISTEN_RATE, abs=1024)
        assert it.doing == ["listening"]
        await it.tell(UserSaid("hello there"))
        assert it.doing[-1] == "thinking"
        await it.tell(*reply(1, "Good day."))
        assert it.finals == ["hello there"]
        assert it.endings == [("end", "Good day.")]
        assert it.doing == ["listening", "thinking", "speaking", "idle"]
        await it.hear(1.0, loud=True)
        assert it.call.told == (["relay", "relay"] if turns is Turns.SERVICE else ["relay"])


@BOTH
async def test_e1_who_speaks_and_is_not_understood_is_not_said_to_speak_for_ever(turns: Turns) -> None:
    async with scene(turns) as it:
        await it.hear(0.5, loud=True)
        await it.hear(1.5, loud=False)
        assert it.doing == ["listening", "idle"]


@BOTH
async def test_e1_while_the_avatar_sounds_only_an_open_service_hears(turns: Turns) -> None:
    async with scene(turns) as it:
        await it.hear(0.2, loud=True)
        await it.tell(UserSaid("hello"))
        await it.speak_on()
        before = it.call.samples
        await it.hear(1.0, loud=True)
        heard = it.call.samples - before
        assert heard == (0 if turns is Turns.SERVICE else pytest.approx(LISTEN_RATE, abs=1024))
        await it.tell(ReplyEnded(1, True))
        it.stage.speaking = False
        it.stage.released.set()
        await it.settled()
        await it.hear(0.2, loud=False)
        assert it.call.told == ["relay"], "its echo is still in the room"
        await it.hear(0.3, loud=True)
        assert it.call.told == (["relay", "relay"] if turns is Turns.SERVICE else ["relay"])


async def test_h1_an_open_service_is_spoken_over() -> None:
    async with scene(Turns.OPEN) as it:
        await it.hear(0.2, loud=True)
        await it.tell(UserSaid("a story please"))
        await it.speak_on()
        await it.tell(ReplyEnded(1, True), UserSaid("stop that"), *reply(2, "Fine."))
        assert [state for state, _ in it.endings] == ["interrupted", "end"]
        assert it.finals == ["a story please", "stop that"]
        assert "abort" not in it.call.told, "the service knows"


async def test_h1_an_open_service_that_goes_on_with_the_next_turn_is_not_aborted() -> None:
    async with scene(Turns.OPEN) as it:
        await it.hear(0.2, loud=True)
        await it.tell(UserSaid("a story please"))
        await it.speak_on()
        await it.tell(UserSaid("stop that"), sound(1), ReplyEnded(1, True), *reply(2, "Fine."))
        assert it.endings[-1] == ("end", "Fine.")
        assert "abort" not in it.call.told


@BOTH
async def test_h1_an_interrupt_aborts_and_listens_again(turns: Turns) -> None:
    async with scene(turns) as it:
        await it.hear(0.2, loud=True)
        await it.tell(UserSaid("hello"))
        await it.speak_on()
        it.conversation.interrupt()
        it.stage.speaking = False
        await it.settled()
        await it.hear(0.6, loud=False)
        assert it.call.told == ["relay", "abort", "relay"]


@BOTH
async def test_e1_the_talk_key_decides(turns: Turns) -> None:
    async with scene(turns) as it:
        it.ears.set_mode("push_to_talk")
        await it.hear(0.5, loud=True)
        assert it.call.told == []
        it.ears.talk_key(True)
        await it.hear(0.5, loud=True)
        assert it.call.told == ["listen"]
        it.ears.talk_key(False)
        await it.until(lambda: "finish" in it.call.told)
        await it.answer(1, "hello", "Hi.")
        assert it.finals == ["hello"]
        assert it.endings == [("end", "Hi.")]
        assert it.doing == ["listening", "recognizing", "thinking", "speaking", "idle"]


async def test_e1_the_talk_key_interrupts() -> None:
    async with scene(Turns.SERVICE) as it:
        await it.hear(0.2, loud=True)
        await it.tell(UserSaid("hello"))
        await it.speak_on()
        it.ears.talk_key(True)
        await it.hear(0.4, loud=True)
        assert it.call.told == ["relay", "abort", "listen"]
        it.ears.talk_key(False)
        it.ears.rest()
        await it.settled()
        assert it.call.told == ["relay", "abort", "listen", "abort"]
        assert it.doing[-1] == "idle"


async def test_e1_a_turn_by_key_of_which_nothing_comes() -> None:
    async with scene(Turns.SERVICE, timeout_s=0.2) as it:
        it.ears.talk_key(True)
        await it.hear(0.4, loud=True)
        it.ears.talk_key(False)
        await it.until(lambda: "error" in it.doing)
        assert it.doing[-2:] == ["error", "idle"]
        assert it.failures == ["voice_no_answer"]
        await it.hear(0.4, loud=True)
        assert it.call.told[-1] == "relay"


@BOTH
async def test_e1_muted_nothing_is_sent(turns: Turns) -> None:
    async with scene(turns) as it:
        await it.hear(0.4, loud=True)
        it.ears.set_mode("off")
        await it.hear(0.4, loud=True)
        assert it.call.told == ["relay", "abort"]
        it.ears.set_mode("open")
        await it.hear(0.4, loud=True)
        assert it.call.told == ["relay", "abort", "relay"]


async def test_e1_muting_does_not_cut_what_an_open_service_says() -> None:
    async with scene(Turns.OPEN) as it:
        await it.hear(0.4, loud=True)
        await it.tell(UserSaid("hello"), ReplyBegan(1), ReplySentence(1, "A story."), sound(1))
        it.ears.set_mode("off")
        assert it.call.told == ["relay", "finish"]
        await it.tell(ReplyEnded(1, True))
        assert it.endings == [("end", "A story.")]


@BOTH
async def test_h1_a_typed_question_between(turns: Turns) -> None:
    async with scene(turns) as it:
        await it.hear(0.4, loud=True)
        it.conversation.chat("typed", interrupt=True)
        await it.settled()
        await it.answer(1, "typed", "Yes.")
        assert it.finals == []
        assert it.endings == [("end", "Yes.")]
        await it.hear(0.6, loud=True)
        assert it.call.told == ["relay", "abort", "ask typed", "relay"]


@BOTH
async def test_h1_a_loss_in_mid_reply(turns: Turns) -> None:
    async with scene(turns) as it:
        await it.hear(0.4, loud=True)
        await it.tell(UserSaid("hello"))
        await it.speak_on()
        await it.tell(ReplyEnded(1, False), LineDown(), LineUp())
        it.stage.speaking = False
        it.stage.released.set()
        await it.settled()
        assert it.endings[0][0] == "error"
        await it.hear(0.8, loud=True)
        await it.answer(2, "again", "Yes.")
        assert it.endings[-1] == ("end", "Yes.")


async def test_h1_a_greeting_while_the_service_listens() -> None:
    async with scene(Turns.SERVICE) as it:
        await it.hear(0.4, loud=False)
        await it.tell(ReplyBegan(1), ReplySentence(1, "Welcome."), sound(1), ReplyEnded(1, True))
        await asyncio.sleep(0)
        assert it.endings == [("end", "Welcome.")]
        await it.hear(0.4, loud=True)
        await it.answer(2, "thanks", "Please.")
        assert it.finals == ["thanks"]


@BOTH
async def test_h1_sound_right_after_a_turn_by_the_talk_key_does_not_drop_it(turns: Turns) -> None:
    async with scene(turns) as it:
        it.ears.talk_key(True)
        for _ in range(31 * LISTEN_RATE // HOP):  # all at once; a turn is cut after 30 s
            it.ears.hear(SOUND)
        assert it.call.samples == pytest.approx(30 * LISTEN_RATE, abs=HOP)
        await it.settled()
        await it.answer(1, "hello", "Good day.")
        assert it.call.told[:2] == ["listen", "finish"]
        assert it.endings == [("end", "Good day.")]
