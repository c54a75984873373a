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
from numpy.typing import NDArray

from avatar.lipsync.features import MEL_BANDS, Mel
from avatar.lipsync.weights_file import read_weights
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
    """Causal convolution over steps. `weight`: shape (taps * inputs + 1, outputs), oldest tap first, biases last;
    `before`, shape (inputs,): what it has seen before the beginning."""

    weight: Array
    before: Array
    dilation: int

    @property
    def inputs(self) -> int:
        """Width of what it sees."""
        return len(self.before)

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
    """x + mix · relu(conv(x)). `mix`: shape (width, width)."""

    conv: Convolution
    mix: Array


class Network:
    """Weights, shared by all streams and never changed.

    What only shifts or scales a layer's inputs is worked into its weights: the input layer takes features as they are,
    and the biases of the blocks' mixes are missing from all that passes on, but not from what the next layers expect.
    """

    def __init__(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """`arrays`: see `avatar.lipsync.train.export`. Raises `LipSyncError` when some are missing or don't fit."""
        try:
            values = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
            self.parameters = sum(v.size for name, v in values.items() if name.endswith((".weight", ".bias")))
            """Number of trained values."""
            mean, scale = np.tile(values["mean"], STEP), np.tile(values["scale"], STEP)
            self.input = _convolution(values, "input", 1, mean, scale)
            missing = np.zeros(self.input.weight.shape[1])
            blocks = []
            for i, dilation in enumerate(values["dilations"]):
                conv = _convolution(values, f"{i}.conv", int(dilation), -missing)
                blocks.append(Block(conv, _single(values[f"{i}.mix.weight"])))
                missing = missing + values[f"{i}.mix.bias"]
            self.blocks = tuple(blocks)
            head = values["head.weight"]
            self.head = _single(np.concatenate((head, (values["head.bias"] + missing @ head)[None])))
            """Shape (width + 1, 30), biases last."""
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


def _convolution(
    values: dict[str, NDArray[np.float64]],
    name: str,
    dilation: int,
    zero: NDArray[np.float64],
    scale: NDArray[np.float64] | None = None,
) -> Convolution:
    """A layer that gives for x what it was trained to give for (x - zero) * scale; before the beginning this is 0."""
    weight = values[f"{name}.weight"]
    taps = len(weight) // len(zero)
    if scale is not None:
        weight = weight * np.tile(scale, taps)[:, None]
    bias = values[f"{name}.bias"] - np.tile(zero, taps) @ weight
    return Convolution(_single(np.concatenate((weight, bias[None]))), _single(zero), dilation)


def _single(values: NDArray[np.float64]) -> Array:
    return np.ascontiguousarray(values, np.float32)


@lru_cache(maxsize=4)
def _load(path: Path) -> Network:
    return Network(read_weights(path, "lip model's weights", "avatar.lipsync.train"))


class NetworkStream:
    """State of one utterance. Rows of the answer lag `LOOK_AHEAD_FRAMES` behind the rows of the input.

    All arrays and the views into them are made once: for a step or two, making them takes longer than computing.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._left = np.zeros((0, MEL_BANDS), np.float32)
        self._lines = [_line(conv) for conv in (network.input, *(block.conv for block in network.blocks))]
        self._routes: dict[int, _Route] = {}

    def feed(self, mel: Mel) -> Array:
        """Take features, shape (n, 40); log-posteriors, shape (m, 15), 100 per second, an even number of rows."""
        return _log_softmax(self.logits(mel))

    def finish(self) -> Array:
        """The answer for an odd last frame, which stands for its pair."""
        return self.feed(self._left) if len(self._left) else self.feed(np.zeros((0, MEL_BANDS), np.float32))

    def logits(self, mel: Mel) -> Array:
        """As `feed`, but each row is off by a number of its own."""
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
        return logits.reshape(steps * STEP, len(VISEMES))


def _line(conv: Convolution) -> Array:
    """What a convolution has seen, and room for what comes."""
    return np.tile(conv.before, (conv.memory + MOST_STEPS, 1))


class _Layer(NamedTuple):
    """A convolution of some steps in views of its line: what all taps see, where the inputs go, and two parts in one
    dimension (numpy copies two that overlap by way of a third array), the second of which takes the place of the first
    when the inputs become past."""

    window: Array
    inputs: Array
    past: Array
    later: Array


class _Route:
    """The way of a fixed number of steps through the network."""

    def __init__(self, network: Network, lines: list[Array], steps: int) -> None:
        """`lines`: see `_line`, of each convolution."""
        convolutions = (network.input, *(block.conv for block in network.blocks))
        self._layers = [_layer(conv, line, steps) for conv, line in zip(convolutions, lines, strict=True)]
        width = network.input.weight.shape[1]
        self._last = np.ones((steps, width + 1), np.float32)
        self._hidden, self._mixed = np.empty((steps, width), np.float32), np.empty((steps, width), np.float32)
        self._first, self._head = network.input.weight, network.head
        taps = [_taps(conv, steps) for conv in convolutions[:2]]
        (self._first_taps, self._first_flat), (self._taps, self._flat) = taps[0], taps[-1]
        after = [layer.inputs for layer in self._layers[1:]] + [self._last[:, :-1]]
        self._begin = after[0]
        self._shifts = [(layer.past, layer.later) for layer in self._layers]
        self._blocks = [
            (layer.window, block.conv.weight, block.mix, layer.inputs, then)
            for layer, block, then in zip(self._layers[1:], network.blocks, after[1:], strict=True)
        ]

    def run(self, inputs: Array, logits: Array) -> None:
        """From `inputs`, shape (steps, 80), to `logits`, shape (steps, 30)."""
        # numpy's copyto takes longer than an assignment
        hidden, mixed, taps, flat = self._hidden, self._mixed, self._taps, self._flat
        self._layers[0].inputs[...] = inputs
        self._first_taps[...] = self._layers[0].window
        self._first_flat.dot(self._first, out=hidden)
        np.maximum(hidden, _ZERO, out=self._begin)
        for window, conv, mix, before, after in self._blocks:
            taps[...] = window
            flat.dot(conv, out=hidden)
            np.maximum(hidden, _ZERO, out=hidden)
            hidden.dot(mix, out=mixed)
            np.add(before, mixed, out=after)
        self._last.dot(self._head, out=logits)
        for past, later in self._shifts:
            past[...] = later


def _layer(conv: Convolution, line: Array, steps: int) -> _Layer:
    row, item = line.strides
    flat = line.reshape(-1)
    shift, kept = steps * conv.inputs, conv.memory * conv.inputs
    # as numpy's as_strided, in a tenth of its time
    shape = (steps, conv.taps, conv.inputs)
    return _Layer(
        window=np.ndarray(shape, np.float32, line, strides=(row, conv.dilation * row, item)),
        inputs=line[conv.memory : conv.memory + steps],
        past=flat[:kept],
        later=flat[shift : shift + kept],
    )


def _taps(conv: Convolution, steps: int) -> tuple[Array, Array]:
    """Room for what all taps see, and the same in rows that end with a 1 for the biases: one product does all."""
    rows = np.ones((steps, len(conv.weight)), np.float32)
    shape = (steps, conv.taps, conv.inputs)
    return np.ndarray(shape, np.float32, rows, strides=(rows.strides[0], conv.inputs * rows.itemsize, 4)), rows


def _log_softmax(logits: Array) -> Array:
    """In place, over the last axis."""
    if len(logits):
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits
