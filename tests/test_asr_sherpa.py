"""sherpa-onnx: which model a folder holds, what is said when something is missing, turns in worker threads.

The library itself is exercised by test_asr_sherpa_models.py where it is installed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.sherpa import SherpaRecognizer
from asr.sherpa_metadata import NotOnnx, read_metadata
from asr.sherpa_model import MODELS_URL, Kind, find_model
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from tests.asr_fakes import KnownEngine, sherpa
from tests.contracts_recognizer import QUESTION, turn_audio

INSTALLED = importlib.util.find_spec("sherpa_onnx") is not None
TONE = (8000 * np.sin(np.arange(LISTEN_RATE) / 5)).astype(np.int16)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def part(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def onnx(**metadata: str) -> bytes:
    """What an exporter writes: version, producer, graph, metadata."""
    pairs = (part(14, part(1, key.encode()) + part(2, value.encode())) for key, value in metadata.items())
    return b"\x08\x08" + part(2, b"pytorch") + part(7, b"weights" * 1000) + b"".join(pairs)


def folder(path: Path, **files: bytes) -> str:
    """A model folder; `encoder__int8` is encoder.int8.onnx."""
    for name, data in files.items():
        (path / f"{name.replace('__', '.').replace('_', '-')}.onnx").write_bytes(data)
    (path / "tokens.txt").write_text("<blk> 0\n")
    return str(path)


PARTS = {"decoder": onnx(), "joiner": onnx()}
FOLDERS = {
    Kind.STREAMING_TRANSDUCER: {"encoder": onnx(model_type="zipformer2", decode_chunk_len="32"), **PARTS},
    Kind.TRANSDUCER: {"encoder": onnx(model_type="zipformer2"), **PARTS},
    Kind.STREAMING_PARAFORMER: {"encoder": onnx(model_type="paraformer"), "decoder": onnx()},
    Kind.WHISPER: {"tiny_encoder": onnx(model_type="whisper-tiny"), "tiny_decoder": onnx()},
    Kind.SENSE_VOICE: {"model": onnx(model_type="sense_voice_ctc")},
    Kind.PARAFORMER: {"model": onnx(model_type="paraformer")},
    Kind.STREAMING_CTC: {"ctc_epoch_20": onnx(model_type="zipformer2", decode_chunk_len="32")},
    Kind.CTC: {"model": onnx(model_type="zipformer2_ctc")},
    Kind.NEMO_CTC: {"model": onnx(model_type="EncDecCTCModelBPE")},
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_files_tell_the_kind(kind: Kind, tmp_path: Path) -> None:
    model = find_model(folder(tmp_path, **FOLDERS[kind]))
    assert model.kind is kind
    assert model.streaming == ("STREAMING" in kind.name)
    assert {Path(file).suffix for file in model.files.values()} == {".onnx", ".txt"}


def test_every_kind_is_tested() -> None:
    assert set(FOLDERS) == set(Kind)


@pytest.mark.parametrize("precision", ["int8", "float"])
def test_the_wanted_build_is_taken(precision: str, tmp_path: Path) -> None:
    data = onnx(model_type="sense_voice_ctc")
    model = find_model(folder(tmp_path, model=data, model__int8=data), precision=precision)
    assert ("int8" in model.files["model"]) == (precision == "int8")


def test_the_only_build_is_taken(tmp_path: Path) -> None:
    assert find_model(folder(tmp_path, model=onnx(model_type="paraformer"))).files["model"].endswith("model.onnx")


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "holds no .onnx file"),
        ({"encoder": onnx()}, "incomplete: no *decoder*"),
        ({"encoder": onnx(), "joiner": onnx()}, "incomplete: no *decoder*"),
        ({"model": onnx(model_type="tdnn")}, "is a model of type 'tdnn'; supported: streaming transducer"),
        ({"model": onnx()}, "does not say what it is"),
        ({"encoder": onnx(model_type="moonshine"), "decoder": onnx()}, "is a model of type 'moonshine'"),
        ({"model": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"}, "is a Git LFS pointer"),
        ({"model": onnx(model_type="paraformer")[:2000]}, "is cut off"),
        ({"model": b"<!DOCTYPE html><html>Not found</html>"}, "is no ONNX model"),
        ({"model": b""}, "is no ONNX model"),
    ],
)
def test_what_is_missing_is_said_and_where_to_get_it(files: dict[str, bytes], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(RecognizerError) as caught:
        find_model(folder(tmp_path, **files))
    assert complaint in str(caught.value)
    assert not caught.value.retryable


async def test_start_says_where_models_are(tmp_path: Path) -> None:
    for model in ("", str(tmp_path / "missing"), str(tmp_path)):
        with pytest.raises(RecognizerError) as caught:
            await SherpaRecognizer(model=model).start()
        assert MODELS_URL in str(caught.value)
        assert "asr.sherpa.model" in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(data=st.binary() | st.binary().map(lambda tail: onnx(model_type="x") + tail))
def test_any_bytes_are_metadata_or_the_typed_error(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(data)
    try:
        found = read_metadata(path)
    except NotOnnx:
        return
    assert all(isinstance(word, str) for pair in found.items() for word in pair)


def test_a_declared_size_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    for field in (7, 14):
        path.write_bytes(b"\x08\x08" + varint(field << 3 | 2) + varint(1 << 62) + b"x")
        with pytest.raises(NotOnnx):
            read_metadata(path)


@pytest.mark.skipif(INSTALLED, reason="the package is installed here")
async def test_without_the_package_start_says_how_to_install_it(tmp_path: Path) -> None:
    model = folder(tmp_path, model=onnx(model_type="sense_voice_ctc"))
    for trial in (True, False):
        with pytest.raises(RecognizerError, match=r"pip install '\.\[sherpa\]'") as caught:
            await SherpaRecognizer(model=model, trial=trial).start()
        assert not caught.value.retryable


async def heard(recognizer: SherpaRecognizer, audio: Samples) -> Transcript:
    stream = recognizer.open(lambda _: None)
    stream.push(audio)
    try:
        return await stream.finish()
    finally:
        await stream.cancel()


@pytest.mark.parametrize("kind", [Kind.STREAMING_TRANSDUCER, Kind.SENSE_VOICE])
async def test_nothing_is_computed_on_the_loop(kind: Kind) -> None:
    engine = KnownEngine()
    recognizer = sherpa(engine, kind)
    await recognizer.start()
    assert (await heard(recognizer, turn_audio(QUESTION))).text == QUESTION
    await recognizer.close()
    assert not engine.loop_blocked


async def test_models_of_whole_turns_give_partials_on_request() -> None:
    recognizer = sherpa(kind=Kind.SENSE_VOICE, partial_interval_s=0.5)
    await recognizer.start()
    partials: list[Transcript] = []
    stream = recognizer.open(partials.append)
    audio = turn_audio(QUESTION)
    stream.push(audio[: len(audio) // 2])
    while not partials:
        await asyncio.sleep(0)
    stream.push(audio[len(audio) // 2 :])
    assert (await stream.finish()).text == QUESTION
    assert QUESTION.startswith(partials[0].text)
    await recognizer.close()


@pytest.mark.parametrize("step", ["begin", "feed", "end"])
@pytest.mark.parametrize("kind", [Kind.STREAMING_TRANSDUCER, Kind.SENSE_VOICE])
async def test_a_failure_ends_the_turn_and_not_the_recogniser(kind: Kind, step: str) -> None:
    engine = KnownEngine(broken=step)
    recognizer = sherpa(engine, kind)
    await recognizer.start()
    with pytest.raises(RecognizerError, match="sherpa failed") as caught:
        await heard(recognizer, TONE)
    assert caught.value.retryable
    engine.broken = ""
    assert (await heard(recognizer, turn_audio(QUESTION))).text == QUESTION
    await recognizer.close()


async def test_a_failure_is_known_while_the_user_speaks() -> None:
    recognizer = sherpa(KnownEngine(broken="feed"))
    await recognizer.start()
    stream = recognizer.open(lambda _: None)
    assert stream.failure is None  # type: ignore[union-attr]
    stream.push(TONE)
    while stream.failure is None:  # type: ignore[union-attr]
        await asyncio.sleep(0)
    await stream.cancel()
    await recognizer.close()


async def test_a_model_that_is_too_slow_is_a_timeout() -> None:
    release = threading.Event()

    class Slow(KnownEngine):
        def feed(self, stream: bytearray, samples: Samples) -> Transcript:
            release.wait(10)
            return Transcript("")

    recognizer = sherpa(Slow(), finish_timeout_s=0.1)
    await recognizer.start()
    with pytest.raises(RecognizerError, match="too slow"):
        await heard(recognizer, TONE)
    release.set()
    await recognizer.close()


async def test_before_start_and_after_close_a_turn_is_refused() -> None:
    recognizer = sherpa()
    with pytest.raises(RecognizerError, match="not started"):
        recognizer.open(lambda _: None)
    await recognizer.start()
    await recognizer.close()
    with pytest.raises(RecognizerError, match="not started"):
        recognizer.open(lambda _: None)


async def test_languages() -> None:
    recognizer = sherpa(kind=Kind.SENSE_VOICE)
    assert recognizer.languages == ("*",)
    await recognizer.start()
    assert recognizer.languages == ("zh", "en", "ja", "ko", "yue")
    assert sherpa(language="zh-CN").languages == ("zh",)
    await recognizer.close()
