"""Trains the lip model on shards of features; see docs/lipsync-model.md for the command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from avatar.lipsync.network import LOOK_AHEAD_FRAMES
from avatar.lipsync.train.disturb import Noises, disturbed, masked, stretched
from avatar.lipsync.train.model import DILATIONS, LipNetwork
from core.frames import VISEMES

_BOUNDARY = (0.15, 0.70, 0.15)
"""Share of a frame's target that its neighbours' labels have: labels are uncertain by a frame."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Features (frames, 40), float16, and classes (frames,), int8, of utterances one after the other.

    `weight`: how likely a training sequence is taken from this shard, relative to the others.
    """

    mel: NDArray[np.float16]
    classes: NDArray[np.int8]
    weight: float


@dataclass(frozen=True)
class Plan:
    """How to train."""

    steps: int = 7000
    batch: int = 32
    frames: int = 400
    width: int = 96
    dilations: tuple[int, ...] = DILATIONS
    dropout: float = 0.1
    rate: float = 3e-3
    decay: float = 1e-2
    smoothing: float = 0.03
    ema: float = 0.999
    seed: int = 1
    threads: int = 1
    half: bool = True
    """Compute in bfloat16, which newer processors do twice as fast."""


def train(
    shards: list[Shard],
    noises: Noises,
    plan: Plan,
    report: Callable[[int, float, LipNetwork], None],
    start: LipNetwork | None = None,
) -> LipNetwork:
    """The trained model with averaged weights, in evaluation mode. `report` hears step, loss and model now and then.

    `start`: an exported model (`export.model_of`) to go on from; its normalisations stay folded.
    """
    torch.manual_seed(plan.seed)
    torch.set_num_threads(plan.threads)
    if start is None:
        model = LipNetwork(plan.width, plan.dilations, dropout=plan.dropout)
        _normalise(model, shards)
    else:
        model = _unfrozen(start)
    averaged = deepcopy(model).eval()
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.rate, weight_decay=plan.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=plan.steps, pct_start=0.15)
    batches = iter(DataLoader(_Batches(shards, noises, plan), batch_size=None, num_workers=1, prefetch_factor=6))
    total, since = 0.0, time.monotonic()
    for step in range(1, plan.steps + 1):
        mel, target = next(batches)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=plan.half):
            logits = model(mel)
        loss = _loss(logits.float(), target, plan.smoothing)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        _average(averaged, model, min(plan.ema, step / (step + 50)))
        total += float(loss.detach())
        if step % 250 == 0 or step == plan.steps:
            print(f"step {step}/{plan.steps} loss {total / 250:.4f} {time.monotonic() - since:.0f} s", flush=True)
            report(step, total / 250, averaged)
            total = 0.0
    return averaged


def _loss(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of delayed logits (batch, frames, 15) against soft targets of the same shape."""
    logits = logits[:, LOOK_AHEAD_FRAMES:]
    target = target[:, :-LOOK_AHEAD_FRAMES] * (1 - smoothing) + smoothing / len(VISEMES)
    return -(target * torch.log_softmax(logits, dim=-1)).sum(-1).mean()


def soft_targets(classes: NDArray[np.int8]) -> NDArray[np.float32]:
    """One-hot rows blurred over time, shape (frames, 15)."""
    hot = np.eye(len(VISEMES), dtype=np.float32)[classes]
    padded = np.concatenate((hot[:1], hot, hot[-1:]))
    before, here, after = _BOUNDARY
    return np.asarray(before * padded[:-2] + here * hot + after * padded[2:], np.float32)


class _Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless; made in a process of its own while the model learns from the one before."""

    def __init__(self, shards: list[Shard], noises: Noises, plan: Plan) -> None:
        self._shards, self._noises, self._plan = shards, noises, plan

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return _batches(self._shards, self._noises, self._plan)


def _batches(shards: list[Shard], noises: Noises, plan: Plan) -> Iterator[tuple[Tensor, Tensor]]:
    rng = np.random.default_rng(plan.seed)
    chances = np.array([shard.weight for shard in shards])
    chances = chances / chances.sum()
    while True:
        pairs = [
            _sequence(shards[index], noises, plan, rng) for index in rng.choice(len(shards), plan.batch, p=chances)
        ]
        mels, targets = zip(*pairs, strict=True)
        yield torch.from_numpy(np.stack(mels)), torch.from_numpy(np.stack(targets))


def _sequence(
    shard: Shard, noises: Noises, plan: Plan, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features and targets of one piece of a shard, disturbed."""
    factor = float(np.exp(rng.normal(0, 0.1))) if rng.random() < 0.5 else 1.0
    length = int(plan.frames / factor) + 3
    start = int(rng.integers(0, len(shard.mel) - length))
    piece = shard.mel[start : start + length].astype(np.float32)
    mel, classes = stretched(piece, shard.classes[start : start + length], plan.frames, factor)
    return masked(disturbed(mel, noises, rng), rng), soft_targets(classes)


def _unfrozen(model: LipNetwork) -> LipNetwork:
    """In evaluation mode but for dropout: batch statistics would undo the folding."""
    model = deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.train()
    return model


def _normalise(model: LipNetwork, shards: list[Shard]) -> None:
    some = np.concatenate([shard.mel[:: max(1, len(shard.mel) // 20000)] for shard in shards]).astype(np.float32)
    model.mean.copy_(torch.from_numpy(some.mean(axis=0)))
    model.scale.copy_(torch.from_numpy(1 / some.std(axis=0)))


def _average(averaged: LipNetwork, model: LipNetwork, keep: float) -> None:
    with torch.no_grad():
        for old, new in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if old.dtype.is_floating_point:
                old.lerp_(new, 1 - keep)
