"""The OpenAI-compatible dialogue against a strict server on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from core.dialogue.openai import SYSTEM_PROMPT, OpenAIDialogue
from core.errors import DialogueError
from core.frames import Utterance
from tests.openai_server import KEY, MODEL, OpenAIServer, Scenario


@asynccontextmanager
async def talking(
    *scenarios: Scenario, key: str | None = KEY, **options: Any
) -> AsyncIterator[tuple[OpenAIServer, OpenAIDialogue, list[float]]]:
    """A server, a started dialogue that talks to it, and the list of the waits it asked for."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    server = OpenAIServer(*scenarios, key=key)
    async with server.running():
        settings = {"base_url": server.base_url, "api_key": key or "", "model": MODEL, "timeout_s": 10.0, **options}
        dialogue = OpenAIDialogue(sleep=sleep, jitter=lambda: 0.5, **settings)
        await dialogue.start()
        try:
            yield server, dialogue, waits
        finally:
            await dialogue.close()


async def said(dialogue: OpenAIDialogue, text: str = "hi", history: tuple[Utterance, ...] = ()) -> list[str]:
    return [piece async for piece in dialogue.reply(history, text)]


async def test_streams_the_words_and_sends_what_the_server_expects() -> None:
    history = (Utterance("user", "one"), Utterance("assistant", "two"), Utterance("assistant", " "))
    async with talking() as (server, dialogue, _):
        assert await said(dialogue, "three", history) == ["Hello", " there", "."]
    assert server.refused == []
    assert server.bodies[0]["messages"] == [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]


async def test_history_is_limited_to_whole_turns() -> None:
    history = tuple(Utterance(role, f"{role}{n}") for n in range(30) for role in ("user", "assistant"))
    async with talking(history_turns=2, system_prompt="") as (server, dialogue, _):
        await said(dialogue, "now", history)
    sent = [message["content"] for message in server.bodies[0]["messages"]]
    assert sent == ["user28", "assistant28", "user29", "assistant29", "now"]


async def test_without_history_turns_only_the_question_is_sent() -> None:
    async with talking(history_turns=0, system_prompt="") as (server, dialogue, _):
        await said(dialogue, "now", (Utterance("user", "before"), Utterance("assistant", "yes")))
    assert [message["content"] for message in server.bodies[0]["messages"]] == ["now"]


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(words=("你好", "，世", "界 é"), write_size=1),
        Scenario(words=("你好", "，世", "界 é"), crlf=True, comments=True, write_size=7),
        Scenario(words=("你好", "，世", "界 é"), space=False, usage_chunk=True, null_content=True),
        Scenario(words=("你好", "，世", "界 é"), done=False, role_chunk=False, comments=True),
        Scenario(words=("你好", "，世", "界 é"), reasoning=("secret", " thoughts")),
        Scenario(words=("你好", "", "，世", "界 é")),
    ],
    ids=["bytes", "crlf", "usage", "no-done", "reasoning", "empty-delta"],
)
async def test_dialects_of_the_stream(scenario: Scenario) -> None:
    async with talking(scenario) as (_, dialogue, _):
        assert await said(dialogue) == ["你好", "，世", "界 é"]


async def test_no_key_sends_no_authorization_and_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-elsewhere")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-elsewhere")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-elsewhere")
    async with talking(key=None) as (server, dialogue, _):
        await said(dialogue)
    assert "elsewhere" not in str(server.headers)


async def test_a_refused_key_is_explained_without_the_key() -> None:
    async with talking(api_key="sk-wrong-secret") as (server, dialogue, waits):
        with pytest.raises(DialogueError, match=r"401.*api_key") as caught:
            await said(dialogue)
    assert "sk-wrong-secret" not in str(caught.value)
    assert "sk-wrong-secret" in server.refused[0]
    assert (caught.value.retryable, caught.value.adapter, waits, server.attempts) == (False, "openai", [], 1)


async def test_the_key_is_cut_out_of_what_a_server_quotes() -> None:
    body = f'{{"error": {{"message": "bad header Bearer {KEY} here"}}}}'
    async with talking(Scenario(status=400, body=body)) as (_, dialogue, _):
        with pytest.raises(DialogueError, match="bad header") as caught:
            await said(dialogue)
    assert KEY not in str(caught.value)


async def test_a_wrong_model_and_path_are_told() -> None:
    async with talking(model="nope") as (_, dialogue, _):
        with pytest.raises(DialogueError, match=r"400.*'nope' does not exist"):
            await said(dialogue)
    async with talking() as (server, _, _):
        lost = OpenAIDialogue(base_url=server.base_url + "/deeper", api_key=KEY, model=MODEL)
        await lost.start()
        with pytest.raises(DialogueError, match=r"404.*base_url"):
            await said(lost)
        await lost.close()


async def test_busy_is_tried_again_after_the_time_the_server_asks_for() -> None:
    busy = Scenario(status=429, headers={"Retry-After": "3"})
    async with talking(busy, Scenario(status=500), Scenario()) as (server, dialogue, waits):
        assert "".join(await said(dialogue)) == "Hello there."
    assert waits == [3.125, 0.75]
    assert server.attempts == 3


async def test_a_retry_date_is_understood() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=5), usegmt=True)
    async with talking(Scenario(status=503, headers={"Retry-After": date}), Scenario()) as (_, dialogue, waits):
        await said(dialogue)
    assert 2 < waits[0] < 6


async def test_gives_up_after_two_retries_or_when_the_wait_is_too_long() -> None:
    async with talking(Scenario(status=500)) as (server, dialogue, waits):
        with pytest.raises(DialogueError, match="500") as caught:
            await said(dialogue)
    assert (caught.value.retryable, server.attempts, len(waits)) == (True, 3, 2)
    async with talking(Scenario(status=429, headers={"Retry-After": "60"})) as (server, dialogue, waits):
        with pytest.raises(DialogueError, match="429"):
            await said(dialogue)
    assert (server.attempts, waits) == (1, [])


async def test_an_unreachable_server_is_tried_again_then_told() -> None:
    async with talking() as (server, _, _):
        url = server.base_url
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    dialogue = OpenAIDialogue(base_url=url, sleep=sleep)
    await dialogue.start()
    with pytest.raises(DialogueError, match="can not be reached") as caught:
        await said(dialogue)
    await dialogue.close()
    assert caught.value.retryable
    assert len(waits) == 2


async def test_an_error_in_the_stream_ends_the_answer_and_is_not_retried_once_words_were_said() -> None:
    async with talking(Scenario(error_after=2)) as (server, dialogue, _):
        pieces = dialogue.reply((), "hi")
        assert [await anext(pieces), await anext(pieces)] == ["Hello", " there"]
        with pytest.raises(DialogueError, match="it broke"):
            await anext(pieces)
    assert server.attempts == 1


async def test_an_error_before_the_first_word_is_tried_again() -> None:
    async with talking(Scenario(error_after=0), Scenario(drop_after=0), Scenario()) as (server, dialogue, _):
        assert "".join(await said(dialogue)) == "Hello there."
    assert server.attempts == 3


async def test_a_cut_connection_is_an_error() -> None:
    async with talking(Scenario(drop_after=1)) as (server, dialogue, _):
        with pytest.raises(DialogueError, match="broke off") as caught:
            await said(dialogue)
    assert (caught.value.retryable, server.attempts) == (True, 1)


@pytest.mark.parametrize("scenario", [Scenario(stall_after=1), Scenario(first_delay=60), Scenario(stall_after=0)])
async def test_silence_is_an_error_and_closes_the_response(scenario: Scenario) -> None:
    async with talking(scenario, timeout_s=0.2) as (server, dialogue, waits):
        with pytest.raises(DialogueError, match=r"said nothing for 0\.2 s") as caught:
            await said(dialogue)
        await asyncio.wait_for(server.gone.wait(), 5)
    assert (caught.value.code, waits) == ("dialogue_timeout", [])


async def test_closing_the_iterator_closes_the_response() -> None:
    async with talking(Scenario(stall_after=1)) as (server, dialogue, _):
        async with aclosing(dialogue.reply((), "hi")) as pieces:
            assert await anext(pieces) == "Hello"
            assert not server.gone.is_set()
        await asyncio.wait_for(server.gone.wait(), 5)


async def test_cancelling_the_reader_closes_the_response() -> None:
    async with talking(Scenario(stall_after=1)) as (server, dialogue, _):
        reader = asyncio.create_task(said(dialogue))
        await asyncio.wait_for(server.streaming.wait(), 5)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await asyncio.wait_for(server.gone.wait(), 5)


@pytest.mark.parametrize("raw", [b"data: {oops\n\n", b"data: \xff\xfe\n\n", b"<html>no</html>", b""])
async def test_nonsense_is_an_error(raw: bytes) -> None:
    async with talking(Scenario(raw=raw)) as (_, dialogue, _):
        with pytest.raises(DialogueError):
            await said(dialogue)


async def test_an_answer_of_reasoning_only_is_an_error_that_says_so() -> None:
    async with talking(Scenario(words=(), reasoning=("hm",))) as (_, dialogue, _):
        with pytest.raises(DialogueError, match=r"empty answer.*max_tokens"):
            await said(dialogue)


@pytest.mark.parametrize(("key", "value"), [("base_url", "api.example.org/v1"), ("api_key", "sk-\u4f60")])
async def test_settings_that_can_not_work_are_refused_at_start(key: str, value: str) -> None:
    with pytest.raises(DialogueError, match=key):
        await OpenAIDialogue(**{key: value}).start()  # type: ignore[arg-type]


async def test_an_engine_that_is_not_started_says_so() -> None:
    with pytest.raises(DialogueError, match="not started"):
        await said(OpenAIDialogue())
