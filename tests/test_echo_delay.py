"""After which time the avatar's voice comes back."""

from __future__ import annotations

import numpy as np
import pytest

from core.bands import SILENCE_DB
from core.echo_delay import STEP_S, EchoDelay
from tests.echoes import Sound, echo, frames, room, voice


def observed(heard: Sound, played: Sound, delay: EchoDelay | None = None) -> EchoDelay:
    delay = delay or EchoDelay(0.3)
    history = np.full((delay.count, 10), SILENCE_DB)
    for _, levels, said in frames(heard, played):
        for _, loud in said:
            history = np.concatenate([loud[None, :], history[:-1]])
        delay.observe(0.032, levels, history)
    return delay


def likely(delay: EchoDelay) -> list[float]:
    return [index * STEP_S for index in np.flatnonzero(delay.likely)]


@pytest.mark.parametrize("seconds", [0.05, 0.13, 0.2])
@pytest.mark.parametrize("coupling_db", [-10, -20, -30])
def test_the_delay_of_an_echo_is_found_whatever_its_strength(seconds: float, coupling_db: float) -> None:
    avatar = voice(4, -20, seed=5)
    found = likely(observed(echo(avatar, seconds, coupling_db) + room(4), avatar))
    assert found[0] <= seconds <= found[-1]
    assert found[-1] - found[0] <= 0.13


def test_nothing_is_known_at_first_and_without_an_echo() -> None:
    assert EchoDelay(0.3).likely.all()
    avatar = voice(4, -20, seed=5)
    assert observed(room(4), avatar).likely.all()
    assert observed(voice(4, -40, seed=6) + room(4), avatar).likely.all()


def test_a_voice_over_the_echo_does_not_make_it_forget() -> None:
    avatar = voice(4, -20, seed=5)
    delay = observed(echo(avatar, 0.1, -20) + room(4), avatar)
    before = likely(delay)
    over = observed(echo(avatar, 0.1, -20)[:16_000] + voice(1, -20, seed=6), avatar[:16_000], delay)
    assert set(before) <= set(likely(over))
    assert len(likely(over)) <= len(before) + 4


def test_a_new_delay_is_followed_and_never_left_out() -> None:
    avatar = voice(8, -20, seed=5)
    delay = observed(echo(avatar, 0.06, -20) + room(8), avatar)
    later = echo(avatar, 0.22, -20) + room(8)
    observed(later[:32_000], avatar[:32_000], delay)
    assert any(abs(found - 0.22) < 0.02 for found in likely(delay))
    observed(later, avatar, delay)
    assert min(likely(delay)) > 0.1
