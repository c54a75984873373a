"""Kept conversations end to end (G2): talking to a running server, restarting it, reading, deleting."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp

from core.frames import Utterance
from tests.avatar_client import AvatarClient, WavMicrophone
from tests.conftest import Serve
from tests.histories import on_disk
from tests.speech import flite

ANSWER = "One two three. Four five six."
Lines = list[tuple[str, str, str, str]]


def keeping(folder: Path) -> dict[str, str]:
    return {"history__enabled": "true", "history__path": str(folder / "data" / "history.db")}


async def kept(client: AvatarClient, path: str = "/api/history") -> dict[str, Any]:
    query = {"sessionid": client.session, "token": client.answer["token"]}
    async with client.http.get(client.url + path, params=query) as response:
        answer: dict[str, Any] = await response.json()
        return answer


async def lines(client: AvatarClient) -> Lines:
    """(role, sender, text, state) of all that is kept."""
    return [(e["role"], e["sender"], e["text"], e["state"]) for e in (await kept(client))["data"]["entries"]]


async def answer_over(client: AvatarClient, state: str, count: int = 1) -> str:
    """Wait for the `count`-th answer that comes to `state`; returns its text."""
    async with asyncio.timeout(20):
        while True:
            found = [m for m in client.messages if m["type"] == "reply" and m["state"] == state]
            if len(found) >= count:
                return str(found[count - 1]["text"])
            await asyncio.sleep(0.01)


async def test_g2_a_conversation_is_kept_over_a_restart_and_goes_on(serving: Serve, tmp_path: Path) -> None:
    """Typed, spoken and read-out words; then another server on the same file; then the export, then nothing."""
    microphone = WavMicrophone()
    async with serving(**keeping(tmp_path)) as server:
        assert server.history.available
        async with AvatarClient(server.url, microphone=microphone) as client:
            await client.connect()
            await client.login()
            await client.human("what is one", "chat")
            assert await answer_over(client, "end") == ANSWER
            microphone.say(flite("hello there my friend"))
            said = (await client.message("asr_result", is_final=True))["text"]
            await answer_over(client, "end", 2)
            await client.human("Welcome.", "echo")
            await answer_over(client, "end", 3)
            before = await lines(client)
            session, token = client.session, client.answer["token"]
    assert before == [
        ("user", "user", "what is one", "final"),
        ("assistant", "Eman", ANSWER, "final"),
        ("user", "回音", said, "final"),
        ("assistant", "Eman", ANSWER, "final"),
        ("assistant", "Eman", "Welcome.", "final"),
    ]

    async with serving(**keeping(tmp_path)) as server:
        extra = {"sessionid": session, "token": token}
        async with AvatarClient(server.url, extra=extra) as client:
            await client.connect()
            assert client.session == session
            assert await lines(client) == before
            await client.login()
            await client.human("and two?", "chat")
            await answer_over(client, "end")
            history, question = server.engines.dialogue.calls[-1]
            assert question == "and two?"
            assert history == (
                Utterance("user", "what is one"),
                Utterance("assistant", ANSWER),
                Utterance("user", said),
                Utterance("assistant", ANSWER),
            )
            exported = await kept(client, "/api/history/export")
            assert [e["text"] for e in exported["entries"]] == [*(line[2] for line in before), "and two?", ANSWER]
            query = {"sessionid": session, "token": token}
            async with client.http.delete(server.url + "/api/history", params=query) as response:
                assert (await response.json())["data"] == {"deleted": 7}
            await client.message("history_cleared")
            assert await lines(client) == []
            assert not server.sessions.find(session).conversation.history
            for words in (b"what is one", ANSWER.encode(), said.encode(), b"Welcome", b"and two"):
                assert words not in on_disk(tmp_path / "data")


async def test_g2_an_interrupted_answer_is_kept_as_the_page_was_told(serving: Serve, tmp_path: Path) -> None:
    async with serving(**keeping(tmp_path)) as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        asked = time.monotonic()
        await client.human("one two three four five six seven eight", "echo")
        await client.audible(asked)
        await asyncio.sleep(0.7)
        await client.post("/interrupt_talk", sessionid=client.session)
        heard = await answer_over(client, "interrupted")
        assert heard.startswith("one")
        assert await lines(client) == [("assistant", "Eman", heard, "interrupted")]


async def test_g2_a_failed_answer_is_kept_as_far_as_it_was_heard(serving: Serve, tmp_path: Path) -> None:
    """The voice falls silent after the first sentence: that one was heard, the error is not the avatar's words."""
    options = {"dialogue__options": "{answer: 'One two three four. mute now.'}", "tts__timeout_s": "2.5"}
    async with serving(**keeping(tmp_path), **options) as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        await client.human("say something", "chat")
        assert await answer_over(client, "error") == "the voice did not answer in time"
        assert await lines(client) == [
            ("user", "user", "say something", "final"),
            ("assistant", "Eman", "One two three four.", "error"),
        ]


async def test_g2_what_was_heard_is_kept_when_the_user_hangs_up_in_the_middle(serving: Serve, tmp_path: Path) -> None:
    async with serving(**keeping(tmp_path)) as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        asked = time.monotonic()
        await client.human("One two three. Four five six seven eight nine ten eleven twelve.", "echo")
        await client.audible(asked)
        await client.message("reply", state="sentence", text="Four five six seven eight nine ten eleven twelve.")
        await client.post("/api/hangup", sessionid=client.session, token=client.answer["token"])
        (line,) = await lines(client)
        assert line[0] == "assistant"
        assert line[3] == "interrupted"
        assert line[2].startswith("One two three.")
        assert "twelve" not in line[2]


async def test_g2_the_switch_of_the_page_keeps_nothing_and_deletes_what_was(serving: Serve, tmp_path: Path) -> None:
    async with serving(**keeping(tmp_path)) as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        await client.human("kept words", "chat")
        await answer_over(client, "end")
        assert len(await lines(client)) == 2
        await client.send(type="storage", enabled=False)
        await client.human("private words", "chat")
        await answer_over(client, "end", 2)
        assert await lines(client) == []
        await client.send(type="storage", enabled=True)
        await client.human("open words", "chat")
        await answer_over(client, "end", 3)
        assert [line[2] for line in await lines(client)] == ["open words", ANSWER]
    assert b"kept words" not in on_disk(tmp_path / "data")
    assert b"private words" not in on_disk(tmp_path / "data")


async def test_g2_an_offer_without_storage_keeps_nothing(serving: Serve, tmp_path: Path) -> None:
    async with (
        serving(**keeping(tmp_path)) as server,
        AvatarClient(server.url, extra={"storage": False}) as client,
    ):
        await client.connect()
        await client.login()
        await client.human("private words", "chat")
        await answer_over(client, "end")
        assert await lines(client) == []
    assert b"private words" not in on_disk(tmp_path / "data")


async def test_g2_two_conversations_side_by_side_are_kept_apart(serving: Serve, tmp_path: Path) -> None:
    async with (
        serving(**keeping(tmp_path)) as server,
        AvatarClient(server.url, video=False) as one,
        AvatarClient(server.url, video=False) as two,
    ):
        for client in (one, two):
            await client.connect()
            await client.login()
        await asyncio.gather(*(one.human(f"of one {n}", "echo") for n in range(3)))
        await asyncio.gather(*(two.human(f"of two {n}", "echo") for n in range(3)))
        await asyncio.gather(answer_over(one, "end", 3), answer_over(two, "end", 3))
        assert sorted(line[2] for line in await lines(one)) == [f"of one {n}" for n in range(3)]
        assert sorted(line[2] for line in await lines(two)) == [f"of two {n}" for n in range(3)]
        query = {"sessionid": one.session, "token": two.answer["token"]}
        async with aiohttp.ClientSession() as http, http.get(server.url + "/api/history", params=query) as response:
            assert response.status == 401
