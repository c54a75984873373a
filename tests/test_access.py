"""Who may do what: every caller, every disguise. Requests here are made up; test_auth_*.py sends real ones."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from core.access import Access, AccessRules
from core.caller import parsed_address, plain_origin, rate_key
from core.errors import RateLimited, SettingsError, Unauthorized
from core.identity import Tokens

TOKENS = Tokens("a secret that is long enough", 3600)
KEY, OTHER_KEY = "key-of-a-program-0001", "key-of-a-program-0002"
ADMIN = "the-admins-own-token"
MINE, OTHERS = TOKENS.issue("1"), TOKENS.issue("2")
EXPIRED = Tokens("a secret that is long enough", 3600, clock=lambda: 1e9).issue("1")
VISITOR = TOKENS.issue_visitor(3600)
HERE, AWAY = "127.0.0.1", "203.0.113.7"
WRONG = [EXPIRED, OTHERS, VISITOR, "x", "é", "🔑", "a.b.c", "A" * 100_000, "null", ADMIN, KEY + " ", KEY[:-1], "\udcff"]


class Wire(asyncio.Transport):
    """A connection from an address, with or without TLS."""

    def __init__(self, peer: str, tls: bool) -> None:
        super().__init__()
        self._peer, self._tls = peer, tls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        known = {"peername": (self._peer, 4000), "sslcontext": object() if self._tls else None}
        return known.get(name, default)


def request_of(
    peer: str = AWAY,
    method: str = "POST",
    path: str = "/human",
    *headers: tuple[str, str],
    host: str = "avatar.example:8010",
    tls: bool = False,
    version: Any = HttpVersion11,
) -> web.Request:
    """A request as aiohttp hands it to us."""
    head = CIMultiDict([*([("Host", host)] if host else []), *headers])
    return make_mocked_request(method, path, head, version=version, transport=Wire(peer, tls))


def access_of(**rules: Any) -> Access:
    return Access(TOKENS, AccessRules(**rules))


async def status(access: Access, request: web.Request) -> int:
    """What the middleware makes of a request: 200, or its refusal."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    response = await access.middleware(request, handler)
    assert isinstance(response, web.Response)
    if response.status != 200:
        assert json.loads(response.text or "")["code"] == -1
    return response.status


def allowed(decide: Any, *arguments: Any) -> bool:
    try:
        decide(*arguments)
    except Unauthorized as error:
        text = str(error)
        assert not any(secret in text for secret in (KEY, ADMIN, MINE, OTHERS, VISITOR))
        return False
    return True


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
    with caplog.at_level(logging.DEBUG):
        access_of(admin_token="hunter2", api_keys=("swordfish",))
        access_of(admin_token=ADMIN, api_keys=(KEY,))
    assert len(caplog.records) == 1
    assert "hunter2" not in caplog.text
    assert "swordfish" not in caplog.text


def test_k2_refusals_are_logged_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    access = access_of(enabled=True, api_keys=(KEY,), admin_token=ADMIN)
    request = request_of(AWAY, "GET", f"/sse?sessionid=1&token={OTHERS}", ("Authorization", "Bearer sesame"))
    with caplog.at_level(logging.DEBUG):
        assert not allowed(access.may_use, request, "1", OTHERS)
        assert not allowed(access.may_admin, request)
    assert "/sse" in caplog.text
    assert AWAY in caplog.text
    assert OTHERS not in caplog.text
    assert "sesame" not in caplog.text


# -- pages of other origins

FOREIGN = [
    "https://evil.example", "null", "http://localhost:3000", "http://avatar.example", "http://avatar.example:8011",
    "http://avatar.example:8010.evil.example", "http://xavatar.example:8010", "ftp://avatar.example:8010", "file://",
    "avatar.example:8010", "http://", "://", "//avatar.example:8010", "http://user@avatar.example:8010",
    "chrome-extension://abc", "http://avatar.example:8010/path", "*", "http://avatar.example:8010, https://evil.example",
]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
async def test_k1_a_foreign_page_may_only_look(origin: str) -> None:
    access = access_of()
    head = ("Origin", origin)
    for method in ("POST", "PUT", "DELETE", "PATCH", "FOO"):
        for path in ("/offer", "/human", "/api/hangup", "/api/admin/stop", "/anything"):
            assert await status(access, request_of(AWAY, method, path, head)) == 403
    for method in ("GET", "HEAD", "OPTIONS"):
        assert await status(access, request_of(AWAY, method, "/api/config", head)) == 200
        for path in ("/ws", "/api/admin/live"):
            assert await status(access, request_of(AWAY, method, path, head, ("Upgrade", "WebSocket"))) == 403
    with pytest.raises(web.HTTPForbidden) as caught:
        access.admit(request_of(AWAY, "GET", "/ws", head))
    assert json.loads(caught.value.text or "")["error"] == "origin_refused"


async def test_k1_a_page_without_a_name_is_not_ours_because_the_host_is_missing_too() -> None:
    for origin in ("http://", "https://", "http://:80", "://"):
        assert await status(access_of(), request_of(AWAY, "POST", "/offer", ("Origin", origin), host="")) == 403


async def test_k1_a_browser_that_tells_the_site_but_no_origin_is_believed() -> None:
    access = access_of()
    for site, expected in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200), ("", 403)):
        assert await status(access, request_of(AWAY, "POST", "/human", ("Sec-Fetch-Site", site))) == expected
    hidden = [("Origin", "null"), ("Sec-Fetch-Site", "cross-site")]
    assert await status(access, request_of(AWAY, "POST", "/human", *hidden)) == 403


@pytest.mark.parametrize(
    ("origin", "host", "tls", "headers", "proxies", "expected"),
    [
        ("http://avatar.example:8010", "avatar.example:8010", False, [], (), 200),
        ("HTTP://Avatar.Example:8010", "AVATAR.example:8010", False, [], (), 200),
        ("https://avatar.example", "avatar.example", True, [], (), 200),
        ("https://avatar.example", "avatar.example:443", True, [], (), 200),
        ("https://avatar.example:443", "avatar.example", True, [], (), 200),
        ("http://avatar.example", "avatar.example:80", False, [], (), 200),
        ("http://[2001:db8::1]:8010", "[2001:db8::1]:8010", False, [], (), 200),
        ("http://10.0.0.5:8010", "10.0.0.5:8010", False, [], (), 200),
        # somebody on the line who puts a page in at port 80 is not the page of port 443
        ("http://avatar.example", "avatar.example", True, [], (), 403),
        ("https://avatar.example", "avatar.example", False, [], (), 200),
        ("https://avatar.example", "avatar.example", False, [("X-Forwarded-Proto", "https")], (AWAY,), 200),
        ("http://avatar.example", "avatar.example", False, [("X-Forwarded-Proto", "https")], (AWAY,), 403),
        ("http://avatar.example", "avatar.example", False, [("X-Forwarded-Proto", "https")], (), 200),
        ("https://avatar.example", "127.0.0.1:8010", False, [("X-Forwarded-Host", "avatar.example")], (), 403),
        ("http://avatar.example", "avatar.example:443", False, [], (), 403),
    ],
)
async def test_k1_our_own_pages_are_known_by_scheme_name_and_port(
    origin: str, host: str, tls: bool, headers: list[tuple[str, str]], proxies: tuple[str, ...], expected: int
) -> None:
    access = access_of(trusted_proxies=proxies)
    request = request_of(AWAY, "POST", "/offer", ("Origin", origin), *headers, host=host, tls=tls)
    assert await status(access, request) == expected


@pytest.mark.parametrize("origin", ["https://Friend.example/", "https://friend.example:443", "https://friend.example"])
async def test_k1_allowed_origins_may_call(origin: str) -> None:
    access = access_of(allowed_origins=(origin,))
    assert await status(access, request_of(AWAY, "POST", "/human", ("Origin", "https://friend.example"))) == 200
    assert access.admit(request_of(AWAY, "GET", "/ws", ("Origin", "https://friend.example"))) == AWAY
    for other in ("http://friend.example", "https://friend.example:444", "https://x.friend.example"):
        assert await status(access, request_of(AWAY, "POST", "/human", ("Origin", other))) == 403


async def test_f5_livetalking_lets_every_origin_call() -> None:
    access = access_of(any_origin=True)
    for origin in FOREIGN:
        assert await status(access, request_of(HERE, "POST", "/human", ("Origin", origin))) == 200


@pytest.mark.parametrize("host", ["evil.example:8010", "127.0.0.1.nip.io:8010", "localhost.evil.example:8010"])
async def test_k1_a_rebound_page_cannot_drive_a_server_on_its_visitors_machine(host: str) -> None:
    own = ("Origin", f"http://{host}")
    fooled = ("X-Forwarded-For", "203.0.113.7")
    for headers in ([own], [own, fooled]):
        assert await status(access_of(), request_of(HERE, "POST", "/offer", *headers, host=host)) == 403
    with pytest.raises(web.HTTPForbidden):
        access_of().admit(request_of("::1", "GET", "/ws", own, host=host))
    behind = access_of(trusted_proxies=("127.0.0.1",))  # a proxy on this machine, which passes the Host on
    assert await status(behind, request_of(HERE, "POST", "/offer", own, host=host)) == 200
    listed = access_of(allowed_origins=(own[1],))
    assert await status(listed, request_of(HERE, "POST", "/offer", own, host=host)) == 200


@pytest.mark.parametrize(
    "host", ["mybox", "mybox.local:8010", "192.168.0.5", "[::1]:8010", "a.localhost:1", "eman.test"]
)
async def test_k1_names_that_only_this_network_gives_are_no_rebinding(host: str) -> None:
    assert await status(access_of(), request_of(HERE, "POST", "/offer", ("Origin", f"http://{host}"), host=host)) == 200


# -- addresses


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["1.1.1.1"], "203.0.113.7"),  # nobody trusts this peer
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1"], "1.1.1.1"),  # the client made up the first
        ("10.0.0.1", ["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1", "10.0.0.2 , 10.0.0.3"], "1.1.1.1"),
        ("10.0.0.1", ["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        ("10.0.0.1", ["1.1.1.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [",,,"], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1:5555"], "1.1.1.1"),
        ("10.0.0.1", ["[2001:db8::1]:5555"], "2001:db8::1"),
        ("10.0.0.1", ["::ffff:1.1.1.1"], "1.1.1.1"),
        ("::ffff:10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("fd00::1", ["1.1.1.1"], "1.1.1.1"),
        ("fd00::1%eth0", ["1.1.1.1"], "1.1.1.1"),
        ("fe80::1", ["1.1.1.1"], "fe80::1"),
        ("fe80::1%eth0", ["1.1.1.1"], "fe80::1"),
        ("10.0.0.1", ["1.1.1.1" + ", 10.0.0.2" * 500], "1.1.1.1"),
        ("", ["1.1.1.1"], "unknown"),
    ],
)
def test_k1_the_address_behind_proxies_is_the_nearest_that_none_of_them_has(
    peer: str, forwarded: list[str], expected: str
) -> None:
    access = access_of(trusted_proxies=("10.0.0.0/8", "fd00::/8"))
    request = request_of(peer, "POST", "/offer", *[("X-Forwarded-For", value) for value in forwarded])
    assert access.address(request) == expected


def test_k1_proxies_may_be_given_as_addresses_networks_or_mapped() -> None:
    for text in ("127.0.0.1", " 127.0.0.1 ", "127.0.0.1/8", "::ffff:127.0.0.1", "::ffff:127.0.0.0/104"):
        access = access_of(trusted_proxies=(text,))
        assert access.address(request_of(HERE, "GET", "/", ("X-Forwarded-For", "1.1.1.1"))) == "1.1.1.1", text
    for wrong in ("localhost", "", "10.0.0.0/33", "nginx"):
        with pytest.raises(SettingsError, match=r"server\.trusted_proxies"):
            access_of(trusted_proxies=(wrong,))


@given(st.lists(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40), max_size=5))
def test_k1_fuzz_no_x_forwarded_for_breaks_anything(values: list[str]) -> None:
    headers = [("X-Forwarded-For", value) for value in values]
    trusting = access_of(trusted_proxies=("0.0.0.0/0", "::/0"))
    assert parsed_address(trusting.address(request_of(AWAY, "POST", "/offer", *headers))) is not None
    assert access_of().address(request_of(AWAY, "POST", "/offer", *headers)) == AWAY


def test_k1_limits_count_a_customers_network_not_each_of_its_addresses() -> None:
    assert rate_key("2001:db8:1:2:3:4:5:6") == rate_key("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert rate_key("2001:db8:1:3::1") != rate_key("2001:db8:1:2::1")
    assert rate_key("::ffff:1.1.1.1") == rate_key("1.1.1.1") == "1.1.1.1"
    assert rate_key("unknown") == "unknown"


def test_k1_origins_compare_without_case_slash_and_default_port() -> None:
    assert plain_origin(" HTTPS://A.example:443/ ") == "https://a.example"
    assert plain_origin("http://a.example:443") == "http://a.example:443"
    assert plain_origin("null") == "null"


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
    refusal = await access.middleware(request_of(AWAY, "POST", "/offer"), handler)
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
