"""The second look at lip closures: in the stream, and how it is trained."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.lipsync.closures import AHEAD, BEFORE, Closures, windows
from avatar.lipsync.glide import Glide, rest
from avatar.lipsync.train.closures import fit, save
from core.errors import LipSyncError
from core.frames import VISEMES, VisemeFrames

PP, NN = VISEMES.index("PP"), VISEMES.index("nn")


def posteriors(count: int, seed: int) -> VisemeFrames:
    rows = np.random.default_rng(seed).dirichlet(np.full(len(VISEMES), 0.05), count)
    return np.asarray(rows, np.float32).reshape(count, len(VISEMES))


def test_a_window_is_what_lies_around_a_frame() -> None:
    rows = posteriors(40, 1)
    seen = windows(rows)
    assert seen.shape == (40 - BEFORE - AHEAD, (BEFORE + 1 + AHEAD) * len(VISEMES))
    wanted = np.log(np.maximum(rows[5 : 5 + BEFORE + 1 + AHEAD], 3e-4)) / 3
    np.testing.assert_allclose(seen[5], wanted.ravel(), rtol=1e-5)


def test_doubt_moves_from_the_closures_of_the_text_to_those_of_the_sound() -> None:
    """The text closes the lips at frame 30; nothing of that is heard."""
    text, heard = np.zeros((2, 60, len(VISEMES)), np.float32)
    text[:, VISEMES.index("aa")] = heard[:, VISEMES.index("aa")] = 1
    text[30], heard[20] = 0, 0.05
    text[30, PP], heard[20, PP] = 1, 0.3

    def closed(doubt: float) -> float:
        glide = Glide(Closures.load())
        rows = (1 - doubt) * text + doubt * heard
        return float(np.concatenate((glide.feed(rows, heard, np.full(60, doubt, np.float32)), glide.finish()))[30, PP])

    assert closed(0) == 1
    assert closed(0.3) > closed(0.7) > closed(1) == pytest.approx(0, abs=0.05)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 60), cuts=st.lists(st.integers(1, 20), min_size=1), seed=st.integers(0, 2**32 - 1))
def test_f1_the_lips_touch_where_the_second_look_says_however_the_sound_is_cut(
    count: int, cuts: list[int], seed: int
) -> None:
    rows, closures = posteriors(count, seed), Closures.load()
    glide, parts, at = Glide(closures), [], 0
    for turn in range(count):
        parts.append(glide.feed(rows[at : at + cuts[turn % len(cuts)]]))
        at += cuts[turn % len(cuts)]
    parts.append(glide.finish())
    smooth, whole = np.concatenate(parts), Glide(closures)
    at_once = np.concatenate([whole.feed(rows), whole.finish()])
    assert smooth.shape == rows.shape
    np.testing.assert_allclose(smooth.sum(axis=1), 1, atol=1e-4)
    seen = closures.of(np.concatenate((rest(BEFORE), rows, rest(AHEAD))))
    for made in (smooth, at_once):
        sure = seen > 0.5
        assert np.all(made[sure, PP] > 0.48)
        assert np.all(made[seen < 0.4, PP] < 0.48)


def test_training_learns_what_follows_a_doubtful_frame(tmp_path: Path) -> None:
    """The model hears PP or nn with the same doubt; only three frames later it is sure."""
    rng = np.random.default_rng(3)
    truth = rng.random(1500) < 0.5
    examples = []
    for closed in truth:
        rows = posteriors(BEFORE + 1 + AHEAD, int(rng.integers(2**31))) * 0.2 + 0.01
        rows[BEFORE, [PP, NN]] += 0.5
        rows[BEFORE + 3, PP if closed else NN] += 2
        examples.append(windows(rows / rows.sum(axis=1, keepdims=True))[0])
    seen = np.stack(examples).astype(np.float16)
    net = fit(seen[:1024], truth[:1024].astype(np.float32), seed=1, epochs=40)
    save(net, 0.0, tmp_path / "closures.npz")
    loaded = Closures.load(tmp_path / "closures.npz")
    rows = np.full((BEFORE + 1 + AHEAD, len(VISEMES)), 0.02, np.float32)
    rows[BEFORE, [PP, NN]] = 0.37
    after = rows.copy()
    rows[BEFORE + 3, PP], after[BEFORE + 3, NN] = 0.9, 0.9
    assert loaded.of(rows)[0] > 0.7 > 0.3 > loaded.of(after)[0]


def test_weights_that_are_not_there_or_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(LipSyncError, match=r"missing\.npz"):
        Closures.load(tmp_path / "missing.npz")
    with pytest.raises(LipSyncError, match="don't fit"):
        Closures({"0.weight": np.zeros((3, 3))})
