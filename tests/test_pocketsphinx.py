"""The embedded recogniser: its process, its messages, its levels."""

from __future__ import annotations

import array
import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.pocketsphinx import PocketsphinxRecognizer
from asr.pocketsphinx_wire import HEADER, MAX_PAYLOAD, Kind, pack, unpack_header
from asr.pocketsphinx_worker import TARGET_DB, Worker, amplify, clean, measure
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples
from tests.contracts_recognizer import QUESTION, ignore, recognized, turn_audio

ROOT = Path(__file__).parent.parent


@pytest.fixture
async def recognizer() -> AsyncIterator[PocketsphinxRecognizer]:
    """A recogniser of its own: these tests kill the worker."""
    adapter = PocketsphinxRecognizer(max_turn_s=5)
    await adapter.start()
    yield adapter
    await adapter.close()


class TestProcess:
    async def test_two_voices(self, recognizer: PocketsphinxRecognizer) -> None:
        assert QUESTION in (await recognized(recognizer, turn_audio(QUESTION, "rms"))).text
        assert "seven times six" in (await recognized(recognizer, turn_audio(QUESTION, "slt"))).text
        assert (await recognized(recognizer, turn_audio("hello how are you today", "slt"))).text.startswith("hello")

    async def test_soft_and_loud_speech(self, recognizer: PocketsphinxRecognizer) -> None:
        speech = turn_audio(QUESTION).astype(np.float64)
        noise = np.random.default_rng(0).normal(0, 3, len(speech))
        soft = (speech * 10 ** (-25 / 20) + noise).astype(np.int16)
        assert "seven times six" in (await recognized(recognizer, soft)).text
        clipped = (speech * 3).clip(-32768, 32767).astype(np.int16)
        assert "times six" in (await recognized(recognizer, clipped)).text

    async def test_a_killed_worker_fails_the_turn_and_the_next_one_works(
        self, recognizer: PocketsphinxRecognizer
    ) -> None:
        stream = recognizer.open(ignore)
        stream.push(turn_audio(QUESTION))
        dead = recognizer.pid
        assert dead is not None
        os.kill(dead, signal.SIGKILL)
        with pytest.raises(RecognizerError) as caught:
            await stream.finish()
        assert caught.value.retryable
        with pytest.raises(RecognizerError):
            await recognizer.open(ignore).finish()
        await recognizer.ready()
        assert recognizer.pid not in (None, dead)
        assert recognizer.restarts == 1
        assert QUESTION in (await recognized(recognizer, turn_audio(QUESTION))).text

    async def test_a_stuck_worker_is_replaced(self) -> None:
        recognizer = PocketsphinxRecognizer(finish_timeout_s=0.2)
        await recognizer.start()
        try:
            stuck = recognizer.pid
            assert stuck is not None
            os.kill(stuck, signal.SIGSTOP)
            stream = recognizer.open(ignore)
            with pytest.raises(RecognizerError):
                await stream.finish()
            while psutil.pid_exists(stuck):
                await asyncio.sleep(0.01)
            await recognizer.ready()
            assert recognizer.pid != stuck
        finally:
            await recognizer.close()

    async def test_close_ends_the_worker_and_fails_open_turns(self, recognizer: PocketsphinxRecognizer) -> None:
        stream, pid = recognizer.open(ignore), recognizer.pid
        assert pid is not None
        await recognizer.close()
        assert not psutil.pid_exists(pid)
        assert recognizer.pid is None
        with pytest.raises(RecognizerError):
            await stream.finish()
        await recognizer.close()

    async def test_the_worker_yields_to_media_and_ignores_ctrl_c(self, recognizer: PocketsphinxRecognizer) -> None:
        assert recognizer.pid is not None
        worker = psutil.Process(recognizer.pid)
        assert worker.nice() == min(19, os.nice(0) + 5)
        worker.send_signal(signal.SIGINT)
        assert QUESTION in (await recognized(recognizer, turn_audio(QUESTION))).text
        assert recognizer.restarts == 0

    async def test_audio_beyond_the_longest_turn_is_ignored_and_flagged(
        self, recognizer: PocketsphinxRecognizer
    ) -> None:
        stream = recognizer.open(ignore)
        question = turn_audio(QUESTION)
        padded = np.concatenate([question, np.zeros(5 * LISTEN_RATE - len(question), np.int16)])
        stream.push(padded)
        assert not stream.truncated
        stream.push(turn_audio("who are you"))
        assert stream.truncated
        assert (await stream.finish()).text == QUESTION

    def test_the_worker_ends_with_its_parent(self) -> None:
        code = (
            "import asyncio, os\n"
            "from asr.pocketsphinx import PocketsphinxRecognizer\n"
            "async def main():\n"
            "    recognizer = PocketsphinxRecognizer()\n"
            "    await recognizer.start()\n"
            "    print(recognizer.pid, flush=True)\n"
            "    os._exit(0)\n"
            "asyncio.run(main())\n"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        try:
            psutil.Process(int(done.stdout)).wait(10)
        except psutil.NoSuchProcess:
            pass

    async def test_loading_the_adapter_does_not_load_the_engine(self) -> None:
        code = "import sys, asr.pocketsphinx; sys.exit('pocketsphinx' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


class TestWire:
    @given(st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=200))
    def test_round_trip(self, kind: Kind, number: int, payload: bytes) -> None:
        message = pack(kind, number, payload)
        assert unpack_header(message[: HEADER.size]) == (len(payload), kind, number)
        assert message[HEADER.size :] == payload

    def test_nonsense_is_refused(self) -> None:
        with pytest.raises(ValueError, match="payload"):
            pack(Kind.AUDIO, 1, bytes(MAX_PAYLOAD + 1))
        with pytest.raises(ValueError, match="payload"):
            unpack_header(HEADER.pack(MAX_PAYLOAD + 1, Kind.AUDIO, 1))
        with pytest.raises(ValueError, match="99"):
            unpack_header(HEADER.pack(0, 99, 1))


class Segment:
    def __init__(self, word: str) -> None:
        self.word, self.start_frame, self.end_frame = word, 10, 19


class Hypothesis:
    hypstr, prob = "<s> words", 0.25


class CountingDecoder:
    """A decoder that notes what it was asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.heard = 0

    def set_cmn(self, mean: str) -> None:
        assert len(mean.split(",")) == 13

    def start_utt(self) -> None:
        self.calls.append("start")
        self.heard = 0

    def process_raw(self, pcm: bytes) -> None:
        self.heard += len(pcm)

    def end_utt(self) -> None:
        self.calls.append(f"end after {self.heard}")

    def hyp(self) -> Hypothesis:
        return Hypothesis()

    def seg(self) -> list[Segment]:
        return [Segment("<s>"), Segment("words")]


def varied(seconds: float) -> bytes:
    """Audio that is not steady: half of it silent."""
    tone = (8000 * np.sin(np.arange(int(seconds * LISTEN_RATE)) / 5)).astype(np.int16)
    tone[: len(tone) // 2] = 0
    return tone.tobytes()


class TestWorker:
    def setup_method(self) -> None:
        self.decoder, self.out = CountingDecoder(), io.BytesIO()
        self.worker = Worker(self.decoder, self.out, partial_interval=0)

    def drain(self) -> list[tuple[Kind, int, dict[str, object]]]:
        """Work until idle; the messages sent meanwhile."""
        while self.worker.step():
            pass
        data, messages = self.out.getvalue(), []
        self.out.seek(0)
        self.out.truncate()
        while data:
            length, kind, number = unpack_header(data[: HEADER.size])
            messages.append((kind, number, json.loads(data[HEADER.size : HEADER.size + length])))
            data = data[HEADER.size + length :]
        return messages

    def test_live_then_final(self) -> None:
        self.worker.receive(Kind.OPEN, 1, b"")
        self.worker.receive(Kind.AUDIO, 1, varied(2))
        assert self.drain() == [(Kind.PARTIAL, 1, {"text": "words"})]
        self.worker.receive(Kind.FINISH, 1, b"")
        final = {"text": "words", "start": 0.1, "end": 0.2, "confidence": 0.25}
        assert self.drain() == [(Kind.FINAL, 1, final)]
        assert self.decoder.calls == ["start", "end after 64000"]

    def test_a_finished_utterance_takes_the_decoder(self) -> None:
        for number in (1, 2):
            self.worker.receive(Kind.OPEN, number, b"")
            self.worker.receive(Kind.AUDIO, number, varied(2))
        self.drain()
        self.worker.receive(Kind.FINISH, 2, b"")
        assert [(kind, number) for kind, number, _ in self.drain()] == [(Kind.FINAL, 2)]
        self.worker.receive(Kind.FINISH, 1, b"")
        assert [(kind, number) for kind, number, _ in self.drain()] == [(Kind.FINAL, 1)]
        ends = [call for call in self.decoder.calls if call != "start"]
        assert ends == ["end after 64000"] * 3

    def test_a_cancelled_utterance_is_forgotten(self) -> None:
        self.worker.receive(Kind.OPEN, 1, b"")
        self.worker.receive(Kind.AUDIO, 1, varied(2))
        self.drain()
        self.worker.receive(Kind.CANCEL, 1, b"")
        self.worker.receive(Kind.AUDIO, 1, varied(2))
        self.worker.receive(Kind.FINISH, 1, b"")
        assert self.drain() == []
        assert self.decoder.calls == ["start", "end after 64000"]

    def test_too_little_audio_to_judge_waits_for_the_end(self) -> None:
        self.worker.receive(Kind.OPEN, 1, b"")
        self.worker.receive(Kind.AUDIO, 1, varied(0.5))
        assert self.drain() == []
        assert self.decoder.calls == []

    def test_noise_before_speech_does_not_fix_the_gain(self) -> None:
        self.worker.receive(Kind.OPEN, 1, b"")
        self.worker.receive(Kind.AUDIO, 1, np.random.default_rng(0).normal(0, 10, 16000).astype("<i2").tobytes())
        self.drain()
        self.worker.receive(Kind.AUDIO, 1, varied(1))
        self.drain()
        assert self.decoder.calls.count("start") == 2


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("<s> hello <sil> world </s>", "hello world"),
        ("[NOISE] ++UM++ the(2) cat [COUGH]", "the cat"),
        ("<s> [SPEECH] </s>", ""),
        ("", ""),
    ],
)
def test_fillers_are_no_words(raw: str, words: str) -> None:
    assert clean(raw) == words


def rms_db(samples: Samples) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(samples.astype(np.float64) ** 2)) / 32768))


@pytest.mark.parametrize("level_db", [-45.0, -30.0, -10.0])
def test_every_level_becomes_the_target(level_db: float) -> None:
    tone = (32768 * np.sqrt(2) * 10 ** (level_db / 20) * np.sin(np.arange(16000) / 7)).astype(np.int16)
    gain, spread = measure(tone.tobytes())
    louder = np.frombuffer(amplify(tone.tobytes(), gain), np.int16)
    assert rms_db(louder) == pytest.approx(TARGET_DB, abs=0.5)
    assert spread < 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-32768, 32767), max_size=2000), st.floats(-30, 30))
def test_any_audio_can_be_measured_and_amplified(values: list[int], gain_db: float) -> None:
    pcm = array.array("h", values).tobytes()
    gain, spread = measure(pcm)
    assert -30 <= gain <= 30
    assert spread >= 0
    assert len(amplify(pcm, gain_db)) == len(pcm)
