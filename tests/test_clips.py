"""Clips: what a client may name, how files are decoded, and how a clip and the presenter take turns on one clock."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatar.choreography import FADE_S, Choreography
from avatar.clip import PICTURES_AHEAD, SOUND_AHEAD, ClipPlayer
from avatar.clip_source import fitted, pictures_of, sound_of
from avatar.speech import Speech
from avatar.stage import SpeechStage
from core.clips import Clip, ClipShelf
from core.errors import BadRequest
from core.frames import AUDIO_FRAME, MEDIA_RATE, PICTURE, FaceCue, Picture, Samples
from tests.clip_files import folder, grey, tone, video
from tests.test_stage import Log

WIDTH, HEIGHT = 64, 48
FACE_LEVEL = 60


def level(picture: Picture) -> int:
    """Mean brightness of an I420 picture's luma, 16..235."""
    return round(float(picture[: picture.shape[0] * 2 // 3].mean()))


def luma(grey: int) -> int:
    return round(16 + grey * 219 / 255)


# -- what a client may name


@pytest.fixture
def shelf(tmp_path: Path) -> ClipShelf:
    folder(tmp_path / "clips" / "wave", [10])
    tone(tmp_path / "clips" / "wave.wav", 0.1)
    tone(tmp_path / "secret.wav", 0.1)
    (tmp_path / "clips" / "link").symlink_to(tmp_path / "secret.wav")
    return ClipShelf((), tmp_path / "clips")


def test_f5_livetalkings_custom_config_is_understood(shelf: ClipShelf, tmp_path: Path) -> None:
    wanted = shelf.wanted('[{"audiotype":2,"imgpath":"wave","audiopath":"wave.wav"},{"audiotype":1,"imgpath":"x"}]')
    assert wanted == (Clip(2, tmp_path / "clips" / "wave", tmp_path / "clips" / "wave.wav"),)
    assert shelf.wanted([{"audiotype": 3, "imgpath": str(tmp_path / "clips" / "wave"), "loop": False}])[0].loop is False
    for nothing in (None, "", "[]", []):
        assert shelf.wanted(nothing) == ()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('[{"audiotype":2,"imgpath":"../secret.wav"}]', "outside"),
        ('[{"audiotype":2,"imgpath":"/etc/passwd"}]', "outside"),
        ('[{"audiotype":2,"imgpath":"link"}]', "outside"),
        ('[{"audiotype":2,"imgpath":"wave","audiopath":"../secret.wav"}]', "audiopath: outside"),
        ('[{"audiotype":2,"imgpath":"a\\u0000b"}]', "custom_config"),
        ('[{"audiotype":2,"imgpath":"nowhere"}]', "no such file"),
        ('[{"audiotype":"x","imgpath":"wave"}]', r"custom_config\[0\].audiotype"),
        ('[{"audiotype":2}]', "imgpath"),
        ('{"audiotype":2}', "array"),
        ("no json", "JSON"),
        (5, "list"),
        ([{"audiotype": 2, "imgpath": "wave"}] * 33, "32"),
    ],
)
def test_what_is_wrong_or_outside_the_folder_is_refused(shelf: ClipShelf, config: object, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as refused:
        shelf.wanted(config)
    assert refused.value.code == "bad_clip"
    assert "secret" not in str(refused.value).replace("../secret.wav", "")


def test_without_a_folder_no_client_names_clips(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="clips_folder"):
        ClipShelf().wanted('[{"audiotype":2,"imgpath":"wave"}]')


# -- files


def shown(path: Path, fit: str = "cover") -> list[int]:
    return [level(picture()) for picture in pictures_of(path, WIDTH, HEIGHT, fit)]  # type: ignore[arg-type]


def test_pictures_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    levels = list(range(0, 240, 20))
    assert shown(folder(tmp_path / "a", levels)) == [luma(grey) for grey in levels]
    assert shown(folder(tmp_path / "b", [200], suffix=".jpg") / "0.jpg") == [luma(200)]


@pytest.mark.parametrize(("fps", "count"), [(25, 20), (50, 10), (5, 100)])
def test_a_video_is_shown_at_its_own_speed(tmp_path: Path, fps: int, count: int) -> None:
    levels = [int(n * 240 / 20) for n in range(20)]
    got = shown(video(tmp_path / "v.mp4", levels, fps=fps))
    assert len(got) == count
    wanted = [luma(levels[min(19, n * fps // 25)]) for n in range(len(got))]
    assert np.abs(np.array(got) - wanted).max() <= 12


@pytest.mark.parametrize(("columns", "rows"), [(64, 48), (640, 48), (48, 641), (1, 1), (33, 77), (4000, 3000)])
@pytest.mark.parametrize("fit", ["cover", "contain"])
def test_every_size_fits(columns: int, rows: int, fit: str) -> None:
    picture = fitted(np.full((rows, columns, 3), 255, np.uint8), WIDTH, HEIGHT, fit)  # type: ignore[arg-type]
    assert picture.shape == (HEIGHT * 3 // 2, WIDTH)
    bright = (picture[:HEIGHT] > 200).mean()
    shape = min(columns / rows, WIDTH / HEIGHT) / max(columns / rows, WIDTH / HEIGHT)
    assert bright == 1 if fit == "cover" else abs(bright - shape) < 0.1


def test_sound_comes_at_the_media_rate(tmp_path: Path) -> None:
    pieces = sound_of(tone(tmp_path / "t.wav", 0.5, rate=8000))
    assert pieces is not None
    samples = np.concatenate(list(pieces))
    assert abs(len(samples) - MEDIA_RATE // 2) < 100
    assert sound_of(video(tmp_path / "mute.mp4", [1, 2])) is None


# -- decoding ahead


@pytest.fixture
def player() -> Iterator[object]:
    players: list[ClipPlayer] = []

    def make(clip: Clip) -> ClipPlayer:
        players.append(ClipPlayer(clip, WIDTH, HEIGHT))
        players[-1].ready.result(20)
        return players[-1]

    yield make
    for made in players:
        made.close()
        made.join()
    assert not any(thread.name == "clip" for thread in threading.enumerate())


def eventually(ask: object, seconds: float = 20) -> object:
    until = time.monotonic() + seconds
    while (found := ask()) is None or found is False:  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.005)
    return found


def test_memory_is_bounded_however_long_the_clip(tmp_path: Path, player: object) -> None:
    clip = Clip(2, folder(tmp_path / "a", [n % 200 for n in range(100)]), tone(tmp_path / "t.wav", 20))
    made = player(clip)  # type: ignore[operator]
    eventually(lambda: len(made._pictures) >= PICTURES_AHEAD and made._waiting >= SOUND_AHEAD)
    time.sleep(0.2)
    assert len(made._pictures) <= PICTURES_AHEAD + 1
    assert made._waiting < SOUND_AHEAD + MEDIA_RATE
    assert level(made.picture(3)) == luma(3)
    eventually(lambda: level(made.picture(90)) == luma(90))


def test_pictures_repeat_until_the_sound_ends(tmp_path: Path, player: object) -> None:
    made = player(Clip(2, folder(tmp_path / "a", [0, 100]), tone(tmp_path / "t.wav", 0.5)))  # type: ignore[operator]
    heard, sample = 0, 0
    while not made.ended(sample):
        samples = eventually(lambda: made.sound(AUDIO_FRAME))
        heard, sample = heard + len(samples), sample + AUDIO_FRAME  # type: ignore[arg-type]
        picture = eventually(
            lambda at=sample: level(made.picture(at // PICTURE)) if made._last > at // PICTURE else None
        )
        assert picture == luma(100 * ((sample // PICTURE) % 2))
    assert abs(heard - MEDIA_RATE // 2) < 10


def test_a_loop_begins_pictures_and_sound_together(tmp_path: Path, player: object) -> None:
    """Two second-long pictures over a sound of 0.2 s: only the first is ever reached."""
    levels = [n * 10 for n in range(20)]
    made = player(Clip(2, folder(tmp_path / "a", levels), tone(tmp_path / "t.wav", 0.2), loop=True))  # type: ignore[operator]
    for index in range(40):
        for _ in range(2):
            assert len(eventually(lambda: made.sound(AUDIO_FRAME))) == AUDIO_FRAME  # type: ignore[arg-type]
        eventually(lambda at=index: made._last > at)
        assert level(made.picture(index)) == luma(10 * (index % 5))
    assert not made.ended(10**9)


def test_a_silent_clip_loops_unless_it_is_told_not_to(tmp_path: Path, player: object) -> None:
    files = folder(tmp_path / "a", [0, 100])
    endless, once = player(Clip(2, files)), player(Clip(2, files, loop=False))  # type: ignore[operator]
    assert not endless.sound(AUDIO_FRAME).any()
    eventually(lambda: endless.picture(31) is not None and endless._last > 31)
    assert level(endless.picture(31)) == luma(100)
    assert not endless.ended(10**9)
    eventually(lambda: once.ended(2 * PICTURE))
    assert not once.ended(2 * PICTURE - 1)


@pytest.mark.parametrize("what", ["text", "empty folder", "broken picture", "sound only", "broken sound", "mute sound"])
def test_a_clip_that_cannot_be_read_says_so(tmp_path: Path, what: str) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    good = folder(tmp_path / "good", [1])
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "0.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    clip = {
        "text": Clip(2, text),
        "empty folder": Clip(2, tmp_path / "empty"),
        "broken picture": Clip(2, bad),
        "sound only": Clip(2, tone(tmp_path / "t.wav", 0.1)),
        "broken sound": Clip(2, good, text),
        "mute sound": Clip(2, good, video(tmp_path / "mute.mp4", [1, 2])),
    }[what]
    with pytest.raises(BadRequest, match="audiotype 2 can't be shown") as refused:
        ClipPlayer(clip, WIDTH, HEIGHT).ready.result(20)
    assert refused.value.code == "bad_clip"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tiff"])
@pytest.mark.parametrize("sound", [False, True])
def test_f5_one_picture_is_shown_until_changed_with_sound_as_long_as_that(
    tmp_path: Path, player: object, suffix: str, sound: bool
) -> None:
    picture = tmp_path / f"pause{suffix}"
    cv2.imwrite(str(picture), grey(100, WIDTH, HEIGHT))
    made = player(Clip(2, picture, tone(tmp_path / "t.wav", 0.2) if sound else None))  # type: ignore[operator]
    made.ready.result(20)
    assert made.sounds == sound
    assert level(made.picture(0)) == luma(100)
    eventually(lambda: made.picture(20) is not None and (sound or made._last > 20))
    assert level(made.picture(20)) == luma(100)
    if sound:
        eventually(lambda: made.sound(AUDIO_FRAME) is not None and made.ended(0))
    else:
        assert not made.ended(10**9)


def test_f1_a_picture_in_the_middle_that_cannot_be_read_is_left_out(
    tmp_path: Path, player: object, caplog: pytest.LogCaptureFixture
) -> None:
    files = folder(tmp_path / "a", list(range(0, 200, 4)))
    for number in (20, 21):
        (files / f"{number}.png").write_bytes(b"no picture")
    made = player(Clip(2, files, loop=False))  # type: ignore[operator]
    seen = []
    for index in range(50):
        eventually(lambda: made._last > index)  # noqa: B023 - called at once
        seen.append(level(made.picture(index)))
    assert seen == pytest.approx([luma(4 * (19 if index in (20, 21) else index)) for index in range(50)], abs=1)
    eventually(lambda: made.ended(50 * PICTURE))
    assert sum("20.png" in record.getMessage() for record in caplog.records) == 1
    assert not any("21.png" in record.getMessage() for record in caplog.records)


def test_f1_a_picture_that_is_gone_later_does_not_keep_the_thread_busy(tmp_path: Path, player: object) -> None:
    files = folder(tmp_path / "a", [7])
    made = player(Clip(2, files / "0.png"))  # type: ignore[operator]
    (files / "0.png").unlink()
    eventually(lambda: made.picture(30) is not None and made._last > 30)
    assert level(made.picture(30)) == luma(7)
    time.sleep(0.2)
    assert made._last <= 30 + PICTURES_AHEAD + 1


def break_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A video of which no more than `count` pictures can be decoded."""

    def breaking(*arguments: object) -> Iterator[object]:
        yield from itertools.islice(pictures_of(*arguments), count)  # type: ignore[arg-type]
        raise BadRequest("the film can't be read")

    monkeypatch.setattr("avatar.clip.pictures_of", breaking)


def test_a_video_that_breaks_in_the_middle_ends(
    tmp_path: Path, player: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_after(20, monkeypatch)
    made = player(Clip(2, video(tmp_path / "film.mp4", list(range(50)))))  # type: ignore[operator]
    for index in range(30):
        made.picture(index)
        time.sleep(0.01)
    eventually(lambda: made.ended(0))


# -- with the presenter, on the stage


class GreyFace:
    def __init__(self, columns: int = WIDTH) -> None:
        self.drawn = 0
        self.columns = columns

    def draw(self, cue: FaceCue) -> Picture:
        self.drawn += 1
        picture = np.full((HEIGHT * 3 // 2, self.columns), 128, np.uint8)
        picture[:HEIGHT] = FACE_LEVEL
        return picture


class Scene:
    """A stage with a choreography; `run` plays it and returns what was seen (per picture) and heard."""

    def __init__(self, *clips: Clip, face: GreyFace | None = None) -> None:
        self.face = face or GreyFace()
        self.choreography = Choreography(WIDTH, HEIGHT, clips)
        self.screen = self.choreography.over(self.face, matte=self.face.columns == 2 * WIDTH)
        self.stage = SpeechStage(Log())
        self.stage.use_backing(self.choreography)
        self.position = 0

    def run(self, pictures: int) -> tuple[list[int], Samples]:
        seen, heard = [], []
        for _ in range(pictures):
            picture = self.screen.draw(self.stage.cue(self.position / MEDIA_RATE))
            seen.append(level(picture))
            for _ in range(PICTURE // AUDIO_FRAME):
                heard.append(self.stage.read(self.position))
                self.position += AUDIO_FRAME
            time.sleep(0.004)  # the decoder is far ahead of real time
        return seen, np.concatenate(heard)

    def speak(self, seconds: float, reply: str = "r1", utterance: int = 0) -> None:
        if utterance == 0:
            self.stage.open(reply)
        samples = np.full(int(seconds * MEDIA_RATE), 3000, np.int16)
        rows = int(seconds * 100)
        visemes = np.zeros((rows, 15), np.float32)
        visemes[:, 0] = 1
        self.stage.put(Speech(reply, utterance, "u", samples, visemes, True, True))


FADE = round(FADE_S * 25)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    still = folder(tmp_path / "bright", [250])
    made = Scene(
        Clip(2, still),
        Clip(3, folder(tmp_path / "ramp", [100 + n for n in range(150)]), tone(tmp_path / "t.wav", 1.0)),
        Clip(4, tmp_path / "missing"),
        Clip(5, folder(tmp_path / "dark", [150])),
    )
    yield made
    made.choreography.close()


async def test_f5_a_clip_fades_in_stays_and_fades_out(scene: Scene) -> None:
    assert scene.run(5)[0] == [FACE_LEVEL] * 5
    assert await scene.choreography.perform(2)
    seen, heard = scene.run(20)
    assert scene.choreography.playing == "audiotype 2"
    assert seen[0] == FACE_LEVEL
    assert seen == sorted(seen)
    assert seen[FADE + 1 :] == [luma(250)] * (19 - FADE)
    assert np.abs(np.diff(seen)).max() < (luma(250) - FACE_LEVEL) / 3, "no jump"
    assert not heard.any()
    drawn = scene.face.drawn
    scene.run(5)
    assert scene.face.drawn == drawn, "the face is not drawn where it can't be seen"
    assert await scene.choreography.perform(0)
    back, _ = scene.run(20)
    assert back == sorted(back, reverse=True)
    assert back[FADE + 2 :] == [FACE_LEVEL] * (18 - FADE)
    assert np.abs(np.diff(back)).max() < (luma(250) - FACE_LEVEL) / 3
    assert scene.choreography.playing == ""
    assert not scene.choreography._layers


async def test_pictures_and_sound_of_a_clip_stay_together_and_end_together(scene: Scene) -> None:
    scene.run(3)
    assert await scene.choreography.perform(3)
    began = scene.position
    seen, heard = scene.run(45)
    loud = np.flatnonzero(heard)
    assert loud[0] < AUDIO_FRAME
    assert abs(loud[-1] - MEDIA_RATE) <= AUDIO_FRAME, "the sound is a second long"
    for number in range(FADE + 2, 25):
        assert abs(seen[number] - luma(100 + number)) <= 2, "picture n at n/25 s of the sound"
    assert seen[-1] == FACE_LEVEL
    assert scene.choreography.playing == ""
    assert began


async def test_speech_takes_the_stage_and_the_clip_goes_on_after(scene: Scene) -> None:
    assert await scene.choreography.perform(3)
    scene.run(15)
    scene.speak(0.8)
    during, heard = scene.run(15)
    assert during[-1] == FACE_LEVEL
    assert set(heard[2 * AUDIO_FRAME :].tolist()) == {3000}, "only the voice, after a short fade"
    scene.run(5)
    scene.speak(0.2, utterance=1)
    between, _ = scene.run(10)
    assert set(between) == {FACE_LEVEL}, "not between two sentences of one reply"
    scene.stage.finish("r1")
    after, heard = scene.run(20)
    shown = [value for value in after[FADE + 2 :] if value != FACE_LEVEL]
    assert abs(shown[0] - luma(100 + 16 + FADE + 2)) <= 4, "where it stopped"
    assert abs(np.count_nonzero(heard) - 9 / 25 * MEDIA_RATE) < 3 * AUDIO_FRAME, "the rest of the sound"


async def test_another_clip_takes_over_without_the_presenter_shining_through(scene: Scene) -> None:
    assert await scene.choreography.perform(2)
    scene.run(12)
    assert await scene.choreography.perform(5)
    seen, _ = scene.run(14)
    assert min(seen) == luma(150)
    assert seen == sorted(seen, reverse=True)
    assert len(scene.choreography._layers) == 1
    for number in (2, 5, 2, 5, 2):  # faster than anything can fade
        assert await scene.choreography.perform(number)
    assert len(scene.choreography._layers) <= 3
    assert scene.run(20)[0][-1] == luma(250)


async def test_f5_an_unknown_audiotype_changes_nothing_and_a_broken_clip_says_so(scene: Scene) -> None:
    assert await scene.choreography.perform(2)
    scene.run(12)
    assert not await scene.choreography.perform(99)
    with pytest.raises(BadRequest, match="can't be shown"):
        await scene.choreography.perform(4)
    assert set(scene.run(5)[0]) == {luma(250)}
    assert await scene.choreography.perform(1)
    assert scene.run(12)[0][-1] == FACE_LEVEL


async def test_the_last_wish_counts_however_long_a_clip_takes_to_open(scene: Scene) -> None:
    await asyncio.gather(*(scene.choreography.perform(number) for number in (2, 5, 3, 0)))
    assert scene.choreography.playing == ""
    await asyncio.gather(*(scene.choreography.perform(number) for number in (0, 2, 3, 5)))
    assert scene.choreography.playing == "audiotype 5"


@pytest.mark.parametrize("sound", [False, True])
async def test_a_clip_that_breaks_gives_way_to_the_presenter(
    tmp_path: Path, sound: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_after(30, monkeypatch)
    film = video(tmp_path / "film.mp4", [200] * 60)
    scene = Scene(Clip(2, film, tone(tmp_path / "t.wav", 9.0) if sound else None))
    assert await scene.choreography.perform(2)
    seen, _ = scene.run(70)
    assert max(seen) == pytest.approx(luma(200), abs=3)
    assert seen[-1] == FACE_LEVEL
    assert scene.choreography.playing == ""


async def test_the_microphone_is_told_how_loud_a_clip_is(scene: Scene) -> None:
    assert await scene.choreography.perform(3)
    scene.run(5)
    heard = scene.stage.played(0.04, 0.0).astype(float) / 32768
    assert -20 < 10 * np.log10(np.mean(heard**2)) < -10
    assert not scene.stage.speaking


async def test_a_transparent_session_gets_its_matte(tmp_path: Path) -> None:
    scene = Scene(Clip(2, folder(tmp_path / "a", [250])), face=GreyFace(2 * WIDTH))
    scene.run(1)
    assert await scene.choreography.perform(2)
    scene.run(12)
    picture = scene.screen.draw(scene.stage.cue(scene.position / MEDIA_RATE))
    assert picture.shape == (HEIGHT * 3 // 2, 2 * WIDTH)
    bgr = cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420)
    assert abs(int(bgr[:, :WIDTH].mean()) - 250) < 4
    assert bgr[:, WIDTH:].min() > 250
    scene.choreography.close()


async def test_what_was_given_away_is_never_given_again(scene: Scene) -> None:
    assert await scene.choreography.perform(2)
    scene.run(12)
    cue = scene.stage.cue(scene.position / MEDIA_RATE)
    first = scene.screen.draw(cue)
    second = scene.screen.draw(replace(cue, time=cue.time + 0.04))
    assert not np.may_share_memory(first, second)


async def test_a_file_that_never_opens_is_given_up(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    choreography = Choreography(WIDTH, HEIGHT, [Clip(8, pipe), Clip(2, folder(tmp_path / "a", [1]))], patience_s=3)
    with pytest.raises(BadRequest, match="too long"):
        await choreography.perform(8)
    os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))  # lets the thread go
    assert await choreography.perform(2)
    choreography.close()


async def test_closing_ends_the_threads(scene: Scene) -> None:
    for number in (2, 3, 5):
        await scene.choreography.perform(number)
    scene.choreography.close()
    async with asyncio.timeout(20):
        while any(thread.name == "clip" for thread in threading.enumerate()):
            await asyncio.sleep(0.01)
    await scene.choreography.perform(2)
    assert scene.choreography.playing == ""
