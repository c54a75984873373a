"""What a socket is sent of the avatar's sound: bounded, numbered, half the rate; figures for operators."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from core.frames import AUDIO_FRAME, SoundPiece
from core.monitor import SoundFigures
from core.services.audio_down import MAX_BACKLOG, SoundDown, SoundTally
from tests.conftest import Serve
from tests.operators import observatory
from tests.sound_client import SoundClient


class Socket:
    """As much of a `WebSocketSession` as is needed."""

    session_id = "7"

    def __init__(self) -> None:
        self.backlog = 0
        self.messages: list[dict[str, Any]] = []

    def send_message(self, message: dict[str, Any]) -> bool:
        self.messages.append(message)
        return True


def piece(at: float, packets: int = 1, value: int = 1000, reply: str = "r1") -> SoundPiece:
    return SoundPiece(reply, at, np.full(packets * AUDIO_FRAME, value, np.int16))


def sound(message: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(message["data"]), "<i2")


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
def tally() -> SoundTally:
    return SoundTally()


@pytest.fixture
def down(socket: Socket, tally: SoundTally) -> SoundDown:
    return SoundDown(socket, tally)  # type: ignore[arg-type]


def test_h2_a_piece_is_a_message_with_its_place_and_number(socket: Socket, down: SoundDown) -> None:
    down.sound(piece(1.24, 5))
    down.sound(piece(1.34))
    first, second = socket.messages
    assert first | {"data": ""} == {
        "type": "audio_frame", "session_id": "7", "reply": "r1", "at_ms": 1240, "seq": 1, "data": "",
    }  # fmt: skip
    assert (second["at_ms"], second["seq"]) == (1340, 2)
    assert len(sound(first)) == 5 * AUDIO_FRAME // 2
    assert np.all(np.abs(sound(second).astype(int) - 1000) <= 1), "it goes on without a seam"


def test_h2_what_was_cleared_leaves_no_trace_in_what_follows(socket: Socket, down: SoundDown) -> None:
    down.sound(piece(0.0, value=30_000))
    down.cleared("r1", 0.02)
    down.sound(piece(0.0, value=0, reply="r2"))
    assert socket.messages[1] == {"type": "audio_clear", "session_id": "7", "reply": "r1", "at_ms": 20}
    assert not sound(socket.messages[2]).any()


def test_h2_a_slow_socket_loses_sound_and_sees_so_and_nothing_waits(
    socket: Socket, down: SoundDown, tally: SoundTally
) -> None:
    down.sound(piece(0.0))
    socket.backlog = MAX_BACKLOG + 1
    for number in range(10):
        down.sound(piece(0.02 * (number + 1)))
    assert len(socket.messages) == 1
    assert (tally.sent, tally.dropped) == (1, 10)
    down.cleared("r1", 0.2)
    assert socket.messages[-1]["type"] == "audio_clear", "that it must stop is never lost"
    socket.backlog = 0
    down.sound(piece(0.22))
    assert socket.messages[-1]["seq"] == 12


async def test_k2_operators_see_sound_and_the_kind_of_each_link(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start()
        await client.human("one two three")
        await client.message("reply", state="end")
        shot = await server.monitor.snapshot()
        (row,) = shot["sessions"]
        assert (row["link"], row["link_kind"]) == ("connected", "websocket")
        assert shot["server"]["sound_sockets"] == 1
        text = server.metrics.exposition().decode()
        assert "eman_sound_sockets 1.0" in text
        assert f"eman_sound_frames_sent_total {len(client.frames)}.0" in text
        assert "eman_sound_frames_dropped_total 0.0" in text
        listed = await client.http.get(f"{server.url}/api/admin/sessions")
        assert (await listed.json())["data"]["sessions"][0]["link_kind"] == "websocket"


async def test_k2_figures_of_sound() -> None:
    async with observatory() as watch:
        watch.sound = SoundFigures(3, 500, 7)
        text = watch.metrics.exposition().decode()
    assert "eman_sound_sockets 3.0" in text
    assert "eman_sound_frames_sent_total 500.0" in text
    assert "eman_sound_frames_dropped_total 7.0" in text


async def test_h3_nothing_wakes_up_while_nothing_sounds(serving: Serve) -> None:
    async with serving() as server, SoundClient(server.url) as client:
        await client.start()
        pump = server.sessions.find(client.session).media._pump  # type: ignore[attr-defined]
        assert pump.running
        await client.human("one two")
        await client.heard_ms("r1", 100)
        assert pump._timer is not None
        await client.message("reply", state="end")
        assert pump._timer is None
