"""The life of a face, without pictures."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from avatar.face.art import built_in, find_presenter
from avatar.face.gaze import Blinks, Glances
from avatar.face.lips import inside_of, lips_of
from avatar.face.motion import Motion, Pose
from avatar.face.rig import load_rig
from avatar.face.warp import INDEX, basis
from core.frames import Activity, FaceCue, MouthShape

STEP = 0.04
RIG = load_rig(find_presenter("mira"))


def run(seed: int, seconds: float, activity: Activity, loudness: float = 0.0, step: float = STEP) -> list[Pose]:
    motion = Motion(seed)
    return [
        motion.at(FaceCue(7 + i * step, activity=activity, loudness=loudness)) for i in range(round(seconds / step))
    ]


def starts(values: list[bool]) -> list[int]:
    return [i for i, (a, b) in enumerate(zip([False, *values], values, strict=False)) if b and not a]


@pytest.mark.parametrize("seed", range(5))
def test_blink_rate_and_length(seed: int) -> None:
    """Lids more than half shut: every 2 to 6 s (doubles closer), for 80 to 260 ms."""
    step = 0.01
    shut = [p.openness < 0.5 for p in run(seed, 120, Activity.IDLE, step=step)]
    begun = starts(shut)
    gaps = np.diff(begun) * step
    assert 18 <= len(begun) <= 80
    assert gaps.max() <= 6.5
    assert 0.08 <= sum(shut) / len(begun) * step <= 0.26


def test_lids_and_brows_move_with_speech() -> None:
    """Between blinks, and looking straight ahead, lids and brows of one who speaks move more than of one who idles."""

    def spread(activity: Activity, loudness: float) -> tuple[float, float]:
        poses = [p for p in run(2, 60, activity, loudness) if p.openness > 0.7]
        brow = INDEX["brow_inner_left"]
        lids = [p.openness + 0.12 * p.gaze[1] for p in poses]
        low, high = np.percentile(lids, (10, 90))
        return float(high - low), float(np.std([p.weights[brow] for p in poses]))

    (lids, brows), (still_lids, still_brows) = spread(Activity.SPEAKING, 0.2), spread(Activity.IDLE, 0.0)
    assert lids > still_lids + 0.03
    assert brows > still_brows + 0.5


def test_a_blink_shuts_the_lids_entirely() -> None:
    assert min(p.openness for p in run(1, 30, Activity.IDLE, step=0.01)) == pytest.approx(0, abs=1e-6)


def test_a_pause_in_speech_brings_a_longer_blink() -> None:
    blinks = Blinks(random.Random(3))
    shut = []
    for i in range(500):
        time = i * 0.01
        shut.append(blinks.at(time, Activity.SPEAKING, 0.2 if time < 3.5 else 0.0) > 0.5)
    after = [i for i in starts(shut) if 3.5 < i * 0.01 < 4.0]
    assert after
    assert sum(shut[after[0] : after[0] + 40]) * 0.01 >= 0.13


def test_looks_mostly_at_the_viewer() -> None:
    for activity in (Activity.IDLE, Activity.LISTENING, Activity.SPEAKING):
        gaze = [p.gaze for p in run(2, 60, activity)]
        assert np.mean([abs(x) < 0.3 and abs(y) < 0.3 for x, y in gaze]) > 0.75


def test_listening_never_looks_away() -> None:
    assert all(abs(x) < 0.3 and abs(y) < 0.3 for x, y in (p.gaze for p in run(2, 60, Activity.LISTENING)))


def test_thinking_looks_up_and_aside() -> None:
    gaze = [p.gaze for p in run(2, 6, Activity.THINKING)][25:]
    assert np.mean([y < -0.4 and abs(x) > 0.3 for x, y in gaze]) > 0.8


def test_eyes_fixate_and_jump() -> None:
    """Most of the time the eyes rest; between rests they move fast."""
    glances = Glances(random.Random(1))
    xs = [glances.at(i * STEP, STEP, Activity.IDLE)[0] for i in range(1500)]
    steps = np.abs(np.diff(xs))
    assert np.mean(steps < 0.005) > 0.6
    assert steps.max() > 0.2


def test_listening_is_attentive() -> None:
    idle, listening = (
        np.mean([p.weights for p in run(1, 20, a)[50:]], axis=0) for a in (Activity.IDLE, Activity.LISTENING)
    )
    assert listening[INDEX["brow_inner_left"]] > idle[INDEX["brow_inner_left"]] + 1
    assert abs(listening[INDEX["roll"]] - idle[INDEX["roll"]]) > 0.01


def test_speech_moves_head_and_brows() -> None:
    motion = Motion(1)
    poses = []
    for i in range(500):
        beat = 0.3 if i % 25 < 8 else 0.02
        poses.append(motion.at(FaceCue(i * STEP, activity=Activity.SPEAKING, loudness=beat)).weights)
    silent = [p.weights for p in run(1, 20, Activity.SPEAKING)]
    moved, drifted = (np.std(np.diff(w, axis=0), axis=0) for w in (poses, silent))
    assert moved[INDEX["pitch"]] > 2 * drifted[INDEX["pitch"]]
    assert moved[INDEX["brow_inner_left"]] > drifted[INDEX["brow_inner_left"]] + 0.1


def test_same_seed_same_life() -> None:
    a, b, c = (run(s, 5, Activity.SPEAKING, 0.1) for s in (1, 1, 2))
    assert all(np.array_equal(x.weights, y.weights) and x.gaze == y.gaze for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[-1].weights, c[-1].weights)


def test_motion_depends_on_time_since_the_first_cue() -> None:
    early, late = Motion(1), Motion(1)
    for i in range(50):
        a, b = early.at(FaceCue(i * 0.25)), late.at(FaceCue(4096 + i * 0.25))
    assert np.allclose(a.weights, b.weights, atol=1e-4)


@pytest.mark.parametrize("how", [{"close": 1.0}, {"press": 1.0}])
def test_lips_touch(how: dict[str, float]) -> None:
    for other in ("jaw_open", "funnel", "pucker", "stretch", "roll_lower", "teeth"):
        assert lips_of(MouthShape(**{**how, other: 1.0}), RIG.mouth, 42, 0.5).gap == 0


def test_lip_measures_follow_the_parameters() -> None:
    def lips(**shape: float) -> tuple[float, float, float]:
        found = lips_of(MouthShape(**shape), RIG.mouth, 42, 0.5)
        return found.gap, found.width, found.lower

    assert lips()[0] == 0
    gaps = [lips(jaw_open=j / 10)[0] for j in range(11)]
    assert gaps == sorted(gaps)
    assert lips(pucker=1.0)[1] < 0.7 * lips()[1] < lips()[1] < lips(stretch=1.0)[1]
    assert lips(press=1.0)[2] < 0.8 * lips()[2]
    assert 0.5 * lips()[2] < lips(roll_lower=1.0)[2] < 0.8 * lips()[2]


def test_lower_teeth_and_tongue_go_down_with_the_jaw() -> None:
    shut, wide = inside_of(MouthShape(), 42), inside_of(MouthShape(jaw_open=1.0), 42)
    assert wide.lower_teeth > shut.lower_teeth + 10
    assert wide.tongue > shut.tongue + 5
    assert wide.upper_teeth == shut.upper_teeth
    assert inside_of(MouthShape(jaw_open=0.3, tongue_up=1.0), 42).tongue < inside_of(MouthShape(), 42).tongue


@pytest.mark.parametrize("seed", range(4))
def test_eyes_are_open_nearly_all_the_time_while_speaking(seed: int) -> None:
    motion = Motion(seed)
    shut = []
    for number in range(25 * 60):
        time = number / 25
        loudness = 0.1 * max(0.0, math.sin(time * 18)) if time % 3 < 2.3 else 0.0  # syllables, and pauses
        shut.append(motion.at(FaceCue(time, activity=Activity.SPEAKING, loudness=loudness)).openness < 0.5)
    assert 0.02 < sum(shut) / len(shut) < 0.12


def test_f1_wide_vowels_lift_brows_and_lids_a_little() -> None:
    def spoken(jaw: float) -> tuple[float, float]:
        motion = Motion(3)
        cues = (FaceCue(i * STEP, MouthShape(jaw_open=jaw), Activity.SPEAKING, 0.1) for i in range(20))
        pose = [motion.at(cue) for cue in cues][-1]
        return float(pose.weights[INDEX["brow_inner_left"]]), pose.openness

    brow, lids = (wide - shut for wide, shut in zip(spoken(0.7), spoken(0.0), strict=True))
    assert 1 < brow < 5
    assert 0.01 < lids < 0.1


def test_eyes_stay_on_the_viewer_while_the_head_turns() -> None:
    """Compared with a head that keeps still, the gaze goes against the turn."""
    moving, still = Motion(2), Motion(2, amount=0.0)
    cues = [FaceCue(i * STEP, activity=Activity.IDLE) for i in range(1500)]
    poses = [(moving.at(cue), still.at(cue)) for cue in cues]
    yaw = np.array([a.weights[INDEX["yaw"]] for a, _ in poses])
    gaze = np.array([a.gaze[0] - b.gaze[0] for a, b in poses])
    assert np.corrcoef(yaw, gaze)[0, 1] < -0.5


@pytest.mark.parametrize("presenter", built_in())
def test_f1_the_jaw_keeps_its_width(presenter: str) -> None:
    """Lips that come forward don't draw the outline of the jaw in, and a jaw that drops doesn't either."""
    rig = load_rig(find_presenter(presenter))
    (x, _), jaw, y = rig.head.centre, rig.jaw, rig.mouth.centre[1]
    sides = np.array([x - 0.75 * jaw.width, x + 0.75 * jaw.width], np.float32)
    assert np.abs(basis(rig, sides, np.full(2, y, np.float32))[INDEX["gather"]]).max() < 0.02
    sides = np.array([x - 0.62 * jaw.width, x + 0.62 * jaw.width], np.float32)
    out = basis(rig, sides, np.full(2, jaw.chin - 50, np.float32))[INDEX["jaw"]]
    assert out[0, 0] < -0.1 < 0.1 < out[1, 0]
