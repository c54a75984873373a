"""Which devices may come in, and which are given a token."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

from aiohttp import web

from core.devices.caller import DeviceCaller
from core.devices.tokens import DeviceTokens
from core.errors import Unauthorized

logger = logging.getLogger(__name__)


class DeviceAccess(Protocol):
    """Who may do what (`core.access`)."""

    @property
    def enabled(self) -> bool:
        """Whether anything is checked."""

    def admit(self, request: web.Request) -> str:
        """The client's address. Raises `OriginRefused` for a page of a foreign origin."""

    def may_open(self, request: web.Request, token: str | None) -> None:
        """Raises `Unauthorized`, `RateLimited`: who asks may not begin a session."""

    def may_send(self, address: str) -> bool:
        """Whether another message from this address is within the limit."""

    def may_attach(self, request: web.Request, token: str, *, good: bool) -> None:
        """Raises `Unauthorized`, `RateLimited`: the device's token is not `good`, and no API key is shown."""

    def may_begin(self, request: web.Request) -> None:
        """Raises `RateLimited`: too many sessions were begun from this address."""


class Door:
    """`token` is one that all devices may share, "" for none; `known`: device ids that get a token of their own."""

    def __init__(
        self, access: DeviceAccess, tokens: DeviceTokens, token: str = "", known: Collection[str] = ()
    ) -> None:
        self._access = access
        self._tokens = tokens
        self._token = token.strip()
        self._known = frozenset(device.strip().lower() for device in known)

    def admit(self, request: web.Request) -> Callable[[], bool]:
        """What tells whether the caller may send another message now. Raises `OriginRefused` for a page of others."""
        return partial(self._access.may_send, self._access.admit(request))

    def enter(self, request: web.Request, caller: DeviceCaller) -> None:
        """Raises `Unauthorized`, `RateLimited`. With auth off everybody may."""
        good = self._shared(caller) or self._tokens.good(caller.token, caller.client_id, caller.device_id)
        self._access.may_attach(request, caller.token, good=good)

    def begin(self, request: web.Request) -> None:
        """The caller needs a session of its own. Raises `RateLimited`."""
        self._access.may_begin(request)

    def token_for(self, request: web.Request, caller: DeviceCaller) -> str:
        """What the device is to show; "" when it needs none, or gets none. Raises `RateLimited`.

        With auth on it gets one when everybody may begin sessions (no API keys are configured), when it is known, or
        when it shows the shared token, an API key, or an access link's token.
        """
        if not self._access.enabled:
            return ""
        if caller.device_id not in self._known and not self._shared(caller):
            try:
                self._access.may_open(request, caller.token)
            except Unauthorized:
                logger.warning(
                    "device %s gets no token: it is not in xiaozhi.devices, and shows no key", caller.device_id
                )
                return ""
        return self._tokens.issue(caller.client_id, caller.device_id)

    def _shared(self, caller: DeviceCaller) -> bool:
        shown, wanted = caller.token.encode(errors="replace"), self._token.encode(errors="replace")
        return bool(wanted) and hmac.compare_digest(shown, wanted)
