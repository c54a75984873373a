"""Tokens, keys and the admin over real HTTP, against the real application."""

from __future__ import annotations

import json
import time
from typing import Any

import aiohttp
import jwt
import pytest

from core.identity import Tokens
from server import Server
from tests.conftest import FAKES, Serve
from tests.offers import Api, real_offer
from tests.test_uploads import wav

SECRET = FAKES["auth.secret"]
KEY = "key-of-a-program-0001"
ADMIN = "the-admins-own-token"
ON = {"auth__enabled": "true"}
CLOSED = {**ON, "auth__api_keys": f"[{KEY}]"}
CALLS = ("/human", "/interrupt_talk", "/is_speaking", "/set_audiotype", "/humanaudio", "/sse", "/offer", "/api/hangup")
"""Everything that acts on a session; hanging up comes last."""


class Caller(Api):
    """A client that says its token where it is told to."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.sdp = ""

    async def call(
        self, path: str, session_id: object, token: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and body of one of `CALLS`; an event stream that opens counts as `{"code": 0}`."""
        fields: dict[str, Any] = {"sessionid": session_id, **({} if token is None else {"token": token})}
        if path == "/sse":
            query = {name: str(value) for name, value in fields.items()}
            async with self.http.get(self.url + path, params=query, headers=headers) as response:
                streams = response.content_type == "text/event-stream"
                return response.status, {"code": 0} if streams else await response.json()
        if path == "/humanaudio":
            form = aiohttp.FormData({name: str(value) for name, value in fields.items()})
            form.add_field("file", wav(0.05), filename="a.wav")
            return await self.raw("POST", path, data=form, headers=headers)
        more = {
            "/human": {"text": "hi", "type": "echo"},
            "/offer": {"sdp": self.sdp, "type": "offer"},
            "/set_audiotype": {"audiotype": 1},
        }.get(path, {})
        return await self.raw("POST", path, data=json.dumps({**fields, **more}), headers=headers)

    async def expect(self, path: str, expected: int, *arguments: Any, **named: Any) -> dict[str, Any]:
        """Make the call; it must be answered with this status, and a 401 as documented and without secrets."""
        status, answer = await self.call(path, *arguments, **named)
        assert status == expected, (path, arguments, named, status, answer)
        if status == 401:
            assert (answer["code"], answer["error"]) == (-1, "auth_failed")
            assert not any(secret in answer["msg"] for secret in (SECRET, KEY, ADMIN, self.token, self.id))
        else:
            assert answer.get("code", 0) == 0, (path, answer)
        return answer

    async def begin(self, **more: Any) -> None:
        """A session of our own."""
        self.sdp = self.sdp or await real_offer()
        answer = await self.offer(self.sdp, **more)
        self.id, self.token = answer["sessionid"], answer["token"]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# -- sessions


async def test_k1_with_auth_on_every_call_about_a_session_needs_its_token(serving: Serve) -> None:
    async with serving(**ON) as server, Caller(server) as api, Caller(server) as other:
        await api.begin()
        await other.begin()
        expired = Tokens(SECRET, 60, clock=lambda: time.time() - 3600).issue(api.id)
        visitor = Tokens(SECRET, 60).issue_visitor(3600)
        forged = Tokens("another secret, as long", 60).issue(api.id)
        for path in CALLS:
            for wrong in (None, "", other.token, expired, visitor, forged, "x", "é🔑", "A" * 4000):
                await api.expect(path, 401, api.id, wrong)
            await api.expect(path, 401, api.id, None, bearer(other.token))
            await api.expect(path, 401, api.id, other.token, bearer(api.token))
            await api.expect(path, 401, api.id, None, {"X-API-Key": api.token})
        for path in CALLS:
            await api.expect(path, 200, int(api.id), api.token)
        for path in CALLS:  # the other session is as it was
            await other.expect(path, 200, other.id, None, bearer(other.token))


async def test_k1_a_token_of_the_wrong_type_is_a_bad_request_or_a_refusal_never_a_pass(serving: Serve) -> None:
    async with serving(**ON) as server, Caller(server) as api:
        await api.begin()
        for path in ("/human", "/interrupt_talk", "/is_speaking", "/api/hangup", "/offer"):
            for token in (True, 1, 1.5, [], {}, [api.token], {"token": api.token}):
                _, answer = await api.call(path, api.id, token)
                assert answer["code"] == -1, (path, token)
                assert answer["error"] in ("bad_request", "auth_failed")


async def test_k1_with_auth_off_a_wrong_token_is_still_wrong(serving: Serve) -> None:
    async with serving() as server, Caller(server) as api, Caller(server) as other:
        await api.begin()
        await other.begin()
        for path in CALLS:
            await api.expect(path, 401, api.id, other.token)
            await api.expect(path, 401, api.id, None, bearer("nonsense"))
        for path in CALLS:
            await api.expect(path, 200, api.id, api.token)


@pytest.mark.parametrize("number", [False, True])
async def test_f5_livetalkings_clients_send_no_token_and_work_as_before(serving: Serve, number: bool) -> None:
    async with serving() as server, Caller(server) as api:
        await api.begin()
        for path in CALLS:
            await api.expect(path, 200, int(api.id) if number else api.id)
        answer = await api.is_speaking()
        assert (answer["code"], answer["msg"]) == (-1, "session not found")


async def test_k1_an_api_key_acts_on_every_session(serving: Serve) -> None:
    async with serving(**CLOSED) as server, Caller(server) as api:
        await api.begin(token=KEY)
        for path in CALLS[:-1]:
            await api.expect(path, 200, api.id, None, {"X-API-Key": KEY})
            await api.expect(path, 200, api.id, None, bearer(KEY))
            await api.expect(path, 401, api.id, None, {"X-API-Key": KEY + "x"})
            await api.expect(path, 200, api.id, api.token)
        await api.expect("/api/hangup", 200, api.id, None, {"X-API-Key": KEY})


async def test_k1_a_closed_server_lets_in_who_has_a_key_or_an_access_link(serving: Serve) -> None:
    async with serving(**CLOSED) as server, Caller(server) as api:
        sdp = await real_offer()
        old = Tokens(SECRET, 60, clock=lambda: time.time() - 7200).issue_visitor(3600)
        body: dict[str, Any] = {"sdp": sdp, "type": "offer"}
        for refused in (None, "", "x", old, Tokens(SECRET, 60).issue("1")):
            status, answer = await api.raw("POST", "/offer", data=json.dumps({**body, "token": refused}))
            assert (status, answer["error"]) == (401, "auth_failed")
        link = Tokens(SECRET, 60).issue_visitor(3600)
        await api.begin(token=link)
        await api.expect("/is_speaking", 200, api.id, api.token)
        await api.expect("/is_speaking", 401, api.id, link)  # the link starts sessions, it is in none
        status, answer = await api.raw("POST", "/offer", data=json.dumps(body), headers=bearer(link))
        assert (status, answer["type"]) == (200, "answer")
        assert (await api.raw("GET", "/api/config"))[1]["data"]["auth"] == {"enabled": True, "open": False}


async def test_b7_a_session_is_resumed_with_its_token_also_after_a_restart(serving: Serve) -> None:
    async with serving(**ON) as server, Caller(server) as api:
        await api.begin()
        again = await api.offer(api.sdp, sessionid=api.id, token=api.token)
        assert again["sessionid"] == api.id
        mine, token, sdp = api.id, again["token"], api.sdp
    async with serving(**ON) as server, Caller(server) as api:  # the same secret: the same server, started again
        visitor, others = Tokens(SECRET, 60).issue_visitor(60), Tokens(SECRET, 60).issue("5")
        for wrong in (None, "", "x", visitor, others):
            answer = await api.offer(sdp, sessionid=mine, token=wrong)
            assert answer["error"] == "session_not_found"
        assert (await api.offer(sdp, sessionid=int(mine), token=token))["sessionid"] == mine
        await api.expect("/is_speaking", 200, mine, token)
    async with serving(auth__secret="another secret than that", **ON) as server, Caller(server) as api:
        answer = await api.offer(sdp, sessionid=mine, token=token)
        assert answer["error"] == "session_not_found"


async def test_k1_tokens_live_as_long_as_configured_and_each_offer_renews_them(serving: Serve) -> None:
    async with serving(auth__token_days="0.0001", **ON) as server, Caller(server) as api:
        for _ in range(2):
            await api.begin(sessionid=api.id, token=api.token)
            claims = jwt.decode(api.token, options={"verify_signature": False})
            assert claims["sub"] == api.id
            assert 0 < claims["exp"] - time.time() <= 8.64 + 1


# -- the admin

ADMIN_CALLS = [
    ("GET", "/api/admin/config"), ("GET", "/api/admin/sessions"), ("GET", "/api/admin/conversations"),
    ("POST", "/api/admin/stop"), ("POST", "/api/admin/say"), ("POST", "/api/admin/message"),
    ("POST", "/api/admin/log_level"), ("DELETE", "/api/admin/history?sessionid=1"),
]  # fmt: skip


async def admin_status(api: Api, method: str, path: str, headers: dict[str, str]) -> int:
    return (await api.raw(method, path, headers=headers, data="{}" if method == "POST" else None))[0]


@pytest.mark.parametrize("rules", [{}, CLOSED])
async def test_k1_without_an_admin_token_only_this_machine_is_the_admin(serving: Serve, rules: dict[str, str]) -> None:
    async with serving(**rules) as server, Api(server) as api:
        port = server.url.rpartition(":")[2]
        for method, path in ADMIN_CALLS:
            assert await admin_status(api, method, path, {}) == 200
            assert await admin_status(api, method, path, {"Host": f"localhost:{port}"}) == 200
            for disguise in (
                {"Host": f"evil.example:{port}"},
                {"Host": f"127.0.0.1.nip.io:{port}"},
                {"X-Forwarded-For": "127.0.0.1"},
                {"Forwarded": "for=127.0.0.1"},
                {"Via": "1.1 proxy"},
                bearer("guess"),
                {"X-Admin-Token": "guess"},
            ):
                assert await admin_status(api, method, path, disguise) == 401, (method, path, disguise)
            foreign = {"Origin": "https://evil.example"}
            assert await admin_status(api, method, path, foreign) == (401 if method == "GET" else 403)


async def test_k1_the_admin_token_opens_the_admins_calls_and_keys_do_not(serving: Serve) -> None:
    async with serving(auth__admin_token=ADMIN, **CLOSED) as server, Api(server) as api:
        for method, path in ADMIN_CALLS:
            for good in (bearer(ADMIN), {"X-Admin-Token": ADMIN}, {**bearer(ADMIN), "X-Forwarded-For": "203.0.113.7"}):
                assert await admin_status(api, method, path, good) == 200
            for wrong in ({}, bearer(KEY), {"X-API-Key": KEY}, {"X-Admin-Token": ADMIN[:-1]}):
                assert await admin_status(api, method, path, wrong) == 401
        status, answer = await api.raw("GET", "/api/admin/config", headers=bearer(ADMIN))
        assert status == 200
        for secret in (ADMIN, KEY, SECRET):
            assert secret not in json.dumps(answer)


async def test_k1_guessing_the_admin_token_is_stopped(serving: Serve) -> None:
    async with serving(auth__admin_token="1234") as server, Api(server) as api:
        answers = [await admin_status(api, "GET", "/api/admin/config", bearer(str(guess))) for guess in range(62)]
        assert answers == [401] * 60 + [429] * 2
        async with api.http.get(server.url + "/api/admin/config", headers=bearer("1234")) as refused:
            assert refused.status == 429
            assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert (await api.raw("GET", "/api/config"))[0] == 200


async def test_f5_livetalkings_admin_calls_are_open_with_compat_and_without_auth(serving: Serve) -> None:
    away = {"X-Forwarded-For": "203.0.113.7"}
    async with serving(compat__livetalking="true") as server, Api(server) as api:
        for path in ("/api/admin/config", "/api/admin/sessions"):
            assert await admin_status(api, "GET", path, {**away, "Origin": "https://page.example"}) == 200
        assert await admin_status(api, "GET", "/api/admin/conversations", away) == 401
        assert await admin_status(api, "POST", "/api/admin/stop", {"Origin": "https://evil.example"}) == 401
    async with serving(compat__livetalking="true", **ON) as server, Api(server) as api:
        assert await admin_status(api, "GET", "/api/admin/sessions", away) == 401


async def test_k1_metrics_are_for_the_admin_and_for_programs(serving: Serve) -> None:
    away = {"X-Forwarded-For": "203.0.113.7"}
    async with serving(auth__admin_token=ADMIN, auth__api_keys=f"[{KEY}]") as server, Api(server) as api:
        for headers, expected in (({}, 401), (away, 401), (bearer(KEY), 200), (bearer(ADMIN), 200), (bearer("x"), 401)):
            async with api.http.get(server.url + "/metrics", headers={**away, **headers}) as response:
                assert response.status == expected
        for path in ("/healthz", "/readyz", "/api/config"):
            async with api.http.get(server.url + path, headers=away) as response:
                assert response.status == 200


# -- limits


async def test_k1_too_many_offers_and_uploads_are_429_with_a_time_to_come_back(serving: Serve) -> None:
    limits = {"limits__offers_per_minute": "2", "limits__uploads_per_minute": "1"}
    async with serving(**limits) as server, Caller(server) as api:
        await api.begin()
        await api.begin()
        for path, first in (("/offer", 429), ("/humanaudio", 200)):
            assert (await api.call(path, api.id))[0] == first
            async with api.http.post(server.url + path, data="{}") as response:
                answer = await response.json()
                assert (response.status, answer["error"]) == (429, "rate_limited")
                assert 1 <= int(response.headers["Retry-After"]) <= 60
        await api.expect("/human", 200, api.id)  # what is said has a limit of its own


async def test_k1_too_many_texts_are_refused_until_it_is_quiet_again(serving: Serve) -> None:
    async with serving(limits__messages_per_second="2") as server, Caller(server) as api:
        await api.begin()
        answers = [(await api.call("/is_speaking", api.id))[0] for _ in range(8)]
        assert answers[:4] == [200] * 4
        assert 429 in answers
        deadline = time.monotonic() + 10
        while (await api.call("/is_speaking", api.id))[0] != 200:
            assert time.monotonic() < deadline


async def test_k1_behind_a_proxy_each_client_has_its_own_limit(serving: Serve) -> None:
    rules = {"limits__messages_per_second": "1", "server__trusted_proxies": "[127.0.0.1]"}

    async def statuses(api: Caller, address: str) -> list[int]:
        headers = {"X-Forwarded-For": f"9.9.9.9, {address}"}
        return [(await api.call("/is_speaking", api.id, headers=headers))[0] for _ in range(5)]

    async with serving(**rules) as server, Caller(server) as api:
        await api.begin()
        for address in ("203.0.113.1", "203.0.113.2", "2001:db8::1"):
            answers = await statuses(api, address)
            assert answers[0] == 200
            assert answers[-1] == 429
        assert (await statuses(api, "2001:db8::2"))[0] == 429  # the same customer's network
    async with serving(limits__messages_per_second="1") as server, Caller(server) as api:
        await api.begin()
        assert (await statuses(api, "203.0.113.1"))[-1] == 429
        assert (await statuses(api, "203.0.113.2"))[0] == 429  # made up: nobody trusts who says it
