"""Pictures on their way from drawing threads: bounded, in time, never of another cue."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np

from avatar.encoders import FaceEncoder
from avatar.guard import FrameGuard
from avatar.painter import Painter
from avatar.stage import SpeechStage
from avatar.tracks import FaceTrack, VoiceTrack
from core.clock import MediaClock
from core.frames import FaceCue, Picture
from tests.fakes import GreyFace

SIZE = 32


def grey(value: int) -> Picture:
    picture = np.full((SIZE * 3 // 2, SIZE), 128, np.uint8)
    picture[:SIZE] = value
    return picture


class Stamped:
    """The brightness tells the number of the picture that was asked for, and how many drew at once is noted."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0

    def draw(self, cue: FaceCue) -> Picture:
        self.inside += 1
        self.most = max(self.most, self.inside)
        picture = grey(round(cue.time * 25) % 200)
        self.inside -= 1
        return picture


class Stuck:
    """Draws, but the picture at 0.04 s takes until `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.drawn: list[float] = []

    def draw(self, cue: FaceCue) -> Picture:
        self.drawn.append(cue.time)
        if cue.time == 0.04:
            assert self.go.wait(20)
        return grey(40 + round(cue.time * 100))


class Silence:
    """A stage's listener that does not listen."""

    def utterance_started(self, reply_id: str, index: int, text: str, at: float) -> None: ...
    def utterance_ended(self, reply_id: str, index: int, text: str) -> None: ...


def painter(face: object, threads: ThreadPoolExecutor, patience_s: float = 10.0) -> Painter:
    return Painter(face, FrameGuard(SIZE, SIZE), threads, patience_s=patience_s)  # type: ignore[arg-type]


async def test_f3_every_picture_is_the_one_of_its_cue_among_many_threads() -> None:
    faces = [Stamped() for _ in range(24)]
    with ThreadPoolExecutor(16) as threads:

        async def session(face: Stamped) -> None:
            own = painter(face, threads)
            for number in range(60):
                frame = await own.paint(FaceCue(number / 25))
                assert frame.to_ndarray()[0, 0] == number % 200
            assert own.guard.failed == 0

        await asyncio.gather(*(session(face) for face in faces))
    assert all(face.most == 1 for face in faces)


async def test_f3_one_picture_at_a_time_and_none_is_waited_for_for_ever() -> None:
    face = Stuck()
    with ThreadPoolExecutor(4) as threads:
        own = painter(face, threads, patience_s=0.2)
        try:
            assert (await own.paint(FaceCue(0.0))).to_ndarray()[0, 0] == 40
            for number in range(1, 6):
                assert (await own.paint(FaceCue(number * 0.04))).to_ndarray()[0, 0] == 40
            assert face.drawn == [0.0, 0.04]
            assert own.guard.failed == 5
        finally:
            face.go.set()
        while (frame := await own.paint(FaceCue(1.0))).to_ndarray()[0, 0] != 140:
            await asyncio.sleep(0.01)
        assert frame.width == SIZE


async def test_f1_a_face_that_never_draws_still_gives_a_stream() -> None:
    class Broken:
        def draw(self, cue: FaceCue) -> Picture:
            raise AttributeError("no such thing")

    async def at_once(seconds: float) -> None:
        await asyncio.sleep(0)

    now = iter(range(10_000))
    with ThreadPoolExecutor(2) as threads:
        stage = SpeechStage(Silence())
        clock = MediaClock(now=lambda: next(now) * 1e-6, sleep=at_once)
        video, audio = FaceTrack(stage, painter(Broken(), threads), clock), VoiceTrack(stage, clock)
        frames = [await video.recv() for _ in range(10)]
        assert [frame.pts for frame in frames] == [n * 3600 for n in range(10)]
        assert all((frame.to_ndarray()[:SIZE] == 16).all() for frame in frames)
        assert (await audio.recv()).samples == 960


async def test_f1_pictures_of_the_embedded_contract_pass_untouched() -> None:
    with ThreadPoolExecutor(2) as threads:
        own = painter(GreyFace().open(SIZE, SIZE), threads)
        for number in range(10):
            await own.paint(FaceCue(number / 25))
        assert (own.guard.failed, own.guard.repaired) == (0, 0)


async def test_f3_a_quick_face_is_drawn_by_the_thread_that_encodes_it() -> None:
    class Watched(Stamped):
        quick = True

        def draw(self, cue: FaceCue) -> Picture:
            drawn_in.append(threading.current_thread())
            return super().draw(cue)

    drawn_in: list[threading.Thread] = []
    now = iter(range(10_000))

    async def at_once(seconds: float) -> None:
        await asyncio.sleep(0)

    with ThreadPoolExecutor(2) as threads:
        track = FaceTrack(
            SpeechStage(Silence()), painter(Watched(), threads), MediaClock(lambda: next(now) * 1e-6, at_once)
        )
        track.let_draw()
        encoder = FaceEncoder()
        for number in range(5):
            frame = await track.recv()
            assert len(drawn_in) == number
            payloads, timestamp = encoder.encode(frame, force_keyframe=number == 0)
            assert payloads
            assert timestamp == number * 3600
        assert drawn_in == [threading.current_thread()] * 5


def test_f3_a_face_that_is_not_quick_is_never_left_to_the_encoder() -> None:
    with ThreadPoolExecutor(1) as threads:
        track = FaceTrack(SpeechStage(Silence()), painter(Stamped(), threads), MediaClock())
        track.let_draw()
        assert not track.encoder_draws


def test_f3_two_encoders_never_draw_one_face_at_once() -> None:
    face = Stuck()
    with ThreadPoolExecutor(2) as threads:
        own = painter(face, threads)
        first, second = own.undrawn(FaceCue(0.04)), own.undrawn(FaceCue(0.08))
        first.time_base = second.time_base = Fraction(1, 25)
        drawing = threads.submit(first.drawn)
        try:
            while not face.drawn:
                time.sleep(0.001)
            assert second.drawn().to_ndarray()[0, 0] == 16  # nothing was drawn before: black
            assert face.drawn == [0.04]
        finally:
            face.go.set()
        assert drawing.result(20).to_ndarray()[0, 0] == 44


async def test_c1_the_first_picture_of_a_connection_does_not_wait_for_the_next_one() -> None:
    """Wherever the stage is when a connection comes: its sound goes on there, and the picture that is due is shown."""
    slept: list[float] = []

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    with ThreadPoolExecutor(2) as threads:
        for played in range(4):
            stage = SpeechStage(Silence())
            for packet in range(played):
                stage.read(packet * 960)
            clock = MediaClock(now=lambda: 100.0, sleep=noted)
            audio, video = VoiceTrack(stage, clock), FaceTrack(stage, painter(Stamped(), threads), clock)
            audio.begin(lambda stage=stage: stage.position)  # type: ignore[misc]
            video.begin(stage.picture_due)
            first = await audio.recv()
            assert first.pts == played * 960
            frame = await video.recv()
            assert frame.pts is not None
            at = frame.pts / 90_000 * 48_000
            assert at <= played * 960 < at + 1920, "the picture of that moment"
            assert frame.to_ndarray()[0, 0] == frame.pts // 3600
    assert slept == []
