"""The media clock: both tracks wait on it, it never bursts after a stall."""

from __future__ import annotations

from core.clock import MAX_LAG_S, MediaClock
from core.frames import MEDIA_RATE


class VirtualTime:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def clock() -> tuple[MediaClock, VirtualTime]:
    time = VirtualTime()
    return MediaClock(time, time.sleep), time


async def test_starts_with_the_first_wait_wherever_that_is() -> None:
    media, time = clock()
    assert not media.started
    assert await media.wait_until(48_000) == 0.0
    assert time.slept == []
    assert media.position() == 48_000


async def test_positions_are_due_at_their_time_without_drift() -> None:
    media, time = clock()
    for frame in range(1000):
        await media.wait_until(frame * 960)
        time.now += 0.0037  # work between frames does not add up
    assert abs(time.now - 100.0 - 999 * 0.02) < 0.0038


async def test_a_late_track_is_told_how_late_and_does_not_sleep() -> None:
    media, time = clock()
    await media.wait_until(0)
    time.now += 0.1
    assert abs(await media.wait_until(960) - 0.08) < 1e-9
    assert time.slept == []


async def test_after_a_long_stall_the_clock_moves_instead_of_bursting() -> None:
    media, time = clock()
    await media.wait_until(0)
    time.now += 60.0
    assert await media.wait_until(960) == 0.0
    assert media.resyncs == 1
    await media.wait_until(960 * 2)
    assert abs(time.slept[-1] - 960 / MEDIA_RATE) < 1e-9
    assert MAX_LAG_S < 60
