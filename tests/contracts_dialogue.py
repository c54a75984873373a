"""What every dialogue adapter must do, whatever it is. `tests/test_dialogue.py` runs this over the table."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from core.dialogue import ADAPTERS
from core.errors import DialogueError
from core.frames import Utterance
from core.stages import Dialogue
from tests.openai_server import KEY, MODEL, OpenAIServer, Scenario

HISTORY = (Utterance("user", "hello"), Utterance("assistant", "Hello! Nice to meet you."))


def load(name: str) -> type[Any]:
    """The class behind a name of the table."""
    module, _, attribute = ADAPTERS[name].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


@asynccontextmanager
async def _local() -> AsyncIterator[dict[str, Any]]:
    yield {}


@asynccontextmanager
async def _openai() -> AsyncIterator[dict[str, Any]]:
    async with OpenAIServer(Scenario()).running() as server:
        yield {"base_url": server.base_url, "api_key": KEY, "model": MODEL}


SITES: dict[str, Callable[[], AbstractAsyncContextManager[dict[str, Any]]]] = {"demo": _local, "openai": _openai}
"""For each adapter: what it needs around it; yields the settings to construct it with."""


async def _join(dialogue: Dialogue, history: tuple[Utterance, ...], text: str) -> str:
    return "".join([piece async for piece in dialogue.reply(history, text)])


class DialogueContract:
    """The tests. A subclass provides the fixture `dialogue`: a started adapter."""

    async def test_is_a_dialogue_with_its_name(self, dialogue: Dialogue, adapter: str) -> None:
        assert isinstance(dialogue, Dialogue)
        assert dialogue.name == adapter

    async def test_is_constructed_without_arguments(self, adapter: str) -> None:
        await load(adapter)().close()

    async def test_answers_with_and_without_history(self, dialogue: Dialogue) -> None:
        assert (await _join(dialogue, (), "hello")).strip()
        assert (await _join(dialogue, HISTORY, "who are you")).strip()

    async def test_streams_in_several_pieces_of_text(self, dialogue: Dialogue) -> None:
        pieces = [piece async for piece in dialogue.reply((), "what can you do")]
        assert len(pieces) > 1
        assert all(isinstance(piece, str) and piece for piece in pieces)

    @pytest.mark.parametrize(
        "text", ["", " ", "\x00\x1b", "a" * 100_000, "<think>", "你好" * 2000, "\ud800", "9" * 5000]
    )
    async def test_odd_input_is_answered_or_refused_as_a_dialogue_error(self, dialogue: Dialogue, text: str) -> None:
        try:
            answer = await _join(dialogue, (), text)
        except DialogueError as error:
            answer = error.adapter
        assert answer

    async def test_two_answers_at_once_do_not_mix(self, dialogue: Dialogue) -> None:
        alone = [await _join(dialogue, (), "hello"), await _join(dialogue, (), "goodbye")]
        together = await asyncio.gather(_join(dialogue, (), "hello"), _join(dialogue, (), "goodbye"))
        assert list(together) == alone

    async def test_an_answer_can_be_left_early_and_the_next_one_is_whole(self, dialogue: Dialogue) -> None:
        whole = await _join(dialogue, (), "hello")
        pieces: Any = dialogue.reply((), "hello")
        await anext(pieces)
        await pieces.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)
        assert await _join(dialogue, (), "hello") == whole

    async def test_history_is_not_changed(self, dialogue: Dialogue) -> None:
        history = list(HISTORY)
        _ = [piece async for piece in dialogue.reply(history, "hello")]
        assert history == list(HISTORY)

    async def test_start_and_close_may_be_repeated(self, dialogue: Dialogue) -> None:
        await dialogue.start()
        assert await _join(dialogue, (), "hello")
        await dialogue.close()
        await dialogue.close()
