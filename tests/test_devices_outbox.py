"""What waits for a device: in order, paced, and taken back."""

from __future__ import annotations

from core.devices.outbox import BURST_S, MOST_MESSAGES, MOST_PACKETS, TAIL_S, Control, Outbox, Packet, Stop, Text

S = 0.06


def sent(outbox: Outbox, until: float, start: float = 0.0) -> list[tuple[float, object]]:
    """(when, what) was sent until then, by a writer that is never late."""
    now, found = start, []
    while (item := outbox.next(now)) is not None and now <= until:
        if isinstance(item, float):
            now += item
            continue
        found.append((round(now, 3), item))
    return found


def filled(packets: int) -> Outbox:
    outbox = Outbox()
    for number in range(packets):
        outbox.sound(bytes([number]), S)
    return outbox


def test_h2_five_packets_at_once_then_one_for_each_that_was_played() -> None:
    times = [when for when, _ in sent(filled(10), 9.0)]
    assert times == [0.0] * 5 + [0.06, 0.12, 0.18, 0.24, 0.3]


def test_h2_after_silence_there_is_a_burst_again() -> None:
    outbox = filled(5)
    sent(outbox, 0.1)
    for number in range(6):
        outbox.sound(bytes([number]), S)
    assert [when for when, _ in sent(outbox, 9.0, start=2.0)] == [2.0] * 5 + [2.06]


def test_h1_the_stop_waits_for_what_was_sent_to_be_played() -> None:
    outbox = filled(7)
    outbox.stop("stop")
    when, item = sent(outbox, 9.0)[-1]
    assert item == Stop("stop")
    assert when == round(7 * S + TAIL_S, 3)


def test_h1_messages_keep_their_place_and_subtitles_go_before_sound() -> None:
    outbox = Outbox()
    outbox.say("start")
    outbox.sound(b"1", S)
    outbox.say("later")
    outbox.subtitle("subtitle")
    assert [item for _, item in sent(outbox, 9.0)] == [
        Text("start"), Text("subtitle", subtitle=True), Packet(b"1", S), Text("later"),
    ]  # fmt: skip


def test_h1_hushing_leaves_messages_and_nothing_of_the_reply() -> None:
    outbox = filled(3)
    outbox.say("stt")
    outbox.subtitle("subtitle")
    outbox.control(True)
    outbox.stop("stop")
    outbox.hush()
    assert [item for _, item in sent(outbox, 9.0)] == [Control(True), Text("stt")]
    assert outbox.ahead_s(0.0) == 0.0


def test_h1_an_end_that_is_none() -> None:
    outbox = filled(1)
    outbox.stop("stop")
    outbox.go_on()
    outbox.sound(b"2", S)
    assert [type(item) for _, item in sent(outbox, 9.0)] == [Packet, Packet]
    outbox.go_on()  # nothing to take back
    outbox.stop("stop")
    outbox.say("stt")
    outbox.go_on()
    assert sent(outbox, 9.0) == [(0.0, Text("stt"))]


def test_h1_pings_without_end_are_not_all_answered() -> None:
    outbox = Outbox()
    for _ in range(10_000):
        outbox.control(False)
    assert len(sent(outbox, 9.0)) == MOST_MESSAGES + 1


def test_h2_a_device_that_reads_slowly_loses_the_oldest_sound() -> None:
    outbox = filled(MOST_PACKETS + 3)
    assert outbox.dropped == 3
    assert outbox.next(0.0) == Packet(bytes([3]), S)
    assert abs(outbox.ahead_s(0.0) - MOST_PACKETS * S) < 1e-9


def test_h1_a_device_that_reads_nothing_is_given_up() -> None:
    outbox = filled(MOST_PACKETS)
    for _ in range(MOST_MESSAGES):
        outbox.say("x")
    assert not outbox.overrun
    outbox.say("x")
    assert outbox.overrun


def test_h2_it_wakes_its_writer() -> None:
    woken: list[None] = []
    outbox = Outbox(lambda: woken.append(None))
    outbox.say("a")
    outbox.sound(b"b", BURST_S)
    outbox.control(False, b"c")
    outbox.stop("d")
    assert len(woken) == 4
    assert outbox.next(0.0) == Control(False, b"c")
