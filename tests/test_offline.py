"""Clips rendered without a server: what is in the file, and whether lips and sound meet in it."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.__main__ import main
from avatar.guard import FrameGuard
from avatar.offline import LEAD_S, TAIL_S, Narration, Playback, Renderer
from avatar.video_file import VideoFile
from core.errors import BadRequest, LipSyncError, SynthesizerError
from core.frames import MEDIA_RATE, FaceChoice, FaceCue, Gesture, Pcm, Picture, SpeechChunk
from tests.fakes import GreyFace, ToneSynthesizer
from tests.test_speaker import LevelLips

ROOT = Path(__file__).parent.parent
SIZE = 64


class Beeps:
    """Beeps of 0.2 s whose beginnings drift through all phases of a picture, between silences."""

    RATE = 22_050
    STEP_S = 0.4370

    def __init__(self, count: int) -> None:
        self.count = count

    async def __call__(self) -> AsyncIterator[SpeechChunk]:
        for _ in range(self.count):
            silent = np.zeros(int((self.STEP_S - 0.2) * self.RATE), np.int16)
            tone = np.sin(np.arange(int(0.2 * self.RATE)) * 2 * np.pi * 500 / self.RATE)
            yield SpeechChunk(Pcm(np.concatenate([silent, (9000 * tone).astype(np.int16)]), self.RATE))


class Clip:
    """A decoded file: sound with the time of its first sample, and the luma of every picture with its time."""

    def __init__(self, path: Path) -> None:
        self.pictures: list[tuple[float, NDArray[np.uint8]]] = []
        sound: list[tuple[float, NDArray[np.float32]]] = []
        with av.open(str(path)) as container:
            self.video = container.streams.video[0].codec_context
            self.audio = container.streams.audio[0].codec_context
            for frame in container.decode():
                if isinstance(frame, av.AudioFrame):
                    sound.append((frame.time or 0.0, frame.to_ndarray().reshape(-1)))
                elif isinstance(frame, av.VideoFrame):
                    self.pictures.append((frame.time or 0.0, frame.to_ndarray()[: frame.height]))
        assert all(abs(b[0] - a[0] - len(a[1]) / MEDIA_RATE) < 2e-3 for a, b in itertools.pairwise(sound))
        self.sound_start = sound[0][0]
        self.sound = np.concatenate([part for _, part in sound])

    def sound_onsets(self) -> NDArray[np.float64]:
        """When it becomes loud after at least 0.1 s of silence."""
        loud = np.flatnonzero(np.abs(self.sound) > 0.05) / MEDIA_RATE + self.sound_start
        return loud[np.diff(loud, prepend=-1.0) > 0.1]

    def mouth_onsets(self) -> NDArray[np.float64]:
        """When the picture becomes bright, between pictures by how bright it has become."""
        times = np.array([time for time, _ in self.pictures])
        bright = np.array([float(luma.mean()) for _, luma in self.pictures])
        half = (bright.min() + bright.max()) / 2
        at = np.flatnonzero((bright[:-1] < half) & (bright[1:] >= half))
        return times[at] + (half - bright[at]) / (bright[at + 1] - bright[at]) * 0.04


async def rendered(path: Path, script: Narration | Playback, choice: FaceChoice = FaceChoice()) -> Clip:  # noqa: B008 - frozen
    face = GreyFace().open(SIZE, SIZE, choice=choice)
    columns = 2 if choice.background == "transparent" else 1
    with VideoFile(path, SIZE * columns, SIZE) as file:
        guard = FrameGuard(SIZE, SIZE, columns=columns)
        await Renderer(lipsync=LevelLips(3), face=face, guard=guard, file=file).render(script)
        assert guard.failed == guard.repaired == 0
    return Clip(path)


async def test_lips_and_sound_meet_in_the_file(tmp_path: Path) -> None:
    clip = await rendered(tmp_path / "clip.mp4", Playback(Beeps(40)()))
    heard, seen = clip.sound_onsets(), clip.mouth_onsets()
    assert len(heard) == len(seen) == 40
    offsets = seen - heard
    assert abs(np.median(offsets)) < 0.012, offsets
    assert np.abs(offsets).max() < 0.03, offsets
    assert heard[0] == pytest.approx(LEAD_S + Beeps.STEP_S - 0.2, abs=0.005)


async def test_pictures_and_sound_begin_and_end_together(tmp_path: Path) -> None:
    clip = await rendered(tmp_path / "clip.mp4", Playback(Beeps(3)()))
    times = [time for time, _ in clip.pictures]
    assert times[0] == 0
    assert np.allclose(np.diff(times), 0.04, atol=1e-6)
    assert clip.sound_start == pytest.approx(0, abs=0.03)
    ends = times[-1] + 0.04, clip.sound_start + len(clip.sound) / MEDIA_RATE
    assert ends[0] == pytest.approx(ends[1], abs=0.03)
    assert ends[0] == pytest.approx(LEAD_S + 3 * Beeps.STEP_S + TAIL_S, abs=0.45)
    assert (clip.video.name, clip.video.pix_fmt, clip.audio.name) == ("h264", "yuv420p", "aac")
    assert (clip.audio.rate, clip.audio.layout.name) == (MEDIA_RATE, "mono")
    assert (clip.video.color_range, clip.video.colorspace) == (1, 6)


async def test_what_is_shown_does_not_depend_on_speed(tmp_path: Path) -> None:
    class Slow(Beeps):
        async def __call__(self) -> AsyncIterator[SpeechChunk]:
            async for chunk in super().__call__():
                await asyncio.sleep(0.15)
                yield chunk

    quick = await rendered(tmp_path / "quick.mp4", Playback(Beeps(6)()))
    slow = await rendered(tmp_path / "slow.mp4", Playback(Slow(6)()))
    assert np.array_equal(quick.sound, slow.sound)
    assert len(quick.pictures) == len(slow.pictures)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(quick.pictures, slow.pictures, strict=True))


async def test_sentences_follow_each_other_and_tags_are_not_spoken(tmp_path: Path) -> None:
    voice = ToneSynthesizer(0.1)
    narration = Narration("One two three. [happy] Four five six seven! [nod]", voice)
    clip = await rendered(tmp_path / "clip.mp4", narration)
    assert voice.spoken == ["One two three.", "Four five six seven!"]
    assert narration.expected_s == pytest.approx(0.7, abs=0.01)
    loud = np.abs(clip.sound) > 0.05
    assert loud.mean() * len(loud) / MEDIA_RATE == pytest.approx(0.7 * 0.85, abs=0.1)
    assert len(clip.sound_onsets()) == 1


async def test_tags_reach_the_face(tmp_path: Path) -> None:
    cues: list[FaceCue] = []

    class Watching:
        def __init__(self) -> None:
            self.grey = GreyFace().open(SIZE, SIZE)

        def draw(self, cue: FaceCue) -> Picture:
            cues.append(cue)
            return self.grey.draw(cue)

    with VideoFile(tmp_path / "clip.mp4", SIZE, SIZE) as file:
        renderer = Renderer(lipsync=LevelLips(), face=Watching(), guard=FrameGuard(SIZE, SIZE), file=file)
        await renderer.render(Narration("[happy] One two three four. [nod] Five six seven eight.", ToneSynthesizer()))
    assert [cue.time for cue in cues] == [number / 25 for number in range(len(cues))]
    assert {str(cue.expression) for cue in cues} >= {"neutral", "happy"}
    assert any(cue.gesture is Gesture.NOD for cue in cues)


async def test_transparent_clips_are_twice_as_wide(tmp_path: Path) -> None:
    clip = await rendered(tmp_path / "clip.mov", Playback(Beeps(1)()), FaceChoice("", "transparent"))
    assert clip.pictures[0][1].shape == (SIZE, 2 * SIZE)


@pytest.mark.parametrize("error", [SynthesizerError("the voice is away"), LipSyncError("no lips"), KeyError("bug")])
async def test_a_failure_leaves_no_file(tmp_path: Path, error: Exception) -> None:
    async def broken() -> AsyncIterator[SpeechChunk]:
        async for chunk in Beeps(1)():
            yield chunk
        raise error

    (tmp_path / "clip.mp4").write_bytes(b"an earlier clip")
    with pytest.raises((type(error), ExceptionGroup)):
        await rendered(tmp_path / "clip.mp4", Playback(broken()))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() == b"an earlier clip"


def test_file_endings(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"\.mp4"):
        VideoFile(tmp_path / "clip.gif", SIZE, SIZE)
    with pytest.raises(OSError, match="No such file"):
        VideoFile(tmp_path / "no" / "clip.mp4", SIZE, SIZE)


FAKES = ("--set", "face.engine=tests.fakes:GreyFace", "--set", "tts.engine=tests.fakes:ToneSynthesizer")
COMMANDS = [
    (("hello there", "-o", "{}/clip.mp4", "--size", "256x128"), 0, "0:0"),
    (("...", "-o", "{}/clip.mp4"), 2, "nothing in the text"),
    (("[happy]", "-o", "{}/clip.mp4"), 2, "nothing in the text"),
    (("hello", "-o", "{}/none/clip.mp4"), 3, "none/clip.mp4: No such file or directory\n"),
    (("hello", "-o", "{}/folder.mp4"), 3, "folder.mp4 is a folder"),
    (("-o", "{}/clip.mp4", "--text-file", "{}/none.txt"), 3, "No such file"),
    (("-o", "{}/clip.mp4", "--audio", "{}/none.wav"), 3, "No such file"),
    (("-o", "{}/clip.mp4", "--audio", __file__), 3, "audio"),
    (("broken", "-o", "{}/clip.mp4"), 1, "the voice is away"),
    (("hello", "-o", "{}/clip.mp4", "--avatar", "nobody"), 2, "nobody"),
    (("hello", "-o", "{}/clip.mp4", "--background", "no.jpg"), 2, "no.jpg"),
    (("hello", "-o", "{}/clip.mp4", "--set", "nonsense"), 2, "KEY=VALUE"),
    (("hello", "-o", "{}/clip.mp4", "--set", "face.nonsense=1"), 2, "face.nonsense"),
]


@pytest.mark.parametrize(("words", "status", "said"), COMMANDS)
def test_the_command(
    words: tuple[str, ...], status: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    assert main([*(word.format(tmp_path) for word in words), *FAKES]) == status
    output = capsys.readouterr()
    assert said in (output.out if status == 0 else output.err)
    assert "Traceback" not in output.err
    assert (tmp_path / "clip.mp4").exists() == (status == 0)
    assert not list(tmp_path.rglob("*.part.*"))


@pytest.mark.parametrize("words", [(), ("hello",), ("-o", "clip.mp4"), ("hello", "-o", "a.mp4", "--size", "33x99"),
                                   ("hello", "-o", "a.gif"), ("hello", "-o", ""),
                                   ("hello", "-o", "a.mp4", "--text-file", "b.txt")])  # fmt: skip
def test_wrong_usage(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "usage: python -m avatar " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "voice"), [((), None), (("--avatar", "teal"), "deep"), (("--avatar", "teal", "--voice", "own"), "own")]
)
def test_a_presenter_speaks_with_their_voice(
    words: tuple[str, ...], voice: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str | None] = []
    speak = ToneSynthesizer.synthesize

    def noted(self: ToneSynthesizer, text: str, *, voice: str | None = None) -> AsyncIterator[SpeechChunk]:
        used.append(voice)
        return speak(self, text, voice=voice)

    monkeypatch.setattr(ToneSynthesizer, "synthesize", noted)
    assert main(["hello", "-o", str(tmp_path / "clip.mp4"), "--size", "128x128", *words, *FAKES]) == 0
    assert used == [voice]


def test_recorded_sound_is_spoken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tone = (9000 * np.sin(np.arange(24_000) * 0.1)).astype("<i2")
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(np.repeat(tone, 2).tobytes())
    words = ["-o", str(tmp_path / "clip.mkv"), "--audio", str(tmp_path / "tone.wav"), "--size", "128x128"]
    assert main([*words, *FAKES]) == 0
    loud = np.abs(Clip(tmp_path / "clip.mkv").sound) > 0.05
    assert loud.sum() / MEDIA_RATE == pytest.approx(1.0, abs=0.2)
    assert "clip.mkv" in capsys.readouterr().out


def test_the_embedded_avatar_as_anybody_would_call_it(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Hello. [happy] 你好，很高兴见到你。", encoding="utf-8")
    command = [sys.executable, "-m", "avatar", "--text-file", str(tmp_path / "text.txt"), "-o", str(tmp_path / "a.mp4")]
    done = subprocess.run([*command, "--size", "256x256"], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    clip = Clip(tmp_path / "a.mp4")
    assert clip.pictures[0][1].shape == (256, 256)
    assert 2.5 < len(clip.pictures) / 25 < 8
    moved = [np.abs(a[1].astype(int) - b[1]).mean() for a, b in zip(clip.pictures, clip.pictures[5:], strict=False)]
    assert max(moved) > 0.5


def test_a_presenter_of_ones_own_is_named_by_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my presenter"
    folder.mkdir()
    (folder / "rig.yaml").write_text("name: nora")
    words = ["hello", "-o", str(tmp_path / "clip.mp4"), "--set", "tts.engine=tests.fakes:ToneSynthesizer"]
    assert main([*words, "--avatar", str(folder)]) == 1
    assert "rig.yaml: `canvas` must be 4 numbers" in capsys.readouterr().err
    assert main([*words, "--avatar", str(tmp_path)]) == 2
    assert "choose ansel, juno, mira" in capsys.readouterr().err


def test_the_sheet_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sheet", "nobody"]) == 1
    assert "nobody" in capsys.readouterr().err
