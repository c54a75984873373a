"""Kept conversations (G2): what is recorded, paged, switched off, deleted, exported and given to the dialogue."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.events import Doing, Failed, Replying, ReplyState, Sounding, Timed
from core.frames import Activity, Utterance
from core.history import History
from tests.histories import Clock, answered, asked, lines, on_disk, opened, spoke

DAY_MS = 86_400_000


# -- what is recorded


async def test_g2_final_words_of_both_are_kept_in_the_order_of_the_events(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        spoke(history, "1", "hello there")
        answered(history, "1", "Hi.", "How are you?")
        asked(history, "1", "fine")
        answered(history, "1", "Good.", engine="openai")
        found = await history.page("1", before=None, limit=200)
    assert [(e.role, e.sender, e.text, e.engine, e.state) for e in found] == [
        ("user", "回音", "hello there", "pocketsphinx", "final"),
        ("assistant", "Eman", "Hi. How are you?", "demo", "final"),
        ("user", "user", "fine", "", "final"),
        ("assistant", "Eman", "Good.", "openai", "final"),
    ]
    assert [e.id for e in found] == sorted({e.id for e in found})


async def test_g2_entries_carry_unix_milliseconds_of_their_event(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "h.db", clock=clock) as history:
        asked(history, "1", "one")
        clock.now += 1234
        asked(history, "1", "two")
        first, second = await history.page("1", before=None, limit=10)
    assert (first.at_ms, second.at_ms) == (1_800_000_000_000, 1_800_000_001_234)


async def test_g2_partial_words_states_and_times_are_not_kept(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        history.record("1", Doing(Activity.THINKING, "detail"))
        history.record("1", Timed("r1", "text", ReplyState.END, "demo"))
        history.record("1", Failed("tts", "espeak", "tts_failed", "the voice is away"))
        spoke(history, "1", "")
        spoke(history, "1", "  ")
        answered(history, "1", "", engine="upload")  # an uploaded sound has no words
        spoke(history, "1", "only this")
        assert await lines(history, "1") == [("user", "only this", "final")]


async def test_g2_an_interrupted_answer_is_kept_as_far_as_it_was_heard(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        answered(history, "1", "One two.", "Three four.", state=ReplyState.INTERRUPTED, text="One two. Three", played=1)
        answered(history, "1", "Five.", state=ReplyState.INTERRUPTED, text="", played=0)
        assert await lines(history, "1") == [("assistant", "One two. Three", "interrupted")]


async def test_g2_a_failed_answer_is_kept_as_far_as_it_was_heard_without_the_error(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        answered(
            history, "1", "One.", "Two.", "Three.", state=ReplyState.ERROR, text="the voice is away", heard="One. Two"
        )
        answered(history, "1", state=ReplyState.ERROR, text="the model is away")
        assert await lines(history, "1") == [("assistant", "One. Two", "error")]
        assert "away" not in str(await history.export("1"))


async def test_g2_a_text_that_was_read_out_is_the_avatars(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        answered(history, "1", "Welcome to the museum.", engine="echo")
        (entry,) = await history.page("1", before=None, limit=10)
    assert (entry.role, entry.sender, entry.engine) == ("assistant", "Eman", "echo")


async def test_g2_an_answer_that_the_end_of_its_session_cut_off_is_kept_as_far_as_it_was_heard(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        for session in ("1", "2"):
            history.record(session, Replying("r1", ReplyState.START, engine="demo"))
        for session in ("1", "2"):
            answered_half(history, session)
        history.ended("1")
        history.ended("1")
        history.ended("3")
        assert await lines(history, "1") == [("assistant", "Heard.", "interrupted")]
        assert await lines(history, "2") == []
    async with opened(tmp_path / "h.db") as history:  # closing the server ends the sessions that are left
        assert await lines(history, "2") == [("assistant", "Heard.", "interrupted")]


def answered_half(history: History, session_id: str) -> None:
    history.record(session_id, Replying("r1", ReplyState.SENTENCE, "Heard.", engine="demo"))
    history.record(session_id, Sounding("end", "Heard."))
    history.record(session_id, Replying("r1", ReplyState.SENTENCE, "Not heard.", engine="demo"))
    history.record(session_id, Sounding("start", "Not heard."))


@pytest.mark.parametrize(
    "text", ["你好，世界 🌍", "a\0b", "half an emoji \ud83d", 'quote " and \n line', "x" * 100_000]
)
async def test_g2_any_text_is_kept(tmp_path: Path, text: str) -> None:
    async with opened(tmp_path / "h.db") as history:
        asked(history, "1", text)
        asked(history, "1", "after")
    async with opened(tmp_path / "h.db") as history:
        kept = [line[1] for line in await lines(history, "1")]
    assert kept == [text.encode("utf-8", "replace").decode(), "after"]


async def test_g2_sessions_never_see_each_other(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        for number in range(50):
            asked(history, str(number % 5), f"of {number % 5}")
        for session in map(str, range(5)):
            assert await lines(history, session) == [("user", f"of {session}", "final")] * 10
            assert all(e["text"] == f"of {session}" for e in (await history.export(session))["entries"])
        assert await lines(history, "' OR 1=1 --") == []


# -- reading


async def test_g2_pages_lead_back_to_the_first_entry(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        for number in range(25):
            asked(history, "1", str(number))
            asked(history, "other", "no")
        seen: list[str] = []
        before: int | None = None
        while page := await history.page("1", before=before, limit=10):
            assert [e.id for e in page] == sorted(e.id for e in page)
            seen = [e.text for e in page] + seen
            before = page[0].id
    assert seen == [str(number) for number in range(25)]


async def test_g2_new_entries_do_not_move_older_pages(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        for number in range(10):
            asked(history, "1", str(number))
        newest = await history.page("1", before=None, limit=3)
        asked(history, "1", "later")
        older = await history.page("1", before=newest[0].id, limit=3)
    assert [e.text for e in older + newest] == ["4", "5", "6", "7", "8", "9"]


async def test_g2_the_list_for_operators_has_no_words(tmp_path: Path) -> None:
    clock = Clock(1000)
    async with opened(tmp_path / "h.db", clock=clock, retention_days=10_000_000) as history:
        for session in ("a", "b", "a", "c"):
            clock.now += 10
            asked(history, session, "secret words")
        found = await history.conversations(before=None, limit=10)
        older = await history.conversations(before=found[0]["last_id"], limit=1)
    assert [(c["sessionid"], c["first_at_ms"], c["last_at_ms"], c["entries"]) for c in found] == [
        ("c", 1040, 1040, 1),
        ("a", 1010, 1030, 2),
        ("b", 1020, 1020, 1),
    ]
    assert older == [found[1]]
    assert "secret" not in str(found)


async def test_g2_an_export_has_everything_once_and_in_order(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "h.db", clock=clock) as history:
        for number in range(450):
            asked(history, "1", f"frage {number} ü")
        document = await history.export("1")
    assert document["sessionid"] == "1"
    assert document["avatar"] == "Eman"
    assert document["started_at"] == "2027-01-15T08:00:00.000Z"
    assert [e["text"] for e in document["entries"]] == [f"frage {n} ü" for n in range(450)]
    assert set(document["entries"][0]) == {"id", "at", "at_ms", "role", "sender", "text", "engine", "state"}


async def test_g2_a_conversation_that_nobody_had_is_empty(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        assert await lines(history, "404") == []
        assert (await history.export("404"))["entries"] == []
        assert (await history.export("404"))["started_at"] is None
        assert await history.delete("404") == 0
        assert await history.utterances("404", 5) == []
        assert await history.conversations(before=None, limit=10) == []


# -- the dialogue's view


async def test_g2_the_dialogue_gets_the_last_turns_alternating(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        answered(history, "1", "Welcome.", engine="echo")
        asked(history, "1", "first")
        answered(history, "1", "One.")
        asked(history, "1", "second")  # it was interrupted before anything was heard
        asked(history, "1", "third")
        answered(history, "1", "Three, but", state=ReplyState.INTERRUPTED)
        answered(history, "1", "Read this out.", engine="echo")
        asked(history, "1", "fourth")
        whole = await history.utterances("1", 20)
        last_two = await history.utterances("1", 2)
        none = await history.utterances("1", 0)
    assert whole == [
        Utterance("user", "first"),
        Utterance("assistant", "One."),
        Utterance("user", "second\nthird"),
        Utterance("assistant", "Three, but"),
        Utterance("user", "fourth"),
    ]
    assert last_two == whole[2:]
    assert none == []


async def test_g2_the_dialogues_view_begins_with_the_user_in_a_long_conversation(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        for number in range(30):
            asked(history, "1", f"q{number}")
            answered(history, "1", f"a{number}")
        found = await history.utterances("1", 3)
    assert [u.text for u in found] == ["q27", "a27", "q28", "a28", "q29", "a29"]


# -- the switch, deleting, retention


async def test_g2_switched_off_nothing_is_kept_and_what_was_kept_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        asked(history, "1", "written before")
        await history.page("1", before=None, limit=1)  # it is on the disk
        asked(history, "1", "queued before")
        asked(history, "2", "of another")
        history.set_kept("1", False)
        assert not history.keeps("1")
        asked(history, "1", "while off")
        answered(history, "1", "An answer.")
        assert await lines(history, "1") == []
        history.set_kept("1", True)
        assert history.keeps("1")
        asked(history, "1", "from now on")
        assert await lines(history, "1") == [("user", "from now on", "final")]
        assert await lines(history, "2") == [("user", "of another", "final")]
    for words in (b"written before", b"queued before", b"while off", b"An answer"):
        assert words not in on_disk(tmp_path)


async def test_g2_off_and_on_at_once_deletes_what_was_before_and_keeps_what_comes(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        asked(history, "1", "before")
        history.set_kept("1", False)
        history.set_kept("1", True)
        asked(history, "1", "after")
        assert await lines(history, "1") == [("user", "after", "final")]


async def test_g2_a_deleted_conversation_leaves_no_byte_on_the_disk(tmp_path: Path) -> None:
    """Long and short texts, deleted between others, while the file is open: what is left must not hold a copy."""
    words = [f"word-{n}-{'x' * (n * 37 % 900)}-end-{n}-" for n in range(120)]
    async with opened(tmp_path / "h.db") as history:
        for number, text in enumerate(words):
            asked(history, str(number % 4), text)
        assert len(await lines(history, "0")) == 30
        assert words[0].encode() in on_disk(tmp_path)
        assert await history.delete("0") == 30
        assert await history.delete("2") == 30
        found = on_disk(tmp_path)
        assert await history.delete("0") == 0
    for number in range(120):
        expected = number % 4 in (1, 3)
        assert (f"word-{number}-".encode() in found) is expected
        assert (f"-end-{number}-".encode() in found) is expected


async def test_g2_what_is_said_after_deleting_is_kept_with_a_higher_id(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        asked(history, "1", "before")
        (old,) = await history.page("1", before=None, limit=10)
        await history.delete("1")
        asked(history, "1", "after")
        (new,) = await history.page("1", before=None, limit=10)
    assert new.text == "after"
    assert new.id > old.id


async def test_g2_retention_deletes_what_is_too_old_at_start_and_later(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "h.db", clock=clock, retention_days=30) as history:
        asked(history, "1", "first words")
        clock.now += 20 * DAY_MS
        asked(history, "1", "second words")
        assert await history.prune() == 0
        clock.now += 10 * DAY_MS + 1
        assert await history.prune() == 1
        assert await lines(history, "1") == [("user", "second words", "final")]
        assert b"first words" not in on_disk(tmp_path)
    clock.now += 10 * DAY_MS
    async with opened(tmp_path / "h.db", clock=clock, retention_days=19.9) as history:
        assert await lines(history, "1") == []
        assert b"second words" not in on_disk(tmp_path)


async def test_g2_retention_goes_on_while_the_server_runs(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "h.db", clock=clock, retention_days=1, prune_interval_s=0.01) as history:
        asked(history, "1", "old")
        assert len(await lines(history, "1")) == 1
        clock.now += DAY_MS + 1
        async with asyncio.timeout(10):
            while await lines(history, "1"):
                await asyncio.sleep(0.01)


# -- restarts, and no history at all


async def test_g2_conversations_outlive_the_server(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        asked(history, "1", "before the restart")
    async with opened(tmp_path / "h.db") as history:
        asked(history, "1", "after the restart")
        assert [text for _, text, _ in await lines(history, "1")] == ["before the restart", "after the restart"]


async def test_g2_closing_writes_what_is_queued(tmp_path: Path) -> None:
    async with opened(tmp_path / "h.db") as history:
        for number in range(2000):
            asked(history, "1", str(number))
    await history.close()  # a second time does nothing
    asked(history, "1", "too late")
    async with opened(tmp_path / "h.db") as history:
        assert len((await history.export("1"))["entries"]) == 2000
        assert history.lost == 0


async def test_g2_without_a_file_nothing_is_kept_and_nothing_fails() -> None:
    async with opened(None) as history:
        assert not history.available
        assert not history.keeps("1")
        asked(history, "1", "hello")
        answered(history, "1", "Hi.")
        history.ended("1")
        history.set_kept("1", False)
        assert await lines(history, "1") == []
        assert await history.utterances("1", 5) == []
        assert (await history.export("1"))["entries"] == []
        assert await history.conversations(before=None, limit=5) == []
        assert (await history.delete("1"), await history.prune(), history.lost) == (0, 0, 0)
