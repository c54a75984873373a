"""What web pages of other origins can do, over real HTTP: nothing, unless the operator says so."""

from __future__ import annotations

import json

import pytest

from server import Server
from tests.conftest import Serve
from tests.offers import Api, real_offer

EVIL, FRIEND = "https://evil.example", "https://friend.example"
SIMPLE = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
"""Content types that a browser sends to another origin without asking first."""


@pytest.mark.parametrize("kind", SIMPLE)
async def test_k1_a_page_of_another_origin_cannot_drive_a_server_with_simple_requests(
    serving: Serve, kind: str
) -> None:
    async with serving() as server, Api(server) as api:
        await api.open_session()
        sdp = await real_offer()
        bodies = {
            "/offer": {"sdp": sdp, "type": "offer"},
            "/human": {"sessionid": api.id, "text": "hi", "type": "echo"},
            "/interrupt_talk": {"sessionid": api.id},
            "/is_speaking": {"sessionid": api.id},
            "/humanaudio": {"sessionid": api.id},
            "/api/hangup": {"sessionid": api.id},
            "/api/admin/stop": {"sessionid": api.id},
            "/api/admin/log_level": {"level": "debug"},
        }
        for path, body in bodies.items():
            for origin in (EVIL, "null"):
                headers = {"Origin": origin, "Content-Type": kind}
                async with api.http.post(server.url + path, data=json.dumps(body), headers=headers) as response:
                    answer = await response.json()
                    assert (response.status, answer["code"], answer["error"]) == (403, -1, "origin_refused")
                    assert "Access-Control-Allow-Origin" not in response.headers
        assert len(server.sessions) == 1
        assert (await api.is_speaking())["data"] is False


async def test_k1_a_rebound_page_is_refused_too(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        port = server.url.rpartition(":")[2]
        headers = {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}
        body = json.dumps({"sdp": await real_offer(), "type": "offer"})
        for more in ({}, {"X-Forwarded-For": "203.0.113.7"}):
            status, answer = await api.raw("POST", "/offer", data=body, headers={**headers, **more})
            assert (status, answer["error"]) == (403, "origin_refused")
        assert len(server.sessions) == 0


async def test_g1_our_own_page_may(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        body = json.dumps({"sdp": await real_offer(), "type": "offer"})
        own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
        status, answer = await api.raw("POST", "/offer", data=body, headers=own)
        assert (status, answer["type"]) == (200, "answer")


async def preflight(server: Server, api: Api, origin: str) -> dict[str, str]:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with api.http.options(server.url + "/human", headers=headers) as response:
        found = {name.lower(): value for name, value in response.headers.items() if name.startswith("Access-Control")}
        assert bool(found) == (response.status == 204)
        return found


async def cors(server: Server, api: Api, origin: str, path: str = "/api/config") -> tuple[str | None, str | None]:
    async with api.http.get(server.url + path, headers={"Origin": origin}) as response:
        return response.headers.get("Access-Control-Allow-Origin"), response.headers.get("Vary")


async def test_k1_cors_is_closed_by_default(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        for origin in (EVIL, "null", server.url):
            assert await preflight(server, api, origin) == {}
            assert await cors(server, api, origin) == (None, None)


async def test_k1_cors_is_open_to_listed_origins_only(serving: Serve) -> None:
    async with serving(server__allowed_origins=f'["{FRIEND}/"]') as server, Api(server) as api:
        granted = await preflight(server, api, FRIEND)
        assert granted["access-control-allow-origin"] == FRIEND
        assert "authorization" in granted["access-control-allow-headers"]
        assert "DELETE" in granted["access-control-allow-methods"]
        assert await preflight(server, api, EVIL) == {}
        assert await cors(server, api, FRIEND) == (FRIEND, "Origin")
        assert await cors(server, api, EVIL) == (None, "Origin")  # a cache must not give it the friend's answer
        assert await cors(server, api, FRIEND, "/nothing/here") == (FRIEND, "Origin")
        body = json.dumps({"sdp": await real_offer(), "type": "offer"})
        assert (await api.raw("POST", "/offer", data=body, headers={"Origin": FRIEND}))[0] == 200
        assert (await api.raw("POST", "/offer", data=body, headers={"Origin": EVIL}))[0] == 403


async def test_k1_a_refused_friend_can_read_why(serving: Serve) -> None:
    rules = {"server__allowed_origins": f'["{FRIEND}"]', "limits__messages_per_second": "1", "auth__enabled": "true"}
    async with serving(**rules) as server, Api(server) as api:
        await api.open_session()
        seen = set()
        for _ in range(4):
            data, headers = json.dumps({"sessionid": api.id}), {"Origin": FRIEND}
            async with api.http.post(server.url + "/is_speaking", data=data, headers=headers) as response:
                seen.add(response.status)
                assert response.headers["Access-Control-Allow-Origin"] == FRIEND
        assert seen == {401, 429}


async def test_f5_cors_is_open_to_everybody_with_compat(serving: Serve) -> None:
    async with serving(compat__livetalking="true") as server, Api(server) as api:
        body = json.dumps({"sdp": await real_offer(), "type": "offer"})
        for origin in (EVIL, "null", "http://localhost:3000"):
            granted = await preflight(server, api, origin)
            assert granted["access-control-allow-origin"] == origin
            assert granted["access-control-allow-credentials"] == "true"
            assert (await api.raw("POST", "/offer", data=body, headers={"Origin": origin}))[0] == 200


async def test_k1_every_answer_has_the_headers_that_keep_pages_safe(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        for path in ("/webrtcapichat.html", "/api/config", "/nothing", "/js/app.js"):
            async with api.http.get(server.url + path) as response:
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert "default-src 'self'" in response.headers["Content-Security-Policy"]
                # not "no-referrer": browsers would then send "Origin: null" with our own pages' beacons
                assert response.headers["Referrer-Policy"] == "same-origin"
