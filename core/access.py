"""Who may do what: sessions, visitors, programs with API keys, the admin; and how often.

| caller | proves it with |
|---|---|
| the owner of a session | the token that /offer returned |
| a visitor who may start a session | the token of an access link |
| a program, for every session | an API key |
| the admin | the admin token; while none is configured, being on this machine |

Tokens and keys are compared in constant time and never logged; a refusal does not tell what was wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from core.caller import Callers, rate_key
from core.errors import OriginRefused, RateLimited, Unauthorized
from core.identity import Tokens
from core.rate_limit import RateLimiter

logger = logging.getLogger(__name__)

_HARMLESS = ("GET", "HEAD", "OPTIONS")
_LIVETALKING_ADMIN = ("/api/admin/config", "/api/admin/sessions")
"""What anybody may read of LiveTalking's admin API; it has nothing that was said."""
_GOOD_LENGTH = 16
_GUESSES_PER_MINUTE = 60


@dataclass(frozen=True, slots=True)
class AccessRules:
    """See `auth`, `server`, `compat` and `limits` in config/default.yaml. A limit of 0 is none."""

    enabled: bool = False
    admin_token: str = ""
    api_keys: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    any_origin: bool = False
    open_admin: bool = False
    trusted_proxies: tuple[str, ...] = ()
    offers_per_minute: int = 0
    uploads_per_minute: int = 0
    messages_per_second: int = 0


class Access:
    """Every decision about a request. Raises `SettingsError` for a wrong `trusted_proxies`."""

    def __init__(self, tokens: Tokens, rules: AccessRules) -> None:
        self._tokens = tokens
        self._rules = rules
        self._callers = Callers(rules.trusted_proxies, rules.allowed_origins, any_origin=rules.any_origin)
        self._api_keys = [_digest(key.strip()) for key in rules.api_keys if key.strip()]
        self._admin_tokens = [_digest(rules.admin_token.strip())] if rules.admin_token.strip() else []
        self._offers = RateLimiter(rules.offers_per_minute, 60)
        self._uploads = RateLimiter(rules.uploads_per_minute, 60)
        # audio comes in 50 packets a second, and after a stall of the network all at once
        self._messages = RateLimiter(rules.messages_per_second, 1, burst=2 * rules.messages_per_second)
        self._guesses = RateLimiter(_GUESSES_PER_MINUTE if self._api_keys or self._admin_tokens else 0, 60)
        if any(0 < len(secret.strip()) < _GOOD_LENGTH for secret in (rules.admin_token, *rules.api_keys)):
            logger.warning("auth: an API key or the admin token is shorter than %d characters", _GOOD_LENGTH)

    @property
    def enabled(self) -> bool:
        """Whether sessions can be used with their tokens only."""
        return self._rules.enabled

    # -- every request

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuses what foreign pages ask to be done, and too much from one address. Raises `OriginRefused`,
        `RateLimited`."""
        upgrade = request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
        if upgrade or request.method not in _HARMLESS:
            self._check_origin(request)
        limiter = self._limiter(request)
        if limiter is not None:
            self._count(request, limiter)
        return await handler(request)

    def address(self, request: web.Request) -> str:
        """The client's address; behind trusted proxies the one they report."""
        return self._callers.address(request)

    # -- sessions over HTTP. `token` is the field of the request's body, form or query

    def may_open(self, request: web.Request, token: str | None) -> None:
        """A new session. With auth on and API keys configured it needs a key or a visitor's token. Raises
        `Unauthorized`, `RateLimited`."""
        if not self._rules.enabled or not self._api_keys:
            return
        self._check_guesses(request)
        if self._is_program(request, token):
            return
        try:
            self._tokens.check_visitor(token or _bearer(request))
        except Unauthorized as error:
            raise self._refused(request, str(error)) from None

    def may_use(self, request: web.Request, session_id: str, token: str | None) -> None:
        """Something in a session. With auth off a missing token is fine, a wrong one is not. Raises `Unauthorized`,
        `RateLimited`."""
        self._check_guesses(request)
        if self._is_program(request, token):
            return
        presented = token or _bearer(request)
        if not presented and not self._rules.enabled:
            return
        self._check_owner(request, session_id, presented)

    def may_attach(self, request: web.Request, token: str, *, good: bool) -> None:
        """A device that wants to talk; its own token is `good`, or not. With auth on it needs that, or an API key.
        Raises `Unauthorized`, `RateLimited`."""
        if not self._rules.enabled or good:
            return
        self._check_guesses(request)
        if not self._is_program(request, token):
            raise self._refused(request, "the device's token is missing or wrong")

    def may_begin(self, request: web.Request) -> None:
        """A device that is let in begins a session: counts as an offer. Raises `RateLimited`."""
        self._count(request, self._offers)

    def may_read(self, request: web.Request, session_id: str, token: str | None) -> None:
        """What was said in a session: its owner, a program or the admin, auth on or off. Raises `Unauthorized`,
        `RateLimited`."""
        self._check_guesses(request)
        if self._is_program(request, token) or self._is_admin(request, token):
            return
        self._check_owner(request, session_id, token or _bearer(request))

    # -- the admin

    def may_admin(self, request: web.Request) -> None:
        """The admin API. Raises `Unauthorized`, `RateLimited`."""
        open_to_all = self._rules.open_admin and not self._rules.enabled
        if open_to_all and request.method == hdrs.METH_GET and request.path in _LIVETALKING_ADMIN:
            return
        self.check_admin_token(request, None)

    def check_admin_token(self, request: web.Request, token: str | None) -> None:
        """The admin, who may show the token in a message instead of a header. Raises `Unauthorized`, `RateLimited`."""
        self._check_guesses(request)
        if self._is_admin(request, token):
            return
        if self._admin_tokens:
            raise self._refused(request, "the admin token is missing or wrong")
        raise self._refused(request, "without auth.admin_token only a browser or program on the server may do this")

    # -- sockets

    def admit(self, request: web.Request) -> str:
        """The address of a client that opens a socket. Raises `OriginRefused` for a foreign page."""
        self._check_origin(request)
        return self.address(request)

    def may_login(self, session_id: str, token: str | None) -> None:
        """A socket that wants a session's messages: as `may_use`; `token` may be an API key. Raises `Unauthorized`."""
        if (not token and not self._rules.enabled) or _matches(self._api_keys, [token]):
            return
        self._tokens.check(token, session_id)

    def may_send(self, address: str) -> bool:
        """Whether the client at `address` may send another message now."""
        return self._messages.allow(rate_key(address))

    # -- inside

    def _count(self, request: web.Request, limiter: RateLimiter) -> None:
        key = rate_key(self.address(request))
        if not limiter.allow(key):
            text = "too many requests from your address, try again shortly"
            raise RateLimited(text, retry_after_s=limiter.wait_s(key))

    def _limiter(self, request: web.Request) -> RateLimiter | None:
        if request.method in _HARMLESS:
            return None
        return {"/offer": self._offers, "/humanaudio": self._uploads}.get(request.path, self._messages)

    def _check_owner(self, request: web.Request, session_id: str, token: str) -> None:
        try:
            self._tokens.check(token, session_id)
        except Unauthorized as error:
            raise self._refused(request, str(error)) from None

    def _is_program(self, request: web.Request, token: str | None) -> bool:
        return _matches(self._api_keys, [token, _bearer(request), request.headers.get("X-API-Key")])

    def _is_admin(self, request: web.Request, token: str | None) -> bool:
        shown = [token, _bearer(request), request.headers.get("X-Admin-Token")]
        if self._admin_tokens:
            return _matches(self._admin_tokens, shown)
        return not any(shown) and self._callers.local(request)  # who shows a token wants it to be checked

    def _check_guesses(self, request: web.Request) -> None:
        wait = self._guesses.wait_s(rate_key(self.address(request)))
        if wait:
            raise RateLimited("too many wrong tokens from your address, try again in a minute", retry_after_s=wait)

    def _refused(self, request: web.Request, message: str) -> Unauthorized:
        address = self.address(request)
        self._guesses.allow(rate_key(address))
        logger.info("%s %s from %s: refused, no valid token", request.method, request.path, address)
        return Unauthorized(message)

    def _check_origin(self, request: web.Request) -> None:
        if not self._callers.foreign(request):
            return
        origin, host = request.headers.get(hdrs.ORIGIN, "")[:100], request.headers.get(hdrs.HOST, "")[:100]
        logger.info("%s %s: refused, a page of %r is not ours (Host %r)", request.method, request.path, origin, host)
        raise OriginRefused(
            "pages of other sites may not do this; the server's operator can allow yours in server.allowed_origins"
        )


def _bearer(request: web.Request) -> str:
    values = request.headers.getall(hdrs.AUTHORIZATION, [])
    scheme, _, value = values[0].strip().partition(" ") if len(values) == 1 else ("", "", "")
    return value.strip() if scheme.lower() == "bearer" else ""


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _matches(secrets: Iterable[bytes], shown: Iterable[str | None]) -> bool:
    """Whether one of the shown texts is one of the secrets; all are compared, in constant time."""
    digests = [_digest(text) for text in shown if text]
    # a sum, not any(): no early end that tells which one it was
    return sum(hmac.compare_digest(secret, digest) for secret in secrets for digest in digests) > 0
