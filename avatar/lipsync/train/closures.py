"""Trains the second look at lip closures: `python -m avatar.lipsync.train.closures CORPUS`. Some minutes on one core.

Each example is what the lip model makes of the frames around one frame of disturbed speech.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avatar.lipsync.closures import AHEAD, BEFORE, WEIGHTS, WINDOW, windows
from avatar.lipsync.features import Mel, silence
from avatar.lipsync.network import LOOK_AHEAD_FRAMES
from avatar.lipsync.network import WEIGHTS as MODEL
from avatar.lipsync.posteriors import FAVOURED
from avatar.lipsync.train import corpus
from avatar.lipsync.train.disturb import Noises, disturbed
from avatar.lipsync.train.export import model_of, read
from avatar.lipsync.train.model import LipNetwork
from avatar.lipsync.train.train import Shard
from core.frames import VISEMES, VisemeFrames

_PIECES, _FRAMES, _SETTLED = 800, 2000, 150
"""Pieces of the corpus, their frames, and those at their beginning that the model needs to get going."""
_ESPEAK_SHARE = 0.2
"""Of the pieces: its closures are no riddle."""
_DOUBTFUL = 0.011
"""Posterior of PP from which a frame is an example, as are all of real closures."""
_OTHERS = 120
"""Further frames of each piece, whatever they are."""
_WIDTHS = (64, 32)
_EPOCHS, _BATCH, _RATE = 6, 512, 2e-3
_SMOOTHING, _NOISE, _DROPOUT = 0.02, 0.05, 0.3
_PP = VISEMES.index("PP")


def examples(
    model: LipNetwork, shards: list[Shard], noises: Noises, rng: np.random.Generator
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Windows, shape (n, 285), and whether the lips touch in the middle, shape (n,).."""
    seen, touching = [], []
    chances = np.array([shard.weight for shard in shards])
    for index in rng.choice(len(shards), _PIECES, p=chances / chances.sum()):
        shard = shards[int(index)]
        start = int(rng.integers(0, len(shard.mel) - _FRAMES))
        piece = slice(start, start + _FRAMES)
        rows = heard(model, disturbed(shard.mel[piece].astype(np.float32), noises, rng))
        touch = shard.classes[piece] == _PP
        middle = np.arange(_SETTLED, _FRAMES - AHEAD)
        doubtful = middle[(rows[middle, _PP] > _DOUBTFUL) | touch[middle]]
        chosen = np.concatenate((doubtful, rng.choice(middle, _OTHERS)))
        seen.append(windows(rows)[chosen - BEFORE].astype(np.float16))
        touching.append(touch[chosen])
    return np.concatenate(seen), np.concatenate(touching).astype(np.float32)


def heard(model: LipNetwork, mel: Mel) -> VisemeFrames:
    """Posteriors as `posteriors.PosteriorStream` gives them, but for the gate; shape (n, 15)."""
    with torch.no_grad():
        longer = torch.from_numpy(np.concatenate((mel, silence(LOOK_AHEAD_FRAMES))))
        rows: VisemeFrames = torch.softmax(model(longer[None])[0, LOOK_AHEAD_FRAMES:], -1).numpy()
    rows[:, _PP] *= FAVOURED
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)


def fit(seen: NDArray[np.float16], touching: NDArray[np.float32], seed: int, epochs: int = _EPOCHS) -> nn.Sequential:
    """The trained layers, in evaluation mode."""
    torch.manual_seed(seed)
    inputs, (wide, narrow) = WINDOW * len(VISEMES), _WIDTHS
    net = nn.Sequential(
        nn.Linear(inputs, wide),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(wide, narrow),
        nn.ReLU(),
        nn.Linear(narrow, 1),
    )
    x, y = torch.from_numpy(seen), torch.from_numpy(touching) * (1 - 2 * _SMOOTHING) + _SMOOTHING
    optimiser = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=1e-2)
    batches = len(y) // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=epochs * batches)
    for epoch in range(epochs):
        order, total = torch.randperm(len(y)), 0.0
        for batch in order[: batches * _BATCH].reshape(batches, _BATCH):
            some: Tensor = x[batch].float()
            logits = net(some + _NOISE * torch.randn_like(some))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logits, y[batch])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}/{epochs} loss {total / batches:.4f}", flush=True)
    return net.eval()


def save(net: nn.Sequential, bias: float, path: Path) -> None:
    """Write the weights with half precision; `bias` is added to the last one: more recall for less precision."""
    arrays: dict[str, NDArray[np.float16]] = {}
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    for i, layer in enumerate(layers):
        more = bias if layer is layers[-1] else 0.0
        arrays[f"{i}.weight"] = layer.weight.detach().numpy().T.astype(np.float16)
        arrays[f"{i}.bias"] = (layer.bias.detach().numpy() + more).astype(np.float16)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m avatar.lipsync.train.closures", description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder of the corpus that the lip model was trained on")
    parser.add_argument("--model", type=Path, default=MODEL, help="the lip model (default: the program's own)")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file of the weights (default: the program's own)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bias", type=float, default=0.0, help="above 0: more closures, more of them wrong")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    shards, noises = corpus.load(given.corpus, _ESPEAK_SHARE)
    seen, touching = examples(model_of(read(given.model)), shards, noises, np.random.default_rng(given.seed))
    print(f"{len(touching)} examples, {touching.mean():.0%} with touching lips", flush=True)
    save(fit(seen, touching, given.seed), given.bias, given.out)
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
