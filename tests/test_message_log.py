"""B7: what of a session's messages is kept, and what a client with a certain count has missed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.message_log import MAX_BYTES, MAX_MESSAGES, MessageLog, Missed

START = 1_752_812_345_678


def words(missed: Missed) -> tuple[list[bytes], bool]:
    return [message for _, message in missed.messages], missed.complete


def filled(count: int, size: int = 1) -> MessageLog:
    log = MessageLog(START)
    for number in range(count):
        log.append(str(number).encode().rjust(size))
    return log


def test_b7_numbers_run_on_from_the_start() -> None:
    log = MessageLog(START)
    assert log.last == START
    assert [log.append(b"a"), log.append(b"b")] == [START + 1, START + 2]
    assert log.last == START + 2


def test_b7_nothing_is_missed_by_a_client_in_step() -> None:
    log = filled(3)
    assert words(log.since(log.last)) == ([], True)
    assert words(MessageLog(START).since(START)) == ([], True)


def test_b7_a_client_that_is_behind_gets_exactly_the_rest() -> None:
    assert words(filled(5).since(START + 3)) == ([b"3", b"4"], True)
    assert words(filled(5).since(START)) == ([b"0", b"1", b"2", b"3", b"4"], True)


def test_b7_a_message_for_one_socket_takes_a_number_and_is_not_kept() -> None:
    log = filled(1)
    assert log.append() == START + 2
    log.append(b"after")
    assert log.since(START) == ([(START + 1, b"0"), (START + 3, b"after")], True)
    assert log.since(START + 2) == ([(START + 3, b"after")], True)


def test_b7_zero_asks_for_all_that_is_kept() -> None:
    assert words(filled(3).since(0)) == ([b"0", b"1", b"2"], True)
    assert words(MessageLog(START).since(0)) == ([], True)
    assert not filled(MAX_MESSAGES + 1).since(0).complete


def test_b7_a_number_of_another_log_leaves_everything_unseen_and_says_so() -> None:
    for other in (START - 5, START + 4, 1):
        assert words(filled(3).since(other)) == ([b"0", b"1", b"2"], False)
    assert words(MessageLog(START).since(START - 1)) == ([], False)


def test_b7_the_oldest_go_when_there_are_too_many() -> None:
    log = filled(MAX_MESSAGES + 10)
    assert len(log) == MAX_MESSAGES
    assert log.since(START + 10).complete
    assert len(log.since(START + 10).messages) == MAX_MESSAGES
    missed = log.since(START + 9)
    assert (missed.complete, len(missed.messages), missed.messages[0]) == (False, MAX_MESSAGES, (START + 11, b"10"))


def test_b7_the_oldest_go_when_they_are_too_long_and_one_that_is_too_long_alone_is_not_kept() -> None:
    log = filled(5, size=MAX_BYTES // 4)
    assert len(log) == 4
    log.append(b"x" * (MAX_BYTES + 1))
    assert len(log) == 0
    assert words(log.since(log.last - 1)) == ([], False)
    log.append(b"after")
    assert words(log.since(log.last - 1)) == ([b"after"], True)


@given(st.lists(st.integers(0, MAX_BYTES // 3), max_size=40), st.integers(-3, 50))
def test_b7_what_a_client_has_and_what_it_gets_are_everything_once(sizes: list[int], seen: int) -> None:
    log = MessageLog(START)
    messages = [bytes([index + 1]) + bytes(size) for index, size in enumerate(sizes)]
    for message in messages:
        log.append(message)
    missed = log.since(START + seen)
    if missed.complete:
        assert messages[:seen] + words(missed)[0] == messages
    else:
        kept = words(missed)[0]
        assert kept == messages[len(messages) - len(kept) :]
        assert seen < 0 or seen > len(messages) or len(kept) < len(messages) - seen
