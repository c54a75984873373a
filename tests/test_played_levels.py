"""What the avatar played, by how long ago that was."""

from __future__ import annotations

import numpy as np

from core.bands import SILENCE_DB
from core.echo_delay import STEP_S
from core.played_levels import PlayedLevels

COUNT = 5


def level(step: int) -> float:
    return -50.0 + step % 40


def told(*steps: int) -> PlayedLevels:
    played = PlayedLevels(COUNT, 2)
    for step in steps:
        played.add(step * STEP_S, np.full(2, level(step)))
    return played


def seen(played: PlayedLevels, step: int) -> list[float | None]:
    """The first band at each delay, None for silence."""
    rows = played.until(step * STEP_S)
    assert rows.shape == (COUNT, 2)
    assert (rows[:, 0] == rows[:, 1]).all()
    return [None if row == SILENCE_DB else row for row in rows[:, 0].tolist()]


def test_the_newest_is_first_however_long_it_goes_on() -> None:
    played = told()
    for step in range(1, 200):
        played.add(step * STEP_S, np.full(2, level(step)))
        assert seen(played, step) == [level(s) if s > 0 else None for s in range(step, step - COUNT, -1)]


def test_where_nothing_was_told_is_silence() -> None:
    assert seen(told(10, 13), 14) == [None, level(13), None, None, level(10)]
    assert seen(told(10, 13), 17) == [None, None, None, None, level(13)]


def test_a_long_silence_leaves_nothing() -> None:
    played = told(10, 11)
    assert seen(played, 10_000) == [None] * COUNT
    played.add(10_001 * STEP_S, np.full(2, -20.0))
    assert seen(played, 10_002) == [None, -20.0, None, None, None]


def test_what_was_told_last_for_a_step_counts() -> None:
    played = told(10)
    played.add(10.3 * STEP_S, np.full(2, -9.0))
    assert seen(played, 10)[0] == -9.0


def test_a_time_before_the_last_one_counts_as_that() -> None:
    assert seen(told(10, 12), 11)[:3] == [level(12), None, level(10)]
