"""What every voice service must do, whatever it is. `tests/test_voice_services.py` runs this over the table.

An adapter registers in `SITES` what it needs around it: a service that answers each turn and each question with some
words and at least one sentence, and that can be made to speak for long, and to hang up.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import numpy as np
import pytest

from core.dialogue import VOICES
from core.stages import VoiceCall, VoiceService
from core.voice_events import (
    LineDown,
    LineUp,
    ReplyBegan,
    ReplyEnded,
    ReplySentence,
    ReplySound,
    UserSaid,
    VoiceEvent,
)
from tests.simulators.xiaozhi import CLIENT, DEVICE, TOKEN, Sentence, XiaozhiServer
from tests.xiaozhi_talk import tone

WAIT_S = 30.0


class Site(Protocol):
    """A service for a test."""

    options: dict[str, Any]

    def talk_long(self) -> None:
        """Replies do not come to an end from now on."""

    def hang_up(self) -> None:
        """Every connection breaks; new ones are welcome."""

    def connections(self) -> int:
        """That are open."""


class _XiaozhiSite:
    def __init__(self, server: XiaozhiServer) -> None:
        self._server = server
        self.options = {"url": server.url, "token": TOKEN, "device_id": DEVICE, "client_id": CLIENT}

    def talk_long(self) -> None:
        self._server.reply = (Sentence("Long.", 440.0, (60,) * 300),)

    def hang_up(self) -> None:
        self._server.drop_all()

    def connections(self) -> int:
        return self._server.open


@asynccontextmanager
async def _xiaozhi() -> AsyncIterator[Site]:
    async with XiaozhiServer(pace=0.01) as server:
        yield _XiaozhiSite(server)


SITES: dict[str, Callable[[], AbstractAsyncContextManager[Site]]] = {"xiaozhi": _xiaozhi}


def load(name: str) -> type[Any]:
    """The class behind a name of the table."""
    module, _, attribute = VOICES[name].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


class Caller:
    """Reads a call's events."""

    def __init__(self, call: VoiceCall) -> None:
        self.call = call
        self.events: list[VoiceEvent] = []
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self.call.events():
            self.events.append(event)

    def all(self, kind: type[Any], since: int = 0) -> list[Any]:
        return [event for event in self.events[since:] if isinstance(event, kind)]

    async def until(self, kind: type[Any], since: int = 0) -> Any:
        async with asyncio.timeout(WAIT_S):
            while not (found := self.all(kind, since)):
                await asyncio.sleep(0.005)
        return found[0]

    async def speak(self) -> int:
        """One turn; how many events there were before it."""
        since = len(self.events)
        self.call.listen()
        for piece in np.array_split(tone(0.5), 25):
            self.call.push(piece)
            await asyncio.sleep(0)
        self.call.finish()
        return since

    async def close(self) -> None:
        await self.call.close()
        await asyncio.wait_for(self._task, WAIT_S)


class VoiceServiceContract:
    """The tests. A subclass provides the fixtures `adapter` (a name), `site` and `service` (started)."""

    @pytest.fixture
    async def caller(self, service: VoiceService) -> AsyncIterator[Caller]:
        caller = Caller(service.open("1"))
        await caller.until(LineUp)
        yield caller
        await caller.close()

    async def test_is_a_voice_service_with_its_name(self, service: VoiceService, adapter: str) -> None:
        assert isinstance(service, VoiceService)
        assert service.name == adapter

    async def test_a_turn_is_understood_and_answered_in_order(self, caller: Caller) -> None:
        since = await caller.speak()
        await caller.until(ReplyEnded, since)
        kinds = [type(e) for e in caller.events[since:] if isinstance(e, UserSaid | ReplyBegan | ReplyEnded)]
        assert kinds == [UserSaid, ReplyBegan, ReplyEnded]
        began, ended = caller.all(ReplyBegan)[0], caller.all(ReplyEnded)[0]
        assert ended == ReplyEnded(began.reply, complete=True)
        assert {event.reply for event in caller.all(ReplySound) + caller.all(ReplySentence)} == {began.reply}
        assert sum(event.pcm.seconds for event in caller.all(ReplySound)) > 0.1
        assert all(event.pcm.samples.dtype == np.int16 for event in caller.all(ReplySound))
        first = caller.events.index(caller.all(ReplySentence)[0])
        assert first < caller.events.index(caller.all(ReplySound)[0])

    async def test_a_question_is_answered(self, caller: Caller) -> None:
        caller.call.ask("what time is it")
        assert (await caller.until(ReplyEnded)).complete
        assert caller.all(ReplySound)

    async def test_replies_have_numbers_of_their_own(self, caller: Caller) -> None:
        for _ in range(3):
            since = await caller.speak()
            await caller.until(ReplyEnded, since)
        numbers = [event.reply for event in caller.all(ReplyBegan)]
        assert numbers == sorted(set(numbers))

    async def test_nothing_of_a_reply_is_told_after_its_abort(self, caller: Caller, site: Site) -> None:
        site.talk_long()
        since = await caller.speak()
        await caller.until(ReplySound, since)
        caller.call.abort()
        await asyncio.sleep(0)  # what the reader held in its hands is told
        told = len(caller.events)
        await asyncio.sleep(0.2)
        assert caller.all(ReplySound, told) == []
        assert caller.all(ReplySentence, told) == []
        again = await caller.speak()
        assert (await caller.until(ReplySound, again)).reply > caller.all(ReplyBegan)[0].reply

    async def test_a_turn_that_is_dropped_is_not_answered(self, caller: Caller) -> None:
        caller.call.listen()
        caller.call.push(tone(0.5))
        caller.call.abort()
        await asyncio.sleep(0.2)
        assert caller.all(UserSaid) == []
        since = await caller.speak()
        await caller.until(ReplyEnded, since)
        assert len(caller.all(UserSaid)) == 1

    async def test_after_a_loss_it_is_there_again(self, caller: Caller, site: Site) -> None:
        site.talk_long()
        since = await caller.speak()
        await caller.until(ReplySound, since)
        site.hang_up()
        await caller.until(LineDown)
        kinds = [type(e) for e in caller.events[since:] if isinstance(e, ReplyEnded | LineDown)]
        assert kinds == [ReplyEnded, LineDown]
        assert not caller.all(ReplyEnded)[0].complete
        await caller.until(LineUp, caller.events.index(caller.all(LineDown)[0]))
        again = await caller.speak()
        await caller.until(ReplySound, again)

    async def test_a_turn_without_a_line_is_sent_when_there_is_one(self, service: VoiceService) -> None:
        caller = Caller(service.open("1"))
        try:
            await asyncio.sleep(0)
            since = await caller.speak()
            await caller.until(UserSaid, since)
        finally:
            await caller.close()

    async def test_lines_do_not_hear_each_other(self, service: VoiceService, caller: Caller) -> None:
        other = Caller(service.open("2"))
        try:
            await other.until(LineUp)
            await caller.speak()
            await caller.until(ReplyEnded)
            assert other.all(UserSaid) == other.all(ReplyBegan) == []
        finally:
            await other.close()

    async def test_closing_leaves_nothing(self, service: VoiceService, site: Site) -> None:
        before = asyncio.all_tasks()
        caller = Caller(service.open("1"))
        await caller.until(LineUp)
        site.talk_long()
        await caller.speak()
        await caller.until(ReplyBegan)
        caller.call.push(tone(0.5))
        await caller.close()
        await caller.call.close()
        caller.call.listen()
        caller.call.push(tone(0.1))
        caller.call.abort()
        async with asyncio.timeout(WAIT_S):
            while site.connections() or asyncio.all_tasks() - before:
                await asyncio.sleep(0.01)

    async def test_one_that_was_never_read_can_be_closed(self, service: VoiceService) -> None:
        await service.open("1").close()
