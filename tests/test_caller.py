"""Where requests come from: pages of other origins, rebound names, addresses behind proxies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.caller import parsed_address, plain_origin, rate_key
from core.errors import OriginRefused, SettingsError
from tests.callers import (
    AWAY,
    HERE,
    access_of,
    request_of,
    status,
)

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
    with pytest.raises(OriginRefused):
        access.admit(request_of(AWAY, "GET", "/ws", head))


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
    with pytest.raises(OriginRefused):
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
