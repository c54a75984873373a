"""Contact sheet of a presenter, to judge it by eye: `python -m avatar sheet mira -o out.png`."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.vector import LARGEST, SMALLEST, VectorFace, VectorStream
from avatar.face.warp import INDEX, MOTIONS
from avatar.lipsync.mouth import mouth_of
from core.errors import FaceError
from core.frames import VISEMES, Activity, Expression, FaceCue, Gesture, MouthShape, Picture

Bgr = NDArray[np.uint8]

_FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

MOUTHS: dict[str, MouthShape] = {
    **{viseme: mouth_of(np.eye(len(VISEMES), dtype=np.float32)[i]) for i, viseme in enumerate(VISEMES)},
    "wide": MouthShape(jaw_open=1.0),
}
"""The mouth of each viseme, and the widest."""


def to_bgr(picture: Picture) -> Bgr:
    """I420 → B G R, for files and eyes."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420), np.uint8)


def settle(
    stream: VectorStream,
    activity: Activity,
    start: float,
    seconds: float = 2.5,
    expression: Expression = Expression.NEUTRAL,
) -> float:
    """Let a stream play until an activity's look is reached. Returns the time then."""
    count = round(seconds * 25)
    for i in range(count):
        stream.pose(FaceCue(start + i * 0.04, activity=activity, expression=expression))
    return start + count * 0.04


def babble(count: int) -> Iterator[FaceCue]:
    """Cues of pretended speech at 25 per second: a run through `MOUTHS` with pauses."""
    names = ["aa", "nn", "DD", "E", "PP", "oh", "ou", "SS", "ih", "FF", "aa", "PP"]
    for i in range(count):
        at = i / 3
        a, b = MOUTHS[names[int(at) % len(names)]], MOUTHS[names[(int(at) + 1) % len(names)]]
        t = at - int(at)
        mouth = MouthShape(*(getattr(a, f) * (1 - t) + getattr(b, f) * t for f in MouthShape.__slots__))
        yield FaceCue(10 + i * 0.04, mouth, Activity.SPEAKING, 0.12 * (1 + math.sin(i * 0.7)))


def label(image: Bgr, text: str) -> Bgr:
    """Write a caption into a picture."""
    cv2.putText(image, text, (7, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 3, cv2.LINE_AA)
    cv2.putText(image, text, (7, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (250, 250, 250), 1, cv2.LINE_AA)
    return image


def table(tiles: list[Bgr], columns: int) -> Bgr:
    """Tiles of one size in rows."""
    blank = np.zeros_like(tiles[0])
    tiles = tiles + [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.asarray(np.vstack(rows), np.uint8)


def mouths(face: VectorFace, size: int) -> list[Bgr]:
    """Each mouth of `MOUTHS` on an otherwise equal face, close up."""
    tiles = []
    side = min(3 * size, 1080) // 2 * 2
    for name, mouth in MOUTHS.items():
        stream = face.open(side, side, seed=3)
        (x, y), half = stream.mouth_at, side * 14 // 100
        top, left = max(0, round(y) - half * 9 // 10), max(0, round(x) - half)
        near = to_bgr(stream.draw(FaceCue(0.0, mouth, Activity.SPEAKING)))[top : top + 2 * half, left : left + 2 * half]
        tiles.append(label(np.asarray(cv2.resize(near, (size, size)), np.uint8), name))
    return tiles


def activities(face: VectorFace, size: int) -> list[Bgr]:
    """Each activity once its look is reached."""
    tiles = []
    for activity in Activity:
        stream = face.open(size, size, seed=3)
        end = settle(stream, activity, 0.0)
        cue = FaceCue(end, activity=activity, loudness=0.2 if activity is Activity.SPEAKING else 0.0)
        tiles.append(label(to_bgr(stream.draw(cue)), activity.value))
    return tiles


def transitions(face: VectorFace, size: int) -> list[Bgr]:
    """Eight moments of one second after a change of activity or mood."""
    changes = [
        (FaceCue(0.0, activity=Activity.IDLE), FaceCue(0.0, activity=Activity.LISTENING)),
        (FaceCue(0.0, activity=Activity.LISTENING), FaceCue(0.0, activity=Activity.THINKING)),
        (FaceCue(0.0, activity=Activity.THINKING), FaceCue(0.0, activity=Activity.SPEAKING, loudness=0.1)),
        (FaceCue(0.0), FaceCue(0.0, expression=Expression.HAPPY)),
        (FaceCue(0.0, expression=Expression.HAPPY), FaceCue(0.0, expression=Expression.SAD)),
        (FaceCue(0.0, expression=Expression.SAD), FaceCue(0.0, expression=Expression.SURPRISED)),
    ]
    tiles = []
    for before, after in changes:
        stream = face.open(size, size, seed=3)
        start = settle(stream, before.activity, 0.0, expression=before.expression)
        for i in range(25):
            picture = stream.draw(replace(after, time=start + i * 0.04))
            if i % 3 == 1:
                what = after.expression if after.expression is not before.expression else after.activity
                tiles.append(label(to_bgr(picture), f"to {what.value} {i * 0.04:.2f} s"))
    return tiles


def turns(face: VectorFace, size: int) -> list[Bgr]:
    """The head turned to each side, up, down and tilted, further than it goes by itself."""
    stream = face.open(size, size, seed=3)
    still = replace(stream.pose(FaceCue(0.0)), mouth=MouthShape(), weights=np.zeros(len(MOTIONS), np.float32))
    tiles = []
    for name, value in (
        ("yaw", -26), ("yaw", -13), ("yaw", 13), ("yaw", 26),
        ("pitch", -18), ("pitch", 22), ("roll", -0.1), ("roll", 0.1),
    ):  # fmt: skip
        weights = still.weights.copy()
        weights[INDEX[name]] = value
        tiles.append(label(to_bgr(stream.render(replace(still, weights=weights))), f"{name} {value:g}"))
    return tiles


def expressions(face: VectorFace, size: int) -> list[Bgr]:
    """Each mood once it is reached, silent and while "aa", "PP" and "ou" are spoken."""
    tiles = []
    for expression in Expression:
        for name, activity in (("", Activity.IDLE), *((viseme, Activity.SPEAKING) for viseme in ("aa", "PP", "ou"))):
            stream = face.open(size, size, seed=3)
            end = settle(stream, activity, 0.0, expression=expression)
            cue = FaceCue(end, MOUTHS.get(name, MouthShape()), activity, expression=expression)
            tiles.append(label(to_bgr(stream.draw(cue)), f"{expression.value} {name}"))
    return tiles


def gestures(face: VectorFace, size: int) -> list[Bgr]:
    """Eight moments of each gesture."""
    tiles = []
    for gesture in Gesture:
        stream = face.open(size, size, seed=3)
        start = settle(stream, Activity.IDLE, 0.0)
        for i in range(40):
            picture = stream.draw(FaceCue(start + i * 0.04, gesture=gesture, gesture_start=start))
            if i % 5 == 4:
                tiles.append(label(to_bgr(picture), f"{gesture.value} {i * 0.04:.2f} s"))
    return tiles


def eyes(face: VectorFace, size: int) -> list[Bgr]:
    """Lids from open to shut, and gaze to eight sides, drawn without motion."""
    stream = face.open(size, size, seed=3)
    pose = replace(stream.pose(FaceCue(0.0)), mouth=MouthShape())
    poses = [(f"lid {o:.2f}", replace(pose, gaze=(0.0, 0.0), openness=o)) for o in (1, 0.75, 0.5, 0.25, 0)]
    for x, y in ((-1, 0), (1, 0), (0, -1), (0, 1), (0.7, -0.7)):
        poses.append((f"gaze {x} {y}", replace(pose, gaze=(float(x), float(y)), openness=1 - 0.12 * y)))
    return [label(to_bgr(stream.render(p)), name) for name, p in poses]


def strip(face: VectorFace, size: int) -> list[Bgr]:
    """24 consecutive pictures of speech."""
    stream = face.open(size, size, seed=5)
    return [label(to_bgr(stream.draw(cue)), str(i)) for i, cue in enumerate(babble(24))]


PARTS: dict[str, Callable[[VectorFace, int], list[Bgr]]] = {
    "mouths": mouths,
    "expressions": expressions,
    "gestures": gestures,
    "activities": activities,
    "transitions": transitions,
    "turns": turns,
    "eyes": eyes,
    "strip": strip,
}
"""What a sheet can show."""

COLUMNS = 8
HEADING = 32
"""Rows of pixels above each part."""


def sheet(face: VectorFace, parts: Sequence[str], size: int) -> Bgr:
    """The parts (of `PARTS`) below each other, each under its name. Raises `FaceError`."""
    rows = []
    for name in parts:
        heading = np.full((HEADING, COLUMNS * size, 3), 40, np.uint8)
        rows += [label(heading, name), table(PARTS[name](face, size), COLUMNS)]
    return np.asarray(np.vstack(rows), np.uint8)


def _side(text: str) -> int:
    if not text.isdecimal() or int(text) % 2 or not SMALLEST <= int(text) <= LARGEST:
        raise argparse.ArgumentTypeError(f"must be an even number, {SMALLEST} to {LARGEST}")
    return int(text)


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in _FORMATS:
        raise argparse.ArgumentTypeError(f"{path.name}: the file must end in {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m avatar sheet", description="Draw a presenter's contact sheet.")
    parser.add_argument("presenter", help="name of a built-in presenter, or a folder with a rig.yaml")
    parser.add_argument(
        "-o", "--output", type=_picture, default="sheet.png", help="image file to write (default: sheet.png)"
    )
    parser.add_argument("--size", type=_side, default=256, help="side of one picture (default: 256)")
    parser.add_argument("--background", help="#rrggbb or an image file instead of the presenter's studio")
    parser.add_argument("--part", choices=("all", *PARTS), default="all", help="what to draw")
    options = parser.parse_args(arguments)
    face = VectorFace(options.presenter, options.background)
    try:
        asyncio.run(face.start())
        wanted = list(PARTS) if options.part == "all" else [options.part]
        done = cv2.imwrite(str(options.output), sheet(face, wanted, options.size))
    except FaceError as error:
        print(error, file=sys.stderr)
        return 1
    if not done:
        print(f"could not write {options.output}", file=sys.stderr)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
