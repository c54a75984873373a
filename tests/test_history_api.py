"""HTTP routes of the kept conversations (G2): who may read, pages, export, deletion, the operators' list."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core.events import Typed
from tests.conftest import Serve
from tests.offers import Api, real_offer

ADMIN = "the admin token of a test"
KEY = "the api key of a test"


@pytest.fixture
async def api(serving: Serve, tmp_path: Path) -> AsyncIterator[Api]:
    """A server that keeps its history; one session, with three entries."""
    options = {"history__enabled": "true", "history__path": str(tmp_path / "h.db"), "auth__admin_token": ADMIN}
    async with serving(**options, auth__api_keys=f'["{KEY}"]') as server, Api(server) as api:
        await api.open_session()
        for number in range(3):
            server.history.record(api.id, Typed(f"words {number}"))
        yield api


async def get(api: Api, path: str, token: str | None = None, **query: str) -> tuple[int, dict[str, Any]]:
    return await ask(api, "GET", path, token, **query)


async def ask(api: Api, method: str, path: str, token: str | None = None, **query: str) -> tuple[int, dict[str, Any]]:
    """`token` goes into the query, "admin:" and "key:" before it into the header."""
    headers = {}
    if token is not None and token.startswith("admin:"):
        headers["X-Admin-Token"] = token.removeprefix("admin:")
    elif token is not None and token.startswith("key:"):
        headers["X-API-Key"] = token.removeprefix("key:")
    elif token is not None:
        query["token"] = token
    return await api.raw(method, path, params=query, headers=headers)


def texts(answer: dict[str, Any]) -> list[str]:
    return [entry["text"] for entry in answer["data"]["entries"]]


async def test_g2_a_page_has_everything_a_chat_shows(api: Api) -> None:
    status, answer = await get(api, "/api/history", api.token, sessionid=api.id)
    assert (status, answer["code"], answer["data"]["before"]) == (200, 0, None)
    assert texts(answer) == ["words 0", "words 1", "words 2"]
    entry = answer["data"]["entries"][0]
    assert set(entry) == {"id", "session_id", "at_ms", "role", "sender", "text", "engine", "state"}
    assert (entry["session_id"], entry["role"], entry["state"]) == (api.id, "user", "final")


async def test_g2_pages_are_followed_with_before(api: Api) -> None:
    for number in range(3, 10):
        api.server.history.record(api.id, Typed(f"words {number}"))
    seen: list[str] = []
    query = {"sessionid": api.id, "limit": "4"}
    sizes = []
    while True:
        _, answer = await get(api, "/api/history", api.token, **query)
        seen = texts(answer) + seen
        sizes.append(len(texts(answer)))
        if answer["data"]["before"] is None:
            break
        query["before"] = str(answer["data"]["before"])
    assert seen == [f"words {n}" for n in range(10)]
    assert sizes == [4, 4, 2]


async def test_g2_a_page_that_fits_exactly_has_none_before_it(api: Api) -> None:
    _, answer = await get(api, "/api/history", api.token, sessionid=api.id, limit="3")
    assert (len(texts(answer)), answer["data"]["before"]) == (3, None)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "-1"},
        {"limit": "ten"},
        {"limit": "1.5"},
        {"limit": "٣"},
        {"before": "0"},
        {"before": "x"},
        {"before": "9" * 40},
        {"sessionid": ""},
        {"sessionid": "x" * 65},
        {"sessionid": "a\nb"},
    ],
    ids=str,
)
async def test_g2_nonsense_in_the_query_is_refused(api: Api, query: dict[str, str]) -> None:
    for path, token in (("/api/history", f"key:{KEY}"), ("/api/admin/conversations", f"admin:{ADMIN}")):
        if path == "/api/admin/conversations" and "sessionid" in query:
            continue
        status, answer = await get(api, path, token, **{"sessionid": api.id, **query})
        assert (status, answer["code"], answer["error"]) == (200, -1, "bad_request")
        assert answer["msg"]


async def test_g2_the_session_must_be_named(api: Api) -> None:
    for method, path in (("GET", "/api/history"), ("DELETE", "/api/history"), ("GET", "/api/history/export")):
        _, answer = await ask(api, method, path, api.token)
        assert (answer["error"], answer["msg"]) == ("bad_request", "sessionid is missing")
    _, answer = await ask(api, "DELETE", "/api/admin/history", f"admin:{ADMIN}")
    assert answer["error"] == "bad_request"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/export"), ("DELETE", "")])
async def test_g2_nobody_else_reads_or_deletes_a_conversation(api: Api, method: str, path: str) -> None:
    """Also on a server without `auth.enabled`: words are not for whoever guesses an id."""
    other = api.server.tokens.issue("another session")
    for token in (None, "", "wrong", other, "key:wrong", "admin:wrong", api.token + "x"):
        status, answer = await ask(api, method, "/api/history" + path, token, sessionid=api.id)
        assert (status, answer["code"], answer["error"]) == (401, -1, "auth_failed")
        assert "words" not in str(answer)
    _, answer = await get(api, "/api/history", api.token, sessionid=api.id)
    assert len(texts(answer)) == 3


@pytest.mark.parametrize("way", ["query", "bearer", "key", "admin"])
async def test_g2_owner_programs_and_admin_may_read(api: Api, way: str) -> None:
    query = {"sessionid": api.id}
    headers = {}
    match way:
        case "query":
            query["token"] = api.token
        case "bearer":
            headers["Authorization"] = f"Bearer {api.token}"
        case "key":
            headers["X-API-Key"] = KEY
        case "admin":
            headers["X-Admin-Token"] = ADMIN
    status, answer = await api.raw("GET", "/api/history", params=query, headers=headers)
    assert (status, len(texts(answer))) == (200, 3)


async def test_g2_an_export_is_a_file_to_save_that_people_and_programs_read(api: Api) -> None:
    api.server.history.record(api.id, Typed('你好 "quoted" </script> ü'))
    async with api.http.get(
        api.url + "/api/history/export", params={"sessionid": api.id, "token": api.token}
    ) as response:
        text = await response.text()
        headers = response.headers
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Content-Disposition"] == f'attachment; filename="conversation-{api.id}.json"'
    assert headers["Cache-Control"] == "no-store"
    document = json.loads(text)
    assert document["sessionid"] == api.id
    assert [e["text"] for e in document["entries"]] == [*(f"words {n}" for n in range(3)), '你好 "quoted" </script> ü']
    assert document["started_at"] == document["entries"][0]["at"]
    assert "你好" in text  # readable, not escaped
    assert all(len([line for line in text.splitlines() if f"words {n}" in line]) == 1 for n in range(3))


@pytest.mark.parametrize("name", ['a"; filename="x.exe', "../../etc/passwd", "ein Gespräch", "..", "a;b=c"])
async def test_g2_the_name_of_an_exported_file_is_harmless_whatever_the_id_is(api: Api, name: str) -> None:
    query = {"sessionid": name, "token": api.server.tokens.issue(name)}
    async with api.http.get(api.url + "/api/history/export", params=query) as response:
        assert json.loads(await response.text())["entries"] == []
        disposition = response.headers["Content-Disposition"]
    stem = disposition.removeprefix('attachment; filename="conversation-').removesuffix('.json"')
    assert stem
    assert all(char.isascii() and (char.isalnum() or char in "_-") for char in stem)


async def test_g2_words_are_never_left_in_a_cache(api: Api) -> None:
    for path, headers in (("/api/history", {}), ("/api/admin/conversations", {"X-Admin-Token": ADMIN})):
        query = {"sessionid": api.id, "token": api.token}
        async with api.http.get(api.url + path, params=query, headers=headers) as response:
            assert response.headers["Cache-Control"] == "no-store"


async def test_g2_deleting_empties_every_tab(api: Api) -> None:
    async with api.http.ws_connect(api.url.replace("http", "ws") + "/ws") as tab:
        await tab.send_json({"type": "login", "session_id": api.id, "token": api.token})
        _, answer = await ask(api, "DELETE", "/api/history", api.token, sessionid=api.id)
        assert answer == {"code": 0, "msg": "ok", "data": {"deleted": 3}}
        while (message := await tab.receive_json(timeout=10))["type"] != "history_cleared":
            pass
        assert message == {"type": "history_cleared", "session_id": api.id}
    _, answer = await get(api, "/api/history", api.token, sessionid=api.id)
    assert (texts(answer), answer["data"]["before"]) == ([], None)
    _, answer = await ask(api, "DELETE", "/api/history", api.token, sessionid=api.id)
    assert answer["data"] == {"deleted": 0}


async def test_g2_operators_see_which_conversations_there_are_but_no_words(api: Api) -> None:
    api.server.history.record("another", Typed("words of another"))
    status, answer = await get(api, "/api/admin/conversations", f"admin:{ADMIN}")
    assert status == 200
    found = answer["data"]["conversations"]
    assert [(c["sessionid"], c["entries"]) for c in found] == [("another", 1), (api.id, 3)]
    assert set(found[0]) == {"sessionid", "first_at_ms", "last_at_ms", "entries", "last_id"}
    assert answer["data"]["before"] is None
    assert "words" not in str(answer)
    _, first = await get(api, "/api/admin/conversations", f"admin:{ADMIN}", limit="1")
    _, second = await get(
        api, "/api/admin/conversations", f"admin:{ADMIN}", limit="1", before=str(first["data"]["before"])
    )
    assert first["data"]["conversations"] + second["data"]["conversations"] == found
    assert second["data"]["before"] is None


async def test_g2_operators_may_delete_a_conversation(api: Api) -> None:
    _, answer = await ask(api, "DELETE", "/api/admin/history", f"admin:{ADMIN}", sessionid=api.id)
    assert answer["data"] == {"deleted": 3}
    assert texts((await get(api, "/api/history", api.token, sessionid=api.id))[1]) == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/admin/conversations"), ("DELETE", "/api/admin/history")])
async def test_g2_only_operators_list_and_delete_other_peoples_conversations(api: Api, method: str, path: str) -> None:
    for token in (None, "admin:wrong", api.token, f"admin:{api.token}", f"key:{KEY}"):
        status, answer = await ask(api, method, path, token, sessionid=api.id)
        assert (status, answer["error"]) == (401, "auth_failed")
    assert len(texts((await get(api, "/api/history", api.token, sessionid=api.id))[1])) == 3


async def test_g2_a_page_of_another_site_can_not_delete(api: Api) -> None:
    headers = {"Origin": "https://elsewhere.example"}
    query = {"sessionid": api.id, "token": api.token}
    status, answer = await api.raw("DELETE", "/api/history", params=query, headers=headers)
    assert (status, answer["error"]) == (403, "origin_refused")
    assert len(texts((await get(api, "/api/history", api.token, sessionid=api.id))[1])) == 3


async def test_g2_a_history_that_can_not_be_used_is_told_and_the_server_runs_on(serving: Serve, tmp_path: Path) -> None:
    options = {"history__enabled": "true", "history__path": str(tmp_path)}  # a folder
    async with serving(**options) as server, Api(server) as api:
        await api.open_session()
        assert (await api.raw("GET", "/api/config"))[1]["data"]["history"] is False
        for method in ("GET", "DELETE"):
            status, answer = await ask(api, method, "/api/history", api.token, sessionid=api.id)
            assert (status, answer["code"], answer["error"]) == (200, -1, "history_unavailable")
        assert (await api.is_speaking())["code"] == 0
        # a session that comes back begins anew
        await api.hangup()
        assert "sdp" in await api.offer(await real_offer(), sessionid=api.id, token=api.token)


async def test_g2_a_server_that_keeps_nothing_says_so_and_finds_nothing(serving: Serve) -> None:
    async with serving(history__enabled="false") as server, Api(server) as api:
        await api.open_session()
        server.history.record(api.id, Typed("words"))
        assert (await api.raw("GET", "/api/config"))[1]["data"]["history"] is False
        _, answer = await get(api, "/api/history", api.token, sessionid=api.id)
        assert answer["data"] == {"entries": [], "before": None}
        _, answer = await ask(api, "DELETE", "/api/history", api.token, sessionid=api.id)
        assert answer["data"] == {"deleted": 0}
