"""The rig of a presenter: anchors, pivots and ranges read from `rig.yaml`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from core.errors import FaceError

Point = tuple[float, float]
Points = tuple[Point, ...]
Colour = tuple[int, int, int]
"""Blue, green, red, 0..255."""
Reach = tuple[float, float, float]
"""How far from its middle something may reach: to each side, up, down."""


@dataclass(frozen=True, slots=True)
class Head:
    """Pivot, middle and extent of what moves with the head."""

    pivot: Point
    centre: Point
    radius: Point
    nose: Point
    neck: Point


@dataclass(frozen=True, slots=True)
class Jaw:
    """Where the skin follows the jaw, and how far."""

    top: float
    chin: float
    width: float
    drop: float
    span: float
    """Rows over which the skin takes up the motion."""


@dataclass(frozen=True, slots=True)
class Body:
    """Where breathing and the sway of the hair act."""

    shoulders: float
    hair_tips: Points


@dataclass(frozen=True, slots=True)
class Eye:
    """One eye; `outward` is the sign of the x direction towards its outer corner."""

    centre: Point
    outward: int


@dataclass(frozen=True, slots=True)
class Eyes:
    """Both eyes and the edges of an open eye."""

    art: str
    upper: Points
    lower: Points
    left: Eye
    right: Eye
    gaze: Point
    lash: Colour | None
    """The line along the upper lid; None for none."""
    rim: Colour | None
    """The wet rim of the lower lid; None for none."""
    margin: Colour | None
    """The lit margin of the lower lid, over a shadow and a lash line in `lash`; None for none."""
    reach: Reach
    shade: float
    """Of the upper lid on the eyeball, 0..1."""
    liner: Point
    """Thickness of the line along the upper lid, at the inner and at the outer corner."""
    lids: float
    """How far the upper lid is raised in an open eye, relative to its edge `upper`."""


@dataclass(frozen=True, slots=True)
class Brows:
    """Middle of each brow, the skin that moves with it, and its travel."""

    left: Point
    right: Point
    radius: Point
    lift: float


@dataclass(frozen=True, slots=True)
class Mouth:
    """Middle, width and resting contours of the mouth."""

    art: str
    centre: Point
    half_width: float
    line: Points
    upper: Points
    lower: Points
    round_upper: Points
    """Height of the upper lip's outer edge over the line between rounded lips, relative to the middle, by the way
    from the middle to the corner."""
    round_lower: Points
    """The same of the lower lip's, below that line."""
    smile: float
    reach: Reach
    shade: float
    """Of the seam between the lips and of what is behind them, 0..1."""
    soft: float
    """Width of the lips' outer edge."""


@dataclass(frozen=True, slots=True)
class Rig:
    """Everything `rig.yaml` says. Lengths in art units."""

    name: str
    title: str
    about: str
    voices: dict[str, str]
    """What they speak with, by the name of the synthesizer."""
    folder: Path
    canvas: tuple[float, float, float, float]
    background: str
    background_blur: float
    background_cover: bool
    figure: tuple[str, ...]
    figure_over: tuple[str, ...]
    motion: float
    folds: float
    head: Head
    jaw: Jaw
    body: Body
    eyes: Eyes
    brows: Brows
    mouth: Mouth


# Rounded lips: a bow with straight flanks over a bowl.
_ROUND_UPPER: Points = (
    (0, 1), (0.12, 1.045), (0.26, 1.105), (0.38, 1.09), (0.53, 0.93), (0.70, 0.665), (0.86, 0.36), (0.95, 0.16), (1, 0)
)  # fmt: skip
_ROUND_LOWER: Points = (
    (0, 1), (0.25, 0.975), (0.45, 0.89), (0.65, 0.71), (0.82, 0.45), (0.93, 0.21), (1, 0)
)  # fmt: skip

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"[\w-]{1,64}")
"""It is part of addresses, and chosen by clients."""


class _Reader:
    """Typed access to one mapping; every complaint names the key's path. Keys that nobody asked for are wrong."""

    def __init__(self, data: object, path: str) -> None:
        if not isinstance(data, dict):
            raise FaceError(f"{path}: expected a mapping, see docs/avatars.md", adapter="vector", code="bad_rig")
        self.data: dict[str, Any] = data
        self.path = path
        self._asked: set[str] = set()
        self._parts: list[_Reader] = []

    def has(self, key: str) -> bool:
        self._asked.add(key)
        return key in self.data

    def get(self, key: str, default: object = None) -> Any:
        return self.data[key] if self.has(key) else default

    def check_all_read(self) -> None:
        unknown = [str(key) for key in self.data if key not in self._asked]
        if unknown:
            raise FaceError(
                f"{self.path}: unknown key `{unknown[0]}`; there are {', '.join(sorted(self._asked))}",
                adapter="vector",
                code="bad_rig",
            )
        for part in self._parts:
            part.check_all_read()

    def wrong(self, key: str, wanted: str) -> FaceError:
        return FaceError(
            f"{self.path}: `{key}` must be {wanted}, see docs/avatars.md", adapter="vector", code="bad_rig"
        )

    def part(self, key: str) -> _Reader:
        part = _Reader(self.get(key), f"{self.path}: {key}")
        self._parts.append(part)
        return part

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a name")
        return value

    def optional_text(self, key: str, default: str) -> str:
        return self.text(key) if self.has(key) else default

    def optional_number(self, key: str, default: float, low: float, high: float) -> float:
        return self.number(key, low, high) if self.has(key) else default

    def word(self, key: str, words: tuple[str, ...]) -> str:
        value = self.get(key, words[0])
        if value not in words:
            raise self.wrong(key, " or ".join(words))
        return str(value)

    def texts(self, key: str) -> dict[str, str]:
        value = self.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(v, str) and v for pair in value.items() for v in pair):
            raise self.wrong(key, "names of synthesizers, each with a voice")
        return value

    def names(self, key: str, *, least: int) -> tuple[str, ...]:
        value = self.get(key, [])
        if not isinstance(value, list) or len(value) < least or not all(isinstance(name, str) for name in value):
            raise self.wrong(key, "a list of SVG file names")
        return tuple(value)

    def colour(self, key: str, default: str) -> Colour | None:
        value = self.optional_text(key, default)
        if value == "none":
            return None
        if not _COLOUR.fullmatch(value):
            raise self.wrong(key, 'a colour "#rrggbb", in quotes, or none')
        return int(value[5:], 16), int(value[3:5], 16), int(value[1:3], 16)

    def reach(self, default: Reach) -> Reach:
        side, up, down = self.numbers("reach", 3) if self.has("reach") else default
        if not all(0 < length <= 400 for length in (side, up, down)):
            raise self.wrong("reach", "three lengths up to 400: side, up, down")
        return side, up, down

    def number(self, key: str, low: float = -1e5, high: float = 1e5) -> float:
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        return self._numbers(self.get(key), key, count)

    def point(self, key: str) -> Point:
        x, y = self.numbers(key, 2)
        return x, y

    def points(self, key: str, *, least: int, rising: bool = False) -> Points:
        value = self.get(key)
        if not isinstance(value, list) or len(value) < least:
            raise self.wrong(key, f"a list of at least {least} points")
        points = tuple((p[0], p[1]) for p in (self._numbers(v, key, 2) for v in value))
        if rising and any(b[0] <= a[0] for a, b in pairwise(points)):
            raise self.wrong(key, "a list of points from smaller to larger x")
        return points

    def _numbers(self, value: object, key: str, count: int) -> tuple[float, ...]:
        if not isinstance(value, Sequence) or len(value) != count:
            raise self.wrong(key, f"{count} numbers")
        if any(isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v) for v in value):
            raise self.wrong(key, f"{count} numbers")
        return tuple(float(v) for v in value)


def load_rig(folder: Path) -> Rig:
    """Read and check `folder/rig.yaml`. Raises `FaceError` naming the file, the key and what is expected."""
    path = folder / "rig.yaml"
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FaceError(f"{path} is missing: a presenter needs a rig", adapter="vector", code="bad_rig") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FaceError(f"{path} is not readable YAML: {error}", adapter="vector", code="bad_rig") from error
    top = _Reader(data, str(path))
    x, y, width, height = top.numbers("canvas", 4)
    if width <= 0 or height <= 0:
        raise top.wrong("canvas", "x, y, width, height with a positive size")
    if not _NAME.fullmatch(name := top.text("name")):
        raise top.wrong("name", "letters, digits, - and _ (at most 64)")
    rig = Rig(
        name=name,
        title=top.optional_text("title", name.capitalize()),
        about=top.optional_text("about", ""),
        voices=top.texts("voices"),
        folder=folder,
        canvas=(x, y, width, height),
        background=top.text("background"),
        background_cover=top.word("background_fit", ("stretch", "cover")) == "cover",
        background_blur=top.optional_number("background_blur", 1.0, 0.0, 1.0),
        figure=top.names("figure", least=1),
        figure_over=top.names("figure_over", least=0),
        folds=top.optional_number("folds", 0.0, 0.0, 1.0),
        motion=top.optional_number("motion", 1.0, 0.0, 2.0),
        head=_head(top.part("head")),
        jaw=_jaw(top.part("jaw")),
        body=_body(top.part("body")),
        eyes=_eyes(top.part("eyes")),
        brows=_brows(top.part("brows")),
        mouth=_mouth(top.part("mouth")),
    )
    top.check_all_read()
    return rig


def _head(r: _Reader) -> Head:
    return Head(r.point("pivot"), r.point("centre"), r.point("radius"), r.point("nose"), r.point("neck"))


def _jaw(r: _Reader) -> Jaw:
    return Jaw(
        r.number("top"),
        r.number("chin"),
        r.number("width", 1),
        r.number("drop", 0, 200),
        r.optional_number("span", 82, 20, 400),
    )


def _body(r: _Reader) -> Body:
    return Body(r.number("shoulders"), r.points("hair_tips", least=0))


def _eyes(r: _Reader) -> Eyes:
    return Eyes(
        art=r.text("art"),
        upper=r.points("upper", least=3, rising=True),
        lower=r.points("lower", least=3, rising=True),
        left=_eye(r.part("left")),
        right=_eye(r.part("right")),
        gaze=r.point("gaze"),
        lash=r.colour("lash", "#241211"),
        rim=r.colour("rim", "#cea5a1"),
        margin=r.colour("margin", "none"),
        reach=r.reach((66, 42, 36)),
        shade=r.optional_number("shade", 1.0, 0.0, 1.0),
        liner=r.point("liner") if r.has("liner") else (1.3, 3.3),
        lids=r.optional_number("lids", 1.0, 0.6, 1.2),
    )


def _eye(r: _Reader) -> Eye:
    outward = r.number("outward", -1, 1)
    if abs(outward) != 1:
        raise r.wrong("outward", "-1 (the eye at the left) or 1")
    return Eye(r.point("centre"), int(outward))


def _brows(r: _Reader) -> Brows:
    return Brows(r.point("left"), r.point("right"), r.point("radius"), r.number("lift", 0, 100))


def _mouth(r: _Reader) -> Mouth:
    return Mouth(
        art=r.text("art"),
        centre=r.point("centre"),
        half_width=r.number("half_width", 1),
        line=r.points("line", least=2, rising=True),
        upper=r.points("upper", least=2, rising=True),
        lower=r.points("lower", least=2, rising=True),
        round_upper=_contour(r, "round_upper", _ROUND_UPPER),
        round_lower=_contour(r, "round_lower", _ROUND_LOWER),
        smile=r.number("smile", 0, 1),
        reach=r.reach((78, 36, 76)),
        shade=r.optional_number("shade", 1.0, 0.0, 1.0),
        soft=r.optional_number("soft", 2.6, 0.5, 10.0),
    )


def _contour(r: _Reader, key: str, default: Points) -> Points:
    """Heights relative to that in the middle."""
    if not r.has(key):
        return default
    points = r.points(key, least=3, rising=True)
    if points[0] != (0, 1) or points[-1][0] != 1:
        raise r.wrong(key, "a list of points from [0, 1] in the middle to [1, height] at the corner")
    return points
