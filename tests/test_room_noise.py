"""The steady noise of a room."""

from __future__ import annotations

import numpy as np

from core.room_noise import RoomNoise


def test_the_floor_stays_under_words_and_follows_a_room_that_gets_louder() -> None:
    noise = RoomNoise()
    quiet, loud, word = (np.array([level, level - 5]) for level in (-70.0, -55.0, -30.0))
    for _ in range(20):
        floor = noise.update(quiet)
    for _ in range(20):
        assert (noise.update(word) == floor).all()
    noise.update(quiet)
    for _ in range(60):
        floor = noise.update(loud)
    assert (floor == loud + 6).all()


def test_a_loud_sound_is_not_the_room() -> None:
    noise = RoomNoise()
    assert noise.update(np.array([-10.0])) == [-45.0]
