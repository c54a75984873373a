"""A limit per address: token buckets, kept in a bounded table."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_ADDRESSES = 10_000


class RateLimiter:
    """`limit` calls per `period_s` seconds for each address, and `burst` calls (default `limit`) at once.

    In any window of w seconds an address gets at most `burst + w * limit / period_s` calls. `limit` 0 means no
    limit. At most `max_addresses` are remembered; beyond that the one that was longest quiet is forgotten.
    `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        limit: float,
        period_s: float,
        *,
        burst: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        max_addresses: int = MAX_ADDRESSES,
    ) -> None:
        self._limit = limit
        self._interval_s = period_s / limit if limit else 0.0
        self._depth_s = self._interval_s * ((limit if burst is None else burst) - 1)
        self._clock = clock
        self._max = max_addresses
        # A bucket is one number: when it will be full again (the generic cell rate algorithm, ITU-T I.371).
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Addresses remembered."""
        return len(self._full_at)

    def allow(self, address: str) -> bool:
        """Take one call from the address's bucket. False: it is empty, and nothing is taken."""
        if not self._limit:
            return True
        now = self._clock()
        full_at = max(self._full_at.get(address, now), now)
        allowed = full_at - now <= self._depth_s + 1e-9  # sums of the interval are not exact
        self._full_at[address] = full_at + self._interval_s if allowed else full_at
        self._full_at.move_to_end(address)
        self._forget(now)
        return allowed

    def wait_s(self, address: str) -> float:
        """Seconds until the next call is allowed; 0 when it is now. Takes nothing."""
        if not self._limit:
            return 0.0
        now = self._clock()
        wait = self._full_at.get(address, now) - now - self._depth_s
        return wait if wait > 1e-9 else 0.0

    def _forget(self, now: float) -> None:
        # the quietest stand first, and a full bucket is as good as none
        while self._full_at:
            address, full_at = next(iter(self._full_at.items()))
            if full_at > now and len(self._full_at) <= self._max:
                return
            del self._full_at[address]
