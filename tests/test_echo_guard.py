"""The avatar's voice coming back through a microphone, by bands: what is taken for somebody else."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from core.echo_guard import EchoGuard
from tests.echoes import Sound, echo, frames, room, voice

SECONDS = 12


@dataclass
class Ears:
    """A guard and, per frame, when it ended and whether it was clearly somebody else's."""

    guard: EchoGuard = field(default_factory=lambda: EchoGuard(tail_s=0.3, coupling_db=-20, margin_db=6, voice=0.35))
    times: list[float] = field(default_factory=list)
    clear: list[bool] = field(default_factory=list)

    def hear(self, heard: Sound, played: Sound, probability: float = 0.9) -> Ears:
        """What comes next; times go on from where they were."""
        start = self.times[-1] if self.times else 0.0
        for time, levels, said in frames(heard, played):
            for moment, loud in said:
                self.guard.hear_avatar(start + moment, loud)
            self.clear.append(self.guard.hear(start + time, 0.032, probability, levels).clear)
            self.times.append(start + time)
        return self

    def share(self, since: float, until: float = 1e9) -> float:
        return float(np.mean([c for t, c in zip(self.times, self.clear, strict=True) if since < t <= until]))


@pytest.mark.parametrize("delay_s", [0.05, 0.12, 0.24])
def test_e1_the_avatars_own_voice_is_nobody_else(delay_s: float) -> None:
    avatar = voice(SECONDS, -20, seed=1)
    assert Ears().hear(echo(avatar, delay_s, -20) + room(SECONDS), avatar).share(0) < 0.02


@pytest.mark.parametrize("delay_s", [0.05, 0.24])
def test_e1_a_voice_hardly_louder_than_the_echo_is_heard_at_once(delay_s: float) -> None:
    avatar, user = voice(SECONDS, -20, seed=1), voice(SECONDS, -32, seed=2)
    user[: 8 * 16_000] = 0
    ears = Ears().hear(echo(avatar, delay_s, -20) + user + room(SECONDS), avatar)
    assert ears.share(2, 8) < 0.02
    assert ears.share(8, 9) > 0.5


def test_before_the_delay_is_known_a_voice_must_be_above_all_that_may_come_back() -> None:
    avatar, user = voice(SECONDS, -20, seed=1), voice(SECONDS, -32, seed=2)
    early, late = user.copy(), user.copy()
    early[8000:], late[: 8 * 16_000] = 0, 0
    heard = echo(avatar, 0.2, -20) + room(SECONDS)
    assert Ears().hear(heard + early, avatar).share(0, 0.5) < Ears().hear(heard + late, avatar).share(8, 8.5)


def test_a_coloured_echo_is_learned() -> None:
    avatar = voice(30, -20, seed=1)
    spectrum = np.fft.rfft(echo(avatar, 0.1, -20))
    at = np.fft.rfftfreq(len(avatar), 1 / 16_000)
    tinny = np.fft.irfft(spectrum * np.where((at > 2000) & (at < 4000), 2.2, 0.7), len(avatar))  # +7, -3 dB
    assert Ears().hear(tinny + room(30), avatar).share(10) < 0.03


def test_a_steady_noise_of_the_room_is_nobody() -> None:
    avatar = voice(SECONDS, -20, seed=1)
    heard = echo(avatar, 0.1, -30) + room(SECONDS, -48)
    assert Ears().hear(heard, avatar).share(2) < 0.02


def test_an_echo_that_is_cancelled_lets_a_soft_voice_through() -> None:
    avatar, user, silent = voice(10, -20, seed=1), voice(2, -44, seed=2) + room(2), room(10)
    echoed = Ears().hear(echo(avatar, 0.1, -20) + room(10), avatar)
    echoed.hear(echo(avatar, 0.1, -20)[:32_000] + user, avatar[:32_000])
    cancelled = Ears().hear(silent, avatar, probability=0.02)  # no voice, though the avatar speaks
    cancelled.hear(user, avatar[:32_000])
    assert cancelled.share(10) > echoed.share(10) + 0.2


@pytest.mark.parametrize(("before", "after"), [(0.06, 0.2), (0.2, 0.06)])
def test_an_echo_that_jumps_is_nobody_else(before: float, after: float) -> None:
    avatar = voice(10, -20, seed=1)
    ears = Ears().hear(echo(avatar, before, -20) + room(10), avatar)
    jumped = ears.times[-1]
    ears.hear(echo(avatar, after, -20)[32_000:40_000] + room(0.5), avatar[32_000:40_000])
    assert ears.share(jumped) > 0.2  # at first it looks like somebody
    assert ears.guard.has_moved(jumped)
    ears.hear(echo(avatar, after, -20)[40_000:] + room(7.5), avatar[40_000:])
    assert ears.share(jumped + 0.5) < 0.03


def test_somebody_else_is_no_echo_that_jumped() -> None:
    avatar, user = voice(10, -20, seed=1), voice(0.5, -26, seed=2)
    ears = Ears().hear(echo(avatar, 0.1, -20) + room(10), avatar)
    began = ears.times[-1]
    ears.hear(echo(avatar, 0.1, -20)[32_000:40_000] + user, avatar[32_000:40_000])
    assert ears.share(began) > 0.5
    assert not ears.guard.has_moved(began)


def test_without_the_avatar_everything_is_the_users() -> None:
    guard = Ears().guard
    beside = guard.hear(1.0, 0.032, 0.9, np.full(10, -60.0))
    assert beside.clear
    assert beside.trace
    assert not guard.expects_echo


def test_the_echo_is_expected_until_its_tail_has_passed() -> None:
    guard = Ears().guard
    guard.hear_avatar(1.0, np.full(10, -30.0))
    guard.hear(1.29, 0.032, 0.9, np.full(10, -60.0))
    assert guard.expects_echo
    guard.hear(1.31, 0.032, 0.9, np.full(10, -60.0))
    assert not guard.expects_echo
