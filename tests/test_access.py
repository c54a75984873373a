"""Who may do what, and how often. Requests here are made up; test_auth_*.py sends real ones."""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import Any

import pytest
from aiohttp import HttpVersion10, web
from hypothesis import given
from hypothesis import strategies as st

from core.envelope import envelope_failures
from core.errors import RateLimited
from core.identity import Tokens
from tests.callers import (
    ADMIN,
    AWAY,
    EXPIRED,
    HERE,
    KEY,
    MINE,
    OTHER_KEY,
    OTHERS,
    VISITOR,
    WRONG,
    access_of,
    allowed,
    request_of,
    status,
)

# -- sessions


def test_k1_with_auth_off_no_token_is_needed_but_a_wrong_one_is_refused() -> None:
    access = access_of()
    for missing in (None, ""):
        assert allowed(access.may_use, request_of(), "1", missing)
        assert allowed(access.may_login, "1", missing)
        assert allowed(access.may_open, request_of(), missing)
    assert allowed(access.may_use, request_of(), "1", MINE)
    assert allowed(access.may_login, "1", MINE)
    for wrong in WRONG:
        assert not allowed(access.may_use, request_of(), "1", wrong)
        assert not allowed(access.may_login, "1", wrong)


@pytest.mark.parametrize("peer", [HERE, AWAY])
def test_k1_with_auth_on_only_the_sessions_token_or_a_key_will_do(peer: str) -> None:
    access = access_of(enabled=True, api_keys=(KEY, OTHER_KEY), admin_token=ADMIN)
    for good in (MINE, KEY, OTHER_KEY):
        assert allowed(access.may_use, request_of(peer), "1", good)
        assert allowed(access.may_login, "1", good)
        assert allowed(
            access.may_use, request_of(peer, "POST", "/human", ("Authorization", f"Bearer {good}")), "1", None
        )
        assert allowed(
            access.may_use, request_of(peer, "POST", "/human", ("authorization", f"bEARER  {good} ")), "1", ""
        )
    assert allowed(access.may_use, request_of(peer, "POST", "/human", ("X-API-Key", KEY)), "1", None)
    for number, wrong in enumerate([None, "", " ", *WRONG]):
        caller = request_of(f"198.51.100.{number}")
        assert not allowed(access.may_use, caller, "1", wrong)
        assert not allowed(access.may_login, "1", wrong)
    for header in ("Basic " + KEY, KEY, "Bearer", "Bearer ", "BearerX " + KEY, f"Bearer {MINE} x", f"Token {MINE}"):
        assert not allowed(access.may_use, request_of(peer, "POST", "/human", ("Authorization", header)), "1", None)
    assert not allowed(access.may_use, request_of(peer, "POST", "/human", ("X-API-Key", MINE)), "1", None)


def test_k1_a_header_and_a_field_that_disagree() -> None:
    access = access_of(enabled=True, api_keys=(KEY,))

    def bearer(value: str) -> web.Request:
        return request_of(AWAY, "POST", "/human", ("Authorization", f"Bearer {value}"))

    assert allowed(access.may_use, bearer(OTHERS), "1", MINE)  # the field counts
    assert not allowed(access.may_use, bearer(MINE), "1", OTHERS)
    assert not allowed(access.may_use, bearer(MINE), "1", "nonsense")
    assert allowed(access.may_use, bearer(MINE), "1", "")
    assert allowed(access.may_use, bearer(KEY), "1", OTHERS)  # a key is for every session
    for two in (("x", MINE), (MINE, "x"), (MINE, MINE)):
        twice = request_of(AWAY, "POST", "/human", *[("Authorization", f"Bearer {value}") for value in two])
        assert not allowed(access.may_use, twice, "1", None)


def test_k1_a_new_session_needs_a_key_or_an_access_link_where_keys_are_configured() -> None:
    access = access_of(enabled=True, api_keys=(KEY,))
    assert allowed(access.may_open, request_of(), VISITOR)
    assert allowed(access.may_open, request_of(), KEY)
    assert allowed(access.may_open, request_of(AWAY, "POST", "/offer", ("X-API-Key", KEY)), None)
    assert allowed(access.may_open, request_of(AWAY, "POST", "/offer", ("Authorization", f"Bearer {VISITOR}")), None)
    for wrong in (None, "", MINE, EXPIRED, "x", Tokens("a secret that is long enough", 1).issue_visitor(-60)):
        assert not allowed(access.may_open, request_of(), wrong)
    assert allowed(access_of(enabled=True).may_open, request_of(), None)
    assert allowed(access_of(api_keys=(KEY,)).may_open, request_of(), None)


def test_k1_what_was_said_is_for_its_owner_programs_and_the_admin_even_with_auth_off() -> None:
    for rules in ({}, {"enabled": True}, {"any_origin": True, "open_admin": True}):
        access = access_of(api_keys=(KEY,), admin_token=ADMIN, **rules)
        for good in (MINE, KEY, ADMIN):
            assert allowed(access.may_read, request_of(AWAY, "GET", "/api/history"), "1", good)
        assert allowed(access.may_read, request_of(AWAY, "GET", "/api/history", ("X-Admin-Token", ADMIN)), "1", None)
        for wrong in (None, "", OTHERS, VISITOR, EXPIRED, "x"):
            assert not allowed(access.may_read, request_of(AWAY, "GET", "/api/history"), "1", wrong)
            assert not allowed(access.may_read, request_of(HERE, "GET", "/", host="localhost"), "1", wrong)
    assert not allowed(access_of().may_read, request_of(HERE, "GET", "/", host="localhost"), "1", OTHERS)
    assert allowed(access_of().may_read, request_of(HERE, "GET", "/", host="localhost"), "1", None)


@pytest.mark.parametrize("keys", [(), ("",), (" ",), ("", " ", "\t")])
def test_k1_empty_keys_and_tokens_open_nothing(keys: tuple[str, ...]) -> None:
    access = access_of(enabled=True, api_keys=keys, admin_token=" ")
    assert allowed(access.may_open, request_of(), None)  # as without any keys
    for shown in (None, "", " ", "\t"):
        head = (("X-API-Key", shown or ""), ("X-Admin-Token", shown or ""), ("Authorization", f"Bearer {shown or ''}"))
        assert not allowed(access.may_use, request_of(AWAY, "POST", "/human", *head), "1", shown)
        assert not allowed(access.may_admin, request_of(AWAY, "GET", "/api/admin/live", *head))
        assert not allowed(access.check_admin_token, request_of(AWAY, "GET", "/api/admin/live", *head), shown)
        assert not allowed(access.may_login, "1", shown)


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(["1", "", "0", "visitor"]))
def test_k1_fuzz_nothing_that_is_not_a_credential_passes(text: str, header: str, session_id: str) -> None:
    access = access_of(enabled=True, api_keys=(KEY,), admin_token=ADMIN)
    clean = header.encode("latin-1", "replace").decode("latin-1").replace("\r", "").replace("\n", "").replace("\0", "")
    request = request_of(AWAY, "POST", "/x", ("Authorization", "Bearer " + clean), ("X-API-Key", clean))
    assert not allowed(access.may_use, request, session_id, text)
    assert not allowed(access.may_open, request, text)
    assert not allowed(access.may_admin, request)
    assert not allowed(access.may_login, session_id, text)


# -- the admin


def test_k1_the_admin_token_is_needed_by_everybody_once_there_is_one() -> None:
    access = access_of(admin_token=ADMIN, api_keys=(KEY,), open_admin=True, enabled=True)
    for peer, host in ((AWAY, "avatar.example"), (HERE, "localhost:8010")):
        for name, value in (("Authorization", f"Bearer {ADMIN}"), ("X-Admin-Token", ADMIN)):
            assert allowed(access.may_admin, request_of(peer, "GET", "/api/admin/config", (name, value), host=host))
        assert allowed(access.check_admin_token, request_of(peer, "GET", "/api/admin/live", host=host), ADMIN)
        assert not allowed(access.may_admin, request_of(peer, "GET", "/api/admin/config", host=host))
        for wrong in (None, "", KEY, MINE, ADMIN.upper(), ADMIN + "x", ADMIN[:-1]):
            assert not allowed(access.check_admin_token, request_of(peer, "GET", "/", host=host), wrong)


LOCAL_HOSTS = (
    "localhost",
    "localhost:8010",
    "LOCALHOST:8010",
    "127.0.0.1:8010",
    "127.9.9.9",
    "[::1]:8010",
    "a.localhost",
)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", LOCAL_HOSTS)
def test_k1_without_an_admin_token_this_machine_is_the_admin(peer: str, host: str) -> None:
    access = access_of()
    for method in ("GET", "POST"):
        own = request_of(peer, method, "/api/admin/stop", ("Origin", f"http://{host}"), host=host)
        for request in (request_of(peer, method, "/api/admin/stop", host=host), own):
            assert allowed(access.may_admin, request)
            assert allowed(access.check_admin_token, request, "")
            assert not allowed(access.check_admin_token, request, "a token that nobody configured")


@pytest.mark.parametrize(
    ("peer", "host", "headers"),
    [
        ("203.0.113.7", "localhost", []),
        ("10.0.0.1", "127.0.0.1", []),
        ("::ffff:203.0.113.7", "[::1]", []),
        ("2001:db8::1", "[::1]:8010", []),
        # DNS rebinding: the name of a public page was pointed at this machine
        ("127.0.0.1", "evil.example:8010", [("Origin", "http://evil.example:8010")]),
        ("127.0.0.1", "evil.example:8010", []),
        ("127.0.0.1", "localhost.evil.example", []),
        ("127.0.0.1", "127.0.0.1.evil.example", []),
        ("127.0.0.1", "127.0.0.1.nip.io", []),
        ("127.0.0.1", "0.0.0.0:8010", []),
        ("127.0.0.1", "192.168.0.5:8010", []),
        ("127.0.0.1", "localhost@evil.example", []),
        ("127.0.0.1", "", []),
        # a proxy on this machine brings others in
        ("127.0.0.1", "localhost", [("X-Forwarded-For", "203.0.113.7")]),
        ("127.0.0.1", "localhost", [("X-Forwarded-For", "127.0.0.1")]),
        ("127.0.0.1", "localhost", [("X-Forwarded-For", "")]),
        ("127.0.0.1", "localhost", [("Forwarded", "for=127.0.0.1")]),
        ("127.0.0.1", "localhost", [("X-Real-IP", "127.0.0.1")]),
        ("127.0.0.1", "localhost", [("Via", "1.1 proxy")]),
        ("127.0.0.1", "localhost", [("x-forwarded-proto", "https")]),
        # pages of other origins in a browser on this machine
        ("127.0.0.1", "localhost:8010", [("Origin", "https://evil.example")]),
        ("127.0.0.1", "localhost:8010", [("Origin", "null")]),
        ("127.0.0.1", "localhost:8010", [("Origin", "http://localhost:3000")]),
        ("127.0.0.1", "localhost:8010", [("Origin", "http://localhost:8010"), ("Origin", "https://evil.example")]),
        ("127.0.0.1", "localhost:8010", [("Sec-Fetch-Site", "cross-site")]),
        ("127.0.0.1", "localhost:8010", [("Sec-Fetch-Site", "same-site")]),
    ],
)
@pytest.mark.parametrize("rules", [{}, {"any_origin": True}, {"allowed_origins": ("https://evil.example", "null")}])
def test_k1_nobody_else_is_a_local_admin(
    peer: str, host: str, headers: list[tuple[str, str]], rules: dict[str, Any]
) -> None:
    access = access_of(**rules)
    assert not allowed(access.may_admin, request_of(peer, "POST", "/api/admin/stop", *headers, host=host))
    assert not allowed(access.check_admin_token, request_of(peer, "GET", "/api/admin/live", *headers, host=host), None)
    assert not allowed(access.may_read, request_of(peer, "GET", "/api/history", *headers, host=host), "1", None)


def test_k1_two_hosts_an_old_http_and_a_trusted_proxy_are_not_local_either() -> None:
    two = request_of(HERE, "GET", "/x", ("Host", "localhost"), ("Host", "evil.example"), host="")
    assert not allowed(access_of().may_admin, two)
    assert not allowed(access_of().may_admin, request_of(HERE, "GET", "/x", host="localhost", version=HttpVersion10))
    behind = access_of(trusted_proxies=("127.0.0.1",))
    assert not allowed(behind.may_admin, request_of(HERE, "GET", "/x", host="localhost"))


def test_f5_livetalkings_admin_calls_are_open_when_asked_for_and_nothing_else_is() -> None:
    access = access_of(open_admin=True)
    for path in ("/api/admin/config", "/api/admin/sessions"):
        assert allowed(access.may_admin, request_of(AWAY, "GET", path))
        assert not allowed(access.may_admin, request_of(AWAY, "POST", path))
        assert not allowed(access_of(open_admin=True, enabled=True).may_admin, request_of(AWAY, "GET", path))
        assert not allowed(access_of().may_admin, request_of(AWAY, "GET", path))
    for path in (
        "/api/admin/conversations",
        "/api/admin/live",
        "/metrics",
        "/api/admin/config/x",
        "/api/admin//config",
    ):
        assert not allowed(access.may_admin, request_of(AWAY, "GET", path))
    assert not allowed(access.check_admin_token, request_of(AWAY, "GET", "/api/admin/config"), None)


def test_k1_who_guesses_is_stopped_and_others_are_not() -> None:
    access = access_of(enabled=True, admin_token="1234", api_keys=(KEY,))
    for guess in range(60):
        assert not allowed(access.check_admin_token, request_of(), str(guess))
    with pytest.raises(RateLimited):
        access.check_admin_token(request_of(), "1234")  # else guessing would go on unhindered
    with pytest.raises(RateLimited):
        access.may_use(request_of(), "1", MINE)
    assert allowed(access.check_admin_token, request_of("203.0.113.8"), "1234")


def test_k1_short_keys_are_warned_about_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="core.access"):
        access_of(admin_token="hunter2", api_keys=("swordfish",))
        access_of(admin_token=ADMIN, api_keys=(KEY,))
    assert len(caplog.records) == 1
    assert "hunter2" not in caplog.text
    assert "swordfish" not in caplog.text


def test_k2_refusals_are_logged_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    access = access_of(enabled=True, api_keys=(KEY,), admin_token=ADMIN)
    request = request_of(AWAY, "GET", f"/sse?sessionid=1&token={OTHERS}", ("Authorization", "Bearer sesame"))
    with caplog.at_level(logging.DEBUG, logger="core.access"):
        assert not allowed(access.may_use, request, "1", OTHERS)
        assert not allowed(access.may_admin, request)
    assert "/sse" in caplog.text
    assert AWAY in caplog.text
    assert OTHERS not in caplog.text
    assert "sesame" not in caplog.text


# -- limits


async def test_k1_offers_uploads_and_messages_have_limits_of_their_own_per_address() -> None:
    access = access_of(offers_per_minute=2, uploads_per_minute=3, messages_per_second=1)
    for path, method, times in (
        ("/offer", "POST", 2), ("/humanaudio", "POST", 3), ("/human", "POST", 2),
    ):  # fmt: skip
        answers = [await status(access, request_of(AWAY, method, path)) for _ in range(times + 2)]
        assert answers == [200] * times + [429] * 2, path
        assert await status(access, request_of("203.0.113.8", method, path)) == 200
    assert await status(access, request_of(AWAY, "DELETE", "/api/history")) == 429  # one bucket with /human
    assert not access.may_send(AWAY)
    assert access.may_send("203.0.113.9")
    assert [await status(access, request_of(AWAY, "GET", "/api/config")) for _ in range(50)] == [200] * 50


async def test_k1_a_refusal_says_when_to_come_back() -> None:
    access = access_of(offers_per_minute=1)

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    await access.middleware(request_of(AWAY, "POST", "/offer"), handler)
    refusal = await envelope_failures(request_of(AWAY, "POST", "/offer"), partial(access.middleware, handler=handler))
    assert refusal.status == 429
    assert 1 <= int(refusal.headers["Retry-After"]) <= 60
    assert isinstance(refusal, web.Response)
    assert json.loads(refusal.text or "")["error"] == "rate_limited"


async def test_k1_a_made_up_address_does_not_get_around_the_limit() -> None:
    access = access_of(offers_per_minute=2)
    answers = [
        await status(access, request_of(AWAY, "POST", "/offer", ("X-Forwarded-For", f"1.1.1.{n}"))) for n in range(4)
    ]
    assert answers == [200, 200, 429, 429]


async def test_k1_behind_a_trusted_proxy_each_client_has_its_own_limit() -> None:
    access = access_of(offers_per_minute=1, trusted_proxies=(AWAY,))
    for address in ("1.1.1.1", "1.1.1.2"):
        forwarded = ("X-Forwarded-For", f"9.9.9.9, {address}")
        assert await status(access, request_of(AWAY, "POST", "/offer", forwarded)) == 200
        assert await status(access, request_of(AWAY, "POST", "/offer", forwarded)) == 429


async def test_k1_no_limits_when_they_are_0() -> None:
    access = access_of()
    for path in ("/offer", "/humanaudio", "/human"):
        assert [await status(access, request_of(AWAY, "POST", path)) for _ in range(300)] == [200] * 300
    assert all(access.may_send(AWAY) for _ in range(1000))
