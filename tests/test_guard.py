"""The frame guard: every picture and every sound that FFmpeg gets is as it wants it, whatever was handed in."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.guard import LARGEST, FrameGuard, audio_frame, owned_samples
from core.errors import FaceError
from core.frames import FaceCue, Picture

Source = Callable[[], Any]
YELLOW = (20, 200, 230)
"""B, G, R."""


class Gives:
    """A face whose next picture is what `source` returns."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def draw(self, cue: FaceCue) -> Picture:
        picture: Picture = self.source()
        return picture


def shown(guard: FrameGuard, source: Source) -> np.ndarray:
    """What FFmpeg gets, as BGR of the frame's size."""
    frame = guard.draw(Gives(source), FaceCue(0.0))
    assert frame.format.name == "yuv420p"
    assert frame.width % 2 == 0
    assert frame.height % 2 == 0
    i420 = frame.to_ndarray()
    assert i420.shape == (frame.height * 3 // 2, frame.width)
    return cv2.cvtColor(i420, cv2.COLOR_YUV2BGR_I420)


def plain(height: int, width: int, colour: tuple[int, ...] = YELLOW) -> np.ndarray:
    return np.full((height, width, len(colour)), colour, np.uint8)


def i420(height: int, width: int, luma: int = 90) -> np.ndarray:
    picture = np.full((height * 3 // 2, width), 128, np.uint8)
    picture[:height] = luma
    return picture


def near(picture: np.ndarray, colour: tuple[int, ...] = YELLOW, tolerance: int = 4) -> bool:
    return bool(np.abs(picture.astype(int) - np.array(colour)).max() <= tolerance)


def test_f1_a_right_picture_is_not_copied() -> None:
    guard, picture = FrameGuard(64, 48), i420(48, 64)
    frame = guard.draw(Gives(lambda: picture), FaceCue(0.0))
    picture[:48] = 200
    assert frame.to_ndarray()[:48].min() == 200
    assert guard.repaired == guard.failed == 0


@pytest.mark.parametrize("height", [130, 134, 132, 128])
def test_f1_planes_lie_where_ffmpeg_looks_for_them_at_every_even_height(height: int) -> None:
    picture = np.random.default_rng(1).integers(16, 235, (height * 3 // 2, 150), np.uint8)
    frame = FrameGuard(150, height).draw(Gives(lambda: picture), FaceCue(0.0))
    assert (frame.width, frame.height) == (150, height)
    assert np.array_equal(frame.to_ndarray(), picture)


@pytest.mark.parametrize(
    ("make", "colour"),
    [
        (lambda: plain(60, 80), YELLOW),
        (lambda: plain(60, 80, (*YELLOW, 7)), YELLOW),
        (lambda: plain(60, 80).astype(np.float32) / 255, YELLOW),
        (lambda: plain(60, 80).astype(np.float64), YELLOW),
        (lambda: plain(60, 80).astype(np.float16) / 255, YELLOW),
        (lambda: plain(60, 80).astype(np.int64), YELLOW),
        (lambda: plain(60, 80).astype(np.uint16) * 257, YELLOW),
        (lambda: np.asfortranarray(plain(60, 80)), YELLOW),
        (lambda: plain(60, 160)[:, ::2], YELLOW),
        (lambda: plain(60, 80, YELLOW[::-1])[::-1, ::-1, ::-1], YELLOW),
        (lambda: plain(3, 60, (77,) * 80).transpose(1, 2, 0), (77, 77, 77)),
        (lambda: np.full((60, 80), 77, np.uint8), (77, 77, 77)),
        (lambda: np.full((60, 80, 1), 77, np.uint8), (77, 77, 77)),
        (lambda: np.ones((60, 80), np.bool_), (255, 255, 255)),
        (lambda: i420(60, 80, 126).astype(np.float32), (128, 128, 128)),
        (lambda: i420(60, 160, 126)[:, ::2], (128, 128, 128)),
    ],
)
def test_f1_layouts_and_dtypes_become_the_same_picture(make: Source, colour: tuple[int, ...]) -> None:
    guard = FrameGuard(80, 60)
    picture = shown(guard, make)
    assert picture.shape == (60, 80, 3)
    assert near(picture, colour)
    assert (guard.repaired, guard.failed) == (1, 0)


def test_f1_floats_keep_their_scale_through_black() -> None:
    guard = FrameGuard(80, 60)
    assert near(shown(guard, lambda: plain(60, 80).astype(np.float32)))
    assert near(shown(guard, lambda: np.full((60, 80, 3), 0.9, np.float32)), (0, 0, 0))
    unit = FrameGuard(80, 60)
    assert near(shown(unit, lambda: np.full((60, 80, 3), 1.02, np.float32)), (255, 255, 255))
    assert near(shown(unit, lambda: np.array([np.nan, -5, np.inf], np.float32).repeat(1600).reshape(60, 80)), (0, 0, 0))


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: np.broadcast_to(np.array(YELLOW, np.uint8), (4320, 7680, 3)), (1920, 1080)),
        (lambda: np.full((4320, 7680), 90, np.uint8), (1920, 1080)),
        (lambda: i420(4320, 7680), (1920, 1080)),
        (lambda: i420(2160, 2160), (1920, 1920)),
        (lambda: plain(2000, 300), (288, 1920)),
        (lambda: plain(301, 1921), (1920, 300)),
        (lambda: plain(1080, 1920), (1920, 1080)),
    ],
)
def test_f1_large_sources_are_scaled_down(make: Source, size: tuple[int, int]) -> None:
    guard = FrameGuard(size[0] // 8, size[1] // 8)
    picture = shown(guard, make)
    assert picture.shape[1::-1] == size
    assert guard.failed == 0
    assert picture.std(axis=(0, 1)).max() < 2


def test_f1_scaling_averages_areas() -> None:
    # every other column is white: what only picks pixels would show black or white, what averages shows grey
    stripes = np.zeros((1920, 3840, 3), np.uint8)
    stripes[:, ::2] = 255
    assert near(shown(FrameGuard(512, 256), lambda: stripes), (128, 128, 128), 3)


@pytest.mark.parametrize(("height", "width"), [(61, 81), (17, 80), (60, 33), (333, 777)])
def test_f1_odd_sizes_lose_a_row_or_column(height: int, width: int) -> None:
    guard = FrameGuard(80, 60)
    picture = shown(guard, lambda: plain(height, width))
    assert picture.shape == (height // 2 * 2, width // 2 * 2, 3)
    assert near(picture)


@pytest.mark.parametrize(
    "bad",
    [
        None, "picture", 7, np.zeros(0), np.zeros((0, 0, 3), np.uint8), np.zeros((60, 80, 2), np.uint8),
        np.zeros((1, 60, 80, 3), np.uint8), np.zeros((60, 80, 3), np.complex64), np.zeros(4800, np.uint8),
        np.zeros((2, 2, 3), np.uint8), np.array([["a"]]), np.zeros((60, 80), object), [[1, 2], [3, 4]],
    ],
)  # fmt: skip
def test_f1_a_bad_picture_repeats_the_last_good_one(bad: Any) -> None:
    guard = FrameGuard(80, 60)
    black = shown(guard, lambda: bad)
    assert near(black, (0, 0, 0))
    assert black.shape == (60, 80, 3)
    assert near(shown(guard, lambda: plain(60, 80)))
    assert near(shown(guard, lambda: bad))
    assert guard.failed == 2


@pytest.mark.parametrize(
    "error", [FaceError("no"), MemoryError(), ZeroDivisionError(), KeyError("x"), RuntimeError("CUDA"), StopIteration()]
)
def test_f1_whatever_a_face_raises_the_last_good_picture_stays(error: Exception) -> None:
    def broken() -> Any:
        raise error

    guard = FrameGuard(80, 60)
    assert near(shown(guard, lambda: plain(60, 80)))
    for _ in range(5):
        assert near(shown(guard, broken))
    assert guard.failed == 5


def test_f1_a_broken_face_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    guard = FrameGuard(80, 60)
    for _ in range(1000):
        guard.draw(Gives(lambda: None), FaceCue(0.0))
    assert 5 < len(caplog.records) < 15


class ShortOfMemory:
    """`cv2.resize` on a machine that has no room for results of more than `pixels`."""

    def __init__(self, pixels: int, error: Exception) -> None:
        self.pixels, self.error, self.calls = pixels, error, 0

    def __call__(self, source: np.ndarray, size: tuple[int, int], **options: Any) -> np.ndarray:
        self.calls += 1
        if source.shape[0] * source.shape[1] > self.pixels:
            raise self.error
        return cv2.resize(source, size, **options)


def no_memory() -> cv2.error:
    error = cv2.error("Insufficient memory")
    error.code = cv2.Error.StsNoMem
    return error


@pytest.mark.parametrize("error", [MemoryError(), no_memory()])
@pytest.mark.parametrize("make", [lambda: plain(2400, 4000), lambda: i420(2400, 4000), lambda: plain(2400, 4000) / 255])
def test_f1_without_memory_it_is_tried_at_half_size(make: Source, error: Exception) -> None:
    resize = ShortOfMemory(2000 * 1200, error)
    guard = FrameGuard(500, 300, resize=resize)
    picture = shown(guard, make)
    assert resize.calls >= 2
    assert picture.shape[1::-1] == (1920, 1152)
    assert (guard.halved, guard.failed) == (1, 0)


@pytest.mark.parametrize("error", [MemoryError(), no_memory()])
def test_f1_without_memory_for_half_of_it_the_picture_is_skipped(error: Exception) -> None:
    guard = FrameGuard(80, 60, resize=ShortOfMemory(100, error))
    assert near(shown(guard, lambda: plain(60, 80)))
    assert near(shown(guard, lambda: plain(2400, 4000, (0, 0, 0))))
    assert (guard.halved, guard.failed) == (0, 1)


def test_f1_other_errors_of_opencv_are_not_tried_again() -> None:
    resize = ShortOfMemory(0, cv2.error("odd"))
    guard = FrameGuard(80, 60, resize=resize)
    guard.draw(Gives(lambda: plain(2400, 4000)), FaceCue(0.0))
    assert (resize.calls, guard.failed) == (1, 1)


def test_f2_a_face_that_reuses_its_memory_does_not_change_pictures_that_were_sent() -> None:
    canvas = i420(60, 80, 30)
    guard = FrameGuard(80, 60)
    face = Gives(lambda: canvas)
    guard.draw(face, FaceCue(0.0))
    sent = guard.draw(face, FaceCue(0.04))
    canvas[:60] = 222
    assert sent.to_ndarray()[:60].max() == 30
    view = FrameGuard(80, 60)
    sent = view.draw(Gives(lambda: canvas[:]), FaceCue(0.0))
    canvas[:60] = 99
    assert sent.to_ndarray()[:60].max() == 222


def test_f1_many_threads_get_whole_pictures() -> None:
    """Sessions draw at once in a pool, while the event loop shows the last picture of a guard again."""
    levels = list(range(40, 40 + 8 * 20, 20))
    shared = np.full((60 * 8, 60, 3), 0, np.uint8)
    for number, level in enumerate(levels):
        shared[number * 60 : number * 60 + 60] = level
    guards = [FrameGuard(60, 60) for _ in levels]
    ready = threading.Barrier(2 * len(levels))

    def draw(number: int) -> set[int]:
        ready.wait()
        view = shared[number * 60 : number * 60 + 60][::-1, ::-1]
        luma = round(16 + levels[number] / 255 * 219)
        sources: list[Source] = [
            lambda: view,
            lambda: view.astype(np.float32) / 255,
            lambda: i420(60, 60, luma),
            lambda: 1 / 0,
        ]
        return {round(float(shown(guards[number], sources[n % 4]).mean())) for n in range(200)}

    def repeat(number: int) -> set[int]:
        ready.wait()
        frames = [(guards[number].stalled(FaceCue(0.0)), guards[number].again())[n % 2] for n in range(200)]
        return {round(float(cv2.cvtColor(f.to_ndarray(), cv2.COLOR_YUV2BGR_I420).mean())) for f in frames}

    with ThreadPoolExecutor(2 * len(levels)) as pool:
        drawn = [pool.submit(draw, number) for number in range(len(levels))]
        repeated = [pool.submit(repeat, number) for number in range(len(levels))]
        for level, one, other in zip(levels, drawn, repeated, strict=True):
            assert all(abs(mean - level) <= 2 for mean in one.result(60))
            assert all(abs(mean - level) <= 2 for mean in other.result(60) - {0}), "black, or this session's picture"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_f1_any_array_gives_a_frame(data: st.DataObject) -> None:
    guard = FrameGuard(64, 48, largest=96)
    for _ in range(data.draw(st.integers(1, 3))):
        shape = tuple(data.draw(st.lists(st.integers(0, 130), min_size=0, max_size=4)))
        if data.draw(st.booleans()):
            shape = (*shape[:2], data.draw(st.sampled_from([1, 2, 3, 4])))
        dtype = data.draw(
            st.sampled_from(["u1", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "?", "c8", "S2", "O", ">f4"])
        )
        count = int(np.prod(shape, dtype=np.int64))
        if count > 2_000_000:
            continue
        fill = data.draw(st.sampled_from([0, 1, 0.5, -3, 255, 1e9, float("nan"), float("inf")]))
        with np.errstate(all="ignore"):
            array = np.full(count, fill).astype(dtype).reshape(shape)
        steps = data.draw(st.sampled_from([1, 2, -1, -3]))
        if array.ndim:
            array = array[::steps]
        if data.draw(st.booleans()):
            array = array.T
        with np.errstate(all="ignore"):
            frame = guard.draw(Gives(lambda array=array: array), FaceCue(0.0))
        assert min(frame.width, frame.height) >= 16 or min(frame.width, frame.height) >= 2
        assert max(frame.width, frame.height) <= 96
        assert frame.width % 2 == frame.height % 2 == 0
        assert frame.to_ndarray().dtype == np.uint8


def test_f2_sound_is_copied_into_the_frame() -> None:
    samples = np.arange(960, dtype=np.int16)
    frame = audio_frame(samples, 1920)
    samples[:] = 0
    assert np.array_equal(frame.to_ndarray()[0], np.arange(960))
    assert (frame.format.name, frame.layout.name, frame.rate, frame.pts, frame.samples) == (
        "s16",
        "mono",
        48000,
        1920,
        960,
    )
    every_other = np.arange(1920, dtype=np.int16)[::2]
    assert np.array_equal(audio_frame(every_other, 0, 16_000).to_ndarray()[0], every_other)


@pytest.mark.parametrize("bad", [np.zeros(960, np.float32), np.zeros((960, 2), np.int16), np.zeros(960, np.int32)])
def test_f2_other_sound_never_reaches_ffmpeg(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="int16"):
        audio_frame(bad, 0)


def test_f2_no_buffer_of_a_voice_stays_exported() -> None:
    received = bytearray(np.arange(480, dtype=np.int16).tobytes())
    samples = owned_samples(np.frombuffer(received, np.int16))
    frame = audio_frame(samples, 0)
    gc.collect()
    received.extend(b"more")  # BufferError while anything still looks into it
    assert np.array_equal(frame.to_ndarray()[0], np.arange(480))
    assert samples.flags.owndata
    assert samples.flags.writeable


WAVE = np.array([0.0, 0.5, -0.5, 1.0, -1.0])
WAVE_16 = (WAVE * 32767).astype(np.int16)


@pytest.mark.parametrize(
    "sound",
    [
        WAVE_16, WAVE, WAVE.astype(np.float32), WAVE_16.astype(np.int32) << 16, WAVE_16[None, :], WAVE_16[:, None],
        np.stack([WAVE_16, WAVE_16]), np.stack([WAVE, WAVE], axis=1), WAVE_16.astype(">i2"), WAVE_16.repeat(3)[::3],
        WAVE_16.tolist() and np.array(WAVE_16.tolist(), np.int16), (WAVE * 127 + 128).round().astype(np.uint8),
    ],
)  # fmt: skip
def test_f2_sound_of_any_usual_kind_is_taken(sound: np.ndarray) -> None:
    samples = owned_samples(sound)
    assert samples.dtype == np.int16
    assert samples.dtype.isnative
    assert samples.flags.c_contiguous
    assert not np.may_share_memory(samples, sound)
    assert np.abs(samples.astype(int) - WAVE_16).max() < 300


@pytest.mark.parametrize(
    "bad",
    [
        np.array([300.0, -4000.0]), np.zeros((2, 3, 4), np.int16), np.zeros((100, 100), np.int16), "sound", None,
        np.zeros(4, np.complex64), np.zeros(4, np.int64), 5,
    ],
)  # fmt: skip
def test_f2_other_sound_is_refused_in_words(bad: Any) -> None:
    with pytest.raises(ValueError, match="sound"):
        owned_samples(bad)


def test_f1_limits() -> None:
    assert LARGEST == 1920
