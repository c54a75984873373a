"""`python -m asr FILE`: any file becomes text on standard output, with honest exit statuses."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from asr.__main__ import main
from asr.file_transcription import FileTranscription
from asr.sound_file import SoundFile
from core.errors import BadRequest, RecognizerError
from core.frames import LISTEN_RATE, Samples
from core.progress import ProgressBar, clock
from core.segments import Segment
from tests.asr_fakes import FaultyRecognizer
from tests.speech import flite

ROOT = Path(__file__).parent.parent
FAULTY = "tests.asr_fakes:FaultyRecognizer"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sentences with a long pause, as a WAV at 48 kHz."""
    pause = np.zeros(72_000, np.int16)
    words = [pause, flite("what is seven times six", "rms"), pause, flite("hello how are you today", "slt"), pause]
    path = tmp_path_factory.mktemp("spoken") / "spoken.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(np.concatenate(words).tobytes())
    return path


def encoded(source: Path, target: Path, codec: str) -> Path:
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream(codec, rate=48_000)
        for frame in reader.decode(audio=0):
            for packet in stream.encode(frame):
                writer.mux(packet)
        for packet in stream.encode(None):
            writer.mux(packet)
    return target


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.ogg", "libopus"), ("a.mp4", "aac")])
def test_any_file_is_sound_of_the_right_length(name: str, codec: str, spoken: Path, tmp_path: Path) -> None:
    """E3: any file that PyAV can read."""
    whole = SoundFile(spoken)
    file = SoundFile(encoded(spoken, tmp_path / name, codec))
    assert file.duration == pytest.approx(whole.duration, abs=0.1)
    heard = np.concatenate(list(file.pieces()))
    assert heard.dtype == np.int16
    assert len(heard) / LISTEN_RATE == pytest.approx(file.duration, abs=0.1)
    file.close()
    file.close()
    whole.close()


def test_the_embedded_engine_writes_down_a_file(spoken: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(spoken), "--engine", "pocketsphinx"]) == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == ["what is seven times six", "hello how are you today"]
    assert err == "", "no progress bar where nobody looks"


def test_json_has_times_of_the_recording(spoken: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(spoken), "--engine", FAULTY, "--option", "words='my words'", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    first, second = found["segments"]
    assert found["text"] == "my words\nmy words"
    assert found["engine"] == FAULTY
    assert first["start"] == pytest.approx(1.4, abs=0.4)
    assert first["end"] < second["start"] < second["end"] <= found["duration"] + 0.01
    assert first["engine"] == "faulty"


def test_the_whole_file_as_one_turn(spoken: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(spoken), "--engine", FAULTY, "--whole", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert [(s["start"], s["end"]) for s in found["segments"]] == [(0.0, pytest.approx(found["duration"], abs=0.01))]


def test_engines_take_their_settings_and_options_win(
    spoken: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "my.yaml"
    config.write_text(f"asr:\n  engine: {FAULTY}\n  options: {{words: from the settings, name: me}}\n")
    assert main([str(spoken), "--config", str(config)]) == 0
    assert main([str(spoken), "--config", str(config), "--option", "words=mine"]) == 0
    assert capfd.readouterr().out.split("\n") == ["from the settings"] * 2 + ["mine"] * 2 + [""]


def test_silence_is_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "silence.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(64_000))
    assert main([str(path), "--engine", FAULTY]) == 0
    out, err = capfd.readouterr()
    assert (out, err) == ("", "nothing was said, or nothing was understood\n")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["{missing}"], 3, "there is no such file"),
        (["{folder}"], 3, "is no file"),
        (["{text}"], 3, "no sound or video file"),
        (["{spoken}", "--engine", "nobody"], 2, "'nobody' is unknown; allowed: automodel"),
        (["{spoken}", "--engine", FAULTY, "--option", "words"], 2, "expected KEY=VALUE"),
        (["{spoken}", "--engine", FAULTY, "--option", "speed=3"], 2, "does not take these options"),
        (["{spoken}", "--engine", FAULTY, "--option", "words=[1"], 2, "no YAML"),
        (["{spoken}", "--engine", "sherpa"], 1, "download a model"),
        (["{spoken}", "--engine", "openai"], 1, "EMAN_ASR__OPENAI__API_KEY"),
        (["{spoken}", "--engine", FAULTY, "--option", "fault=finish", "--option", "retryable=false"], 1, "is broken"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(
    arguments: list[str], status: int, message: str, spoken: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.wav"
    text.write_text("this is no sound " * 100)
    places = {"missing": tmp_path / "missing.wav", "folder": tmp_path, "text": text, "spoken": spoken}
    assert main([argument.format(**places) for argument in arguments]) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


def test_ctrl_c_ends_it_at_once_and_cleanly(spoken: Path) -> None:
    """The whole process group gets the signal, as from a terminal: the worker process too."""
    command = [sys.executable, "-m", "asr", str(spoken), "--engine", "tests.asr_fakes:Interruptible"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests may run where a shell ignores it
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == "closed\n"
    assert err == "interrupted\n"


class Minutes:
    """Cuts nothing: each piece is a stretch."""

    def __init__(self) -> None:
        self.at = 0.0

    def push(self, samples: Samples) -> list[Segment]:
        start, self.at = self.at, self.at + len(samples) / LISTEN_RATE
        return [Segment(samples, start)]

    def finish(self) -> list[Segment]:
        return []


async def no_wait(_: float) -> None:
    await asyncio.sleep(0)


async def test_what_may_pass_is_tried_again_and_then_given_up() -> None:
    engine = FaultyRecognizer(fault="finish")

    async def mend(_: float) -> None:
        engine.fault = ""

    pieces = iter([np.ones(1600, np.int16)] * 2)
    job = FileTranscription(engine, Minutes(), pieces, sleep=mend)
    assert [t.start async for t in job.transcripts()] == [0.0, 0.1]
    assert len(engine.streams) == 3
    engine.fault = "finish"
    engine.streams.clear()
    job = FileTranscription(engine, Minutes(), iter([np.ones(1600, np.int16)]), sleep=no_wait)
    with pytest.raises(RecognizerError):
        _ = [t async for t in job.transcripts()]
    assert len(engine.streams) == 3
    assert all(stream.cancelled for stream in engine.streams)


async def test_progress_reaches_the_end() -> None:
    told: list[float] = []
    pieces = iter([np.ones(LISTEN_RATE, np.int16)] * 3)
    job = FileTranscription(FaultyRecognizer(), Minutes(), pieces, told.append)
    _ = [t async for t in job.transcripts()]
    assert told == [1.0, 2.0, 3.0]


async def test_progress_never_goes_back() -> None:
    class Late(Minutes):
        """Finds what was said in the first half second only at the end."""

        def push(self, samples: Samples) -> list[Segment]:
            return []

        def finish(self) -> list[Segment]:
            self.at, before = 1.0, self.at
            return [] if before else [Segment(np.ones(8000, np.int16), 0.0)]

    told: list[float] = []
    job = FileTranscription(FaultyRecognizer(), Late(), iter([np.ones(LISTEN_RATE, np.int16)]), told.append)
    assert [t.end async for t in job.transcripts()] == [0.5]
    assert told == [1.0, 1.0]


def test_the_bar() -> None:
    out = io.StringIO()
    bar = ProgressBar(out, 120.0, shown=True)
    bar.show(30)
    bar.show(30)
    bar.clear()
    bar.clear()
    assert out.getvalue() == f"\r[{'#' * 8}{'.' * 22}]  25%  0:30 of 2:00\x1b[K\r\x1b[K"
    hidden = io.StringIO()
    ProgressBar(hidden, 120.0, shown=False).show(3)
    assert hidden.getvalue() == ""
    unknown = io.StringIO()
    ProgressBar(unknown, None, shown=True).show(3725)
    assert "1:02:05 done" in unknown.getvalue()
    assert clock(59.9) == "0:59"


def test_a_damaged_end_is_left_out_and_a_damaged_beginning_is_an_error(spoken: Path, tmp_path: Path) -> None:
    whole = encoded(spoken, tmp_path / "a.ogg", "libopus").read_bytes()
    cut = tmp_path / "cut.ogg"
    cut.write_bytes(whole[: len(whole) // 2])
    file = SoundFile(cut)
    assert 1 < sum(map(len, file.pieces())) / LISTEN_RATE < 6
    file.close()
    cut.write_bytes(b"OggS" + bytes(5000))
    with pytest.raises(BadRequest):
        SoundFile(cut)
