"""The clocks of sessions with media that misbehaves: one broken session never stops the looking after of the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from core.conversation import Conversation
from core.errors import BadRequest, Refused, ServerFull, SessionNotFound
from core.frames import Activity, FaceChoice, LinkState, Samples, Utterance
from core.parts import Parts
from core.session import Session
from core.sessions import RELOAD_SHARE, LifecycleLimits, Sessions
from core.stages import SoundSink
from tests.fakes import DeafToFiles, ScriptedDialogue, ToneSynthesizer


class FakeMedia:
    """Media whose state a test sets."""

    def __init__(self) -> None:
        self.state = LinkState.NEW
        self.heard = time.monotonic()
        self.fail: Exception | None = None
        self.close_fails: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.going: asyncio.Event | None = None
        self.calls: list[str] = []
        self.sinks: list[Callable[[], None]] = []

    async def connect(self, sdp: str, taking: Callable[[], None], face: FaceChoice | None = None) -> str:
        self.calls.append("connect")
        if self.gate is not None:
            await self.gate.wait()
        if sdp == "bad":
            raise BadRequest("bad offer", code="bad_sdp")
        taking()
        self.state = LinkState.CONNECTING
        return "answer"

    async def attend(self, taking: Callable[[], None], face: FaceChoice | None = None) -> None:
        self.calls.append("attend")
        taking()
        self.state = LinkState.NEW

    def listen(
        self,
        sink: SoundSink,
        ahead_s: float = 0.5,
        dropped: Callable[[], None] = lambda: None,
        delay: Callable[[], float] = lambda: 0.0,
    ) -> Callable[[], None]:
        self.sinks.append(dropped)
        return lambda: self.sinks.remove(dropped) if dropped in self.sinks else None

    async def disconnect(self) -> None:
        self.calls.append("disconnect")
        self.state = LinkState.NEW

    async def close(self) -> None:
        self.calls.append("close")
        if self.close_fails is not None:
            raise self.close_fails
        if self.going is not None:
            await self.going.wait()

    def link(self) -> LinkState:
        if self.fail is not None:
            raise self.fail
        return self.state

    async def last_heard(self) -> float:
        return self.heard

    def status(self) -> dict[str, Any]:
        return {}

    async def network(self) -> dict[str, float | None]:
        return {}


class FakeEars:
    """Ears that hear nothing."""

    def __init__(self) -> None:
        self.rests = 0
        self.broken: Exception | None = None

    def hear(self, samples: Samples) -> None:
        """Not used."""

    def set_mode(self, mode: str) -> None:
        """Not used."""

    def talk_key(self, down: bool) -> None:
        """Not used."""

    def rest(self) -> None:
        self.rests += 1

    async def run(self) -> None:
        if self.broken is not None:
            raise self.broken
        await asyncio.Event().wait()


class House:
    """Sessions with fakes, and whoever watches them."""

    def __init__(self, **limits: float) -> None:
        self.media: list[FakeMedia] = []
        self.ears: list[FakeEars] = []
        self.gone: list[str] = []
        self.moved: list[tuple[str, str]] = []
        self.watched = False
        self.next_gate: asyncio.Event | None = None
        chosen = {"handshake_timeout_s": 30.0, "vanish_s": 8.0, "resume_s": 30.0, **limits}
        self.sessions = Sessions(
            self._build,
            LifecycleLimits(max_sessions=2, **chosen),
            on_moved=lambda session_id, page: self.moved.append((session_id, page)),
            on_gone=self.gone.append,
            watched=lambda session_id: self.watched,
        )

    def _build(self, session_id: str, face: FaceChoice, voice: bool | None = None) -> Parts:
        self.media.append(FakeMedia())
        self.media[-1].gate = self.next_gate
        self.ears.append(FakeEars())
        conversation = Conversation(
            dialogue=ScriptedDialogue(), synthesizer=ToneSynthesizer(), emit=lambda event: None, show=_ignore
        )
        return Parts(conversation, self.media[-1], self.ears[-1], DeafToFiles())

    async def open(self, state: LinkState = LinkState.CONNECTED) -> tuple[Session, FakeMedia]:
        session, answer = await self.sessions.open("good")
        assert answer == "answer"
        self.media[-1].state = state
        return session, self.media[-1]


def _ignore(activity: Activity) -> None:
    """The face is not looked at."""


async def test_the_cap_counts_offers_that_are_still_answered() -> None:
    house = House()
    house.next_gate = asyncio.Event()
    opening = [asyncio.create_task(house.sessions.open("good")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ServerFull, match=r"Maximum session limit reached \(2/2\)"):
        await house.sessions.open("good")
    house.next_gate.set()
    await asyncio.gather(*opening)
    assert len(house.sessions) == 2
    await house.sessions.close_all()


async def test_a_bad_offer_gives_its_slot_back() -> None:
    house = House()
    for _ in range(5):
        with pytest.raises(BadRequest):
            await house.sessions.open("bad")
    assert len(house.sessions) == 0
    assert all(media.calls == ["connect", "close"] for media in house.media)
    assert len(house.gone) == 5


async def test_b7_a_session_that_comes_back_while_it_is_being_freed_is_not_taken_for_the_old_one() -> None:
    house = House()
    earlier, _ = await house.sessions.open("good", session_id="1234")
    house.media[0].going = asyncio.Event()
    freeing = asyncio.create_task(house.sessions.close(earlier))
    coming = asyncio.create_task(house.sessions.open("good", session_id="1234"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert house.gone == []
    assert not coming.done(), "who hears of the old one's end would take it for the new one's"
    house.media[0].going.set()
    session, _ = await coming
    await freeing
    assert house.gone == ["1234"]
    assert house.sessions.get("1234") is session
    await house.sessions.close_all()


async def test_a_cancelled_offer_gives_its_slot_back() -> None:
    house = House()
    house.next_gate = asyncio.Event()
    opening = asyncio.create_task(house.sessions.open("good"))
    await asyncio.sleep(0.01)
    opening.cancel()
    await asyncio.wait({opening})
    assert len(house.sessions) == 0


async def test_one_session_that_can_not_be_looked_at_is_let_go_and_the_others_keep_their_clocks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House(vanish_s=0.01)
    wrong, broken = await house.open()
    vanished, media = await house.open()
    broken.fail = RuntimeError("aiortc is in a state that it never has")
    media.heard -= 1
    await house.sessions.reap()
    assert house.sessions.all() == [vanished]
    assert vanished.detached_at is not None
    assert "broke while it was looked at" in caplog.text
    assert broken.calls[-1] == "close"
    assert house.gone == [wrong.id]
    assert not [task for task in asyncio.all_tasks() if task.get_name() == f"session {wrong.id}"]
    await house.sessions.close_all()


async def test_one_session_that_can_not_be_closed_is_let_go_and_the_others_keep_their_clocks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House(vanish_s=0.01)
    wrong, stuck = await house.open()
    vanished, media = await house.open()
    stuck.fail = stuck.close_fails = RuntimeError("aiortc is in a state that it never has")
    media.heard -= 1
    await house.sessions.reap()
    assert house.sessions.all() == [vanished]
    assert vanished.detached_at is not None
    assert house.gone == [wrong.id], "who watches it lets it go as well"
    assert "broke while it was freed" in caplog.text
    media.close_fails = stuck.close_fails
    await house.sessions.close_all()
    assert house.gone == [wrong.id, vanished.id]


async def test_a_session_whose_work_broke_is_freed() -> None:
    house = House()
    house.next_gate = asyncio.Event()
    opening = asyncio.create_task(house.sessions.open("good"))
    await asyncio.sleep(0)
    house.ears[0].broken = ValueError("a bug")
    house.next_gate.set()
    await opening
    await asyncio.sleep(0.01)
    await house.sessions.reap()
    assert len(house.sessions) == 0
    assert house.media[0].calls[-1] == "close"


async def test_a_page_that_left_is_waited_for_briefly_and_longer_while_its_socket_is_open() -> None:
    house = House(resume_s=30)
    session, media = await house.open()
    media.state = LinkState.CLOSED
    await house.sessions.reap()
    assert session.left
    assert media.calls[-1] == "disconnect"
    assert session.detached_at is not None
    session.detached_at -= 30 / RELOAD_SHARE + 0.1
    house.watched = True
    await house.sessions.reap()
    assert len(house.sessions) == 1
    house.watched = False
    await house.sessions.reap()
    assert len(house.sessions) == 0


async def test_a_page_that_vanished_is_waited_for_the_whole_time() -> None:
    house = House(resume_s=30)
    session, media = await house.open()
    media.heard -= 9
    await house.sessions.reap()
    assert not session.left
    assert session.detached_at == media.heard  # counted from its last packet
    session.detached_at -= 20.5
    await house.sessions.reap()
    assert len(house.sessions) == 1
    session.detached_at -= 1
    await house.sessions.reap()
    assert len(house.sessions) == 0


async def test_who_comes_back_is_attached_again_and_its_ears_start_afresh() -> None:
    house = House()
    session, media = await house.open()
    session.hear(np.zeros(320, np.int16))
    rests = house.ears[0].rests
    media.state = LinkState.CLOSED
    await house.sessions.reap()
    assert house.ears[0].rests == rests + 1
    with pytest.raises(BadRequest):
        await house.sessions.resume(session, "bad", page="another")
    assert session.detached_at is not None  # a bad offer brings nobody back
    assert house.moved == [(session.id, "")]
    assert await house.sessions.resume(session, "good", page="tab 2") == "answer"
    assert house.moved == [(session.id, ""), (session.id, "tab 2")]
    assert session.page == "tab 2"
    assert house.sessions.find(session.id).detached_at is None
    assert not session.left
    session.hear(np.zeros(320, np.int16))
    await house.sessions.resume(session, "good", page="tab 3")
    assert house.ears[0].rests == rests + 2
    await house.sessions.close_all()


async def test_b7_a_session_from_before_a_restart_is_opened_again_with_its_memory() -> None:
    house = House()
    said = (Utterance("user", "my name is Ada"), Utterance("assistant", "Hello Ada."))
    session, _ = await house.sessions.open("good", session_id="1234", memory=said)
    assert session.id == "1234"
    assert house.sessions.get("1234") is session
    assert tuple(session.conversation.history) == said
    with pytest.raises(Refused):
        await house.sessions.open("good", session_id="1234")
    assert len(house.sessions) == 1
    await house.sessions.close_all()


async def test_a_page_that_says_goodbye_may_come_back() -> None:
    house = House()
    session, media = await house.open()
    await house.sessions.leave(session)
    assert session.left
    assert media.calls[-1] == "disconnect"
    await house.sessions.resume(session, "good")
    assert session.detached_at is None
    await house.sessions.close_all()


async def test_closing_is_idempotent_and_final() -> None:
    house = House()
    session, media = await house.open()
    await asyncio.gather(*(house.sessions.close(session) for _ in range(3)))
    assert media.calls.count("close") == 1
    assert house.gone == [session.id]
    with pytest.raises(SessionNotFound):
        house.sessions.find(session.id)
    await house.sessions.close_all()
    with pytest.raises(Refused, match="stopping"):
        await house.sessions.open("good")
