"""The lip model in numpy: a causal temporal convolutional network that runs as the features come.

Two feature frames make one step (50 per second). The input layer and a stack of residual blocks of dilated
causal convolutions (Bai et al. 2018, "An empirical evaluation of generic convolutional and recurrent networks")
see about a second of the past; the head gives log-posteriors of both frames of the step that lies
`LOOK_AHEAD_STEPS` back. Batch normalisation is folded into the weights (avatar/lipsync/train/export.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from avatar.lipsync.features import MEL_BANDS, Mel
from core.errors import LipSyncError
from core.frames import VISEMES

STEP = 2
"""Feature frames in one step of the network."""
LOOK_AHEAD_STEPS = 2
LOOK_AHEAD_FRAMES = LOOK_AHEAD_STEPS * STEP
"""Rows by which the network's answers lag behind its input: 40 ms."""
MOST_STEPS = 16
"""Steps that are computed at once: what a piece of 200 ms has, and more."""
WEIGHTS = Path(__file__).with_name("weights.npz")

Array = NDArray[np.float32]
_ZERO: Array = np.zeros((), np.float32)
"""Python's 0 would be converted at each use."""


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """Causal convolution over steps. `weight`: shape (taps * inputs + 1, outputs + 1), oldest tap first, biases last;
    the last output is 1, for the biases of what comes next."""

    weight: Array
    inputs: int
    dilation: int

    @property
    def taps(self) -> int:
        """Length of the kernel."""
        return len(self.weight) // self.inputs

    @property
    def memory(self) -> int:
        """Steps of the past that it needs."""
        return (self.taps - 1) * self.dilation


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """x + mix · relu(conv(x)). `mix`: shape (width + 1, width), biases last."""

    conv: Convolution
    mix: Array


class Network:
    """Weights, shared by all streams and never changed."""

    def __init__(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """`arrays`: see `avatar.lipsync.train.export`. Raises `LipSyncError` when some are missing or don't fit."""
        try:
            values = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
            self.mean, self.scale = np.tile(values["mean"], STEP), np.tile(values["scale"], STEP)
            self.input = Convolution(_with_one(_with_bias(values, "input")), STEP * MEL_BANDS, 1)
            width = self.input.weight.shape[1] - 1
            self.blocks = tuple(
                Block(
                    Convolution(_with_one(_with_bias(values, f"{i}.conv")), width, int(dilation)),
                    _with_bias(values, f"{i}.mix"),
                )
                for i, dilation in enumerate(values["dilations"])
            )
            self.head = _with_bias(values, "head")
            NetworkStream(self).feed(np.zeros((STEP, MEL_BANDS), np.float32))
        except (KeyError, ValueError) as error:
            raise LipSyncError(f"the lip model's weights don't fit: {error}", adapter="audio") from error

    @staticmethod
    def load(path: str | Path | None = None) -> Network:
        """Read an .npz file; None is the model that comes with the program, read once. Raises `LipSyncError`."""
        return _load(Path(path) if path is not None else WEIGHTS)

    def open(self) -> NetworkStream:
        """A fresh stream with its own state."""
        return NetworkStream(self)

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        convolutions = (self.input, *(block.conv for block in self.blocks))
        blocks = sum(block.mix.size for block in self.blocks)
        return blocks + sum(conv.weight[:, :-1].size for conv in convolutions) + self.head.size


def _with_bias(values: dict[str, Array], name: str) -> Array:
    """A layer's weights with its biases as the last row, for inputs that end with a 1: one product does both."""
    return np.concatenate((values[f"{name}.weight"], values[f"{name}.bias"][None]))


def _with_one(weight: Array) -> Array:
    """Another output, which is 1 for inputs that end with a 1."""
    ones = np.zeros((len(weight), 1), np.float32)
    ones[-1] = 1
    return np.concatenate((weight, ones), axis=1)


@lru_cache(maxsize=4)
def _load(path: Path) -> Network:
    try:
        with np.load(path, allow_pickle=False) as file:
            return Network({name: file[name] for name in file.files})
    except (OSError, ValueError) as error:
        raise LipSyncError(
            f"the lip model's weights could not be read from {path}: {error}. Reinstall, or run "
            "`python -m avatar.lipsync.train`.",
            adapter="audio",
        ) from error


class NetworkStream:
    """State of one utterance. Rows of the answer lag `LOOK_AHEAD_FRAMES` behind the rows of the input.

    All arrays and the views into them are made once: for a step or two, making them takes longer than computing.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._left = np.zeros((0, MEL_BANDS), np.float32)
        convolutions = (network.input, *(block.conv for block in network.blocks))
        self._lines = [np.zeros((conv.memory + MOST_STEPS, conv.inputs), np.float32) for conv in convolutions]
        self._routes: dict[int, _Route] = {}

    def feed(self, mel: Mel) -> Array:
        """Take features, shape (n, 40); log-posteriors, shape (m, 15), 100 per second, an even number of rows."""
        if len(self._left):
            mel = np.concatenate((self._left, mel))
        steps = len(mel) // STEP
        self._left = mel[steps * STEP :]
        inputs = mel[: steps * STEP].reshape(steps, STEP * MEL_BANDS)
        logits = np.empty((steps, STEP * len(VISEMES)), np.float32)
        for start in range(0, steps, MOST_STEPS):
            count = min(MOST_STEPS, steps - start)
            if count not in self._routes:
                self._routes[count] = _Route(self._network, self._lines, count)
            self._routes[count].run(inputs[start : start + count], logits[start : start + count])
        return _log_softmax(logits.reshape(steps * STEP, len(VISEMES)))

    def finish(self) -> Array:
        """The answer for an odd last frame, which stands for its pair."""
        return self.feed(self._left) if len(self._left) else self.feed(np.zeros((0, MEL_BANDS), np.float32))


class _Layer(NamedTuple):
    """A convolution of some steps, as views: where its inputs go, the taps within its line, and what it works on."""

    inputs: Array
    line: Array
    taps: Array
    flat: Array
    weight: Array
    out: Array
    kept: Array
    moved: Array

    def convolve(self) -> Array:
        """relu(conv(inputs)) and a 1, shape (steps, outputs + 1), good until the next call; the inputs become past."""
        np.copyto(self.taps, self.line)
        np.dot(self.flat, self.weight, out=self.out)
        np.copyto(self.kept, self.moved)
        return np.maximum(self.out, _ZERO, out=self.out)


class _Route:
    """The way of a fixed number of steps through the network."""

    def __init__(self, network: Network, lines: list[Array], steps: int) -> None:
        """`lines`: of each convolution, its past and room for new inputs."""
        self._net = network
        width = network.blocks[0].mix.shape[1] if network.blocks else network.head.shape[0] - 1
        convolutions = (network.input, *(block.conv for block in network.blocks))
        first, *others = (_layer(conv, line, steps) for conv, line in zip(convolutions, lines, strict=True))
        self._last = np.ones((steps, width + 1), np.float32)
        self._mixed = np.empty((steps, width), np.float32)
        end = self._last[:, :-1]
        self._first, self._begin = first, others[0].inputs if others else end
        after = [layer.inputs for layer in others[1:]] + [end]
        self._blocks = list(zip(others, (block.mix for block in network.blocks), after, strict=True))

    def run(self, inputs: Array, logits: Array) -> None:
        """From `inputs`, shape (steps, 80), to `logits`, shape (steps, 30)."""
        net, mixed = self._net, self._mixed
        slot = self._first.inputs
        np.subtract(inputs, net.mean, out=slot)
        np.multiply(slot, net.scale, out=slot)
        np.copyto(self._begin, self._first.convolve()[:, :-1])
        for layer, mix, after in self._blocks:
            np.dot(layer.convolve(), mix, out=mixed)
            np.add(layer.inputs, mixed, out=after)
        np.dot(self._last, net.head, out=logits)


def _layer(conv: Convolution, line: Array, steps: int) -> _Layer:
    row, item = line.strides
    taps = np.ones((steps, conv.taps * conv.inputs + 1), np.float32)
    shape = (steps, conv.taps, conv.inputs)
    return _Layer(
        inputs=line[conv.memory : conv.memory + steps],
        line=as_strided(line, shape, (row, conv.dilation * row, item), writeable=False),
        taps=as_strided(taps, shape, (taps.strides[0], conv.inputs * item, item)),
        flat=taps,
        weight=conv.weight,
        out=np.empty((steps, conv.weight.shape[1]), np.float32),
        kept=line[: conv.memory],
        moved=line[steps : steps + conv.memory],
    )


def _log_softmax(logits: Array) -> Array:
    """In place, over the last axis."""
    if len(logits):
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits
