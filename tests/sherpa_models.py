"""Tiny models for sherpa-onnx that know two words: "low" and "high", for a tone's pitch. Needs the package onnx.

They are what their exporters would write (inputs, outputs, metadata), with weights that subtract the upper from the
lower half of the mel spectrum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from core.frames import LISTEN_RATE, Samples

_BINS = 80
_MARGIN = 1.0
_NEVER = -1000.0


def tone(hertz: float, seconds: float = 0.5) -> Samples:
    """A sine with soft ends."""
    t = np.arange(int(seconds * LISTEN_RATE)) / LISTEN_RATE
    fade = np.minimum(1, np.minimum(t, seconds - t) / 0.02)
    return (8000 * fade * np.sin(2 * np.pi * hertz * t)).astype(np.int16)


def sentence(*words: str) -> Samples:
    """Tones with pauses."""
    pause = np.zeros(LISTEN_RATE // 4, np.int16)
    return np.concatenate([pause, *(np.concatenate([tone({"low": 300, "high": 3500}[w]), pause]) for w in words)])


def sense_voice(folder: Path) -> Path:
    """An offline SenseVoice model."""
    words = ["<blk>", "<unk>", "▁low", "▁high", "<|en|>", "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>"]
    prefix = np.full((1, 4, len(words)), _NEVER, np.float32)
    prefix[0, range(4), range(4, 8)] = 0
    nodes = [
        helper.make_node("MatMul", ["x", "weights"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["heard"]),
        helper.make_node("Concat", ["prefix", "heard"], ["logits"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "sense_voice",
        [_float("x", "N", "T", 560), _int32("x_length"), _int32("language"), _int32("text_norm")],
        [_float("logits", "N", "U", len(words))],
        _weights(weights=_pitch(len(words), 7), bias=_bias(len(words)), prefix=prefix),
    )
    zeros, ones = ",".join(["0"] * 560), ",".join(["1"] * 560)
    _save(graph, folder / "model.int8.onnx", model_type="sense_voice_ctc", vocab_size=len(words), lfr_window_size=7,
          lfr_window_shift=6, normalize_samples=0, with_itn=14, without_itn=15, lang_auto=0, lang_zh=3, lang_en=4,
          lang_yue=7, lang_ja=11, lang_ko=12, neg_mean=zeros, inv_stddev=ones)  # fmt: skip
    _tokens(folder, words)
    return folder


def streaming_transducer(folder: Path) -> Path:
    """A streaming transducer of the LSTM family, with a state that it only passes on."""
    words = ["<blk>", "<unk>", "▁low", "▁high"]
    size = len(words)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["mean", "weights"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["encoder_out"]),
        helper.make_node("Identity", ["h"], ["new_h"]),
        helper.make_node("Identity", ["c"], ["new_c"]),
    ]
    inputs = [_float("x", "N", "T", _BINS), _float("h", 1, "N", size), _float("c", 1, "N", size)]
    outputs = [_float("encoder_out", "N", "U", size), _float("new_h", 1, "N", size), _float("new_c", 1, "N", size)]
    graph = helper.make_graph(nodes, "encoder", inputs, outputs, _weights(weights=_pitch(size, 1), bias=_bias(size)))
    _save(graph, folder / "encoder.int8.onnx", model_type="lstm", num_encoder_layers=1, T=4, decode_chunk_len=4,
          rnn_hidden_size=size, d_model=size)  # fmt: skip
    # the word that was said last is not said again: its row takes away more than any score gives
    again = np.zeros((size, size), np.float32)
    again[2, 2] = again[3, 3] = _NEVER
    nodes = [
        helper.make_node("Gather", ["y", "last"], ["previous"], axis=1),
        helper.make_node("Gather", ["again", "previous"], ["decoder_out"], axis=0),
    ]
    graph = helper.make_graph(
        nodes, "decoder", [helper.make_tensor_value_info("y", TensorProto.INT64, ["N", 2])],
        [_float("decoder_out", "N", size)], _weights(last=np.array(1), again=again),
    )  # fmt: skip
    _save(graph, folder / "decoder.onnx", vocab_size=size, context_size=2)
    node = helper.make_node("Add", ["encoder_out", "decoder_out"], ["logit"])
    inputs = [_float("encoder_out", "N", size), _float("decoder_out", "N", size)]
    graph = helper.make_graph([node], "joiner", inputs, [_float("logit", "N", size)])
    _save(graph, folder / "joiner.int8.onnx", joiner_dim=size)
    _tokens(folder, words)
    return folder


def _pitch(words: int, frames: int) -> NDArray[np.float32]:
    """Spectrum → score per word, shape (80 * frames, words): mean of the lower minus mean of the upper bins."""
    difference = np.where(np.arange(_BINS) < 45, 1 / 45, -1 / 35) / frames
    weights = np.zeros((_BINS * frames, words), np.float32)
    weights[:, 2] = np.tile(difference, frames)
    weights[:, 3] = -weights[:, 2]
    return weights


def _bias(words: int) -> NDArray[np.float32]:
    bias = np.full(words, _NEVER, np.float32)
    bias[0], bias[2], bias[3] = _MARGIN, 0, 0
    return bias


def _float(name: str, *shape: str | int) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _int32(name: str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.INT32, ["N"])


def _weights(**arrays: NDArray[Any]) -> list[Any]:
    return [numpy_helper.from_array(array, name) for name, array in arrays.items()]


def _save(graph: Any, path: Path, **metadata: str | int) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _tokens(folder: Path, words: list[str]) -> None:
    (folder / "tokens.txt").write_text("".join(f"{word} {number}\n" for number, word in enumerate(words)), "utf-8")
