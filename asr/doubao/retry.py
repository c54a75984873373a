"""When to try again, and when to leave a server alone. Sans-I/O."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asr.doubao.errors import Action, Failure


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one action: the pause before each attempt, seconds; each is lengthened by up to `jitter` of itself."""

    pauses: tuple[float, ...] = ()
    jitter: float = 0.0


PLANS: dict[Action, Plan] = {
    Action.RENUMBER: Plan((0.0,)),
    Action.NEW_IDS: Plan((0.0,)),
    Action.RECONNECT: Plan((0.0, 0.3, 1.0), jitter=0.5),
    Action.ASK_AGAIN: Plan((0.0,)),
    Action.BUSY: Plan((0.5, 1.0, 2.0, 4.0), jitter=0.25),
    Action.INTERNAL: Plan((0.5, 1.0, 2.0), jitter=0.25),
    Action.BACK_OFF: Plan((2.0, 2.0, 4.0), jitter=0.5),
}
"""What is not listed is not tried again."""

_ONCE = (Action.RENUMBER, Action.NEW_IDS)
"""Tried once in a turn, whatever goes well in between."""


class RetryPolicy:
    """Counts the failures of one turn. `plans`: what to try; `chance`: a random number in [0, 1)."""

    def __init__(self, plans: Mapping[Action, Plan] = PLANS, *, chance: Callable[[], float] = random.random) -> None:
        self._plans = plans
        self._chance = chance
        self._tried: Counter[Action] = Counter()

    def pause(self, failure: Failure) -> float | None:
        """Seconds to wait before the next attempt, None to give up."""
        action = failure.rule.action
        if action is Action.NEW_IDS and "duplicate" not in failure.detail.lower():
            return None
        plan = self._plans.get(action, Plan())
        attempt = self._tried[action]
        if attempt >= len(plan.pauses):
            return None
        self._tried[action] += 1
        return plan.pauses[attempt] * (1 + plan.jitter * self._chance())

    def progress(self) -> None:
        """Something was recognised for good: what failed before does not count any more."""
        self._tried = Counter({action: self._tried[action] for action in _ONCE})


class CircuitBreaker:
    """Shared by all turns: after `limit` quota errors in a row nobody connects for `rest_s` seconds."""

    def __init__(self, *, limit: int = 3, rest_s: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._rest = rest_s
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether to stay away."""
        return self._failures >= self._limit and self._clock() < self._until

    def failed(self) -> None:
        """A quota error. After a rest a single one is enough to rest again."""
        self._failures += 1
        self._until = self._clock() + self._rest

    def succeeded(self) -> None:
        """The server took a session."""
        self._failures = 0
