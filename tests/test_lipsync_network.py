from pathlib import Path

import numpy as np
import pytest
import torch

from avatar.lipsync.features import MEL_BANDS
from avatar.lipsync.network import LOOK_AHEAD_FRAMES, WEIGHTS, Network
from avatar.lipsync.posteriors import LOOK_AHEAD, PosteriorStream
from avatar.lipsync.train.export import arrays_of, model_of, save
from avatar.lipsync.train.model import LipNetwork
from core.errors import LipSyncError
from core.frames import LISTEN_RATE, VISEME_RATE

RNG = np.random.default_rng(5)


def features(frames: int = 300) -> np.ndarray:
    return RNG.normal(-8, 3, (frames, MEL_BANDS)).astype(np.float32)


def stream(network: Network, mel: np.ndarray, size: int) -> np.ndarray:
    opened = network.open()
    rows = [opened.feed(mel[i : i + size]) for i in range(0, len(mel), size)]
    return np.concatenate([*rows, opened.finish()])


def by_torch(model: LipNetwork, mel: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.log_softmax(model(torch.from_numpy(mel)[None]), dim=-1)[0].numpy()


def restless(seed: int) -> LipNetwork:
    """A small network with normalisations that have seen something."""
    torch.manual_seed(seed)
    model = LipNetwork(24, (1, 2, 4))
    model.mean.fill_(-8.0)
    model.scale.fill_(1 / 3)
    for _ in range(3):
        model(torch.randn(4, 100, MEL_BANDS) * 4 - 6)
    return model.eval()


@pytest.mark.parametrize("size", [1, 3, 4, 64, 300])
def test_numpy_equals_torch_with_the_shipped_weights(size: int) -> None:
    with np.load(WEIGHTS) as file:
        model = model_of({name: file[name].astype(np.float32) for name in file.files})
    mel = features()
    np.testing.assert_allclose(stream(Network.load(), mel, size), by_torch(model, mel), atol=1e-4)


def test_export_folds_the_normalisation_without_changing_the_answer() -> None:
    model = restless(1)
    mel = features()
    np.testing.assert_allclose(by_torch(model_of(arrays_of(model)), mel), by_torch(model, mel), atol=1e-4)
    np.testing.assert_allclose(stream(Network(dict(arrays_of(model))), mel, 4), by_torch(model, mel), atol=1e-4)


def test_half_precision_changes_little(tmp_path: Path) -> None:
    model = restless(2)
    save(arrays_of(model), tmp_path / "weights.npz")
    mel = features()
    loaded = stream(Network.load(tmp_path / "weights.npz"), mel, 4)
    np.testing.assert_allclose(loaded, by_torch(model, mel), atol=0.05)


def test_the_past_matters_and_the_future_does_not() -> None:
    mel = features()
    other = mel.copy()
    other[200:] += 3
    rows, changed = stream(Network.load(), mel, 4), stream(Network.load(), other, 4)
    np.testing.assert_array_equal(rows[:200], changed[:200])
    assert np.abs(rows[200:] - changed[200:]).max() > 0.1


def test_streams_do_not_share_state() -> None:
    network, mel = Network.load(), features(40)
    first = network.open()
    first.feed(features(100))
    np.testing.assert_array_equal(network.open().feed(mel), network.open().feed(mel))
    assert np.abs(first.feed(mel) - network.open().feed(mel)).max() > 1e-3


def test_weights_are_small_and_read_once() -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
    assert Network.load() is Network.load(WEIGHTS)
    assert Network.load().parameters < 400_000


def test_unreadable_weights_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LipSyncError, match=r"avatar\.lipsync\.train"):
        Network.load(tmp_path / "missing.npz")
    with np.load(WEIGHTS) as file:
        arrays = {name: file[name] for name in file.files}
    del arrays["3.mix.weight"]
    with pytest.raises(LipSyncError, match=r"3\.mix\.weight"):
        Network(arrays)
    arrays = dict(np.load(WEIGHTS)) | {"head.weight": np.zeros((3, 30))}
    with pytest.raises(LipSyncError, match="don't fit"):
        Network(arrays)


@pytest.mark.parametrize("size", [1, 160, 333, 640, 5000])
@pytest.mark.parametrize("count", [0, 5, 160, 170, 4999, 16000])
def test_one_row_of_posteriors_for_each_hop(size: int, count: int) -> None:
    samples = RNG.normal(0, 2000, count).astype(np.int16)
    if size == 1 and count > 200:
        samples = samples[:200]
    whole, cut = PosteriorStream(Network.load()), PosteriorStream(Network.load())
    expected = np.concatenate((whole.feed(samples), whole.finish()))
    rows = [cut.feed(samples[i : i + size]) for i in range(0, len(samples), size)]
    found = np.concatenate([*rows, cut.finish()])
    assert len(found) == -(-len(samples) // 160)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-4)


def test_posteriors_lag_by_the_look_ahead_and_no_more() -> None:
    rows = len(PosteriorStream(Network.load()).feed(np.zeros(LISTEN_RATE, np.int16)))
    assert LOOK_AHEAD < 0.06
    assert rows >= VISEME_RATE - LOOK_AHEAD_FRAMES - 3


def test_posteriors_are_in_time_with_the_sound() -> None:
    hiss = RNG.normal(0, 1500, LISTEN_RATE).astype(np.int16)
    hiss[: LISTEN_RATE // 2] = 0
    stream_ = PosteriorStream(Network.load())
    silent = np.concatenate((stream_.feed(hiss), stream_.finish()))[:, 0]
    assert silent[10:44].min() > 0.5
    assert silent[54:90].max() < 0.9
