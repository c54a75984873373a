"""sherpa-onnx itself, with tiny models that this test makes: they know the words "low" and "high" by a tone's pitch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("sherpa_onnx", reason="the extra sherpa is not installed")
pytest.importorskip("onnx", reason="tiny models are made with the package onnx")

from asr.sherpa import SherpaRecognizer
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Transcript
from tests.sherpa_models import sense_voice, sentence, streaming_transducer

SAID = ("low", "high", "low", "high", "high")


@pytest.mark.parametrize("make", [sense_voice, streaming_transducer])
async def test_words_and_their_times(make: Callable[[Path], Path], tmp_path: Path) -> None:
    recognizer = SherpaRecognizer(model=str(make(tmp_path)), threads=1)
    await recognizer.start()
    audio = sentence(*SAID[:4])
    stream = recognizer.open(lambda _: None)
    for start in range(0, len(audio), 320):
        stream.push(audio[start : start + 320])
    found = await stream.finish()
    await recognizer.close()
    assert found.text == "low high low high"
    assert found.start == pytest.approx(0.25, abs=0.1)
    assert 2.4 < found.end <= len(audio) / LISTEN_RATE


async def test_partials_grow_while_the_user_speaks(tmp_path: Path) -> None:
    recognizer = SherpaRecognizer(model=str(streaming_transducer(tmp_path)), threads=1)
    await recognizer.start()
    partials: list[Transcript] = []
    stream = recognizer.open(partials.append)
    for word in SAID[:3]:
        count = len(partials)
        stream.push(sentence(word))
        while len(partials) == count:
            await asyncio.sleep(0.001)
    assert [partial.text for partial in partials][-1] == "low high low"
    assert (await stream.finish()).text == "low high low"
    await recognizer.close()


async def test_a_model_that_would_end_the_process_is_an_error(tmp_path: Path) -> None:
    """The library calls _Exit for a token table that does not fit; the trial takes the blow."""
    sense_voice(tmp_path)
    (tmp_path / "tokens.txt").write_text("nonsense\n")
    with pytest.raises(RecognizerError, match="can't be used") as caught:
        await SherpaRecognizer(model=str(tmp_path)).start()
    assert not caught.value.retryable


async def test_a_model_without_its_metadata_is_an_error(tmp_path: Path) -> None:
    import onnx

    sense_voice(tmp_path)
    file = tmp_path / "model.int8.onnx"
    model = onnx.load(str(file))
    kept = {prop.key: prop.value for prop in model.metadata_props if prop.key != "lfr_window_size"}
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, str(file))
    with pytest.raises(RecognizerError, match="lfr_window_size") as caught:
        await SherpaRecognizer(model=str(tmp_path)).start()
    assert not caught.value.retryable
