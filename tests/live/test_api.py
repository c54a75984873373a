"""The HTTP API and the WebSocket of a running server."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from tests.live.visitor import Installation
from tests.offers import real_offer


async def test_the_page_is_served(installation: Installation) -> None:
    async with (
        aiohttp.ClientSession(headers=installation.headers) as http,
        http.get(installation.url + "/") as response,
    ):
        assert response.status == 200, "the start page is missing: was web/ copied along?"
        assert "<video" in await response.text(), "what is served at / is not Eman's page"


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
    _, answer = await installation.ask("GET", "/api/admin/sessions")
    return {session["sessionid"] for session in answer["data"]["sessions"]}


async def test_bad_offers_are_refused_and_leave_no_session(installation: Installation) -> None:
    good = await real_offer()
    before = await sessions(installation)
    for sdp in ("", "nonsense", "v=0\r\n", good[: len(good) // 3], "v=0\r\n" + "a=x\r\n" * 100_000):
        _, answer = await installation.ask("POST", "/offer", json={"sdp": sdp, "type": "offer"})
        assert answer.get("code") == -1, f"a useless offer was not refused: {answer}"
    left = await sessions(installation) - before
    assert not left, f"sessions that nobody asked for: {left} (other visitors at the same moment? then run again)"


async def test_a_session_is_known_and_ends_with_its_token(installation: Installation) -> None:
    _, answer = await installation.ask("POST", "/offer", json={"sdp": await real_offer(), "type": "offer"})
    assert "sdp" in answer, f"the server refused a good offer: {answer.get('msg')}"
    who = {"sessionid": answer["sessionid"]}
    assert (await installation.ask("POST", "/is_speaking", json=who))[1] == {"code": 0, "msg": "ok", "data": False}
    assert (await installation.ask("POST", "/api/hangup", json={**who, "token": "wrong"}))[0] == 401
    assert (await installation.ask("POST", "/api/hangup", json={**who, "token": answer["token"]}))[1]["code"] == 0
    assert (await installation.ask("POST", "/is_speaking", json=who))[1]["code"] == -1


async def test_the_websocket_answers_and_refuses(installation: Installation) -> None:
    async with (
        aiohttp.ClientSession(headers=installation.headers) as http,
        http.ws_connect(installation.url.replace("http", "ws", 1) + "/ws") as ws,
    ):
        for message, kind, code in (
            ({"type": "heartbeat"}, "heartbeat_response", None),
            ({"type": "listen", "mode": "off"}, "wsa_error", "not_logged_in"),
            ({"type": "no such type"}, "wsa_error", "unknown_type"),
            ({"type": 5}, "wsa_error", "bad_message"),
            ({"type": "login", "session_id": 4711}, "login_success", None),
            ({"type": "wsa_register_web", "username": "User_4711"}, "wsa_registered", None),
        ):
            await ws.send_json(message)
            answer = await asyncio.wait_for(ws.receive_json(), installation.patience)
            if answer["type"] == "sync":  # the count of messages, which follows a login
                answer = await asyncio.wait_for(ws.receive_json(), installation.patience)
            assert (answer["type"], answer.get("code")) == (kind, code), message
