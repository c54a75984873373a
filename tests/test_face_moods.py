"""Moods, gestures and transitions, by where the features of the face are."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.face.art import built_in, find_presenter
from avatar.face.gestures import Gestures
from avatar.face.landmarks import Landmarks
from avatar.face.motion import Motion, Pose
from avatar.face.rig import Rig, load_rig
from avatar.face.warp import INDEX
from core.frames import Activity, Expression, FaceCue, Gesture, MouthShape

STEP = 0.04
RIGS = {name: load_rig(find_presenter(name)) for name in built_in()}

HEAD = 21.0
"""Art units (of 1024 in the picture's height) that a point of the head may move from one picture to the next."""
BROW = 7.0
"""The same relative to the head, for brows."""
MOUTH = 7.0
"""For the lips while speech leaves them alone."""
LID, IRIS = 0.95, 20.0
"""For lids, a share of the open eye's height (a blink shuts them in 70 ms), and for the iris (a saccade takes 30 to
60 ms)."""

Points = dict[str, tuple[float, float]]


def settled(motion: Motion, cue: FaceCue, seconds: float = 3.0) -> list[Pose]:
    """The poses of a cue that goes on."""
    return [
        motion.at(
            FaceCue(cue.time + i * STEP, cue.mouth, cue.activity, cue.loudness, cue.expression, cue.gesture,
                    cue.gesture_start)
        )
        for i in range(round(seconds / STEP))
    ]  # fmt: skip


def mean_face(rig: Rig, expression: Expression, activity: Activity = Activity.IDLE) -> Points:
    """Average landmarks of a reached mood, with shut lids left out."""
    landmarks, motion = Landmarks(rig), Motion(3)
    poses = settled(motion, FaceCue(0.0, activity=activity, expression=expression), 8.0)[75:]
    open_ = max(pose.openness for pose in poses)
    faces = [landmarks.at(pose) for pose in poses if pose.openness > 0.8 * open_]
    return {name: tuple(np.mean([face[name] for face in faces], axis=0)) for name in faces[0]}  # type: ignore[misc]


def shape(face: Points) -> dict[str, float]:
    """What a viewer reads a mood from, independent of where the head is; art units."""
    corners = (face["corner_left"][1] + face["corner_right"][1]) / 2
    tilt = face["eye_right"][1] - face["eye_left"][1]
    middle = (face["lip_upper"][1] + face["lip_lower"][1]) / 2

    def over(part: str) -> float:
        return float(np.mean([face[f"eye_{s}"][1] - face[f"brow_{part}_{s}"][1] for s in ("left", "right")]))

    return {
        "smile": middle - corners,
        "gap": face["lip_lower"][1] - face["lip_upper"][1],
        "inner": over("inner"),
        "outer": over("outer"),
        "skew": face["brow_middle_right"][1] - face["brow_middle_left"][1] - tilt,
        "eyes": float(np.mean([face[f"lid_lower_{s}"][1] - face[f"lid_upper_{s}"][1] for s in ("left", "right")])),
        "tilt": tilt,
        "lips": face["lip_bottom"][1] - face["lip_top"][1],
    }  # fmt: skip


@pytest.fixture(scope="module", params=list(RIGS))
def rig(request: pytest.FixtureRequest) -> Rig:
    return RIGS[request.param]


@pytest.fixture(scope="module")
def faces(rig: Rig) -> dict[Expression, dict[str, float]]:
    return {expression: shape(mean_face(rig, expression)) for expression in Expression}


def test_every_two_moods_differ_visibly(faces: dict[Expression, dict[str, float]]) -> None:
    """By at least six art units in one feature: 1.5 pixels of a picture 256 high."""
    for a, b in combinations(Expression, 2):
        difference = max(abs(faces[a][name] - faces[b][name]) for name in faces[a])
        assert difference >= 6, (a, b, difference)


def test_each_mood_has_its_own_signs(faces: dict[Expression, dict[str, float]]) -> None:
    plain = faces[Expression.NEUTRAL]
    happy, sad = faces[Expression.HAPPY], faces[Expression.SAD]
    surprised, sorry, thinking = (faces[e] for e in (Expression.SURPRISED, Expression.APOLOGETIC, Expression.THINKING))
    assert happy["smile"] > plain["smile"] + 8
    assert happy["eyes"] < plain["eyes"] - 4
    assert sad["smile"] < -4, "a real frown: corners below the middle"
    assert sad["inner"] - sad["outer"] > plain["inner"] - plain["outer"] + 8
    assert sad["eyes"] < plain["eyes"] - 4
    assert min(surprised["inner"] - plain["inner"], surprised["outer"] - plain["outer"]) > 8
    assert surprised["eyes"] > plain["eyes"] + 4
    assert surprised["gap"] > 4 > plain["gap"]
    assert sorry["inner"] - sorry["outer"] > plain["inner"] - plain["outer"] + 5
    assert abs(sorry["tilt"] - plain["tilt"]) > 6
    assert abs(thinking["skew"] - plain["skew"]) > 8


@pytest.mark.parametrize("expression", list(Expression))
def test_visemes_win_over_moods(rig: Rig, expression: Expression) -> None:
    """A closure is closed, an open vowel open, in every mood."""
    landmarks, motion = Landmarks(rig), Motion(1)
    settled(motion, FaceCue(0.0, activity=Activity.SPEAKING, expression=expression))
    gaps = {}
    for number, (name, mouth) in enumerate(
        {"closed": MouthShape(jaw_open=0.1, close=1.0), "open": MouthShape(jaw_open=0.6)}.items()
    ):
        cue = FaceCue(3.0 + number * STEP, mouth, Activity.SPEAKING, 0.1, expression)
        gaps[name] = shape(landmarks.at(motion.at(cue)))["gap"]
    assert gaps["closed"] == pytest.approx(0, abs=0.01)
    assert gaps["open"] > 15


@pytest.mark.parametrize("expression", list(Expression))
def test_moods_are_still_seen_while_speaking(rig: Rig, expression: Expression) -> None:
    if expression is Expression.NEUTRAL:
        return
    spoken = shape(mean_face(rig, expression, Activity.SPEAKING))
    plain = shape(mean_face(rig, Expression.NEUTRAL, Activity.SPEAKING))
    assert max(abs(spoken[name] - plain[name]) for name in plain) >= 5


def test_activities_look_different(rig: Rig) -> None:
    """Idle, listening and thinking by pose; each at least three units in the head's place, brows or tilt."""
    faces = {a: mean_face(rig, Expression.NEUTRAL, a) for a in (Activity.IDLE, Activity.LISTENING, Activity.THINKING)}
    for a, b in combinations(faces, 2):
        moved = max(math.dist(faces[a][name], faces[b][name]) for name in faces[a])
        assert moved > 3, (a, b)


# -- gestures


def played(gesture: Gesture, start: float = 0.0, seconds: float = 3.0) -> list[tuple[float, float, float]]:
    gestures = Gestures()
    found = []
    for i in range(round(seconds / 0.01)):
        time = i * 0.01
        gestures.show(gesture if time >= start else None, start, time)
        found.append(gestures.at(time))
    return found


@pytest.mark.parametrize(
    ("gesture", "axis", "stroke"), [(Gesture.NOD, 0, 1), (Gesture.SHAKE, 1, -1), (Gesture.TILT, 2, 1)]
)
def test_a_gesture_anticipates_overshoots_and_dies_away(gesture: Gesture, axis: int, stroke: int) -> None:
    values = np.array(played(gesture))
    own, others = values[:, axis] * stroke, np.delete(values, axis, axis=1)
    assert not others.any()
    top = int(own.argmax())
    assert own[:top].min() < -0.05, "first a little the other way"
    assert own[top:].min() < -0.04, "and past the place of rest on the way back"
    assert 0.9 < own.max() < 1.15
    assert not own[-20:].any(), "it ends by itself"


def test_a_gesture_begins_at_its_start() -> None:
    early, late = played(Gesture.NOD, 0.0, 4.0), played(Gesture.NOD, 1.0, 4.0)
    assert np.allclose(early[:250], late[100:350], atol=1e-9)
    assert not np.array(late[:101]).any()


def test_the_same_gesture_with_a_later_start_is_a_new_one() -> None:
    gestures = Gestures()
    for i in range(300):
        time = i * 0.01
        gestures.show(Gesture.NOD, 0.0 if time < 2 else 2.0, time)
        if time in (1.9, 2.42):
            assert (gestures.at(time)[0] > 0.9) == (time == 2.42)


def test_a_gesture_called_off_or_seen_late_does_not_jump() -> None:
    gestures, last = Gestures(), np.zeros(3)
    for i in range(200):
        time = 0.3 + i * 0.01
        gestures.show(Gesture.NOD if time < 0.45 else None, 0.0, time)
        now = np.array(gestures.at(time))
        assert np.abs(now - last).max() < 0.09
        last = now
    assert np.abs(last).max() < 1e-3


# -- transitions


def relative(face: Points) -> dict[str, tuple[float, float]]:
    """Brows and mouth against the head that carries them."""
    out = {}
    for name, (x, y) in face.items():
        if name.startswith("brow"):
            base = face["eye_" + name.rsplit("_", 1)[1]]
        elif name.startswith(("lip", "corner")):
            base = face["nose"]
        else:
            continue
        out[name] = (x - base[0], y - base[1])
    return out


def bound(rig: Rig, name: str) -> float:
    if name.startswith("lid"):
        return HEAD / 2 + LID * (max(y for _, y in rig.eyes.lower) - min(y for _, y in rig.eyes.upper))
    return IRIS + HEAD if name.startswith("iris") else HEAD


switches = st.tuples(
    st.integers(1, 30),
    st.sampled_from(list(Activity)),
    st.sampled_from(list(Expression)),
    st.sampled_from([None, *Gesture]),
    st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    st.floats(-0.5, 0.1),
)


@pytest.mark.parametrize("name", list(RIGS))
@given(seed=st.integers(0, 99), plan=st.lists(switches, min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_nothing_jumps_whatever_switches_when(
    name: str, seed: int, plan: list[tuple[int, Activity, Expression, Gesture | None, float, float]]
) -> None:
    """At 25 pictures per second no point moves further than its bound, through any switches at any moment."""
    landmarks, motion = Landmarks(RIGS[name]), Motion(seed)
    time, last = 0.0, None
    for pictures, activity, expression, gesture, loudness, offset in plan:
        start = time + offset
        for _ in range(pictures):
            cue = FaceCue(time, MouthShape(), activity, loudness, expression, gesture, start)
            face = landmarks.at(motion.at(cue))
            if last is not None:
                for point in face:
                    assert math.dist(face[point], last[point]) <= bound(RIGS[name], point), (point, time)
                now, before = relative(face), relative(last)
                for point in now:
                    limit = BROW if point.startswith("brow") else MOUTH
                    assert math.dist(now[point], before[point]) <= limit, (point, time)
            last, time = face, time + STEP


def test_switches_every_picture_stay_within_the_face() -> None:
    """The worst a client can do: everything changes with every picture for a minute."""
    motion = Motion(5)
    activities, moods, gestures = list(Activity), list(Expression), [None, *Gesture]
    weights = []
    for i in range(1500):
        cue = FaceCue(
            i * STEP, MouthShape(), activities[i % 7], (0.0, 1.0)[i % 2], moods[i % 6], gestures[i % 4], i * STEP
        )
        weights.append(motion.at(cue).weights)
    limits = {"shift_x": 16, "shift_y": 16, "roll": 0.2, "yaw": 45, "pitch": 40, "sway": 9.1, "lag_x": 7.1}
    for name, limit in limits.items():
        assert max(abs(w[INDEX[name]]) for w in weights) <= limit, name
    assert max(np.abs(b - a).max() for a, b in pairwise(weights)) < HEAD


def test_phrases_end_with_a_nod_and_listening_nods_now_and_then() -> None:
    def strokes(activity: Activity, loudness: list[float]) -> int:
        motion = Motion(2)
        nods = []
        for i, loud in enumerate(loudness):
            motion.at(FaceCue(i * STEP, activity=activity, loudness=loud))
            nods.append(motion._nod)
        return sum(a <= 0.1 < b for a, b in pairwise(nods))

    phrases = ([0.2] * 50 + [0.0] * 25) * 4
    assert strokes(Activity.SPEAKING, phrases) == 4
    assert strokes(Activity.SPEAKING, [0.2] * 300) == 0
    assert 2 <= strokes(Activity.LISTENING, [0.0] * 500) <= 8
    assert strokes(Activity.IDLE, [0.0] * 500) == 0


def test_moving_less_on_request() -> None:
    still, lively = (
        np.std([p.weights for p in settled(Motion(1, amount), FaceCue(0.0), 20.0)], axis=0) for amount in (0.0, 1.0)
    )
    for name in ("shift_x", "roll", "yaw", "pitch"):
        assert still[INDEX[name]] == 0
        assert lively[INDEX[name]] > 0
