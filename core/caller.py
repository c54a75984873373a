"""Where a request comes from: the client's address, and the web page that made it.

A browser tells which page makes a request in `Origin` and `Sec-Fetch-Site`, which scripts can't set. Everything else
in a request's head can be anything, `X-Forwarded-For` included, except from a proxy that the operator trusts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import HttpVersion11, hdrs, web

from core.errors import SettingsError

Address = IPv4Address | IPv6Address

_FORWARDING = (
    "Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "CF-Connecting-IP",
)  # fmt: skip
_DEFAULT_PORT = {"http": ":80", "https": ":443"}
_SITE = "Sec-Fetch-Site"
_PRIVATE_NAMES = (".localhost", ".local", ".test", ".internal", ".home.arpa")
"""Ends of names that no public name server answers for (RFC 6761, 6762, 8375; ICANN 2024)."""


class Callers:
    """Tells callers apart. `trusted_proxies`: addresses or networks whose X-Forwarded-* headers are believed;
    `allowed_origins`: pages that are not ours and may call all the same, or `any_origin`.

    Raises `SettingsError` for a proxy that is neither an address nor a network.
    """

    def __init__(
        self, trusted_proxies: Sequence[str] = (), allowed_origins: Sequence[str] = (), *, any_origin: bool = False
    ) -> None:
        self._proxies = [_network(text) for text in trusted_proxies]
        self._allowed = {plain_origin(origin) for origin in allowed_origins}
        self._any_origin = any_origin

    def address(self, request: web.Request) -> str:
        """The client's address: the peer's, or the nearest one in X-Forwarded-For that no trusted proxy has."""
        client = _peer(request)
        if client is None:
            return "unknown"
        hops = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
        while hops and self._trusts(client):
            hop = parsed_address(hops.pop())
            if hop is None:
                break  # whatever stands further left is no better
            client = hop
        return str(client)

    def foreign(self, request: web.Request) -> bool:
        """Whether a web page of an origin that may not call us made the request."""
        origin = request.headers.get(hdrs.ORIGIN, "")
        if self._any_origin or (origin and plain_origin(origin) in self._allowed):
            return False
        return not self.own_page(request) or self._rebound(request)

    def own_page(self, request: web.Request) -> bool:
        """Whether the request comes from a page of this server, or from no page at all (a program)."""
        origins = request.headers.getall(hdrs.ORIGIN, [])
        if not origins:
            return request.headers.get(_SITE, "none") in ("same-origin", "none")
        scheme, mark, host = plain_origin(origins[0]).partition("://")
        if len(origins) > 1 or not mark or not self._scheme_fits(request, scheme):
            return False
        return bool(host) and host == _host(request).removesuffix(_DEFAULT_PORT.get(scheme, ""))

    def local(self, request: web.Request) -> bool:
        """Whether the caller is on this machine: a program, or a page that we served to a browser here."""
        peer = _peer(request)
        return (
            peer is not None
            and peer.is_loopback
            and not self._trusts(peer)
            and not any(name in request.headers for name in _FORWARDING)
            and request.version >= HttpVersion11  # nginx speaks 1.0 to what it forwards to, unless told otherwise
            and _is_loopback_name(_name(_host(request)))
            and self.own_page(request)
        )

    def _rebound(self, request: web.Request) -> bool:
        # A page of evil.example whose name was pointed at 127.0.0.1 after it had been loaded is its own origin,
        # and the browser connects from this machine; but its Host is a public name.
        peer = _peer(request)
        if peer is None or not peer.is_loopback or self._trusts(peer):
            return False
        return hdrs.ORIGIN in request.headers and not _is_private_name(_name(_host(request)))

    def _trusts(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._proxies)

    def _scheme_fits(self, request: web.Request, scheme: str) -> bool:
        peer = _peer(request)
        if request.transport is not None and request.transport.get_extra_info("sslcontext") is not None:
            return scheme == "https"
        if peer is not None and self._trusts(peer) and (known := request.headers.get("X-Forwarded-Proto")):
            return scheme == known.rpartition(",")[2].strip().lower()
        return scheme in ("http", "https")  # plain, or a proxy that took TLS off and does not say so


def plain_origin(origin: str) -> str:
    """An origin as it compares: lower case, no final slash, no default port."""
    text = origin.strip().lower().rstrip("/")
    return text.removesuffix(_DEFAULT_PORT.get(text.partition("://")[0], ""))


def parsed_address(text: str) -> Address | None:
    """An address as proxies write them (`1.2.3.4`, `1.2.3.4:567`, `::1`, `[::1]:567`), IPv4 in IPv6 unwrapped."""
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=4096)
def rate_key(address: str) -> str:
    """What a limit counts by: an IPv4 address, or the /64 of an IPv6 one, which one customer has all of."""
    parsed = parsed_address(address)
    return str(IPv6Network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else str(parsed or address)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        raise SettingsError(f"server.trusted_proxies: {text!r} is neither an address nor a network") from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return IPv4Network((mapped, max(network.prefixlen - 96, 0))) if mapped is not None else network


def _peer(request: web.Request) -> Address | None:
    return parsed_address(request.remote or "")


def _host(request: web.Request) -> str:
    hosts = request.headers.getall(hdrs.HOST, [])
    return hosts[0].strip().lower() if len(hosts) == 1 else ""


def _name(host: str) -> str:
    """The host without its port; of an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def _is_loopback_name(name: str) -> bool:
    address = parsed_address(name) if name else None
    return name == "localhost" or name.endswith(".localhost") or (address is not None and address.is_loopback)


def _is_private_name(name: str) -> bool:
    # nobody outside can give these an address
    return "." not in name or name.endswith(_PRIVATE_NAMES) or parsed_address(name) is not None
