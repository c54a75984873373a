"""Made-up requests of every kind of caller, and what `Access` makes of them."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from core.access import Access, AccessRules
from core.envelope import envelope_failures
from core.errors import Unauthorized
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

    response = await envelope_failures(request, partial(access.middleware, handler=handler))
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
