import numpy as np
import pytest

from avatar.lipsync.mouth import SHAPES, mouth_between, mouth_of, opening
from core.frames import VISEMES, MouthShape, VisemeFrames


def pure(*names: str) -> VisemeFrames:
    return np.array([[float(v == name) for v in VISEMES] for name in names], np.float32)


def shape(name: str) -> MouthShape:
    return mouth_of(pure(name)[0])


@pytest.mark.parametrize("viseme", VISEMES)
def test_every_shape_stays_in_range(viseme: str) -> None:
    assert all(0 <= getattr(shape(viseme), field) <= 1 for field in SHAPES)


def test_silence_is_the_relaxed_mouth() -> None:
    assert shape("sil") == MouthShape()
    assert mouth_between(np.zeros((0, 15), np.float32)) == MouthShape()


def test_each_viseme_has_its_mark() -> None:
    assert shape("PP").close == 1
    assert shape("FF").roll_lower > 0.8
    assert shape("FF").teeth > 0.4
    assert shape("TH").tongue_up > 0.8
    assert shape("SS").teeth > 0.8
    assert shape("CH").funnel > 0.5
    assert shape("ou").pucker > 0.8
    assert shape("oh").funnel > 0.4
    assert shape("ih").stretch > 0.4


def test_openness_follows_the_vowels() -> None:
    wide = [opening(shape(name)) for name in ("aa", "oh", "ih", "ou", "PP")]
    assert wide == sorted(wide, reverse=True)
    assert wide[0] == 1
    assert wide[-1] == 0
    assert opening(shape("sil")) == 0
    assert shape("aa").jaw_open < 0.7, "conversation, not shouting"


def test_lips_that_touch_hide_the_open_jaw() -> None:
    assert opening(MouthShape(jaw_open=0.6, close=1.0)) == 0
    assert 0 < opening(MouthShape(jaw_open=0.6, close=0.5)) < opening(MouthShape(jaw_open=0.6))


def test_one_closed_frame_closes_the_picture() -> None:
    frames = pure("aa", "aa", "PP", "aa")
    assert mouth_between(frames).close == 1
    assert opening(mouth_between(frames)) == 0


def test_a_closure_that_is_sure_enough_closes_the_lips_completely() -> None:
    def mouth(sure: float) -> MouthShape:
        return mouth_of(sure * pure("PP")[0] + (1 - sure) * pure("aa")[0])

    assert [opening(mouth(sure)) for sure in (0.61, 0.8)] == [0, 0]
    wide = [opening(mouth(sure)) for sure in (0.0, 0.1, 0.3, 0.5, 0.6)]
    assert wide == sorted(wide, reverse=True)
    assert mouth(0.3).close == pytest.approx(0.5, abs=0.01), "more than its share"


def test_everything_else_is_averaged() -> None:
    mixed = mouth_between(pure("aa", "ih"))
    assert mixed.jaw_open == pytest.approx((shape("aa").jaw_open + shape("ih").jaw_open) / 2)
    assert mouth_between(pure("aa")) == shape("aa")


def test_argument_is_left_alone() -> None:
    frames = pure("aa", "PP")
    before = frames.copy()
    mouth_between(frames)
    assert np.array_equal(frames, before)
