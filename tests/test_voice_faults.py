"""A voice service in bad times, with real ears, stage and lips: it is told, the next recording works, no leftovers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from avatar.opus.packets import PacketDecoder, PacketEncoder
from core.dialogue.xiaozhi.client import XiaozhiClient
from core.dialogue.xiaozhi.connection import Connection
from core.events import Doing, Event, Failed, Heard, LineChanged, Replying, ReplyState
from core.frames import SoundPiece
from core.session import Session
from core.voice_line import VoiceLine
from core.voice_reply import VoiceReply
from core.voice_turn import VoiceTurn
from server import Server
from tests.conftest import serve
from tests.simulators.xiaozhi import CLIENT, DEVICE, TOKEN, Close, Drop, Fault, Sentence, Stall, Trouble, XiaozhiServer
from tests.speech import flite
from tests.xiaozhi_talk import poll

SHORT = (Sentence("Yes.", 440.0, (60,) * 5),)
LONG = (Sentence("A long story.", 440.0, (60,) * 100),)
OVER = (ReplyState.END, ReplyState.INTERRUPTED, ReplyState.ERROR)
QUESTION = "what is seven times six"


class Talker:
    """A session without a browser: speaks into its ears, hears what its stage plays."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.events: list[Event] = []
        self.pieces: list[SoundPiece] = []
        self.stop = session.listen(self)

    # -- core.stages.SoundSink

    def sound(self, piece: SoundPiece) -> None:
        self.pieces.append(piece)

    def cleared(self, reply_id: str, at: float) -> None:
        """Not looked at."""

    # -- talking

    async def say(self, text: str = QUESTION, silence_s: float = 1.0) -> None:
        """Faster than real time, as the listening clock counts samples."""
        sound = np.concatenate([flite(text, rate=16_000), np.zeros(int(16_000 * silence_s), np.int16)])
        for start in range(0, len(sound), 320):
            self.session.ears.hear(sound[start : start + 320])
            await asyncio.sleep(0.0005)

    def all(self, kind: type[Any], since: int = 0) -> list[Any]:
        return [event for event in self.events[since:] if isinstance(event, kind)]

    @property
    def lines(self) -> list[str]:
        return [str(event.state) for event in self.all(LineChanged)]

    def ended(self, since: int = 0) -> list[str]:
        return [str(e.state) for e in self.all(Replying, since) if e.state in OVER]

    async def works(self) -> None:
        """The next recording is understood and answered, then all is quiet."""
        await poll(lambda: not self.session.conversation.busy)
        since, heard = len(self.events), len(self.pieces)
        await self.say()
        await poll(lambda: "end" in self.ended(since))
        assert any(event.transcript.text for event in self.all(Heard, since))
        assert len(self.pieces) > heard
        await poll(lambda: self.session.conversation.activity == "idle")


@contextlib.asynccontextmanager
async def talking(
    service: XiaozhiServer, mode: str = "manual", **more: str
) -> AsyncIterator[tuple[Server, Callable[[], Any]]]:
    """A server led by `service`, and how to open a session of it."""
    xiaozhi = {"url": service.url, "token": TOKEN, "device_id": DEVICE, "client_id": CLIENT, "mode": mode}
    overrides = {"voice__engine": "xiaozhi", **{f"voice__xiaozhi__{key}": value for key, value in xiaozhi.items()}}
    async with serve(**overrides | more) as server:

        async def open_session() -> Talker:
            session, _ = await server.sessions.open(None)
            talker = Talker(session)
            server._watchers.append(lambda of, event: talker.events.append(event) if of == session.id else None)
            return talker

        yield server, open_session


def leftovers() -> list[object]:
    gc.collect()
    kinds = (Connection, XiaozhiClient, VoiceLine, VoiceReply, VoiceTurn, PacketDecoder, PacketEncoder, Session)
    return [thing for thing in gc.get_objects() if isinstance(thing, kinds)]


@pytest.mark.parametrize(
    ("moment", "fault"),
    [
        ("hello", Drop()),
        ("listen", Close(None)),
        ("packet", Drop()),
        ("reply", Drop()),
        ("reply", Close(None)),
        ("reply", Close(1011)),
    ],
)
@pytest.mark.parametrize("mode", ["manual", "auto"])
async def test_h1_every_end_of_a_connection(moment: str, fault: Fault, mode: str) -> None:
    service = XiaozhiServer(reply=SHORT, troubles={0: Trouble(moment, fault, packet=3)}, turn_packets=15)
    async with service, talking(service, mode) as (_, open_session):
        talker = await open_session()
        if moment != "hello":
            await talker.say()
        await poll(lambda: len(service.visits) == 2)
        await poll(lambda: talker.session.line.up)
        if moment == "reply":
            await poll(lambda: talker.ended())
            assert talker.ended()[0] == "error"
            assert "voice_lost" in [event.code for event in talker.all(Failed)]
        assert "lost" in talker.lines
        assert talker.lines[-1] == "up"
        await talker.works()
    assert [visit.refusal for visit in service.visits if visit.refusal] == []


async def test_h1_a_service_that_is_not_there_is_told_and_found_when_it_comes() -> None:
    service = XiaozhiServer(reply=SHORT)
    await service.start()
    await service.stop()
    async with talking(service) as (_, open_session):
        talker = await open_session()
        await poll(lambda: "failed" in talker.lines)
        assert [event.code for event in talker.all(Failed)] == ["xiaozhi_unreachable"]
        await talker.say()
        async with service:
            await poll(lambda: "end" in talker.ended())
            assert any(event.transcript.text for event in talker.all(Heard))
            await talker.works()
            await talker.session.close()


async def test_h1_a_service_that_stays_away_fails_the_turn_and_not_the_session() -> None:
    service = XiaozhiServer(reply=SHORT)
    await service.start()
    await service.stop()
    async with talking(service, voice__timeout_s="0.5") as (_, open_session):
        talker = await open_session()
        await talker.say()
        await poll(lambda: [e for e in talker.all(Doing) if e.activity == "error"])
        await poll(lambda: talker.session.conversation.activity == "idle")
        talker.session.conversation.chat("typed")
        await poll(lambda: talker.ended() == ["error"])
        talker.session.conversation.say("one two")
        await poll(lambda: talker.ended() == ["error", "end"])
        async with service:
            await poll(lambda: talker.session.line.up)
            await talker.works()
            assert len(service.visits[0].turns) == 1, "what was said in vain is not answered now"


async def test_h1_lost_while_the_avatar_is_held() -> None:
    service = XiaozhiServer(reply=LONG, pace=0.06)
    async with service, talking(service) as (_, open_session):
        talker = await open_session()
        await poll(lambda: talker.session.line.up)
        await talker.say()
        await poll(lambda: talker.session.media.status()["speaking"])
        await asyncio.sleep(0.5)
        await talker.say("excuse me", silence_s=0.0)
        assert talker.session.conversation.held or "interrupted" in talker.ended()
        service.drop_all()
        service.reply = SHORT
        await talker.say("what about this", silence_s=1.5)
        await poll(lambda: "end" in talker.ended())
        assert not talker.session.conversation.held
        await talker.works()


async def test_h1_a_stalled_service_is_given_up() -> None:
    service = XiaozhiServer(reply=SHORT, troubles={0: Trouble("reply", Stall(), packet=2)})
    async with service, talking(service, dialogue__timeout_s="0.5") as (_, open_session):
        talker = await open_session()
        await poll(lambda: talker.session.line.up)
        await talker.say()
        await poll(lambda: talker.ended() == ["error"])
        assert [event.code for event in talker.all(Failed)] == ["voice_silent"]
        await poll(lambda: talker.session.conversation.activity == "idle")


async def end(server: Server, talker: Talker) -> None:
    talker.stop()
    await server.sessions.close(talker.session)
    server._watchers.pop()


async def test_h1_disconnects_at_random_instants_leave_nothing() -> None:
    chance = random.Random(11)
    service = XiaozhiServer(reply=(Sentence("Yes.", 440.0, (60,) * 8),), pace=0.02)

    async def live(server: Server, open_session: Callable[[], Any]) -> None:
        talker = await open_session()
        await poll(lambda: talker.session.line.up)
        for number in range(1, 7):
            saying = asyncio.create_task(talker.say())
            await asyncio.sleep(chance.random() * 0.8)
            service.drop_all()
            await poll(lambda so_often=number: talker.lines.count("lost") == so_often)
            await saying
            await poll(lambda: talker.session.line.up)
            await poll(lambda: not talker.session.conversation.busy)
        await talker.works()
        assert len(leftovers()) >= 6, "what is looked for is there while the session lives"
        await end(server, talker)

    async with service, talking(service) as (server, open_session):
        tasks = asyncio.all_tasks()
        await live(server, open_session)
        await poll(lambda: service.open == 0)
        new = asyncio.all_tasks() - tasks
        assert not [task for task in new if task.get_name().startswith(("xiaozhi", "reply", "session"))]
        await poll(lambda: not leftovers())
    assert [visit.refusal for visit in service.visits if visit.refusal] == []


@pytest.mark.parametrize("moment", ["idle", "speaking", "replying", "held", "down"])
async def test_h1_a_session_that_is_closed_at_any_moment_leaves_nothing(moment: str) -> None:
    service = XiaozhiServer(reply=LONG, pace=0.05)

    async def live(server: Server, open_session: Callable[[], Any]) -> None:
        talker = await open_session()
        await poll(lambda: talker.session.line.up)
        if moment == "down":
            await service.stop()
        if moment in ("speaking", "down"):
            await talker.say(silence_s=0.0)
        if moment in ("replying", "held"):
            await talker.say()
            await poll(lambda: talker.pieces)
        if moment == "held":
            await talker.say("excuse", silence_s=0.0)
        await end(server, talker)

    async with service, talking(service) as (server, open_session):
        await live(server, open_session)
        await poll(lambda: service.open == 0)
        await poll(lambda: not leftovers())
        if moment == "down":
            await service.start()


async def test_h1_neither_token_nor_words_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    service = XiaozhiServer(
        reply=(Sentence("My secret answer.", 440.0, (60,) * 5),), troubles={0: Trouble("reply", Drop(), packet=2)},
        said="my secret question",
    )  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        async with service, talking(service) as (_, open_session):
            talker = await open_session()
            await talker.say()
            await poll(lambda: len(service.visits) == 2)
            await talker.works()
            talker.session.conversation.chat("typed secret")
            await poll(lambda: talker.ended().count("end") == 2)
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("websockets.server")]
    for secret in (TOKEN, "secret question", "secret answer", "typed secret"):
        assert not [line for line in ours if secret in line]
