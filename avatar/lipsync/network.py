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

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.features import MEL_BANDS, Mel
from core.errors import LipSyncError
from core.frames import VISEMES

STEP = 2
"""Feature frames in one step of the network."""
LOOK_AHEAD_STEPS = 2
LOOK_AHEAD_FRAMES = LOOK_AHEAD_STEPS * STEP
"""Rows by which the network's answers lag behind its input: 40 ms."""
WEIGHTS = Path(__file__).with_name("weights.npz")

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """Causal convolution over steps. `weight`: shape (taps * inputs, outputs), oldest tap first; `bias`: (outputs,)."""

    weight: Array
    bias: Array
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
    """x + mix · relu(conv(x))."""

    conv: Convolution
    mix: Array
    mix_bias: Array


class Network:
    """Weights, shared by all streams and never changed."""

    def __init__(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """`arrays`: see `avatar.lipsync.train.export`. Raises `LipSyncError` when some are missing or don't fit."""
        try:
            values = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
            self.mean, self.scale = values["mean"], values["scale"]
            self.input = Convolution(values["input.weight"], values["input.bias"], STEP * MEL_BANDS, 1)
            width = self.input.weight.shape[1]
            self.blocks = tuple(
                Block(
                    Convolution(values[f"{i}.conv.weight"], values[f"{i}.conv.bias"], width, int(dilation)),
                    values[f"{i}.mix.weight"],
                    values[f"{i}.mix.bias"],
                )
                for i, dilation in enumerate(values["dilations"])
            )
            self.head, self.head_bias = values["head.weight"], values["head.bias"]
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
        blocks = sum(b.conv.weight.size + b.conv.bias.size + b.mix.size + b.mix_bias.size for b in self.blocks)
        return blocks + self.input.weight.size + self.input.bias.size + self.head.size + self.head_bias.size


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
    """State of one utterance. Rows of the answer lag `LOOK_AHEAD_FRAMES` behind the rows of the input."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._left = np.zeros((0, MEL_BANDS), np.float32)
        self._pasts = [
            np.zeros((conv.memory, conv.inputs), np.float32)
            for conv in (network.input, *(block.conv for block in network.blocks))
        ]

    def feed(self, mel: Mel) -> Array:
        """Take features, shape (n, 40); log-posteriors, shape (m, 15), 100 per second, an even number of rows."""
        mel = np.concatenate((self._left, mel))
        steps = len(mel) // STEP
        self._left = mel[steps * STEP :]
        if not steps:
            return np.zeros((0, len(VISEMES)), np.float32)
        net = self._network
        x = (mel[: steps * STEP] - net.mean) * net.scale
        x = self._convolve(0, net.input, x.reshape(steps, -1))
        for i, block in enumerate(net.blocks, 1):
            x = x + (self._convolve(i, block.conv, x) @ block.mix + block.mix_bias)
        logits = (x @ net.head + net.head_bias).reshape(steps * STEP, len(VISEMES))
        logits -= logits.max(axis=1, keepdims=True)
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), np.float32)

    def finish(self) -> Array:
        """The answer for an odd last frame, which stands for its pair."""
        return self.feed(self._left) if len(self._left) else self.feed(np.zeros((0, MEL_BANDS), np.float32))

    def _convolve(self, index: int, conv: Convolution, x: Array) -> Array:
        """relu(conv(x)) with the kept past of layer `index` before `x`, shape (steps, inputs)."""
        past = self._pasts[index]
        steps = len(x)
        line = np.concatenate((past, x))
        self._pasts[index] = line[steps:]
        taps = [line[k * conv.dilation : k * conv.dilation + steps] for k in range(conv.taps)]
        return np.asarray(np.maximum(np.concatenate(taps, axis=1) @ conv.weight + conv.bias, 0), np.float32)
