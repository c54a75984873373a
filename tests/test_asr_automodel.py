"""FunASR's AutoModel in this process: what it is told, what comes back, how it fails."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.automodel import AutoModelRecognizer
from asr.automodel_engine import joined, transcript
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from tests.asr_fakes import FakeAutoModel
from tests.contracts_recognizer import QUESTION, turn_audio

TONE = (8000 * np.sin(np.arange(LISTEN_RATE) / 5)).astype(np.int16)
SECRET = "what the user said"


async def heard(recognizer: AutoModelRecognizer, audio: Samples) -> Transcript:
    stream = recognizer.open(lambda _: None)
    stream.push(audio)
    try:
        return await stream.finish()
    finally:
        await stream.cancel()


async def test_a_model_of_whole_turns() -> None:
    made: list[FakeAutoModel] = []

    def factory(**arguments: Any) -> FakeAutoModel:
        made.append(FakeAutoModel(**arguments))
        return made[-1]

    recognizer = AutoModelRecognizer(
        model="iic/SenseVoiceSmall", vad_model="fsmn-vad", device="cuda:0", language="en-US", hotwords=["Eman", "Mira"],
        arguments={"trust_remote_code": True}, factory=factory,
    )  # fmt: skip
    await recognizer.start()
    made[0].calls.clear()
    found = await heard(recognizer, turn_audio(QUESTION))
    await recognizer.close()
    assert found.text == QUESTION
    assert found.start == pytest.approx(0.1)
    assert made[0].arguments == {
        "model": "iic/SenseVoiceSmall", "disable_update": True, "disable_pbar": True, "device": "cuda:0", "ncpu": 4,
        "hub": "ms", "trust_remote_code": True, "vad_model": "fsmn-vad",
    }  # fmt: skip
    assert made[0].calls == [
        {"cache": {}, "language": "en", "use_itn": True, "batch_size_s": 60, "hotword": "Eman Mira"}
    ]


async def test_a_streaming_model_gets_steps_and_a_last_one() -> None:
    made: list[FakeAutoModel] = []

    def factory(**arguments: Any) -> FakeAutoModel:
        made.append(FakeAutoModel(**arguments))
        return made[-1]

    partials: list[str] = []
    recognizer = AutoModelRecognizer(model="x/y-streaming", streaming=True, factory=factory)
    await recognizer.start()
    made[0].calls.clear()
    stream = recognizer.open(lambda transcript: partials.append(transcript.text))
    audio = turn_audio(QUESTION)
    for start in range(0, len(audio), 320):
        stream.push(audio[start : start + 320])
        await asyncio.sleep(0)
    found = await stream.finish()
    await recognizer.close()
    assert found.text == QUESTION
    assert partials
    assert all(QUESTION.startswith(text) for text in partials)
    calls = made[0].calls
    assert [call["is_final"] for call in calls] == [False] * (len(calls) - 1) + [True]
    assert len(calls) == -(-len(audio) // 9600)
    assert calls[0]["chunk_size"] == [0, 10, 5]


@pytest.mark.skipif(importlib.util.find_spec("funasr") is not None, reason="the package is installed here")
async def test_without_the_package_start_says_how_to_install_it() -> None:
    with pytest.raises(RecognizerError, match=r"pip install '\.\[neural,funasr\]'") as caught:
        await AutoModelRecognizer(model="iic/SenseVoiceSmall").start()
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({}, "iic/SenseVoiceSmall"),
        ({"model": "/nowhere/at/all"}, "is no folder"),
        ({"model": "/"}, "no config.yaml"),
        ({"model": "a/b", "streaming": True, "chunk_size": [0, 0, 5]}, "chunk_size"),
        ({"model": "a/b", "streaming": True, "chunk_size": [5]}, "chunk_size"),
    ],
)
async def test_wrong_settings_say_what_to_set(options: dict[str, Any], advice: str) -> None:
    with pytest.raises(RecognizerError, match=advice):
        await AutoModelRecognizer(factory=FakeAutoModel, **options).start()


async def test_what_funasr_says_about_a_model_it_can_not_load(tmp_path: Path) -> None:
    def factory(**_: Any) -> Any:
        raise AssertionError("the size\n  does not match")

    (tmp_path / "config.yaml").touch()
    with pytest.raises(RecognizerError, match=r"can't load .*: the size does not match") as caught:
        await AutoModelRecognizer(model=str(tmp_path), factory=factory).start()
    assert not caught.value.retryable


async def test_a_library_that_is_missed_only_when_used_is_noticed_at_the_start() -> None:
    class Incomplete(FakeAutoModel):
        def generate(self, input: Any, **options: Any) -> list[dict[str, Any]]:
            raise ImportError("torchaudio is not installed and neither is kaldi-native-fbank")

    with pytest.raises(RecognizerError, match="neither is kaldi-native-fbank"):
        await AutoModelRecognizer(model="a/b", factory=Incomplete).start()


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_failure_ends_the_turn_and_not_the_model(streaming: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Moody(FakeAutoModel):
        broken = False

        def generate(self, input: Any, **options: Any) -> list[dict[str, Any]]:
            if self.broken:
                raise KeyError(SECRET)
            return super().generate(input, **options)

    recognizer = AutoModelRecognizer(model="a/b", streaming=streaming, factory=Moody)
    await recognizer.start()
    Moody.broken = True
    with pytest.raises(RecognizerError, match=r"failed \(KeyError\)") as caught:
        await heard(recognizer, TONE)
    assert caught.value.retryable
    assert "generate" in caplog.text
    assert SECRET not in caplog.text
    Moody.broken = False
    assert (await heard(recognizer, turn_audio(QUESTION))).text == QUESTION
    await recognizer.close()


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_model_that_hangs_is_a_timeout_and_blocks_nobody(streaming: bool) -> None:
    release = threading.Event()

    class Slow(FakeAutoModel):
        def generate(self, input: Any, **options: Any) -> list[dict[str, Any]]:
            if np.any(input):
                release.wait(10)
            return [{"text": ""}]

    recognizer = AutoModelRecognizer(model="a/b", streaming=streaming, factory=Slow, finish_timeout_s=0.1)
    await recognizer.start()
    with pytest.raises(RecognizerError, match="too slow") as caught:
        await heard(recognizer, TONE)
    release.set()
    await recognizer.close()
    assert (caught.value.code, caught.value.retryable) == ("asr_timeout", True)


@pytest.mark.parametrize("nonsense", [None, "text", [1], {"text": "x"}])
def test_what_is_no_result_is_an_error(nonsense: Any) -> None:
    with pytest.raises(RecognizerError, match="no transcription"):
        transcript(nonsense)


VALUES = st.none() | st.text() | st.integers() | st.floats() | st.lists(st.integers() | st.lists(st.integers()))


@given(st.lists(st.dictionaries(st.sampled_from(["key", "text"]), VALUES)))
def test_any_items_give_a_text(found: list[dict[str, Any]]) -> None:
    assert isinstance(transcript(found).text, str)


def test_pieces_join_as_their_script_wants() -> None:
    assert joined("hello", "there") == "hello there"
    assert joined("你好", "世界") == "你好世界"
    assert joined("hello", ", you") == "hello, you"
    assert transcript([{"text": "<|zh|><|HAPPY|><|Speech|><|withitn|>你好。"}]).text == "你好。"
