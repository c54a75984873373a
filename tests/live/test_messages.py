"""Messages of a running server: nobody misses one, nobody gets another's."""

from __future__ import annotations

import random

import pytest

from tests.live.listening import Listening
from tests.live.visitor import Installation

COME_BACK = "one two three. four five six."
LOST = "a socket that was cut and came back has not got the same as one that stayed: is there a proxy that buffers?"


async def test_a_socket_that_breaks_off_comes_back_and_has_missed_nothing(installation: Installation) -> None:
    chance = random.Random(installation.url)
    async with installation.visit() as visitor:
        token = visitor.answer["token"]
        async with (
            Listening(installation.url, visitor.session, token) as steady,
            Listening(installation.url, visitor.session, token) as shaky,
        ):
            for listening in (steady, shaky):
                await listening.connect(installation.patience)
                await listening.until_counting(installation.patience)
            for number in range(4):
                assert (await visitor.human(f"{COME_BACK} {number}", interrupt=True))["code"] == 0
                for _ in range(chance.randrange(4)):
                    await shaky.read()
                await shaky.cut()
                await shaky.connect(installation.patience)
                assert shaky.welcome["resumed"] is True, "what was missed is not kept: lifecycle.resume_s?"
            await visitor.told("a text was spoken", "reply", state="end")
            for listening in (steady, shaky):
                await listening.until(installation.patience, type="reply", state="end")
            ended = [index for index, message in enumerate(steady.messages) if message.get("state") == "end"][-1]
            assert shaky.messages[: ended + 1] == steady.messages[: ended + 1], LOST


async def test_what_one_visitor_is_told_no_other_hears(installation: Installation) -> None:
    async with installation.visit() as one, installation.visit() as two:
        await one.human("the first visitor")
        await two.human("the second visitor")
        for visitor, own in ((one, "first"), (two, "second")):
            ended = await visitor.told("a text was spoken", "reply", state="end")
            assert own in ended["text"]
        for visitor, other in ((one, two), (two, one)):
            told = str(visitor.messages)
            assert other.session not in told, "messages of one session reach another"
            assert visitor.session in told


async def test_who_comes_late_gets_what_was_said_before(installation: Installation) -> None:
    async with installation.visit() as visitor:
        await visitor.human("said before you came")
        await visitor.told("a text was spoken", "reply", state="end")
        async with Listening(installation.url, visitor.session, visitor.answer["token"]) as late:
            late.count = 0
            await late.connect(installation.patience)
            try:
                await late.until(installation.patience, type="reply", state="end")
            except TimeoutError:
                pytest.fail(f"a second window is told nothing of before: {late.messages}", pytrace=False)
