"""The HTTP API and the WebSocket of a running server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.live.visitor import Installation
from tests.offers import real_offer


async def test_the_pages_are_served(installation: Installation) -> None:
    for path, mark in (("/", "<video"), ("/dashboard.html", "<html"), ("/webrtcapi.html", "<html")):
        async with aiohttp.ClientSession() as http, http.get(installation.url + path) as response:
            assert response.status == 200, f"{path} is missing: was web/ copied along?"
            assert mark in await response.text(), f"what is served at {path} is not Eman's page"


async def test_it_is_well_and_ready(installation: Installation) -> None:
    assert await installation.ask("GET", "/healthz") == (200, {"status": "ok"})
    assert await installation.ask("GET", "/readyz") == (200, {"status": "ready", "missing": []})


async def test_the_document_of_the_api_is_served(installation: Installation) -> None:
    status, document = await installation.ask("GET", "/api/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    assert "/offer" in document["paths"]


async def test_pages_of_other_sites_can_do_nothing(installation: Installation) -> None:
    foreign = {"Origin": "https://not-this-server.example"}
    async with (
        aiohttp.ClientSession(headers=foreign) as http,
        http.post(installation.url + "/is_speaking", json={"sessionid": "1"}) as response,
    ):
        if "Access-Control-Allow-Origin" in response.headers:
            pytest.skip("compat.livetalking is on: pages of every site may use this server")
        assert response.status == 403, f"a page of another site may drive this server ({response.status})"


async def test_errors_come_in_the_envelope(installation: Installation) -> None:
    for path, body in (
        ("/human", b"no json"),
        ("/human", b"{}"),
        ("/human", json.dumps({"sessionid": "no-such-session", "text": "hello", "type": "echo"}).encode()),
        ("/is_speaking", b'{"sessionid": 1}'),
        ("/interrupt_talk", b'{"sessionid": []}'),
    ):
        status, answer = await installation.ask("POST", path, data=body)
        assert status == 200, f"{path} answered {status}: does a proxy replace error pages?"
        assert answer["code"] == -1, answer
        assert answer["msg"], answer


async def sessions(installation: Installation) -> set[str]:
    """The ids of the live sessions; none where this is only for operators."""
    _, answer = await installation.admin("GET", "/api/admin/sessions")
    return {session["sessionid"] for session in answer.get("data", {}).get("sessions", ())}


async def test_bad_offers_are_refused_and_leave_no_session(installation: Installation) -> None:
    good = await real_offer()
    before = await sessions(installation)
    for sdp in ("", "nonsense", "v=0\r\n", good[: len(good) // 3], "v=0\r\n" + "a=x\r\n" * 100_000):
        answer = await installation.offer(sdp)
        assert answer.get("code") == -1, f"a useless offer was not refused: {answer}"
        assert answer["error"] in ("bad_sdp", "bad_request"), answer
    left = await sessions(installation) - before
    assert not left, f"sessions that nobody asked for: {left} (other visitors at the same moment? then run again)"


@asynccontextmanager
async def offered(installation: Installation) -> AsyncIterator[dict[str, str]]:
    """Id and token of a session without media; ended afterwards."""
    answer = await installation.offer(await real_offer())
    assert "sdp" in answer, f"the server refused a good offer: {answer.get('msg')}"
    who = {"sessionid": answer["sessionid"], "token": answer["token"]}
    try:
        yield who
    finally:
        await installation.ask("POST", "/api/hangup", json=who)


async def test_a_session_is_known_and_ends_with_its_token(installation: Installation) -> None:
    async with offered(installation) as who:
        assert (await installation.ask("POST", "/is_speaking", json=who))[1] == {"code": 0, "msg": "ok", "data": False}
        assert (await installation.ask("POST", "/api/hangup", json={**who, "token": "wrong"}))[0] == 401
        assert (await installation.ask("POST", "/api/hangup", json=who))[1]["code"] == 0
        assert (await installation.ask("POST", "/is_speaking", json=who))[1]["error"] == "session_not_found"


async def test_where_tokens_are_asked_for_nobody_gets_in_without(installation: Installation) -> None:
    auth = (await installation.ask("GET", "/api/config"))[1]["data"]["auth"]
    if not auth["enabled"]:
        pytest.skip("auth.enabled is off: whoever can reach this server may use it")
    async with offered(installation) as who, offered(installation) as other:
        for token in ({}, {"token": other["token"]}, {"token": who["token"][:-2]}):
            asked = {"sessionid": who["sessionid"], **token}
            for path in ("/is_speaking", "/interrupt_talk", "/human", "/api/hangup"):
                status, answer = await installation.ask("POST", path, json={**asked, "text": "hello"})
                assert (status, answer["error"]) == (401, "auth_failed"), path
        if not auth["open"]:
            status, answer = await installation.ask("POST", "/offer", json={"sdp": await real_offer(), "type": "offer"})
            assert (status, answer["error"]) == (401, "auth_failed")


async def test_the_websocket_answers_and_refuses(installation: Installation) -> None:
    async with (
        offered(installation) as who,
        aiohttp.ClientSession() as http,
        http.ws_connect(installation.url.replace("http", "ws", 1) + "/ws") as ws,
    ):
        session, name = who["sessionid"], f"User_{who['sessionid']}"
        for message, kind, code in (
            ({"type": "heartbeat"}, "heartbeat_response", None),
            ({"type": "listen", "mode": "off"}, "wsa_error", "not_logged_in"),
            ({"type": "no such type"}, "wsa_error", "unknown_type"),
            ({"type": 5}, "wsa_error", "bad_message"),
            ({"type": "login", "session_id": session, "token": "wrong"}, "wsa_error", "auth_failed"),
            ({"type": "login", "session_id": session, "token": who["token"]}, "login_success", None),
            ({"type": "wsa_register_web", "username": name}, "wsa_registered", None),
        ):
            await ws.send_json(message)
            answer = await asyncio.wait_for(ws.receive_json(), installation.patience)
            if answer["type"] == "sync":  # the count of messages, which follows a login
                answer = await asyncio.wait_for(ws.receive_json(), installation.patience)
            assert (answer["type"], answer.get("code")) == (kind, code), message
