"""The user's own end-of-turn model: a tiny ONNX file made here, in both forms that are understood, and bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from asr.end_of_turn import MELS, EndOfTurnNetwork, fitted, log_mel
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples


def model(path: Path, shape: list[int | str], scale: float = 1.0, shift: float = 0.0) -> str:
    """A model that answers mean(input) * scale + shift."""
    nodes = [
        helper.make_node("ReduceMean", ["sound"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["probability"]),
    ]
    constants = {"scale": scale, "shift": shift}
    graph = helper.make_graph(
        nodes, "end of turn",
        [helper.make_tensor_value_info("sound", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [])],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, str(path))
    return str(path)


def tone(seconds: float, hertz: float = 440.0) -> Samples:
    time = np.arange(int(seconds * LISTEN_RATE)) / LISTEN_RATE
    return (8000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


async def test_a_model_of_the_waveform(tmp_path: Path) -> None:
    network = EndOfTurnNetwork(model(tmp_path / "m.onnx", [1, LISTEN_RATE], scale=1.0))
    await network.start()
    try:
        assert network.seconds == 1.0
        assert await network.probability(np.full(LISTEN_RATE // 2, 16384, np.int16)) == pytest.approx(0.25, abs=1e-3)
        # only the last second counts
        late = np.concatenate([np.full(LISTEN_RATE, 30000, np.int16), np.zeros(LISTEN_RATE, np.int16)])
        assert await network.probability(late) == pytest.approx(0.0, abs=1e-6)
    finally:
        await network.close()
        await network.close()


@pytest.mark.parametrize("frames", [800, "time"])
async def test_a_model_of_the_log_mel_spectrogram(tmp_path: Path, frames: int | str) -> None:
    network = EndOfTurnNetwork(model(tmp_path / "m.onnx", [1, MELS, frames], scale=0.1, shift=0.5))
    await network.start()
    try:
        assert network.seconds == 8.0
        sound = tone(3.0)
        expected = 0.5 + 0.1 * float(log_mel(fitted(sound, 8 * LISTEN_RATE)).mean())
        assert await network.probability(sound) == pytest.approx(expected, abs=1e-4)
    finally:
        await network.close()


@pytest.mark.parametrize("shape", [[1, 40, 800], [1], [1, 1, 80, 800]])
async def test_a_model_of_another_form_is_refused(tmp_path: Path, shape: list[int | str]) -> None:
    network = EndOfTurnNetwork(model(tmp_path / "m.onnx", shape))
    with pytest.raises(RecognizerError, match="log-mel"):
        await network.start()
    await network.close()


async def test_a_file_that_is_missing_or_no_model_is_refused_by_name(tmp_path: Path) -> None:
    missing = EndOfTurnNetwork(str(tmp_path / "nothing.onnx"))
    with pytest.raises(RecognizerError, match="there is no file"):
        await missing.start()
    (tmp_path / "bad.onnx").write_bytes(b"not a model at all" * 20)
    bad = EndOfTurnNetwork(str(tmp_path / "bad.onnx"))
    with pytest.raises(RecognizerError, match=r"bad\.onnx can't be loaded"):
        await bad.start()


async def test_what_is_no_probability_is_refused_at_the_start(tmp_path: Path) -> None:
    network = EndOfTurnNetwork(model(tmp_path / "m.onnx", [1, LISTEN_RATE], shift=1.5))
    with pytest.raises(RecognizerError, match="no probability"):
        await network.start()


async def test_a_model_that_goes_wrong_later_is_left_out_for_good(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = EndOfTurnNetwork(model(tmp_path / "m.onnx", [1, LISTEN_RATE], scale=9.0))
    await network.start()
    try:
        assert await network.probability(np.full(LISTEN_RATE, 20000, np.int16)) is None
        assert await network.probability(np.zeros(LISTEN_RATE, np.int16)) is None
        assert len([record for record in caplog.records if "semantic_model" in record.getMessage()]) == 1
    finally:
        await network.close()


class TestLogMel:
    def test_its_shape_and_range(self) -> None:
        bands = log_mel(fitted(tone(2.0), 8 * LISTEN_RATE))
        assert bands.shape == (MELS, 800)
        assert bands.dtype == np.float32
        assert bands.max() - bands.min() <= 2.0 + 1e-6  # 8 decades, divided by four

    @pytest.mark.parametrize("hertz", [200.0, 1000.0, 4000.0])
    def test_a_tone_lies_in_the_band_of_its_pitch(self, hertz: float) -> None:
        bands = log_mel(fitted(tone(2.0, hertz), 2 * LISTEN_RATE))
        mel = hertz * 3 / 200 if hertz < 1000 else 15 + np.log(hertz / 1000) * 27 / np.log(6.4)
        top = 15 + np.log(8) * 27 / np.log(6.4)
        assert abs(int(bands[:, 100].argmax()) - (mel / top * (MELS + 1) - 1)) <= 1

    def test_sound_ends_where_the_spectrogram_ends(self) -> None:
        bands = log_mel(fitted(tone(1.0), 8 * LISTEN_RATE))
        assert bands[:, 750].max() > bands[:, 100].max() + 0.5
