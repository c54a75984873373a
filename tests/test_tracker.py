"""E2: what was recognised is kept per session and turn, with its stage, its audio's span and what it followed from."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asr.tracker import MAX_RECENT, RecognitionResultTracker
from core.events import Doing, Heard
from core.frames import Activity, Transcript


@pytest.fixture
def tracker() -> RecognitionResultTracker:
    return RecognitionResultTracker()


def texts(results: list[dict[str, Any]]) -> list[str]:
    return [result["text"] for result in results]


def hear(tracker: RecognitionResultTracker, session_id: str, *words: str, start: float = 0.0, end: float = 0.0) -> None:
    """A turn: partials, the last word is the final."""
    for word in words[:-1]:
        tracker.record(session_id, Heard(Transcript(word, final=False, start=start, end=end, engine="x")))
    tracker.record(session_id, Heard(Transcript(words[-1], start=start, end=end, engine="x")))


def test_e2_a_result_is_kept_with_everything_that_is_known_about_it(tracker: RecognitionResultTracker) -> None:
    tracker.create_session("7")
    result_id = tracker.add_recognition_result(
        "7", 3, "hello", audio_data=bytes(32_000), start=1.0, stage="final", engine="funasr"
    )
    (result,) = tracker.session_results("7")
    assert abs(result.pop("at") / 1000 - time.time()) < 5
    assert result == {
        "sessionid": "7", "sequence": 3, "result_id": result_id, "stage": "final", "text": "hello",
        "start": 1.0, "end": 2.0, "engine": "funasr", "predecessors": [], "audio_bytes": 32_000,
    }  # fmt: skip


def test_e2_audio_is_counted_and_never_kept(tracker: RecognitionResultTracker) -> None:
    tracker.add_recognition_result("7", 1, "a", audio_data=b"\x55" * 64_000, stage="partial")
    tracker.add_recognition_result("7", 1, "b", start=1.0, end=3.0, stage="final")
    assert [(result["end"], result["audio_bytes"]) for result in tracker.session_results("7")] == [
        (2.0, 64_000),
        (3.0, 64_000),
    ]
    assert b"\x55\x55" not in repr(tracker.session_results("7")).encode()


def test_e2_a_stage_is_partial_or_final(tracker: RecognitionResultTracker) -> None:
    with pytest.raises(ValueError, match="middle"):
        tracker.add_recognition_result("7", 1, "a", stage="middle")
    assert tracker.session_results("7") == []


def test_e2_sequences_are_told_apart_and_in_order(tracker: RecognitionResultTracker) -> None:
    for sequence in (2, 1, 2, 5):
        tracker.add_recognition_result("7", sequence, str(sequence), stage="final")
    tracker.add_recognition_result("8", 9, "other", stage="final")
    assert tracker.session_sequences("7") == [1, 2, 5]
    assert tracker.session_sequences("nobody") == []
    assert texts(tracker.session_results("7")) == ["2", "1", "2", "5"]


def test_e2_relationships_name_earlier_results_of_the_same_session_only(tracker: RecognitionResultTracker) -> None:
    first, second, third = (tracker.add_recognition_result("7", 1, text, stage="partial") for text in "abc")
    foreign = tracker.add_recognition_result("8", 1, "x", stage="partial")
    assert tracker.establish_relationship(second, [third, foreign, "unknown", second, first, first])
    assert tracker.establish_relationship(third, (second, first))
    assert [result["predecessors"] for result in tracker.session_results("7")] == [[], [first], [first, second]]
    assert not tracker.establish_relationship("unknown", [first])


def test_e2_a_view_is_a_copy(tracker: RecognitionResultTracker) -> None:
    first = tracker.add_recognition_result("7", 1, "a", stage="partial")
    second = tracker.add_recognition_result("7", 1, "b", stage="final")
    tracker.establish_relationship(second, [first])
    for results in (tracker.session_results("7"), tracker.recent(2)):
        results[1]["predecessors"].clear()
        results[1]["text"] = "changed"
    assert tracker.session_results("7")[1]["predecessors"] == [first]
    assert tracker.recent(1)[0]["text"] == "b"


def test_e2_heard_turns_become_chains_from_the_partials_to_the_final(tracker: RecognitionResultTracker) -> None:
    tracker.record("7", Doing(Activity.LISTENING))
    hear(tracker, "7", "what", "what is", "what is seven", start=1.2, end=2.9)
    hear(tracker, "7", "yes")
    one, two, three, four = tracker.session_results("7")
    assert [result["stage"] for result in (one, two, three, four)] == ["partial", "partial", "final", "final"]
    assert [result["sequence"] for result in (one, two, three, four)] == [1, 1, 1, 2]
    assert one["predecessors"] == []
    assert two["predecessors"] == [one["result_id"]]
    assert three["predecessors"] == [one["result_id"], two["result_id"]]
    assert four["predecessors"] == []
    assert (three["start"], three["end"], three["engine"]) == (1.2, 2.9, "x")


def test_e2_a_sound_that_was_no_speech_leaves_nothing_but_ends_a_turn_that_had_words(
    tracker: RecognitionResultTracker,
) -> None:
    hear(tracker, "7", "")
    assert tracker.session_results("7") == []
    hear(tracker, "7", "wha", "")
    hear(tracker, "7", "hello")
    assert [(r["sequence"], r["stage"], r["text"]) for r in tracker.session_results("7")] == [
        (1, "partial", "wha"),
        (1, "final", ""),
        (2, "final", "hello"),
    ]


def test_e2_turns_of_two_sessions_never_mix(tracker: RecognitionResultTracker) -> None:
    for word in ("a", "b"):
        tracker.record("1", Heard(Transcript(word, final=False)))
        tracker.record("2", Heard(Transcript(word.upper(), final=False)))
    hear(tracker, "2", "B!")
    assert texts(tracker.session_results("1")) == ["a", "b"]
    *partials, final = tracker.session_results("2")
    assert final["predecessors"] == [partial["result_id"] for partial in partials]
    assert all(result["sessionid"] == "2" for result in (*partials, final))


def test_e2_two_turns_that_go_on_at_once_in_one_session_are_told_apart(tracker: RecognitionResultTracker) -> None:
    one, two = tracker.open_turn("7"), tracker.open_turn("7")
    first = one.heard(Transcript("a", final=False))
    two.heard(Transcript("b", final=False))
    final = one.heard(Transcript("a!"))
    assert (one.sequence, two.sequence) == (1, 2)
    results = {result["result_id"]: result for result in tracker.session_results("7")}
    assert results[final]["predecessors"] == [first]


def test_e2_a_session_keeps_its_newest_results(tracker: RecognitionResultTracker) -> None:
    tracker = RecognitionResultTracker(max_results=3)
    for number in range(10):
        tracker.add_recognition_result("7", number, str(number), stage="final")
    assert texts(tracker.session_results("7")) == ["7", "8", "9"]
    assert tracker.session_sequences("7") == [7, 8, 9]


def test_e2_of_too_many_sessions_the_one_silent_for_longest_goes() -> None:
    tracker = RecognitionResultTracker(max_sessions=2)
    for session_id in ("1", "2", "1", "3"):
        hear(tracker, session_id, "hello")
    assert [len(tracker.session_results(session_id)) for session_id in "123"] == [2, 0, 1]


def test_e2_recent_shows_all_sessions_newest_last_and_is_bounded(tracker: RecognitionResultTracker) -> None:
    for number in range(MAX_RECENT + 50):
        tracker.add_recognition_result(str(number % 3), number, str(number), stage="final")
    assert texts(tracker.recent(2)) == [str(MAX_RECENT + 48), str(MAX_RECENT + 49)]
    assert len(tracker.recent(10_000)) == MAX_RECENT
    assert tracker.recent(0) == []
    assert tracker.recent(-1) == []
    assert "audio_bytes" not in tracker.recent(1)[0]


def test_e2_a_closed_session_is_shown_for_a_while_a_forgotten_one_is_not(tracker: RecognitionResultTracker) -> None:
    for session_id in "123":
        hear(tracker, session_id, "hello " + session_id)
    tracker.close_session("1")
    tracker.forget("2")
    tracker.close_session("nobody")
    assert [tracker.session_results(session_id) for session_id in "12"] == [[], []]
    assert texts(tracker.recent(50)) == ["hello 1", "hello 3"]
    hear(tracker, "1", "again")
    assert tracker.session_sequences("1") == [1]


def test_e2_a_session_that_ends_in_the_middle_of_a_turn_begins_afresh(tracker: RecognitionResultTracker) -> None:
    tracker.record("7", Heard(Transcript("half", final=False)))
    tracker.close_session("7")
    hear(tracker, "7", "hello")
    (result,) = tracker.session_results("7")
    assert (result["sequence"], result["predecessors"]) == (1, [])


def test_e2_many_threads_add_and_ask_at_once(tracker: RecognitionResultTracker) -> None:
    def work(session_id: str) -> None:
        for number in range(100):
            hear(tracker, session_id, "a", "b", str(number))
            tracker.recent(50)
            tracker.session_results("1")

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, str(number % 2)) for number in range(4)]:
            done.result(30)
    ids = [result["result_id"] for number in "01" for result in tracker.session_results(number)]
    assert len(ids) == len(set(ids)) == 2 * 512
