"""Tokens of devices, in the form that servers of this protocol use.

`base64url(HMAC-SHA256(key, "<client id>|<device id>|<time>")) + "." + time`, without padding; time in Unix seconds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable

LIFETIME_S = 30 * 86_400
_SHAPE = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9]{1,12})")
_SKEW_S = 60


class DeviceTokens:
    """Issues and checks them. `secret`: any length; who knows it makes tokens for every device."""

    def __init__(self, secret: str, *, clock: Callable[[], float] = time.time) -> None:
        # a key of its own: no token of a page can be one of a device
        self._key = hashlib.sha256(b"eman devices\0" + secret.strip().encode(errors="surrogatepass")).digest()
        self._clock = clock

    def issue(self, client_id: str, device_id: str) -> str:
        """A token for this device only."""
        now = int(self._clock())
        return f"{self._signature(client_id, device_id, now)}.{now}"

    def good(self, token: str, client_id: str, device_id: str) -> bool:
        """Whether it is one of ours for this device, not older than `LIFETIME_S`."""
        match = _SHAPE.fullmatch(token)
        if match is None:
            return False
        issued = int(match[2])
        expected = self._signature(client_id, device_id, issued)
        genuine = hmac.compare_digest(expected, match[1])
        return genuine and -_SKEW_S <= self._clock() - issued <= LIFETIME_S

    def _signature(self, client_id: str, device_id: str, issued: int) -> str:
        text = f"{client_id}|{device_id}|{issued}".encode(errors="surrogatepass")
        return base64.urlsafe_b64encode(hmac.digest(self._key, text, "sha256")).rstrip(b"=").decode()
