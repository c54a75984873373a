"""Contact sheet of a presenter, to judge it by eye: `python -m avatar.face.sheet mira -o out.png`."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.vector import VectorFace, VectorStream
from core.errors import FaceError
from core.frames import Activity, FaceCue, MouthShape, Picture

Bgr = NDArray[np.uint8]

MOUTHS: dict[str, MouthShape] = {
    "sil": MouthShape(),
    "PP": MouthShape(jaw_open=0.1, close=1.0, press=0.7),
    "FF": MouthShape(jaw_open=0.08, roll_lower=1.0, teeth=0.3),
    "TH": MouthShape(jaw_open=0.22, tongue_up=1.0, teeth=0.4),
    "DD": MouthShape(jaw_open=0.2, tongue_up=0.7, teeth=0.4, stretch=0.2),
    "kk": MouthShape(jaw_open=0.28, teeth=0.2, stretch=0.15),
    "CH": MouthShape(jaw_open=0.15, funnel=0.6, teeth=0.5),
    "SS": MouthShape(jaw_open=0.08, stretch=0.5, teeth=0.8),
    "nn": MouthShape(jaw_open=0.2, tongue_up=0.6, teeth=0.25, stretch=0.15),
    "RR": MouthShape(jaw_open=0.2, funnel=0.4, pucker=0.2),
    "aa": MouthShape(jaw_open=0.8, teeth=0.2),
    "E": MouthShape(jaw_open=0.45, stretch=0.55, teeth=0.4),
    "ih": MouthShape(jaw_open=0.25, stretch=0.6, teeth=0.5),
    "oh": MouthShape(jaw_open=0.5, funnel=0.6, pucker=0.3),
    "ou": MouthShape(jaw_open=0.22, pucker=0.9, funnel=0.2),
    "wide": MouthShape(jaw_open=1.0),
}
"""Typical mouths, by viseme."""


def to_bgr(picture: Picture) -> Bgr:
    """I420 → B G R, for files and eyes."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420), np.uint8)


def settle(stream: VectorStream, activity: Activity, start: float, seconds: float = 2.5) -> float:
    """Let a stream play until an activity's look is reached. Returns the time then."""
    count = round(seconds * 25)
    for i in range(count):
        stream.draw(FaceCue(start + i * 0.04, activity=activity))
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
    cut = side * 46 // 100, side * 74 // 100, side * 36 // 100, side * 64 // 100
    for name, mouth in MOUTHS.items():
        stream = face.open(side, side, seed=3)
        near = to_bgr(stream.draw(FaceCue(0.0, mouth, Activity.SPEAKING)))[cut[0] : cut[1], cut[2] : cut[3]]
        tiles.append(label(np.asarray(cv2.resize(near, (size, size)), np.uint8), name))
    return tiles


def activities(face: VectorFace, size: int) -> list[Bgr]:
    """Each activity once its look is reached."""
    tiles = []
    for activity in (Activity.IDLE, Activity.LISTENING, Activity.THINKING, Activity.SPEAKING):
        stream = face.open(size, size, seed=3)
        end = settle(stream, activity, 0.0)
        cue = FaceCue(end, activity=activity, loudness=0.2 if activity is Activity.SPEAKING else 0.0)
        tiles.append(label(to_bgr(stream.draw(cue)), activity.value))
    return tiles


def eyes(face: VectorFace, size: int) -> list[Bgr]:
    """Lids from open to shut, and gaze to eight sides, drawn without motion."""
    stream = face.open(size, size, seed=3)
    pose = stream.pose(FaceCue(0.0))
    poses = [(f"lid {o:.2f}", replace(pose, gaze=(0.0, 0.0), openness=o)) for o in (1, 0.75, 0.5, 0.25, 0)]
    for x, y in ((-1, 0), (1, 0), (0, -1), (0, 1), (0.7, -0.7)):
        poses.append((f"gaze {x} {y}", replace(pose, gaze=(float(x), float(y)), openness=1 - 0.12 * y)))
    return [label(to_bgr(stream.render(p, MouthShape())), name) for name, p in poses]


def strip(face: VectorFace, size: int) -> list[Bgr]:
    """24 consecutive pictures of speech."""
    stream = face.open(size, size, seed=5)
    return [label(to_bgr(stream.draw(cue)), str(i)) for i, cue in enumerate(babble(24))]


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m avatar.face.sheet", description="Draw a presenter's contact sheet."
    )
    parser.add_argument("presenter", help="name of a built-in presenter, or a folder with a rig.yaml")
    parser.add_argument("-o", "--output", default="sheet.png", help="image file to write (default: sheet.png)")
    parser.add_argument("--size", type=int, default=256, help="side of one picture (default: 256)")
    parser.add_argument("--background", help="#rrggbb or an image file instead of the presenter's studio")
    parser.add_argument(
        "--part", choices=("all", "mouths", "eyes", "activities", "strip"), default="all", help="what to draw"
    )
    options = parser.parse_args(arguments)
    face = VectorFace(options.presenter, options.background)
    parts = {"mouths": mouths, "eyes": eyes, "activities": activities, "strip": strip}
    try:
        asyncio.run(face.start())
        wanted = list(parts) if options.part == "all" else [options.part]
        tiles = [tile for name in wanted for tile in parts[name](face, options.size)]
    except FaceError as error:
        print(error, file=sys.stderr)
        return 1
    if not cv2.imwrite(options.output, table(tiles, 8 if len(tiles) > 8 else 4)):
        print(f"could not write {options.output}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
