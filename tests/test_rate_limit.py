"""A limit per address: never more than it says, never less, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rate_limit import RateLimiter

GAPS = st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=80)
LIMITS = st.integers(1, 100)
PERIODS = st.sampled_from([1.0, 60.0])


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    """The textbook token bucket, as the other opinion."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst, self.level, self.at = rate, burst, burst, now

    def allow(self, now: float) -> bool:
        self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < 1 - 1e-6:
            return False
        self.level -= 1
        return True


@given(LIMITS, PERIODS, st.integers(1, 50), GAPS)
def test_k1_no_window_has_more_than_the_burst_and_its_share(
    limit: int, period: float, burst: int, gaps: list[float]
) -> None:
    clock = Clock()
    limiter = RateLimiter(limit, period, burst=burst, clock=clock)
    allowed: list[float] = []
    for gap in gaps:
        clock.now += gap
        while limiter.allow("a"):  # as greedy as can be
            allowed.append(clock.now)
    for first, start in enumerate(allowed):
        for last in range(first, len(allowed)):
            assert last - first + 1 <= burst + (allowed[last] - start) * limit / period + 1e-5


@given(LIMITS, PERIODS, st.lists(st.floats(0, 3, allow_nan=False), max_size=100))
def test_k1_who_keeps_to_the_rate_is_never_refused(limit: int, period: float, extra: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter(limit, period, burst=1, clock=clock)
    for gap in extra:
        assert limiter.allow("a")
        clock.now += period / limit + gap


@given(LIMITS, PERIODS, st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 2, allow_nan=False)), max_size=120))
def test_k1_decides_as_a_token_bucket_per_address(limit: int, period: float, calls: list[tuple[str, float]]) -> None:
    clock = Clock()
    limiter = RateLimiter(limit, period, clock=clock)
    models: dict[str, Bucket] = {}
    for address, gap in calls:
        clock.now += gap
        model = models.setdefault(address, Bucket(limit / period, limit, clock.now))
        if abs(model.level + (clock.now - model.at) * model.rate - 1) > 1e-5:  # within rounding both answers are right
            assert limiter.allow(address) == model.allow(clock.now)


@given(LIMITS, PERIODS, GAPS)
def test_k1_says_how_long_to_wait_and_recovers_then(limit: int, period: float, gaps: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter(limit, period, clock=clock)
    for gap in gaps:
        clock.now += gap
        while limiter.allow("a"):
            assert limiter.wait_s("b") == 0
        wait = limiter.wait_s("a")
        assert 0 < wait <= period / limit + 1e-6
        clock.now += wait
        assert limiter.wait_s("a") == 0
        assert limiter.allow("a")


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0, 1, allow_nan=False)), max_size=300))
def test_k1_remembers_no_more_than_it_may(calls: list[tuple[int, float]]) -> None:
    clock = Clock()
    limiter = RateLimiter(5, 1, clock=clock, max_addresses=20)
    for number, gap in calls:
        clock.now += gap
        limiter.allow(str(number))
        assert len(limiter) <= 20


def test_k1_a_flood_of_addresses_is_forgotten_when_it_is_over() -> None:
    clock = Clock()
    limiter = RateLimiter(60, 60, clock=clock)
    for number in range(50_000):
        limiter.allow(f"10.{number}")
    assert len(limiter) == 10_000
    clock.now += 61
    limiter.allow("10.0.0.1")
    assert len(limiter) == 1


def test_k1_a_flood_of_other_addresses_does_not_free_one_that_keeps_trying() -> None:
    clock = Clock()
    limiter = RateLimiter(2, 60, clock=clock, max_addresses=100)
    assert [limiter.allow("bad") for _ in range(3)] == [True, True, False]
    for number in range(5_000):
        limiter.allow(f"other {number}")
        assert number % 50 or not limiter.allow("bad")


def test_k1_no_limit() -> None:
    limiter = RateLimiter(0, 60)
    assert all(limiter.allow("a") for _ in range(10_000))
    assert len(limiter) == 0
    assert limiter.wait_s("a") == 0


@pytest.mark.parametrize("back", [0.5, 1e6])
def test_k1_a_clock_that_jumps_back_neither_breaks_nor_frees(back: float) -> None:
    clock = Clock()
    limiter = RateLimiter(2, 60, clock=clock)
    assert limiter.allow("a")
    assert limiter.allow("a")
    clock.now -= back
    assert not limiter.allow("a")
