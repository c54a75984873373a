"""The baselines, and the page of results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatar.lipsync.features import LogMelStream
from avatar.lipsync.labels import Timed, classes_of, segments_of
from avatar.lipsync.metrics import Judged, accuracy, opening_correlation
from avatar.lipsync.train import results
from avatar.lipsync.train.baselines import BASELINES, COEFFICIENTS, fit
from avatar.lipsync.train.speech import Speech
from avatar.tts.espeak import EspeakSynthesizer
from core.frames import VISEMES
from tests.contracts_voice import hum, listening_chunks, pcm_of, spoken

TEXTS = ("Please bring my mother a bowl of soup.", "Yesterday the children sang their longest songs.")


@pytest.fixture
async def speech() -> list[Speech]:
    """Two sentences with their labels."""
    synthesizer = EspeakSynthesizer()
    await synthesizer.start()
    made = []
    for text in TEXTS:
        chunks = await spoken(synthesizer, text)
        phones = [Timed(p.symbol, p.start, p.end) for chunk in chunks for p in chunk.phonemes or ()]
        made.append(Speech(text, pcm_of(listening_chunks(chunks)), segments_of(phones)))
    await synthesizer.close()
    return made


@pytest.mark.parametrize("name", list(BASELINES))
@pytest.mark.parametrize("length", [1, 160, 161, 8000])
def test_baselines_give_a_row_per_frame(name: str, length: int) -> None:
    rows = BASELINES[name](hum(0.5)[:length])
    assert rows.shape == (-(-length // 160), len(VISEMES))
    assert np.allclose(rows.sum(axis=1), 1, atol=1e-3)


async def test_baselines_are_no_straw_men(speech: list[Speech]) -> None:
    clips = {name: [Judged(make(s.samples), s.segments) for s in speech] for name, make in BASELINES.items()}
    assert opening_correlation(clips["loudness"]).value > 0.2
    assert accuracy(clips["MFCC, Gaussians"][0], 2).value > 0.35
    assert accuracy(clips["MFCC, nearest prototype"][0], 2).value > 0.2


async def test_parameters_are_fitted_to_labelled_features(speech: list[Speech]) -> None:
    mels, classes = [], []
    rng = np.random.default_rng(0)
    for s in speech:
        stream = LogMelStream()
        mels.append(np.concatenate((stream.feed(s.samples), stream.finish())))
        classes.append(classes_of(s.segments, len(mels[-1])))
    mel, labels = np.concatenate(mels), np.concatenate(classes)
    mel = np.concatenate((mel, rng.normal(-8, 2, (60, 40)).astype(np.float32)))
    labels = np.concatenate((labels, np.repeat(np.arange(len(VISEMES)), 4)))
    found = fit(mel, labels)
    assert found["means"].shape == (len(VISEMES), 2 * COEFFICIENTS)
    assert found["inverses"].shape == (len(VISEMES), 2 * COEFFICIENTS, 2 * COEFFICIENTS)
    assert all(np.all(np.isfinite(value)) for value in found.values())


def test_page_of_results(
    speech: list[Speech], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, s in enumerate(speech):
        s.write(tmp_path / "human", f"{index}")
    page = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["results", str(tmp_path), "--out", str(page), "--command", "a test"])
    assert results.main() == 0
    text = page.read_text("utf-8")
    assert "Made by `a test`" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert sum("ours" in row for row in rows) == 2
    assert all(any(row.startswith(f"| {name} |") for row in rows) for name in BASELINES)
    assert "≥ 0.85" in text
    assert "babble, 20 dB" in text
    monkeypatch.setattr("sys.argv", ["results", str(tmp_path / "nowhere"), "--out", str(page)])
    assert results.main() == 2
    assert "make them with" in capsys.readouterr().err
