"""Kept conversations of a running server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.live.visitor import Installation, Visitor

WORDS = "the words that are kept"


@pytest.fixture(autouse=True)
async def keeping(installation: Installation) -> None:
    config = (await installation.ask("GET", "/api/config"))[1]["data"]
    if not config["history"]:
        pytest.skip("this server keeps no conversations (history.enabled, or the log says why it can't)")


async def kept(installation: Installation, visitor: Visitor) -> list[dict[str, Any]]:
    own = {"sessionid": visitor.session, "token": visitor.answer["token"]}
    answer = (await installation.ask("GET", "/api/history", params=own))[1]
    assert answer["code"] == 0, answer
    entries: list[dict[str, Any]] = answer["data"]["entries"]
    return entries


async def test_what_was_said_is_kept_exported_and_deleted_for_its_owner_only(installation: Installation) -> None:
    async with installation.visit() as visitor:
        await visitor.human(WORDS)
        await visitor.told("a text was spoken", "reply", state="end")
        async with asyncio.timeout(installation.patience):
            while [entry["text"] for entry in await kept(installation, visitor)] != [WORDS]:
                await asyncio.sleep(0.1)
        own = {"sessionid": visitor.session, "token": visitor.answer["token"]}
        for nobody in ({"sessionid": visitor.session, "token": "wrong"}, {**own, "token": own["token"][:-2]}):
            for method, path in (("GET", "/api/history"), ("GET", "/api/history/export"), ("DELETE", "/api/history")):
                assert (await installation.ask(method, path, params=nobody))[0] == 401, f"{path} is open to everybody"
        _, document = await installation.ask("GET", "/api/history/export", params=own)
        assert [entry["text"] for entry in document["entries"]] == [WORDS]
        _, answer = await installation.ask("DELETE", "/api/history", params=own)
        assert answer["data"] == {"deleted": 1}
        await visitor.told("a conversation was deleted", "history_cleared")
        assert await kept(installation, visitor) == []


async def test_who_wants_nothing_kept_leaves_nothing(installation: Installation) -> None:
    async with installation.visit(storage=False) as visitor:
        await visitor.human(WORDS)
        await visitor.told("a text was spoken", "reply", state="end")
        assert await kept(installation, visitor) == []
