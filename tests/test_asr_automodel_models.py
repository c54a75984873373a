"""FunASR itself, with a tiny SenseVoice model that has learnt nothing: that it runs is the test, not what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asr.automodel import AutoModelRecognizer
from core.frames import LISTEN_RATE, Transcript

pytest.importorskip("funasr", reason="the extra funasr is not installed")
torch = pytest.importorskip("torch", reason="the extra funasr is not installed")

CONFIG = """
model: SenseVoiceSmall
model_conf: {{length_normalized_loss: true, sos: 1, eos: 2, ignore_id: -1}}
encoder: SenseVoiceEncoderSmall
encoder_conf: {{output_size: 16, attention_heads: 2, linear_units: 16, num_blocks: 2, tp_blocks: 1}}
ctc_conf: {{}}
tokenizer: CharTokenizer
tokenizer_conf: {{token_list: {tokens}, unk_symbol: <unk>}}
frontend: WavFrontend
frontend_conf: {{fs: 16000, window: hamming, n_mels: 80, lfr_m: 7, lfr_n: 6, dither: 0.0}}
"""


async def test_a_model_of_funasr_runs_turns_and_partials(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("<blk>\n<s>\n</s>\na\nb\nc\nd\n<unk>\n")
    (tmp_path / "config.yaml").write_text(CONFIG.format(tokens=tokens))
    torch.save({}, str(tmp_path / "model.pt"))
    recognizer = AutoModelRecognizer(model=str(tmp_path), language="en", threads=1, partial_interval_s=0.5)
    await recognizer.start()
    partials: list[Transcript] = []
    stream = recognizer.open(partials.append)
    stream.push((8000 * np.sin(np.arange(2 * LISTEN_RATE) / 5)).astype(np.int16))
    found = await stream.finish()
    await recognizer.close()
    assert isinstance(found.text, str)
    assert found.final
    assert (found.start, found.end) == (0.0, 2.0) or not found.text
    assert capfd.readouterr().out == "", "standard output is for what was said"
