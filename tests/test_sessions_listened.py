"""Sessions without WebRTC: they live while somebody listens, wait for who vanished, and end when nobody ever came."""

from __future__ import annotations

import time

from core.frames import LinkKind, LinkState, SoundPiece
from core.session import Session
from core.sessions import RELOAD_SHARE
from tests.test_sessions import FakeMedia, House


class Sink:
    def sound(self, piece: SoundPiece) -> None:
        """Not used."""

    def cleared(self, reply_id: str, at: float) -> None:
        """Not used."""


async def opened(house: House) -> tuple[Session, FakeMedia]:
    session, answer = await house.sessions.open(None, page="p")
    assert answer == ""
    assert house.media[-1].calls == ["attend"]
    return session, house.media[-1]


async def test_h3_a_session_that_nobody_ever_listens_to_is_freed() -> None:
    house = House(handshake_timeout_s=0.05)
    session, _ = await opened(house)
    assert (session.link, session.link_kind) == (LinkState.NEW, LinkKind.WEBSOCKET)
    assert house.moved == [(session.id, "p")]
    await house.sessions.reap()
    assert len(house.sessions) == 1
    session.offered_at -= 1
    await house.sessions.reap()
    assert len(house.sessions) == 0


async def test_h3_a_session_that_is_listened_to_lives_on() -> None:
    house = House(handshake_timeout_s=0.05, vanish_s=0.05)
    session, _ = await opened(house)
    end = session.listen(Sink())
    assert (session.link, session.link_kind) == (LinkState.CONNECTED, LinkKind.WEBSOCKET)
    session.offered_at -= 3600
    await house.sessions.reap()
    assert house.sessions.all() == [session]
    assert session.detached_at is None
    end()
    await house.sessions.close_all()


async def test_h3_a_listener_that_vanished_may_come_back_for_a_while_and_its_reply_waits() -> None:
    house = House(vanish_s=8, resume_s=30)
    session, media = await opened(house)
    end = session.listen(Sink())
    end()
    end()
    assert media.sinks == []
    assert session.unheard_since is not None
    await house.sessions.reap()
    assert session.detached_at is None, "a socket that comes back at once goes on where it was"
    session.unheard_since -= 8.1
    since = session.unheard_since
    await house.sessions.reap()
    assert session.detached_at == since
    session.detached_at -= 21
    await house.sessions.reap()
    assert len(house.sessions) == 1
    session.detached_at -= 2
    await house.sessions.reap()
    assert len(house.sessions) == 0


async def test_h3_who_listens_again_attaches_the_session_again() -> None:
    house = House(vanish_s=0.01)
    session, _ = await opened(house)
    session.listen(Sink())()
    assert session.unheard_since is not None
    session.unheard_since -= 1
    await house.sessions.reap()
    assert session.detached_at is not None
    rests = house.ears[0].rests
    session.listen(Sink())
    assert session.detached_at is None
    await house.sessions.reap()
    assert session.detached_at is None
    assert house.ears[0].rests == rests
    await house.sessions.close_all()


async def test_h3_a_page_that_says_goodbye_while_its_socket_is_still_open_is_waited_for_briefly() -> None:
    house = House(resume_s=30)
    session, _ = await opened(house)
    end = session.listen(Sink())
    await house.sessions.leave(session)
    assert session.detached_at is None
    end()
    await house.sessions.reap()
    assert session.detached_at is not None
    assert session.left
    session.detached_at -= 30 / RELOAD_SHARE + 0.1
    await house.sessions.reap()
    assert len(house.sessions) == 0


async def test_a_device_goes_on_when_the_page_that_looked_on_leaves() -> None:
    house = House(vanish_s=0.01, handshake_timeout_s=0.01)
    session, media = await opened(house)
    session.listen(Sink())
    assert await house.sessions.resume(session, "good", page="watcher") == "answer"
    media.state = LinkState.CONNECTED
    media.heard = time.monotonic()
    assert session.link_kind is LinkKind.WEBRTC
    await house.sessions.leave(session)
    assert media.calls[-1] == "disconnect"
    assert session.detached_at is None
    await house.sessions.reap()
    assert house.sessions.all() == [session]
    assert (session.link, session.link_kind) == (LinkState.CONNECTED, LinkKind.WEBSOCKET)
    await house.sessions.close_all()


async def test_a_connection_that_vanishes_under_a_listener_is_freed_alone() -> None:
    house = House(vanish_s=8)
    session, media = await house.open()
    session.listen(Sink())
    media.heard -= 9
    await house.sessions.reap()
    assert media.calls[-1] == "disconnect"
    assert session.detached_at is None
    media.state = LinkState.CLOSED
    await house.sessions.reap()
    assert session.detached_at is None
    await house.sessions.close_all()


async def test_an_offer_that_never_connects_under_a_listener_is_freed_alone() -> None:
    house = House(handshake_timeout_s=0.05)
    session, media = await opened(house)
    session.listen(Sink())
    await house.sessions.resume(session, "good")
    assert media.state is LinkState.CONNECTING
    session.offered_at -= 1
    await house.sessions.reap()
    assert media.calls[-1] == "disconnect"
    assert house.sessions.all() == [session]
    await house.sessions.close_all()


async def test_changing_over_to_webrtc_has_the_whole_handshake() -> None:
    house = House(vanish_s=0.01, handshake_timeout_s=30)
    session, media = await opened(house)
    end = session.listen(Sink())
    await house.sessions.resume(session, "good")
    end()  # the page waits for its connection without listening meanwhile
    assert session.unheard_since is not None
    session.unheard_since -= 1
    await house.sessions.reap()
    assert session.detached_at is None
    assert media.state is LinkState.CONNECTING
    await house.sessions.close_all()


async def test_changing_over_from_webrtc_waits_for_the_socket() -> None:
    house = House(vanish_s=0.01, handshake_timeout_s=30)
    session, media = await house.open()
    assert await house.sessions.resume(session, None, page="q") == ""
    assert media.calls[-1] == "attend"
    assert session.link_kind is LinkKind.WEBSOCKET
    assert house.moved[-1] == (session.id, "q")
    await house.sessions.reap()
    assert session.detached_at is None
    await house.sessions.close_all()


async def test_a_listener_that_raised_no_longer_holds_the_session() -> None:
    house = House(vanish_s=0.01)
    session, media = await opened(house)
    session.listen(Sink())
    media.sinks[0]()  # the stage let it go
    assert not session.listened
    assert session.unheard_since is not None
    await house.sessions.close_all()
