"""Any sequence of what users and operators do to the kept conversations (G2), against a plain dictionary."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from core.history import History
from tests.histories import Clock, asked, lines, on_disk

SESSIONS = st.sampled_from(["a", "b", "c"])
STEP = st.one_of(
    st.tuples(st.just("say"), SESSIONS, st.integers(1, 8)),
    st.tuples(st.just("delete"), SESSIONS, st.just(0)),
    st.tuples(st.just("off"), SESSIONS, st.just(0)),
    st.tuples(st.just("on"), SESSIONS, st.just(0)),
    st.tuples(st.just("days"), st.just(""), st.integers(1, 20)),
    st.tuples(st.just("prune"), st.just(""), st.just(0)),
    st.tuples(st.just("read"), SESSIONS, st.just(0)),
    st.tuples(st.just("restart"), st.just(""), st.just(0)),
)


class Model:
    """What must be kept: (Unix ms, word) per session."""

    def __init__(self) -> None:
        self.kept: dict[str, list[tuple[int, str]]] = {"a": [], "b": [], "c": []}
        self.off: set[str] = set()
        self.said: list[str] = []
        self.wiped: dict[str, int] = {}
        """Entries that switching off has deleted."""

    def words(self, session: str) -> list[str]:
        return [word for _, word in self.kept[session]]

    def prune(self, before: int) -> None:
        self.kept = {session: [e for e in entries if e[0] >= before] for session, entries in self.kept.items()}


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, min_size=5, max_size=40))
def test_g2_what_is_kept_is_what_was_said_and_neither_deleted_nor_switched_off_nor_too_old(
    steps: list[tuple[str, str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(follow(steps, Path(folder)))


async def follow(steps: list[tuple[str, str, int]], folder: Path) -> None:
    model, clock = Model(), Clock()

    async def start() -> History:
        history = History(folder / "h.db", retention_days=30, avatar_name="Eman", clock=clock)
        await history.start()
        model.prune(clock.now - 30 * 86_400_000)
        return history

    history = await start()
    for step, session, amount in steps:
        match step:
            case "say":
                for _ in range(amount):
                    word = f"word-{len(model.said)}-"
                    model.said.append(word)
                    asked(history, session, word)
                    if session not in model.off:
                        model.kept[session].append((clock.now, word))
            case "delete":
                # what the switch has just deleted may still be on its way and is then deleted, and counted, here
                assert await history.delete(session) in (len(model.kept[session]), model.wiped.pop(session, 0))
                model.kept[session] = []
            case "off":
                history.set_kept(session, False)
                model.off.add(session)
                model.wiped[session] = model.wiped.get(session, 0) + len(model.kept[session])
                model.kept[session] = []
            case "on":
                history.set_kept(session, True)
                model.off.discard(session)
            case "days":
                clock.now += amount * 86_400_000
            case "prune":
                await history.prune()
                model.prune(clock.now - 30 * 86_400_000)
            case "read":
                assert [line[1] for line in await lines(history, session)] == model.words(session)
            case "restart":
                await history.close()
                history = await start()
                for switched_off in model.off:
                    history.set_kept(switched_off, False)
    await history.close()
    remaining = {word for session in model.kept for word in model.words(session)}
    disk = on_disk(folder)
    assert {word for word in model.said if word.encode() in disk} == remaining
