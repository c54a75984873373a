"""From the trained torch model to the arrays that `avatar.lipsync.network` reads, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from avatar.lipsync.train.model import CausalConv, LipNetwork

Arrays = dict[str, NDArray[np.float32]]


def arrays_of(model: LipNetwork) -> Arrays:
    """Weights of `model` in evaluation mode, batch normalisation folded into the convolutions."""
    arrays = {"mean": _numpy(model.mean), "scale": _numpy(model.scale)}
    arrays["dilations"] = np.array(model.dilations, np.float32)
    _put_conv(arrays, "input", model.input)
    for i, block in enumerate(model.blocks):
        _put_conv(arrays, f"{i}.conv", block.conv)  # type: ignore[arg-type]
        _put_linear(arrays, f"{i}.mix", block.mix)  # type: ignore[arg-type]
    _put_linear(arrays, "head", model.head)
    return arrays


def model_of(arrays: Arrays) -> LipNetwork:
    """A torch model with these weights, in evaluation mode; its normalisations do nothing."""
    width = arrays["input.bias"].shape[0]
    taps = arrays["0.conv.weight"].shape[0] // width
    model = LipNetwork(width, tuple(int(d) for d in arrays["dilations"]), taps=taps).eval()
    with torch.no_grad():
        model.mean.copy_(torch.from_numpy(arrays["mean"]))
        model.scale.copy_(torch.from_numpy(arrays["scale"]))
        _set_conv(model.input, arrays, "input")
        for i, block in enumerate(model.blocks):
            _set_conv(block.conv, arrays, f"{i}.conv")  # type: ignore[arg-type]
            _set_linear(block.mix, arrays, f"{i}.mix")  # type: ignore[arg-type]
        _set_linear(model.head, arrays, "head")
    return model


def save(arrays: Arrays, path: Path) -> None:
    """Write the weights with half precision; the features' normalisation stays exact."""
    exact = ("mean", "scale", "dilations")
    np.savez(path, **{name: a if name in exact else a.astype(np.float16) for name, a in arrays.items()})  # type: ignore[arg-type]


def read(path: Path) -> Arrays:
    """Weights that `save` wrote, in single precision."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def _put_conv(arrays: Arrays, name: str, layer: CausalConv) -> None:
    norm = layer.norm
    assert norm.running_var is not None
    assert norm.running_mean is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = layer.conv.weight * gain[:, None, None]
    # (outputs, inputs, taps) → (taps * inputs, outputs)
    arrays[f"{name}.weight"] = _numpy(weight.permute(2, 1, 0).reshape(-1, weight.shape[0]))
    arrays[f"{name}.bias"] = _numpy(norm.bias - norm.running_mean * gain)


def _put_linear(arrays: Arrays, name: str, layer: nn.Conv1d) -> None:
    assert layer.bias is not None
    arrays[f"{name}.weight"] = _numpy(layer.weight[:, :, 0].T)
    arrays[f"{name}.bias"] = _numpy(layer.bias)


def _set_conv(layer: CausalConv, arrays: Arrays, name: str) -> None:
    outputs, inputs, taps = layer.conv.weight.shape
    weight = torch.from_numpy(arrays[f"{name}.weight"].astype(np.float32))
    layer.conv.weight.copy_(weight.reshape(taps, inputs, outputs).permute(2, 1, 0))
    layer.norm.eps = 0.0
    layer.norm.bias.copy_(torch.from_numpy(arrays[f"{name}.bias"].astype(np.float32)))


def _set_linear(layer: nn.Conv1d, arrays: Arrays, name: str) -> None:
    assert layer.bias is not None
    layer.weight.copy_(torch.from_numpy(arrays[f"{name}.weight"].astype(np.float32)).T[:, :, None])
    layer.bias.copy_(torch.from_numpy(arrays[f"{name}.bias"].astype(np.float32)))


def _numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)
