"""Several microphones of one session: which is heard, and what each is told."""

from __future__ import annotations

import numpy as np

from core.microphones import Microphone, MicrophoneKind, Microphones
from tests.service_fakes import NotingEars

WEBRTC, SOCKET, DEVICE = MicrophoneKind.WEBRTC, MicrophoneKind.WEBSOCKET, MicrophoneKind.DEVICE


class Room:
    """Microphones over ears that note; `told` says who was told what."""

    def __init__(self) -> None:
        self.ears = NotingEars()
        self.all = Microphones(self.ears)
        self.told: list[tuple[str, bool, str]] = []

    def open(self, name: str, kind: MicrophoneKind, instead_of: Microphone | None = None) -> Microphone:
        return self.all.open(kind, lambda heard, by: self.told.append((name, heard, by)), instead_of)

    def say(self, *microphones: Microphone) -> list[int]:
        """Each says its number; what is heard of it."""
        self.ears.heard.clear()
        for number, microphone in enumerate(microphones):
            microphone.hear(np.array([number], np.int16))
        return self.ears.samples


def test_e1_one_alone_is_heard_and_told_nothing() -> None:
    room = Room()
    one = room.open("one", WEBRTC)
    assert room.say(one) == [0]
    assert (room.told, room.ears.calls) == ([], [])
    one.close()
    one.close()
    assert room.ears.calls == ["rest"]
    assert room.say(one) == []
    assert room.all.heard is None


def test_e1_the_newest_takes_over_and_gives_back() -> None:
    room = Room()
    one, two, three = room.open("1", WEBRTC), room.open("2", SOCKET), room.open("3", SOCKET)
    assert room.told == [("1", False, "websocket"), ("2", False, "websocket")]
    assert room.say(one, two, three) == [2]
    two.close()
    assert len(room.told) == 2, "it was not the one that is heard"
    assert room.ears.calls == ["rest", "rest"]
    three.close()
    assert room.told[2:] == [("1", True, "webrtc")]
    assert room.say(one, two, three) == [0]
    assert room.ears.calls == ["rest"] * 3


def test_e1_opening_again_tells_nobody_of_a_moment_between() -> None:
    room = Room()
    one, two = room.open("1", WEBRTC), room.open("2", SOCKET)
    again = room.open("2", SOCKET, instead_of=two)
    assert room.told == [("1", False, "websocket")]
    assert room.say(one, two, again) == [2]
    two.close()
    assert room.say(one, two, again) == [2]
    assert room.ears.calls == ["rest", "rest"]
    front = room.open("1", WEBRTC, instead_of=one)
    assert room.told[1:] == [("2", False, "webrtc")]
    assert room.say(front) == [0]


def test_h1_a_device_goes_before_all_others() -> None:
    room = Room()
    page, device = room.open("page", WEBRTC), room.open("device", DEVICE)
    program = room.open("program", SOCKET)
    assert room.told == [("page", False, "device"), ("program", False, "device")]
    assert room.say(page, device, program) == [1]
    another = room.open("device", DEVICE)
    assert room.say(device, another) == [1]
    another.close()
    device.close()
    assert room.told[-1] == ("program", True, "websocket")


def test_e1_what_is_finished_is_not_dropped() -> None:
    room = Room()
    one, two = room.open("1", WEBRTC), room.open("2", SOCKET)
    room.ears.calls.clear()
    two.close(finished=True)
    assert room.ears.calls == []
    assert room.say(one) == [0]
